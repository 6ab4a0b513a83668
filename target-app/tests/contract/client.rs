//! HTTP by hand over a TCP connection, because the tests need to send what no client library would.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::app::GUARD;

/// One connection.
pub struct Client {
    /// The socket, for tests that do to it what clients shouldn't.
    pub stream: TcpStream,
    /// Bytes received beyond the last response.
    buffer: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as sent, so possibly compressed.
    pub body: Vec<u8>,
    /// Bytes on the wire, head and body.
    pub wire_bytes: usize,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, GUARD)?;
        stream.set_read_timeout(Some(GUARD))?;
        stream.set_write_timeout(Some(GUARD))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the connection takes what is sent");
    }

    /// Sends a GET and reads the answer.
    pub fn get(&mut self, target: &str) -> Response {
        self.get_with(target, "")
    }

    /// Sends a GET with more header lines, each ended by CR LF, and reads the answer.
    pub fn get_with(&mut self, target: &str, headers: &str) -> Response {
        self.request("GET", target, headers)
    }

    /// Sends a request without a body and reads the answer.
    pub fn request(&mut self, method: &str, target: &str, headers: &str) -> Response {
        self.send(request(method, target, headers));
        if method == "HEAD" {
            self.read_head()
        } else {
            self.read()
        }
    }

    /// Reads one response.
    pub fn read(&mut self) -> Response {
        let mut response = self.read_head();
        let length = response.content_length();
        self.fill(length);
        response.body = self.buffer.drain(..length).collect();
        response.wire_bytes += length;
        response
    }

    /// Reads one response that has no body, whatever its header says.
    pub fn read_head(&mut self) -> Response {
        let length = loop {
            if let Some(at) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.fill(self.buffer.len() + 1);
        };
        let head: Vec<u8> = self.buffer.drain(..length).collect();
        let head = String::from_utf8(head).expect("a response head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().expect("a response has a first line");
        assert!(status_line.starts_with("HTTP/1."), "{status_line}");
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header line has a colon");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Response {
            status: status.expect("the first line has a status code"),
            headers: headers.collect(),
            body: Vec::new(),
            wire_bytes: length,
        }
    }

    /// Makes sure that nothing more comes, and that the connection ends.
    pub fn expect_end(&mut self) {
        assert!(self.buffer.is_empty(), "bytes after the last response");
        match self.read_some(&mut [0; 1024]) {
            Ok(0) => {}
            Ok(more) => panic!("{more} bytes after the last response"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection should have ended: {error}"),
        }
    }

    /// One successful read, since the kernel may interrupt any.
    fn read_some(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Reads at least until the buffer holds `length` bytes.
    fn fill(&mut self, length: usize) {
        let mut chunk = [0; 64 * 1024];
        while self.buffer.len() < length {
            match self.read_some(&mut chunk) {
                Ok(0) => panic!(
                    "the connection ended after {} of {length} bytes",
                    self.buffer.len()
                ),
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) => panic!(
                    "no answer, {} of {length} bytes: {error}",
                    self.buffer.len()
                ),
            }
        }
    }
}

impl Response {
    /// A header's value; panics if it is there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    /// `Content-Length`, which every response has.
    pub fn content_length(&self) -> usize {
        let length = self
            .header("content-length")
            .expect("every response has content-length");
        length.parse().expect("content-length is a number")
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// A request without a body.
pub fn request(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}
