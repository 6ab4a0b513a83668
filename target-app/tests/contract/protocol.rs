//! HTTP itself: routes, methods, connections, and requests in odd pieces.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use crate::app::{App, eventually};
use crate::client::request;
use crate::reference;

#[test]
fn healthz_is_ok() {
    let response = App::start(&[]).get("/healthz");
    assert_eq!((response.status, response.text()), (200, "ok"));
}

#[test]
fn unknown_paths_are_not_found() {
    let app = App::start(&[]);
    for target in [
        "/",
        "/objects/",
        "/objects/1",
        "/Objects",
        "/healthz/x",
        "/%6fbjects%00",
        "/metrics.txt",
    ] {
        assert_eq!(app.get(target).status, 404, "{target}");
    }
    assert_eq!(
        app.connect()
            .request("POST", "/nothing", "Content-Length: 0\r\n")
            .status,
        404
    );
}

#[test]
fn other_methods_are_not_allowed() {
    let app = App::start(&[]);
    for target in ["/objects", "/healthz", "/metrics", "/objects?objects=x"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
            let response = app
                .connect()
                .request(method, target, "Content-Length: 0\r\n");
            assert_eq!(response.status, 405, "{method} {target}");
            assert_eq!(
                response.header("allow"),
                Some("GET, HEAD"),
                "{method} {target}"
            );
        }
    }
}

#[test]
fn head_works_everywhere() {
    let app = App::start(&[]);
    let mut client = app.connect();
    for (target, status) in [
        ("/healthz", 200),
        ("/metrics", 200),
        ("/nothing", 404),
        ("/objects?work=x", 400),
    ] {
        let response = client.request("HEAD", target, "");
        assert_eq!(response.status, status, "{target}");
        assert!(response.content_length() > 0, "{target}");
    }
    assert_eq!(client.get("/healthz").text(), "ok");
}

#[test]
fn a_connection_serves_many_requests() {
    let app = App::start(&["--objects", "2", "--work", "0"]);
    let mut client = app.connect();
    for n in 1..=300 {
        assert_eq!(client.get("/objects").text(), reference::body(1, n, 2));
    }
    app.expect_count("GET", "/objects", 200, 300.0);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_counted_each() {
    let app = App::start(&["--work", "0"]);
    let mut client = app.connect();
    for round in 0..5 {
        let requests: String = (1..=16)
            .map(|n| request("GET", &format!("/objects?objects={n}"), ""))
            .collect();
        client.send(requests);
        for n in 1..=16 {
            assert_eq!(client.read().text(), reference::body(1, round * 16 + n, n));
        }
    }
    app.expect_count("GET", "/objects", 200, 80.0);
}

#[test]
fn pipelined_requests_of_all_sorts() {
    let app = App::start(&[]);
    let mut client = app.connect();
    let sorts = [
        ("GET", "/objects", 200),
        ("GET", "/nothing", 404),
        ("GET", "/objects?work=x", 400),
        ("HEAD", "/objects", 200),
    ];
    let requests: String = sorts
        .iter()
        .cycle()
        .take(16)
        .map(|(method, target, _)| request(method, target, ""))
        .collect();
    client.send(requests);
    for (method, target, status) in sorts.iter().cycle().take(16) {
        let response = if *method == "HEAD" {
            client.read_head()
        } else {
            client.read()
        };
        assert_eq!(response.status, *status, "{method} {target}");
    }
    app.expect_count("GET", "/objects", 200, 4.0);
    app.expect_count("GET", "other", 404, 4.0);
    app.expect_count("GET", "/objects", 400, 4.0);
    app.expect_count("HEAD", "/objects", 200, 4.0);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let app = App::start(&[]);
    let mut client = app.connect();
    for byte in request("GET", "/objects?objects=2", "Accept-Encoding: identity\r\n").bytes() {
        client.send([byte]);
        // Not for the result, only to make it likely that each byte arrives on its own.
        thread::sleep(Duration::from_micros(500));
    }
    assert_eq!(client.read().text(), reference::body(1, 1, 2));
}

#[test]
fn a_request_may_be_split_anywhere() {
    let app = App::start(&["--objects", "1", "--work", "0"]);
    let mut client = app.connect();
    let request = request("GET", "/objects", "X: y\r\n");
    for (n, at) in (1..request.len()).enumerate() {
        client.send(&request[..at]);
        thread::sleep(Duration::from_micros(500));
        client.send(&request[at..]);
        assert_eq!(
            client.read().text(),
            reference::body(1, 1 + n as u32, 1),
            "split at {at}"
        );
    }
}

#[test]
fn connection_close_is_honoured() {
    let app = App::start(&[]);
    let mut client = app.connect();
    let response = client.get_with("/objects", "Connection: close\r\n");
    assert_eq!(response.text(), reference::body(1, 1, 20));
    assert!(
        response
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    );
    client.expect_end();
    app.expect_count("GET", "/objects", 200, 1.0);
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let app = App::start(&[]);
    for headers in ["", "Host: localhost\r\n"] {
        let mut client = app.connect();
        client.send(format!("GET /healthz HTTP/1.0\r\n{headers}\r\n"));
        let response = client.read();
        assert_eq!((response.status, response.text()), (200, "ok"));
        client.expect_end();
    }
    app.expect_count("GET", "/healthz", 200, 2.0);
}

#[test]
fn bodies_nobody_asked_for_do_no_harm() {
    let app = App::start(&[]);
    let mut client = app.connect();
    client.send("GET /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.read().text(), reference::body(1, 1, 20));

    let mut client = app.connect();
    client.send("POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.read().status, 405);
}

/// What the answer to it is doesn't matter, as long as it costs the server nothing.
#[test]
fn an_endless_body_is_not_kept() {
    let app = App::start(&[]);
    let before = app.scrape().value("process_resident_memory_bytes");
    let mut client = app.connect();
    client.send("POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n");
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        if client.stream.write_all(&megabyte).is_err() {
            break;
        }
    }
    let grown = app.scrape().value("process_resident_memory_bytes") - before;
    assert!(grown < 32e6, "{grown} bytes more");
}

#[test]
fn an_endless_head_is_not_kept() {
    let app = App::start(&[]);
    let before = app.scrape().value("process_resident_memory_bytes");
    for start in ["GET /objects HTTP/1.1\r\nX: ", "GET /"] {
        let mut client = app.connect();
        client.send(start);
        let megabyte = vec![b'x'; 1 << 20];
        let ended = (0..64).any(|_| client.stream.write_all(&megabyte).is_err());
        assert!(ended, "64 MiB of head were taken");
    }
    let grown = app.scrape().value("process_resident_memory_bytes") - before;
    assert!(grown < 32e6, "{grown} bytes more");
}

#[test]
fn what_is_no_http_is_turned_away() {
    let app = App::start(&[]);
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET /objects\r\n\r\n",
        b"GET /objects HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /objects HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut client = app.connect();
        client.send(nonsense);
        client
            .stream
            .shutdown(std::net::Shutdown::Write)
            .expect("the connection is open");
        let mut answer = Vec::new();
        // It may answer before it closes, and it may close by resetting.
        let _ = client.stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty()
                || text.starts_with("HTTP/1.1 400")
                || text.starts_with("HTTP/1.0 400"),
            "{text}"
        );
    }
    assert_eq!(app.get("/healthz").status, 200);
}

#[test]
fn half_a_request_keeps_nobody_waiting() {
    let app = App::start(&[]);
    let before = app.scrape().value("process_open_fds");
    let halves: Vec<_> = (0..300)
        .map(|_| {
            let mut client = app.connect();
            client.send("GET /objects HTTP/1.1\r\nHost: ");
            client
        })
        .collect();
    assert_eq!(app.get("/objects").text(), reference::body(1, 1, 20));
    drop(halves);
    eventually("closed connections to be let go", || {
        (app.scrape().value("process_open_fds") <= before).then_some(())
    });
}
