//! A request is counted when the last byte of its answer has been handed to the kernel.

use std::fs;

use crate::app::{App, eventually};
use crate::client::{Client, request};
use crate::metrics::Scrape;

/// Answers of this kind have some 2.4 MB.
const TARGET: &str = "/objects?objects=10000&work=0";

/// The most the kernel keeps between the two ends of a connection, as far as it says.
fn kernel_buffers() -> usize {
    let limits = ["tcp_rmem", "tcp_wmem"].map(|name| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        text.split_whitespace()
            .nth(2)
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(16 << 20)
    });
    limits.iter().sum()
}

/// Sends so many requests for huge answers that the kernel cannot keep them all, and reads none.
/// Returns the connection and for each answer how many bytes there are to its end.
fn ask_for_more_than_the_kernel_keeps(app: &App) -> (Client, Vec<usize>) {
    // What the answers' sizes are, a process with the same seed tells.
    let twin = App::start(&[]);
    let mut client = twin.connect();
    let mut ends = Vec::new();
    let mut total = 0;
    while total <= kernel_buffers() || ends.len() < 3 {
        total += client.get(TARGET).wire_bytes;
        ends.push(total);
    }
    // One more: the server shouldn't even begin with it.
    ends.push(total + client.get(TARGET).wire_bytes);

    let mut client = app.connect();
    client.send(request("GET", TARGET, "").repeat(ends.len()));
    (client, ends)
}

/// Bytes in the kernel on their way to the client: what the server's end of the connection still
/// has to send, and what the client's end has not been asked for.
#[cfg(target_os = "linux")]
fn bytes_in_kernel(app: &App, client: &Client) -> usize {
    let client = client
        .stream
        .local_addr()
        .expect("the socket is connected")
        .port();
    let server = app.address.port();
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux lists its connections");
    let port = |address: &str| u16::from_str_radix(address.split(':').nth(1)?, 16).ok();
    let queues = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (to_send, to_read) = words.get(4)?.split_once(':')?;
        let queue = match (port(words[1])?, port(words[2])?) {
            ends if ends == (server, client) => to_send,
            ends if ends == (client, server) => to_read,
            _ => return None,
        };
        usize::from_str_radix(queue, 16).ok()
    });
    queues.sum()
}

/// Waits until the server cannot hand over any more, and returns how many requests are counted.
/// Checks it against what has been handed over, which the kernel knows.
fn counted_when_stalled(app: &App, client: &Client, ends: &[usize]) -> f64 {
    let mut scraper = app.connect();
    let mut last = (0.0, 0, 0);
    let (counted, handed_over, _) = eventually("the server to be stalled", || {
        let counted = Scrape::new(&scraper.get("/metrics")).requests("GET", "/objects", 200);
        let handed_over = bytes_in_kernel(app, client);
        let same = if last.0 == counted && last.1 == handed_over {
            last.2 + 1
        } else {
            0
        };
        last = (counted, handed_over, same);
        // The same for a third of a second.
        (handed_over > 0 && same > 30).then_some(last)
    });
    let expected = ends.iter().filter(|end| **end <= handed_over).count();
    assert_eq!(
        counted, expected as f64,
        "{handed_over} bytes handed over, answers end at {ends:?}"
    );
    assert!(expected < ends.len() - 1, "the server never stalled");
    counted
}

#[test]
#[cfg(target_os = "linux")]
fn a_slow_reader_is_counted_as_it_takes_its_answers() {
    let app = App::start(&[]);
    let (mut client, ends) = ask_for_more_than_the_kernel_keeps(&app);
    counted_when_stalled(&app, &client, &ends);
    let mut read = 0;
    for end in &ends {
        read += client.read().wire_bytes;
        assert_eq!(read, *end);
    }
    app.expect_count("GET", "/objects", 200, ends.len() as f64);
}

#[test]
#[cfg(target_os = "linux")]
fn an_answer_that_is_cut_off_is_not_counted() {
    let app = App::start(&[]);
    let before = app.scrape().value("process_open_fds");
    let (client, ends) = ask_for_more_than_the_kernel_keeps(&app);
    let counted = counted_when_stalled(&app, &client, &ends);
    // Closing a socket with unread bytes resets the connection.
    drop(client);
    eventually("the server to let go of the connection", || {
        (app.scrape().value("process_open_fds") <= before).then_some(())
    });
    assert_eq!(app.scrape().requests("GET", "/objects", 200), counted);
    assert_eq!(app.get("/healthz").status, 200);
}

#[test]
fn many_clients_that_leave_early_do_no_harm() {
    let app = App::start(&[]);
    let before = app.scrape().value("process_open_fds");
    for _ in 0..50 {
        app.connect()
            .send(request("GET", "/objects?objects=5000&work=50", ""));
    }
    eventually("the server to let go of the connections", || {
        (app.scrape().value("process_open_fds") <= before).then_some(())
    });
    let counted = app.scrape().requests("GET", "/objects", 200);
    assert!(counted <= 50.0, "{counted}");
    let response = app.get("/objects");
    assert_eq!(response.status, 200);
    app.expect_count("GET", "/objects", 200, counted + 1.0);
}
