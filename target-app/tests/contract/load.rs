//! Many clients at once: everyone gets an answer, and every answer is counted once.

use std::collections::HashSet;
use std::thread;

use crate::app::App;
use crate::client::request;

const CLIENTS: usize = 32;
const ROUNDS: usize = 50;

#[test]
fn as_many_are_counted_as_were_served() {
    let app = App::start(&[]);
    let digests: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = app.connect();
                    let mut digests = Vec::new();
                    for _ in 0..ROUNDS {
                        let plain = client.get("/objects");
                        let gzip = client.get_with("/objects", "Accept-Encoding: gzip\r\n");
                        assert_eq!((plain.status, gzip.status), (200, 200));
                        digests.extend([plain, gzip].map(|response| {
                            response
                                .header("x-work-digest")
                                .expect("work was done")
                                .to_owned()
                        }));
                        assert_eq!(client.get("/objects?work=x").status, 400);
                        assert_eq!(client.get("/nothing").status, 404);
                    }
                    digests
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("the client is served"))
            .collect()
    });
    let each = (CLIENTS * ROUNDS) as f64;
    app.expect_count("GET", "/objects", 200, 2.0 * each);
    app.expect_count("GET", "/objects", 400, each);
    app.expect_count("GET", "other", 404, each);
    assert_eq!(app.scrape().all_requests(), 4.0 * each);
    let different: HashSet<&String> = digests.iter().collect();
    assert_eq!(
        different.len(),
        digests.len(),
        "every request has a number of its own"
    );
}

#[test]
fn as_many_are_counted_as_were_served_in_pipelines() {
    let app = App::start(&["--objects", "3"]);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = app.connect();
                for _ in 0..10 {
                    client.send(request("GET", "/objects", "").repeat(16));
                    for _ in 0..16 {
                        assert_eq!(client.read().status, 200);
                    }
                }
            });
        }
    });
    app.expect_count("GET", "/objects", 200, (CLIENTS * 160) as f64);
}

#[test]
fn memory_does_not_grow_with_requests() {
    let app = App::start(&[]);
    let mut client = app.connect();
    let mut serve = |requests: usize| {
        for _ in 0..requests / 16 {
            client.send(request("GET", "/objects?work=0", "").repeat(16));
            for _ in 0..16 {
                client.read();
            }
        }
        app.scrape().value("process_resident_memory_bytes")
    };
    let before = serve(3_200);
    let grown = serve(12_800) - before;
    assert!(grown < 16e6, "{grown} bytes more");
}
