//! `GET /objects`: what is in the answer.

use serde_json::Value;

use crate::app::App;
use crate::client::Response;
use crate::reference;

fn objects(response: &Response) -> Vec<Value> {
    serde_json::from_slice(&response.body).expect("the body is a JSON array")
}

#[test]
fn twenty_objects_and_one_unit_of_work_by_default() {
    let response = App::start(&[]).get("/objects");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("content-encoding"), None);
    assert!(
        (3_400..=5_000).contains(&response.body.len()),
        "{} bytes",
        response.body.len()
    );
    assert_eq!(objects(&response).len(), 20);
    assert_eq!(response.text(), reference::body(1, 1, 20));
    assert_eq!(
        response.header("x-work-digest"),
        reference::digest(1, 1, 1).as_deref()
    );
}

#[test]
fn objects_have_the_documented_shape() {
    for object in objects(&App::start(&[]).get("/objects?objects=1000")) {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        for field in ["id", "name", "email", "created_at"] {
            assert!(text(&object[field]), "{field} in {object}");
        }
        for field in ["street", "city", "zip"] {
            assert!(text(&object["address"][field]), "{field} in {object}");
        }
        assert!(
            object["age"].is_u64() && object["balance"].is_f64() && object["active"].is_boolean()
        );
        let tags = object["tags"].as_array().expect("tags are a list");
        assert!(
            (1..=2).contains(&tags.len()) && tags.iter().all(text),
            "{object}"
        );
    }
}

#[test]
fn every_byte_follows_from_seed_and_request_number() {
    for seed in [0, 1, 7, u64::MAX] {
        let app = App::start(&["--seed", &seed.to_string(), "--objects", "5", "--work", "2"]);
        let mut client = app.connect();
        for n in 1..=20 {
            let response = client.get("/objects");
            assert_eq!(
                response.text(),
                reference::body(seed, n, 5),
                "seed {seed}, request {n}"
            );
            assert_eq!(
                response.header("x-work-digest"),
                reference::digest(seed, n, 2).as_deref()
            );
        }
    }
}

#[test]
fn requests_get_different_objects_and_so_do_seeds() {
    let (one, two) = (App::start(&["--seed", "1"]), App::start(&["--seed", "2"]));
    let mut bodies = vec![
        one.get("/objects").body,
        one.get("/objects").body,
        two.get("/objects").body,
    ];
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 3);
}

/// Only an answer with objects uses up a number.
#[test]
fn other_requests_do_not_change_what_comes_next() {
    let app = App::start(&["--seed", "5"]);
    let mut client = app.connect();
    for target in ["/objects?objects=x", "/healthz", "/metrics", "/nothing"] {
        client.get(target);
    }
    client.request("DELETE", "/objects", "");
    assert_eq!(client.get("/objects").text(), reference::body(5, 1, 20));
}

#[test]
fn overrides_hold_for_one_request() {
    let app = App::start(&["--objects", "4", "--work", "3"]);
    let mut client = app.connect();
    let mut n = 0;
    for (target, objects, work) in [
        ("/objects", 4, 3),
        ("/objects?objects=0", 0, 3),
        ("/objects?work=0", 4, 0),
        ("/objects?objects=1&work=1", 1, 1),
        ("/objects?work=17&objects=300", 300, 17),
        ("/objects?objects=10000&work=0", 10_000, 0),
        ("/objects?objects=1&work=500", 1, 500),
        ("/objects", 4, 3),
    ] {
        n += 1;
        let response = client.get(target);
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(response.text(), reference::body(1, n, objects), "{target}");
        assert_eq!(
            response.header("x-work-digest"),
            reference::digest(1, n, work).as_deref(),
            "{target}"
        );
    }
}

#[test]
fn the_most_work_is_done_and_others_are_answered_meanwhile() {
    let app = App::start(&["--objects", "1"]);
    let mut busy = app.connect();
    busy.send("GET /objects?work=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for _ in 0..20 {
        assert_eq!(app.get("/healthz").status, 200);
    }
    assert_eq!(
        busy.read().header("x-work-digest"),
        reference::digest(1, 1, 10_000).as_deref()
    );
}
