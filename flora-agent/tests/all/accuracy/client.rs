//! A client that sends exact bytes in exact segments, and reads what comes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What browsers send with a request, more or less: 470 bytes.
pub const FIELDS: &str = "Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Cookie: session=0af7651916cd43dd8448eb211c80319cb7ad6b7169203331; theme=dark; x=1\r\n\
    Cache-Control: no-cache\r\nConnection: keep-alive\r\nContent-Type: text/plain\r\n\
    Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

/// A request without a body.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\n{FIELDS}\r\n").into_bytes()
}

/// A request with one.
pub fn upload(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\n{FIELDS}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        stream.set_write_timeout(patience).unwrap();
        Client {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes; without a delay, each call is a segment.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a request without a body, gives the status of its answer.
    pub fn ask(&mut self, method: &str, path: &str) -> u16 {
        self.send(&request(method, path));
        self.answer(method == "HEAD").status
    }

    pub fn get(&mut self, path: &str) -> u16 {
        self.ask("GET", path)
    }

    /// Reads a final answer, past those before it.
    pub fn answer(&mut self, head_only: bool) -> Answer {
        loop {
            let answer = self.next(head_only);
            if answer.status >= 200 || answer.status == 101 {
                return answer;
            }
        }
    }

    /// Reads an answer, final or not.
    pub fn next(&mut self, head_only: bool) -> Answer {
        let first = self.line();
        assert!(first.starts_with("HTTP/1."), "{first:?}");
        let status = first[9..12].parse().unwrap();
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = Some(value.parse().unwrap());
            }
            chunked |= line == "Transfer-Encoding: chunked";
        }
        let none = head_only || status < 200 || status == 204 || status == 304;
        let mut body = Vec::new();
        match length {
            _ if none => {}
            _ if chunked => self.chunks(),
            Some(length) => {
                body.resize(length, 0);
                self.stream.read_exact(&mut body).unwrap();
            }
            None => drop(self.stream.read_to_end(&mut body).unwrap()),
        }
        Answer { status, body }
    }

    fn chunks(&mut self) {
        loop {
            let line = self.line();
            let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
            if size == 0 {
                while !self.line().is_empty() {}
                return;
            }
            self.stream.read_exact(&mut vec![0; size + 2]).unwrap();
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "cut off at {line:?}");
        line.truncate(line.len() - 2);
        line
    }
}
