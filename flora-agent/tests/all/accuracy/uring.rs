//! A server that makes no system call per message: `io_uring`.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, types};

use super::client::{Client, request};
use super::{losses, same};
use crate::server::{launch, program_options};
use crate::support::{Agent, Group, needs_root, skip};

#[test]
fn a_server_on_io_uring() {
    needs_root!("a_server_on_io_uring");
    if let Err(error) = IoUring::new(8) {
        return skip("a_server_on_io_uring", &format!("io_uring_setup: {error}"));
    }
    let group = Group::new();
    let mut child = launch(&group, "accuracy::uring::program", &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait = |start: &str| {
        let mut lines = lines.by_ref().map(Result::unwrap);
        lines.find_map(|line| line.strip_prefix(start).map(str::to_owned))
    };
    let address: SocketAddr = wait("listening on ").unwrap().parse().unwrap();
    let agent = Agent::watch(&group, &[]);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    for _ in 0..20 {
        for client in &mut clients {
            client.send(&request("GET", "/a"));
            client.send(&request("GET", "/b").repeat(4));
        }
        for client in &mut clients {
            for _ in 0..5 {
                assert_eq!(client.answer(false).status, 200);
            }
        }
    }
    let metrics = agent.scrape();
    // The last request tells how many it served before.
    clients[0].send(&request("GET", "/count"));
    clients[0].answer(false);
    let served = wait("served ").unwrap().parse().unwrap();
    assert_eq!(served, 2000);
    same(&[(200, served)].into(), &metrics);
    assert_eq!(metrics.lost(), 0.0, "{}", losses(&metrics));
    let _ = child.kill();
    let _ = child.wait();
}

/// What a completion is of.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: ring\r\n\r\nhello";

#[derive(Default)]
struct Connection {
    descriptor: i32,
    input: Box<[u8]>,
    /// Bytes of a request that has not ended.
    rest: Vec<u8>,
    output: Vec<u8>,
}

/// Not a test: the server's own program.
#[test]
#[ignore = "the program of a server that other tests start"]
fn program() {
    if program_options().is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    let mut ring = IoUring::new(256).unwrap();
    let mut connections: Vec<Connection> = Vec::new();
    let mut served = 0;
    let accept = |ring: &mut IoUring| {
        let descriptor = types::Fd(listener.as_raw_fd());
        let entry = opcode::Accept::new(descriptor, std::ptr::null_mut(), std::ptr::null_mut());
        push(ring, &entry.build().user_data(ACCEPT));
    };
    accept(&mut ring);
    loop {
        ring.submit_and_wait(1).unwrap();
        let done: Vec<_> = ring
            .completion()
            .map(|c| (c.user_data(), c.result()))
            .collect();
        for (what, result) in done {
            let number = (what >> 2) as usize;
            match what & 3 {
                ACCEPT => {
                    assert!(result >= 0, "accept: {result}");
                    connections.push(Connection {
                        descriptor: result,
                        input: vec![0; 8192].into(),
                        ..Connection::default()
                    });
                    let number = connections.len() - 1;
                    receive(&mut ring, &mut connections, number);
                    accept(&mut ring);
                }
                RECEIVE if result <= 0 => {}
                RECEIVE => {
                    let connection = &mut connections[number];
                    let input = &connection.input[..result as usize];
                    connection.rest.extend_from_slice(input);
                    connection.output.clear();
                    while let Some(end) = find(&connection.rest, b"\r\n\r\n") {
                        if connection.rest.starts_with(b"GET /count") {
                            println!("served {served}");
                        }
                        connection.rest.drain(..end + 4);
                        connection.output.extend_from_slice(ANSWER);
                    }
                    if connection.output.is_empty() {
                        receive(&mut ring, &mut connections, number);
                    } else {
                        let (bytes, length) =
                            (connection.output.as_ptr(), connection.output.len() as u32);
                        let entry =
                            opcode::Send::new(types::Fd(connection.descriptor), bytes, length);
                        push(&mut ring, &entry.build().user_data((what & !3) | SEND));
                    }
                }
                _ => {
                    let length = connections[number].output.len();
                    assert_eq!(result as usize, length, "few bytes go at once");
                    served += (length / ANSWER.len()) as u64;
                    receive(&mut ring, &mut connections, number);
                }
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

fn receive(ring: &mut IoUring, connections: &mut [Connection], number: usize) {
    let connection = &mut connections[number];
    let (bytes, length) = (connection.input.as_mut_ptr(), connection.input.len() as u32);
    let entry = opcode::Recv::new(types::Fd(connection.descriptor), bytes, length);
    let what = (number as u64) << 2 | RECEIVE;
    push(ring, &entry.build().user_data(what));
}

fn push(ring: &mut IoUring, entry: &io_uring::squeue::Entry) {
    #[expect(unsafe_code, reason = "the kernel uses buffers later on")]
    // SAFETY: buffers are on the heap, live as long as the program, and are left alone meanwhile.
    unsafe {
        ring.submission().push(entry).unwrap();
    }
}
