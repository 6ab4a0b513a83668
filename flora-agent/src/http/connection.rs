//! One connection: reads a request's head, sends one answer, is closed.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::poll::PollFlags;

use super::{Body, Site};
use crate::metrics::text::CONTENT_TYPE;

/// Bytes of a request's head, at most.
const HEAD_BYTES: usize = 8 * 1024;

/// A connection under way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) since: Instant,
    state: State,
}

enum State {
    /// The head, as far as it has come.
    Reading(Vec<u8>),
    /// What is to be sent now, how much of it has been, and what comes after.
    Writing {
        buffer: String,
        sent: usize,
        body: Option<Box<dyn Body>>,
        chunked: bool,
    },
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Reading(_) => "Reading",
            State::Writing { .. } => "Writing",
        })
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        Some(Connection {
            stream,
            since: Instant::now(),
            state: State::Reading(Vec::new()),
        })
    }

    pub(super) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = match self.state {
            State::Reading(_) => PollFlags::POLLIN,
            State::Writing { .. } => PollFlags::POLLOUT,
        };
        (self.stream.as_fd(), flags)
    }

    pub(super) fn is_answering(&self) -> bool {
        matches!(&self.state, State::Writing { body: Some(_), .. })
    }

    /// Does what can be done without waiting; false when nothing is left to do.
    pub(super) fn advance(&mut self, site: &mut dyn Site) -> bool {
        loop {
            let step = match &mut self.state {
                State::Reading(head) => match read(&mut self.stream, head) {
                    Ok(false) => continue,
                    Ok(true) => {
                        self.state = answer(head, site);
                        Ok(true)
                    }
                    Err(error) => Err(error),
                },
                State::Writing {
                    buffer,
                    sent,
                    body,
                    chunked,
                } => {
                    if *sent == buffer.len() {
                        buffer.clear();
                        *sent = 0;
                        refill(buffer, body, *chunked);
                    }
                    write(&mut self.stream, buffer, sent)
                }
            };
            match step {
                Ok(true) => {}
                Ok(false) => {
                    // A reset instead of an end would take the answer with it.
                    let _ = self.stream.shutdown(Shutdown::Write);
                    return false;
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// Reads on; true when the head is complete, or too long.
fn read(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 1024];
    let count = stream.read(&mut part)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let from = head.len().saturating_sub(3);
    head.extend_from_slice(&part[..count]);
    let complete = head[from..].windows(4).any(|end| end == b"\r\n\r\n");
    Ok(complete || head.len() > HEAD_BYTES)
}

/// Sends on; false when there was nothing to send.
fn write(stream: &mut TcpStream, buffer: &str, sent: &mut usize) -> io::Result<bool> {
    if buffer.is_empty() {
        return Ok(false);
    }
    *sent += stream.write(&buffer.as_bytes()[*sent..])?;
    Ok(true)
}

/// The next piece of the body, as a chunk where chunks are understood.
fn refill(buffer: &mut String, body: &mut Option<Box<dyn Body>>, chunked: bool) {
    let Some(source) = body else {
        return;
    };
    source.next(buffer);
    let length = buffer.len();
    if length == 0 {
        *body = None;
    }
    if chunked {
        buffer.insert_str(0, &format!("{length:x}\r\n"));
        buffer.push_str("\r\n");
    }
}

fn answer(head: &[u8], site: &mut dyn Site) -> State {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let path = target.map(|target| target.split('?').next().unwrap_or_default());
    let fits = head.len() <= HEAD_BYTES;
    let mut body = None;
    let (status, kind, text) = match (method, path, version) {
        _ if !fits => ("431 Request Header Fields Too Large", "text/plain", ""),
        (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0")) => match (path, method) {
            ("/metrics", "GET") => {
                body = Some(site.metrics());
                ("200 OK", CONTENT_TYPE, "")
            }
            ("/metrics", "HEAD") => ("200 OK", CONTENT_TYPE, ""),
            ("/healthz", "GET") => ("200 OK", "text/plain", "ok\n"),
            ("/healthz", "HEAD") => ("200 OK", "text/plain", ""),
            ("/metrics" | "/healthz", _) => ("405 Method Not Allowed", "text/plain", ""),
            _ => ("404 Not Found", "text/plain", "see /metrics\n"),
        },
        _ => ("400 Bad Request", "text/plain", ""),
    };
    let text = if method == Some("HEAD") { "" } else { text };
    let chunked = body.is_some() && version == Some("HTTP/1.1");
    let framing = match (&body, chunked) {
        (_, true) => "Transfer-Encoding: chunked\r\n".to_owned(),
        (Some(_), false) => String::new(),
        (None, false) if method == Some("HEAD") => String::new(),
        (None, false) => format!("Content-Length: {}\r\n", text.len()),
    };
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let buffer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{allow}{framing}Connection: close\r\n\r\n{text}"
    );
    State::Writing {
        buffer,
        sent: 0,
        body,
        chunked,
    }
}
