//! A server in a process of its own, so that it can be in a control group of its own.
//!
//! The test binary starts itself again, with the one test below as its program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::Group;

const MARK: &str = "FLORA_AGENT_TEST_SERVER";

/// Starts this binary again in a control group, with a test as its program.
pub fn launch(group: &Group, program: &str, options: &[&str]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", program, "--ignored", "--nocapture"])
        .env(MARK, options.join(" "))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    group.add(child.id());
    // It waits for this: a socket belongs to the group that it was made in.
    child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    child
}

/// In such a program: what it was started with, once it is in its group; nothing in a run of all tests.
pub fn program_options() -> Option<Vec<String>> {
    let options = std::env::var(MARK).ok()?;
    std::io::stdin().read_line(&mut String::new()).unwrap();
    Some(options.split(' ').map(str::to_owned).collect())
}

/// A running server.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts one in a control group.
    pub fn start(group: &Group) -> Self {
        Self::listening(group, "127.0.0.1:0")
    }

    /// Starts one at an address.
    pub fn listening(group: &Group, address: &str) -> Self {
        let mut child = launch(group, "server::program", &[address]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("listening on ")
                    .map(str::to_owned)
            })
            .unwrap();
        thread::spawn(move || lines.count());
        Server {
            child,
            address: address.parse().unwrap(),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection to it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Client {
            stream: BufReader::new(stream),
        }
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.stream.get_ref().local_addr().unwrap().port()
    }

    /// Sends a request, gives the status of its answer.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<u16> {
        let length = body.len();
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(text.as_bytes())?;
        self.answer(method == "HEAD")
    }

    pub fn get(&mut self, target: &str) -> u16 {
        let text = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
        self.answer(false).unwrap()
    }

    fn answer(&mut self, head_only: bool) -> std::io::Result<u16> {
        let mut line = String::new();
        let mut status = 0;
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("Content-Length: ") {
                length = rest.trim().parse().unwrap();
            } else if line == "\r\n" {
                break;
            }
        }
        if !head_only {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
        }
        Ok(status)
    }
}

/// Not a test: the server's own program.
#[test]
#[ignore = "the program of a server that other tests start"]
fn program() {
    let Some(options) = program_options() else {
        return;
    };
    let listener = TcpListener::bind(&options[0]).unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::spawn(move || serve(stream));
    }
}

/// `/status/N` answers with that status, `/sleep/N` after so many milliseconds, `/bytes/N` with a
/// body of that size, anything else with a few bytes.
fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(rest) = line.strip_prefix("Content-Length: ") {
                length = rest.trim().parse().ok()?;
            }
            if first.is_empty() {
                first = line;
            }
        }
        std::io::copy(&mut (&mut stream).take(length), &mut std::io::sink()).ok()?;
        let mut words = first.split(' ');
        let method = words.next()?;
        let path = words.next()?.split('?').next()?;
        let mut parts = path.split('/').skip(1);
        let kind = parts.next()?;
        let number = parts.next().and_then(|number| number.parse::<usize>().ok());
        let (mut status, mut size) = (200, 3);
        match (kind, number) {
            ("status", Some(number)) => status = number,
            ("sleep", Some(number)) => thread::sleep(Duration::from_millis(number as u64)),
            ("bytes", Some(number)) => size = number,
            _ => {}
        }
        let mut answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        if method != "HEAD" {
            answer.resize(answer.len() + size, b'x');
        }
        stream.get_mut().write_all(&answer).ok()?;
    }
}
