//! A server for `GET /metrics` and `GET /healthz`, and nothing else.
//!
//! It owns no thread: sockets never block, and the agent's loop asks when
//! something is ready. Everything is bounded: connections, the bytes of a
//! request, the time that one may take. Each connection carries one answer.
//!
//! # Layout
//! - `connection`: one connection

mod connection;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use connection::Connection;

/// Connections that are served at once; a scraper needs one.
const CONNECTIONS: usize = 16;

/// How long a connection may take in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that is made piece by piece.
pub trait Body {
    /// Adds the next piece; nothing at the end.
    fn next(&mut self, out: &mut String);
}

/// What the server shows.
pub trait Site {
    /// The metrics as they are now.
    fn metrics(&mut self) -> Box<dyn Body>;
}

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program, perhaps another agent, has the port: choose one with --listen"
        }
        _ => "",
    }
}

/// All addresses of IPv4, in place of all of IPv6 (which stand for those of IPv4 too), on a machine
/// that has no IPv6.
fn in_place_of(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let off = matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    );
    (off && address.ip() == Ipv6Addr::UNSPECIFIED)
        .then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

/// A listening server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    connections: Vec<Connection>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// When the address is taken, or not of this machine.
    pub fn listen(address: SocketAddr) -> Result<Self, ListenError> {
        let listen = |address: SocketAddr| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = listen(address).or_else(|error| match in_place_of(address, &error) {
            Some(four) => listen(four),
            None => Err(error),
        });
        Ok(Server {
            listener: listener.map_err(|source| ListenError { address, source })?,
            connections: Vec::new(),
        })
    }

    /// Where it listens; the port may have been chosen by the kernel.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What to wait for.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        // While there is no room, callers wait in the kernel's queue.
        let listener = (self.connections.len() < CONNECTIONS)
            .then(|| (self.listener.as_fd(), PollFlags::POLLIN));
        let connections = self.connections.iter().map(Connection::descriptor);
        listener.into_iter().chain(connections)
    }

    /// Whether an answer is under way: what it shows must stay what it is.
    pub fn is_answering(&self) -> bool {
        self.connections.iter().any(Connection::is_answering)
    }

    /// Until when something must be done, whether a socket is ready or not.
    pub fn due(&self) -> Option<Instant> {
        self.connections
            .iter()
            .map(|connection| connection.since + PATIENCE)
            .min()
    }

    /// Does what can be done without waiting.
    pub fn serve(&mut self, site: &mut dyn Site) {
        while self.connections.len() < CONNECTIONS {
            match self.listener.accept() {
                Ok((stream, _)) => self.connections.extend(Connection::new(stream)),
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        log::warn!("cannot accept a connection: {error}");
                    }
                    break;
                }
            }
        }
        let now = Instant::now();
        self.connections
            .retain_mut(|connection| now < connection.since + PATIENCE && connection.advance(site));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    struct Numbers(usize);

    impl Body for Numbers {
        fn next(&mut self, out: &mut String) {
            if self.0 > 0 {
                self.0 -= 1;
                out.push_str(&"0123456789".repeat(1000));
            }
        }
    }

    struct Test;

    impl Site for Test {
        fn metrics(&mut self) -> Box<dyn Body> {
            Box::new(Numbers(100))
        }
    }

    fn server() -> (Server, SocketAddr) {
        let server = Server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.address().unwrap();
        (server, address)
    }

    /// Serves until the client is done.
    fn with(client: impl FnOnce(SocketAddr) -> String + Send + 'static) -> String {
        let (mut server, address) = server();
        let client = std::thread::spawn(move || client(address));
        while !client.is_finished() {
            server.serve(&mut Test);
            std::thread::sleep(Duration::from_millis(1));
        }
        client.join().unwrap()
    }

    fn exchange(request: String) -> String {
        with(move |address| {
            let mut stream = TcpStream::connect(address).unwrap();
            // The answer to what is too long comes before all is sent.
            let _ = stream.write_all(request.as_bytes());
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        })
    }

    #[test]
    fn a_body_larger_than_any_buffer() {
        let answer = exchange("GET /metrics HTTP/1.0\r\n\r\n".to_owned());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("version=0.0.4"), "{head}");
        assert_eq!(body, "0123456789".repeat(100_000));
    }

    #[test]
    fn a_body_in_chunks_has_an_end() {
        let answer = exchange("GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
        assert!(body.ends_with("\r\n0\r\n\r\n"));
    }

    #[test]
    fn all_else_is_refused() {
        let status = |request: &str| exchange(request.to_owned())[9..12].to_owned();
        assert_eq!(status("GET /healthz HTTP/1.1\r\n\r\n"), "200");
        assert_eq!(status("HEAD /metrics HTTP/1.1\r\n\r\n"), "200");
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "404");
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(status("nonsense\r\n\r\n"), "400");
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(9000));
        assert_ne!(status(&long), "200");
    }

    #[test]
    fn silent_callers_do_not_shut_others_out_for_long() {
        let (mut server, address) = server();
        let silent: Vec<_> = (0..CONNECTIONS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        while server.connections.len() < CONNECTIONS {
            server.serve(&mut Test);
        }
        assert_eq!(server.descriptors().count(), CONNECTIONS);
        for connection in &mut server.connections {
            connection.since -= PATIENCE;
        }
        server.serve(&mut Test);
        assert_eq!(server.descriptors().count(), 1);
        drop(silent);
    }

    #[test]
    fn all_addresses_of_both_kinds() {
        let Ok(server) = Server::listen("[::]:0".parse().unwrap()) else {
            panic!("neither IPv6 nor IPv4");
        };
        let port = server.address().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let all = "[::]:9464".parse().unwrap();
        let error = io::Error::from_raw_os_error;
        let instead = in_place_of(all, &error(libc::EAFNOSUPPORT));
        assert_eq!(instead, Some("0.0.0.0:9464".parse().unwrap()));
        assert_eq!(in_place_of(all, &error(libc::EADDRINUSE)), None);
        let one = "[::1]:9464".parse().unwrap();
        assert_eq!(in_place_of(one, &error(libc::EAFNOSUPPORT)), None);
    }

    #[test]
    fn a_port_that_is_taken() {
        let (server, address) = server();
        let error = Server::listen(address).unwrap_err().to_string();
        assert!(error.contains("--listen"), "{error}");
        drop(server);
    }
}
