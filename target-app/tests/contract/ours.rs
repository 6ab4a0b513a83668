//! What this package promises beyond the contract that twins share. Skipped for a twin.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::app::{App, GUARD, command, eventually, is_ours, run};
use crate::client::request;
use crate::reference;

#[test]
fn help_reads_like_documentation() {
    if !is_ours("help_reads_like_documentation") {
        return;
    }
    let (code, output) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for word in [
        "GET /objects",
        "GET /metrics",
        "--listen",
        "--objects",
        "[env: OBJECTS=]",
        "--work",
        "--seed",
        "--threads",
    ] {
        assert!(output.contains(word), "{word} is missing in:\n{output}");
    }
    assert_eq!(
        run(&["--version"]).1.trim(),
        concat!("target-app ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn threads_are_as_many_as_asked_for() {
    if !is_ours("threads_are_as_many_as_asked_for") {
        return;
    }
    assert_eq!(
        App::start(&["--threads", "1"])
            .scrape()
            .value("process_threads"),
        1.0
    );
    assert_eq!(
        App::start(&["--threads", "3"])
            .scrape()
            .value("process_threads"),
        4.0
    );
    let app = App::spawn(command(&["--listen", "127.0.0.1:0"]).env("THREADS", "2"));
    assert_eq!(app.scrape().value("process_threads"), 3.0);
}

/// With a single thread, this shows that work makes room for others.
#[test]
fn one_thread_serves_many() {
    if !is_ours("one_thread_serves_many") {
        return;
    }
    let app = App::start(&["--threads", "1", "--objects", "1"]);
    // On a busy machine the work may be done before anyone looks, hence more than one try.
    let seen_at_work = (1..=10).any(|n| {
        let before = app.scrape().value("process_cpu_seconds_total");
        let mut busy = app.connect();
        busy.send(request("GET", "/objects?work=10000", ""));
        let seen = eventually("the work to be seen or done", || {
            let scrape = app.scrape();
            let done = scrape.requests("GET", "/objects", 200) == f64::from(n);
            let working = scrape.value("process_cpu_seconds_total") > before + 0.03;
            (done || working).then_some(!done)
        });
        let digest = reference::digest(1, n, 10_000);
        assert_eq!(busy.read().header("x-work-digest"), digest.as_deref());
        app.expect_count("GET", "/objects", 200, f64::from(n));
        seen
    });
    assert!(seen_at_work, "nobody else was ever answered during work");
}

#[test]
fn a_name_stands_for_its_address() {
    if !is_ours("a_name_stands_for_its_address") {
        return;
    }
    assert_eq!(
        App::spawn(&mut command(&["--listen", "localhost:0"]))
            .get("/healthz")
            .status,
        200
    );
}

/// Its answer and the next one's would share a buffer, and be counted together.
#[test]
fn a_request_with_a_body_is_the_last_of_its_connection() {
    if !is_ours("a_request_with_a_body_is_the_last_of_its_connection") {
        return;
    }
    let app = App::start(&[]);
    let mut client = app.connect();
    let next = request("GET", "/objects", "");
    client.send(request("GET", "/objects", "Content-Length: 5\r\n") + "hello" + &next);
    let response = client.read();
    assert_eq!(response.text(), reference::body(1, 1, 20));
    assert_eq!(response.header("connection"), Some("close"));
    client.expect_end();
    app.expect_count("GET", "/objects", 200, 1.0);
}

#[test]
fn patience_ends_for_clients_that_send_nothing() {
    if !is_ours("patience_ends_for_clients_that_send_nothing") {
        return;
    }
    let app = App::start(&["--patience", "1"]);
    let mut silent = app.connect();
    let mut slow = app.connect();
    slow.send("GET /objects HTTP/1.1\r\nHost: ");
    let mut idle = app.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    silent.expect_end();
    idle.expect_end();
    // It may be told why.
    let _ =
        std::io::Read::read_to_end(&mut slow.stream, &mut Vec::new()).expect("the connection ends");
}

#[test]
fn patience_ends_for_clients_that_read_nothing() {
    if !is_ours("patience_ends_for_clients_that_read_nothing") {
        return;
    }
    let app = App::start(&["--patience", "1"]);
    let before = app.scrape().value("process_open_fds");
    let mut client = app.connect();
    client.send(request("GET", "/objects?objects=10000&work=0", "").repeat(40));
    eventually("the server to let go of the connection", || {
        (app.scrape().value("process_open_fds") <= before).then_some(())
    });
    assert!(app.scrape().requests("GET", "/objects", 200) < 40.0);
}

/// A client that never finishes its request keeps the program no longer than the drain lasts.
#[test]
fn draining_is_bounded() {
    if !is_ours("draining_is_bounded") {
        return;
    }
    let mut app = App::start(&[]);
    let mut client = app.connect();
    client.send("GET /objects HTTP/1.1\r\nHost: ");
    app.get("/healthz");
    app.signal(Signal::SIGTERM);
    assert_eq!(app.wait(GUARD + Duration::from_secs(10)).code(), Some(0));
}
