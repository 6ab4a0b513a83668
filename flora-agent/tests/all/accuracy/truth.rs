//! A server that counts what it serves, and whose every byte is known.
//!
//! What it answers is in the request's path; see [`Answering::answer`].

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Condvar, Mutex};
use std::thread;

use crate::server::launch;
use crate::support::{Group, reset_on_close};

/// The running server, seen by a test.
pub struct Truth {
    child: Child,
    commands: ChildStdin,
    lines: io::Lines<BufReader<ChildStdout>>,
    pub address: SocketAddr,
}

impl Truth {
    /// Starts one in a control group.
    pub fn start(group: &Group) -> Self {
        Self::start_at(group, "127.0.0.1:0")
    }

    /// One that listens on an address of its network namespace.
    pub fn start_at(group: &Group, address: &str) -> Self {
        Self::start_with(group, &[address])
    }

    /// One whose connections are made when their first bytes come.
    pub fn start_deferred(group: &Group, address: &str) -> Self {
        Self::start_with(group, &[address, "deferred"])
    }

    fn start_with(group: &Group, options: &[&str]) -> Self {
        let mut child = launch(group, "accuracy::truth::program", options);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = answer_to(&mut lines, "listening on ").parse().unwrap();
        Truth {
            commands: child.stdin.take().unwrap(),
            child,
            lines,
            address,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Answers that the kernel began to take from it, by status.
    pub fn served(&mut self) -> BTreeMap<u16, u64> {
        self.commands.write_all(b"count\n").unwrap();
        let text = answer_to(&mut self.lines, "served ");
        let counts = text.split_whitespace().map(|word| {
            let (status, count) = word.split_once('=').unwrap();
            (status.parse().unwrap(), count.parse().unwrap())
        });
        counts.collect()
    }

    /// Lets all go on that wait in `/hold`, now and later.
    pub fn release(&mut self) {
        self.commands.write_all(b"release\n").unwrap();
        answer_to(&mut self.lines, "released");
    }
}

/// Waits for a line; what follows its beginning.
fn answer_to(lines: &mut io::Lines<BufReader<ChildStdout>>, start: &str) -> String {
    let found = lines.find_map(|line| line.unwrap().strip_prefix(start).map(str::to_owned));
    found.expect("the server goes on")
}

impl Drop for Truth {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all its connections share.
#[derive(Default)]
struct State {
    served: Mutex<BTreeMap<u16, u64>>,
    released: Mutex<bool>,
    release: Condvar,
}

/// Not a test: the server's own program.
#[test]
#[ignore = "the program of a server that other tests start"]
fn program() {
    let Some(options) = crate::server::program_options() else {
        return;
    };
    let listener = TcpListener::bind(&*options[0]).unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    if options.get(1).is_some_and(|option| option == "deferred") {
        defer(&listener);
    }
    let state: &'static State = Box::leak(Box::default());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let small = thread::Builder::new().stack_size(128 * 1024);
            small.spawn(move || serve(stream, state)).unwrap();
        }
    });
    for line in io::stdin().lines() {
        match line.unwrap().as_str() {
            "count" => {
                let served = state.served.lock().unwrap();
                let counts = served.iter().map(|(status, n)| format!("{status}={n} "));
                println!("served {}", counts.collect::<String>());
            }
            "release" => {
                *state.released.lock().unwrap() = true;
                state.release.notify_all();
                println!("released");
            }
            other => panic!("{other}"),
        }
    }
}

/// Puts off what follows a handshake until there are data: a server's accepting, a client's answer.
pub fn defer(socket: &impl std::os::fd::AsRawFd) {
    let (seconds, size) = (10, size_of::<libc::c_int>() as u32);
    let seconds: *const libc::c_int = &raw const seconds;
    #[expect(unsafe_code, reason = "the option has no safe wrapper")]
    // SAFETY: reads an integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            seconds.cast(),
            size,
        )
    };
    assert_eq!(result, 0);
}

/// What a request says.
struct Request {
    method: String,
    path: String,
    length: u64,
    chunked: bool,
}

struct Answering {
    stream: BufReader<TcpStream>,
    state: &'static State,
    /// Answers that are ready and not sent: their statuses, their bytes.
    ready: (Vec<u16>, Vec<u8>),
}

fn serve(stream: TcpStream, state: &'static State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answering = Answering {
        stream: BufReader::with_capacity(64 * 1024, stream),
        state,
        ready: Default::default(),
    };
    while let Some(request) = answering.request()? {
        if !answering.answer(&request)? {
            break;
        }
        // As servers do: what is pipelined is answered in one piece.
        if answering.stream.buffer().is_empty() {
            answering.flush()?;
        }
    }
    answering.flush()
}

impl Answering {
    /// Reads a head.
    fn request(&mut self) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split(' ');
        let mut request = Request {
            method: words.next().unwrap_or_default().to_owned(),
            path: words.next().unwrap_or_default().to_owned(),
            length: 0,
            chunked: false,
        };
        if request.path == "/early" {
            // It does not wait for the head's end.
            return Ok(Some(request));
        }
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                return Ok(Some(request));
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                request.length = value.trim().parse().unwrap();
            }
            request.chunked |= lower == "transfer-encoding: chunked";
        }
    }

    /// Reads a body, and forgets it.
    fn body(&mut self, request: &Request) -> io::Result<()> {
        if !request.chunked {
            let body = &mut (&mut self.stream).take(request.length);
            return io::copy(body, &mut io::sink()).map(drop);
        }
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = line.trim_end().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                while self.stream.read_line(&mut line)? > 2 {}
                return Ok(());
            }
            io::copy(&mut (&mut self.stream).take(size + 2), &mut io::sink())?;
        }
    }

    /// Answers a request; false when that was the connection's last.
    fn answer(&mut self, request: &Request) -> io::Result<bool> {
        let path = request.path.split('?').next().unwrap_or_default();
        let mut parts = path.split('/').skip(1);
        let kind = parts.next().unwrap_or_default();
        let number = parts.next().and_then(|n| n.parse().ok()).unwrap_or(3);
        if kind == "continue" {
            self.send(&[], b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if kind == "refuse" {
            // The answer is out before the body is in.
            let head = head(
                "413 Too Large",
                "Content-Length: 0\r\nConnection: close\r\n",
            );
            self.send(&[413], head.as_bytes())?;
            return Ok(false);
        }
        if kind == "early" {
            let head = head("431 Too Long", "Content-Length: 0\r\nConnection: close\r\n");
            self.send(&[431], head.as_bytes())?;
            return Ok(false);
        }
        self.body(request)?;
        let fixed = |status: &str, size: usize| {
            let mut answer = head(status, &format!("Content-Length: {size}\r\n")).into_bytes();
            if request.method != "HEAD" {
                answer.resize(answer.len() + size, b'x');
            }
            answer
        };
        match kind {
            "bytes" | "continue" => self.later(200, &fixed("200 OK", number)),
            "status" => {
                let text = head(&format!("{number} Text"), "");
                self.later(number as u16, text.as_bytes());
            }
            "continue-joined" => {
                self.later(200, b"HTTP/1.1 100 Continue\r\n\r\n");
                self.ready.0.pop();
                self.later(200, &fixed("200 OK", number));
            }
            "drip" => {
                // Byte by byte: a segment each.
                let answer = fixed("200 OK", number);
                self.send(&[200], &answer[..1])?;
                for byte in &answer[1..] {
                    self.send(&[], &[*byte])?;
                }
            }
            "chunked" => {
                let mut answer = head("200 OK", "Transfer-Encoding: chunked\r\n").into_bytes();
                if request.method == "HEAD" {
                    self.later(200, &answer);
                    return Ok(true);
                }
                for chunk in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"HTTP/1.1 500 No\r\n\r\n"] {
                    answer.extend(format!("{:x};a=b\r\n", chunk.len()).bytes());
                    answer.extend([chunk, b"\r\n"].concat());
                }
                answer.extend(b"0\r\nDigest: x\r\nContent-Length: 9\r\n\r\n");
                self.later(200, &answer);
            }
            "mimic" => {
                // A body whose segments look like messages.
                let piece = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
                let size = number * piece.len();
                let head = head("200 OK", &format!("Content-Length: {size}\r\n"));
                self.send(&[200], head.as_bytes())?;
                for _ in 0..number {
                    self.send(&[], piece)?;
                }
            }
            "close" => {
                let head = head("200 OK", "Content-Length: 3\r\nConnection: close\r\n");
                self.send(&[200], format!("{head}xxx").as_bytes())?;
                return Ok(false);
            }
            "until-close" => {
                self.send(&[200], b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nHTTP")?;
                for _ in 0..number {
                    self.send(&[], b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")?;
                }
                return Ok(false);
            }
            "upgrade" => {
                let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
                let head = head("101 Switching Protocols", upgrade);
                self.send(&[101], head.as_bytes())?;
                // What now comes is sent back as it is.
                let mut bytes = [0; 1024];
                loop {
                    let n = self.stream.read(&mut bytes)?;
                    if n == 0 {
                        return Ok(false);
                    }
                    self.send(&[], &bytes[..n])?;
                }
            }
            "cut" => {
                // Half of what was promised, then a reset.
                let answer = fixed("200 OK", number);
                self.send(&[200], &answer[..answer.len() / 2])?;
                // Not before the client has read it: a reset takes what waits with it.
                self.stream.read_exact(&mut [0])?;
                reset_on_close(self.stream.get_ref());
                return Ok(false);
            }
            "hold" => {
                let released = self.state.released.lock().unwrap();
                drop(
                    self.state
                        .release
                        .wait_while(released, |released| !*released),
                );
                self.later(200, &fixed("200 OK", number));
            }
            _ => self.later(404, &fixed("404 Not Found", 0)),
        }
        Ok(true)
    }

    /// An answer that is sent with those around it.
    fn later(&mut self, status: u16, answer: &[u8]) {
        self.ready.0.push(status);
        self.ready.1.extend(answer);
    }

    fn flush(&mut self) -> io::Result<()> {
        let (statuses, bytes) = std::mem::take(&mut self.ready);
        if bytes.is_empty() {
            return Ok(());
        }
        self.write(&statuses, &bytes)
    }

    /// Sends bytes with which these final answers begin, in a segment of their own.
    fn send(&mut self, statuses: &[u16], bytes: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.write(statuses, bytes)
    }

    fn write(&mut self, statuses: &[u16], bytes: &[u8]) -> io::Result<()> {
        // Before the client can know of them; taken back when the kernel takes nothing.
        self.count(statuses, |count| *count += 1);
        let stream = self.stream.get_mut();
        match stream.write(bytes) {
            Ok(taken) => stream.write_all(&bytes[taken..]),
            Err(error) => {
                self.count(statuses, |count| *count -= 1);
                Err(error)
            }
        }
    }

    fn count(&self, statuses: &[u16], change: impl Fn(&mut u64)) {
        let mut served = self.state.served.lock().unwrap();
        for status in statuses {
            change(served.entry(*status).or_default());
        }
    }
}

/// A head as long as those of servers in use.
fn head(status: &str, fields: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nServer: truth/1.0\r\nDate: Wed, 25 Nov 2026 12:00:00 GMT\r\n\
         Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-cache, no-store\r\n\
         X-Request-Id: 5a1f0b6e-6c7d-4e8f-9a0b-1c2d3e4f5a6b\r\n{fields}\r\n"
    )
}
