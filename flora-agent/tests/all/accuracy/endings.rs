//! Answers and connections that end early, late, or never.

use std::io::Read;
use std::time::Duration;

use super::client::{request, upload};
use super::{Case, losses, lost, same, unmatched};
use crate::support::{needs_root, reset_on_close, wait_until};

#[test]
fn connections_for_one_request() {
    needs_root!("connections_for_one_request");
    let mut case = Case::new();
    for _ in 0..200 {
        assert_eq!(case.connect().get("/close"), 200);
    }
    assert_eq!(case.exact(), 200);
}

#[test]
fn bodies_that_end_with_the_connection() {
    needs_root!("bodies_that_end_with_the_connection");
    let mut case = Case::new();
    for number in 0..50 {
        let mut client = case.connect();
        client.send(b"GET /until-close/7 HTTP/1.0\r\n\r\n");
        if number % 2 == 0 {
            // A client that has said all is still answered.
            client
                .stream
                .get_ref()
                .shutdown(std::net::Shutdown::Write)
                .unwrap();
        }
        let answer = client.answer(false);
        assert_eq!(answer.body.len(), 4 + 7 * 38);
    }
    // The server's last packet may be a moment behind what the client has read.
    wait_until("all have ended", || {
        let metrics = case.agent.scrape();
        metrics.sum("flora_http_responses_unfinished", &[]) == 0.0
    });
    assert_eq!(case.exact(), 50);
}

/// What was cut off was served all the same, and is known to have been cut off.
#[test]
fn resets_in_the_middle_of_a_body() {
    needs_root!("resets_in_the_middle_of_a_body");
    let mut case = Case::new();
    for number in 0..30u64 {
        let mut client = case.connect();
        if number % 2 == 0 {
            // By the client.
            client.send(&request("GET", "/bytes/20000000"));
            client.stream.read_exact(&mut [0; 1000]).unwrap();
            reset_on_close(client.stream.get_ref());
        } else {
            // By the server.
            client.send(&request("GET", "/cut/20000"));
            client.stream.read_exact(&mut [0; 5000]).unwrap();
            client.send(b"x");
            assert!(client.stream.read_to_end(&mut Vec::new()).is_err());
        }
        drop(client);
        // The reset arrives before the next is asked.
        wait_until("it is known", || {
            lost(&case.agent.scrape(), "aborted_response") == number + 1
        });
    }
    // Uploads that are reset are never answered.
    for _ in 0..10 {
        let mut client = case.connect();
        client.send(&upload("/bytes/3", &[b'x'; 10_000])[..5000]);
        reset_on_close(client.stream.get_ref());
    }
    let served = case.truth.served();
    let metrics = case.agent.scrape();
    same(&served, &metrics);
    assert_eq!(served[&200], 30);
    assert_eq!(metrics.lost(), 30.0, "{}", losses(&metrics));
}

/// A client that goes away before its answer: what the server's kernel still
/// takes of one is served, what it refuses is not.
#[test]
fn clients_that_do_not_wait() {
    needs_root!("clients_that_do_not_wait");
    let mut case = Case::new();
    let mut quiet = Vec::new();
    for number in 0..40 {
        let mut client = case.connect();
        client.send(&request("GET", "/hold"));
        // The request is read before its sender goes.
        wait_until("it is sent", || unsent(client.stream.get_ref()) == 0);
        match number % 4 {
            // Closed, and the server told so by a reset: nothing leaves.
            0 | 1 => reset_on_close(client.stream.get_ref()),
            // Closed in order: the answer leaves, and is refused on arrival.
            2 => {}
            // Still there.
            _ => quiet.push(client),
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    case.truth.release();
    for mut client in quiet.drain(..) {
        assert_eq!(client.answer(false).status, 200);
    }
    wait_until("those that leave have left", || {
        case.truth.served().get(&200) == Some(&20)
    });
    wait_until("they are seen", || {
        case.agent.scrape().requests(&[]) >= 20.0
    });
    let metrics = case.agent.scrape();
    same(&case.truth.served(), &metrics);
    assert_eq!(unmatched(&metrics), 0, "{}", losses(&metrics));
}

/// Bytes that the other side has not acknowledged.
fn unsent(stream: &std::net::TcpStream) -> libc::c_int {
    use std::os::fd::AsRawFd;
    let mut bytes = 0;
    #[expect(unsafe_code, reason = "the request has no safe wrapper")]
    // SAFETY: writes an integer.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(result, 0);
    bytes
}

/// Answers that do not wait for the request's end.
#[test]
fn servers_that_do_not_wait() {
    needs_root!("servers_that_do_not_wait");
    let mut case = Case::new();
    for number in 0..20 {
        // To an upload.
        let mut client = case.connect();
        assert_eq!(client.get("/bytes/1"), 200);
        let whole = upload("/refuse", &[b'x'; 100]);
        client.send(&whole[..whole.len() - 50]);
        assert_eq!(client.answer(false).status, 413);
        // To a head that has not ended.
        let mut client = case.connect();
        if number % 2 == 0 {
            assert_eq!(client.get("/bytes/1"), 200);
        }
        let whole = request("GET", "/early");
        client.send(&whole[..whole.len() - 50]);
        assert_eq!(client.answer(false).status, 431);
    }
    assert_eq!(case.exact(), 70);
}
