//! Sends spans in the background: a bounded queue, and one thread that does nothing else.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;

/// Requests to the collector that wait; more are lost, and counted.
const QUEUE: usize = 4;

/// How long connecting, and each read and write, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Resolving a name needs more than the rest.
const STACK_BYTES: usize = 256 * 1024;

/// Bytes of the collector's answer that are waited for.
const ANSWER_BYTES: u64 = 16 * 1024;

/// Sends requests with spans in them.
#[derive(Debug)]
pub struct Exporter {
    queue: SyncSender<Request>,
    lost: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Request {
    body: String,
    spans: u64,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be none.
    pub fn start(endpoint: Endpoint) -> io::Result<Self> {
        let (queue, requests) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&lost);
        let thread = thread::Builder::new()
            .name("flora-export".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || run(&endpoint, &requests, &count))?;
        Ok(Exporter {
            queue,
            lost,
            thread,
        })
    }

    /// Queues a request; when the queue is full, its spans are lost.
    pub fn send(&self, body: String, spans: usize) {
        let spans = spans as u64;
        let request = Request { body, spans };
        if self.queue.try_send(request).is_err() {
            self.lost.fetch_add(spans, Ordering::Relaxed);
        }
    }

    /// Lets what is queued be sent, for a while.
    pub fn finish(self, patience: Duration) {
        drop(self.queue);
        let start = Instant::now();
        while !self.thread.is_finished() && start.elapsed() < patience {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Spans that did not get there.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn run(endpoint: &Endpoint, requests: &Receiver<Request>, lost: &AtomicU64) {
    let mut failing = false;
    for request in requests {
        match post(endpoint, &request.body) {
            Ok(()) => {
                if std::mem::replace(&mut failing, false) {
                    log::info!(endpoint = endpoint.address.as_str(); "the collector takes spans again");
                }
            }
            Err(error) => {
                let error = in_words(error);
                lost.fetch_add(request.spans, Ordering::Relaxed);
                // Once, not for every request.
                if !std::mem::replace(&mut failing, true) {
                    log::warn!(endpoint = endpoint.address.as_str(); "spans are lost: {error}");
                }
            }
        }
    }
}

/// A wait that was too long is an error without a word of that in it.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::other(format!("the collector did not answer within {PATIENCE:?}"))
        }
        _ => error,
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn post(endpoint: &Endpoint, body: &str) -> io::Result<()> {
    let mut stream = connect(&endpoint.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: flora-agent/{}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        endpoint.path,
        endpoint.host,
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    // All of it, so that the collector can close first and nothing is cut off.
    let mut answer = Vec::new();
    let end = stream.take(ANSWER_BYTES).read_to_end(&mut answer);
    if answer.is_empty() {
        end?;
    }
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some(status))
            if version.starts_with("HTTP/1.") && status.starts_with('2') =>
        {
            Ok(())
        }
        _ => Err(io::Error::other(format!(
            "the collector answered {:?}",
            line.trim_end()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn wait_for(exporter: &Exporter, lost: u64) {
        let start = Instant::now();
        while exporter.lost() != lost {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{}",
                exporter.lost()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_a_collector_refuses_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let exporter = Exporter::start(endpoint.parse().unwrap()).unwrap();
        let collector = thread::spawn(move || {
            let mut bodies = Vec::new();
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    let mut part = [0; 512];
                    let count = stream.read(&mut part).unwrap();
                    request.extend_from_slice(&part[..count]);
                }
                bodies.push(String::from_utf8(request).unwrap());
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
            bodies
        });
        exporter.send("{1}".to_owned(), 1);
        exporter.send("{2}".to_owned(), 2);
        wait_for(&exporter, 2);
        let bodies = collector.join().unwrap();
        assert!(
            bodies[0].starts_with("POST /v1/traces HTTP/1.1\r\n"),
            "{}",
            bodies[0]
        );
        assert!(bodies[0].ends_with("\r\n\r\n{1}"), "{}", bodies[0]);
        // Nobody listens any more.
        exporter.send("{3}".to_owned(), 4);
        wait_for(&exporter, 6);
    }
}
