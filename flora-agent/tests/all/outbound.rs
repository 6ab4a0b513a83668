//! What an application calls does not call it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::server::{Server, launch, program_options};
use crate::support::{Agent, Group, needs_root, wait_until};

/// What is said and answered, in turn: by a client of TLS, of PostgreSQL, of HTTP.
fn conversations() -> [[Vec<u8>; 2]; 3] {
    let record = |kind: u8, inner: u8| {
        let mut record = vec![kind, 3, 3, 0, 200, inner];
        record.resize(205, 7);
        record
    };
    let hello = |inner| [record(0x16, inner), record(0x17, 0)].concat();
    let startup = b"\0\0\0\x24\0\x03\0\0user\0flora\0database\0flora\0\0";
    let ready = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    let get = b"GET /elsewhere HTTP/1.1\r\nHost: elsewhere\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    [
        [hello(1), hello(2)],
        [startup.to_vec(), ready.to_vec()],
        [get.to_vec(), answer.to_vec()],
    ]
}

/// Not a test: an application that calls others.
#[test]
#[ignore = "the program of a client that another test starts"]
fn program() {
    let Some(addresses) = program_options() else {
        return;
    };
    for (address, [said, answer]) in addresses.iter().zip(conversations()) {
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..3 {
            stream.write_all(&said).unwrap();
            stream.read_exact(&mut vec![0; answer.len()]).unwrap();
        }
    }
    println!("\nall were called");
}

#[test]
fn what_is_called_is_no_caller() {
    needs_root!("what_is_called_is_no_caller");
    let group = Group::new();
    let server = Server::start(&group);
    let agent = Agent::watch(&group, &[]);
    let addresses = conversations().map(|[said, answer]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.read_exact(&mut vec![0; said.len()]).is_ok() {
                stream.write_all(&answer).unwrap();
            }
        });
        address
    });
    let options = addresses.each_ref().map(String::as_str);
    let mut client = launch(&group, "outbound::program", &options);
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "all were called"));
    assert!(client.wait().unwrap().success());
    let metrics = agent.scrape();
    assert_eq!(metrics.requests(&[]), 0.0);
    assert_eq!(metrics.lost(), 0.0);
    let callers = || {
        agent
            .scrape()
            .sum("flora_peer_connections_total", &[("peer", "127.0.0.1")])
    };
    assert_eq!(callers(), 0.0);
    // A connection that asks nothing is nobody's either.
    drop(server.connect());
    server.connect().get("/a");
    wait_until("the caller is told of", || callers() > 0.0);
    assert_eq!(callers(), 1.0);
}
