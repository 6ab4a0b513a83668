//! Starting, being configured, and ending.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::app::{App, GUARD, command, eventually, run};
use crate::client::{Client, request};
use crate::reference;

#[test]
fn flags_choose_counts_and_seed() {
    let app = App::start(&["--objects", "3", "--work", "2", "--seed", "9"]);
    let response = app.get("/objects");
    assert_eq!(response.text(), reference::body(9, 1, 3));
    assert_eq!(
        response.header("x-work-digest"),
        reference::digest(9, 1, 2).as_deref()
    );
}

#[test]
fn so_do_environment_variables() {
    let variables = [("OBJECTS", "3"), ("WORK", "2"), ("SEED", "9")];
    let app = App::spawn(command(&["--listen", "127.0.0.1:0"]).envs(variables));
    let response = app.get("/objects");
    assert_eq!(response.text(), reference::body(9, 1, 3));
    assert_eq!(
        response.header("x-work-digest"),
        reference::digest(9, 1, 2).as_deref()
    );
}

#[test]
fn flags_come_before_environment_variables() {
    let variables = [("OBJECTS", "3"), ("WORK", "2"), ("SEED", "9")];
    let mut command = command(&[
        "--listen",
        "127.0.0.1:0",
        "--objects",
        "4",
        "--work=0",
        "--seed=8",
    ]);
    let response = App::spawn(command.envs(variables)).get("/objects");
    assert_eq!(response.text(), reference::body(8, 1, 4));
    assert_eq!(response.header("x-work-digest"), None);
}

#[test]
fn bad_flags_end_with_2() {
    for args in [
        &["--objects", "x"][..],
        &["--objects", "10001"],
        &["--work=-1"],
        &["--work", "10001"],
        &["--seed", "x"],
        &["--listen", "nowhere"],
        &["--nonsense"],
    ] {
        let (code, output) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {output}");
        let flag = args[0]
            .split('=')
            .next()
            .expect("there is a first part")
            .trim_start_matches('-');
        assert!(output.contains(flag), "{args:?}: {output}");
    }
}

#[test]
fn a_port_that_is_taken_ends_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let (code, output) = run(&["--listen", &address]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&address), "{output}");
    assert!(output.contains("--listen"), "says what to do: {output}");
    assert!(!output.contains("panic"), "{output}");
}

/// Right after the end of a program, connections it closed still linger in the kernel.
#[test]
fn a_port_can_be_used_again_at_once() {
    let mut app = App::start(&[]);
    let address = app.address.to_string();
    let client = app.connect();
    app.get("/healthz");
    app.signal(Signal::SIGTERM);
    app.wait(GUARD);
    drop(client);
    assert_eq!(
        App::spawn(&mut command(&["--listen", &address]))
            .get("/healthz")
            .status,
        200
    );
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut app = App::start(&["--objects", "1"]);
        let mut client = send_work(&app);
        app.signal(signal);
        let response = client.read();
        assert_eq!(response.status, 200);
        let digest = reference::digest(1, 1, 10_000);
        assert_eq!(response.header("x-work-digest"), digest.as_deref());
        client.expect_end();
        assert_eq!(app.wait(GUARD).code(), Some(0));
    }
}

#[test]
fn nobody_new_is_served_while_requests_are_finished() {
    let mut app = App::start(&[]);
    let mut client = send_work(&app);
    app.signal(Signal::SIGTERM);
    eventually("connections to be refused", || {
        Client::connect(app.address).err()
    });
    assert_eq!(client.read().status, 200);
    assert_eq!(app.wait(GUARD).code(), Some(0));
}

/// Sends a request for the most work there is, and waits until the program is at it.
fn send_work(app: &App) -> Client {
    let before = app.scrape().value("process_cpu_seconds_total");
    let mut client = app.connect();
    client.send(request("GET", "/objects?work=10000", ""));
    eventually("the work to begin", || {
        (app.scrape().value("process_cpu_seconds_total") > before + 0.03).then_some(())
    });
    client
}

/// The limit lies below the 10 seconds that requests in flight are given to finish.
#[test]
fn idle_connections_do_not_delay_the_end() {
    let mut app = App::start(&[]);
    let mut used: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = app.connect();
            client.get("/objects");
            client
        })
        .collect();
    let mut unused: Vec<Client> = (0..20).map(|_| app.connect()).collect();
    // Answered after those were taken.
    app.get("/healthz");
    app.signal(Signal::SIGTERM);
    assert_eq!(app.wait(Duration::from_secs(8)).code(), Some(0));
    for client in used.iter_mut().chain(&mut unused) {
        client.expect_end();
    }
}
