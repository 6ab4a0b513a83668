//! `Accept-Encoding`: plain or gzip.

use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::app::App;
use crate::client::Response;
use crate::reference;

fn gunzip(response: &Response) -> String {
    let mut plain = String::new();
    GzDecoder::new(response.body.as_slice())
        .read_to_string(&mut plain)
        .expect("the body is gzip");
    plain
}

/// A fresh process for each, so that both answer their first request.
#[test]
fn gzip_and_plain_are_the_same_objects() {
    for target in ["/objects", "/objects?objects=0", "/objects?objects=10000"] {
        let plain = App::start(&["--seed", "3"]).get(target);
        let app = App::start(&["--seed", "3"]);
        let gzip = app.connect().get_with(target, "Accept-Encoding: gzip\r\n");
        assert_eq!(gzip.header("content-encoding"), Some("gzip"));
        assert_eq!(gzip.header("content-type"), Some("application/json"));
        assert_eq!(gunzip(&gzip), plain.text());
        assert_eq!(gzip.header("x-work-digest"), plain.header("x-work-digest"));
        if target != "/objects?objects=0" {
            assert!(
                gzip.body.len() < plain.body.len() / 2,
                "{} of {} bytes",
                gzip.body.len(),
                plain.body.len()
            );
        }
    }
}

#[test]
fn gzip_only_for_those_who_take_it() {
    let app = App::start(&[]);
    let mut client = app.connect();
    let mut n = 0;
    for (headers, gzip) in [
        ("", false),
        ("Accept-Encoding: gzip\r\n", true),
        ("accept-encoding: GZIP\r\n", true),
        ("Accept-Encoding: gzip, deflate, br, zstd\r\n", true),
        ("Accept-Encoding: deflate,br;q=0.9 , gzip;q=0.1\r\n", true),
        ("Accept-Encoding: *\r\n", true),
        ("Accept-Encoding: br, *;q=0.5\r\n", true),
        ("Accept-Encoding: gzip;q=1.000, identity;q=0\r\n", true),
        ("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n", true),
        ("Accept-Encoding:\r\n", false),
        ("Accept-Encoding: identity\r\n", false),
        ("Accept-Encoding: br, deflate\r\n", false),
        ("Accept-Encoding: gzip;q=0\r\n", false),
        ("Accept-Encoding: gzip;q=0.000\r\n", false),
        ("Accept-Encoding: gzip; q=0, *\r\n", false),
        ("Accept-Encoding: *;q=0\r\n", false),
        ("Accept-Encoding: gzipped, bgzip\r\n", false),
        ("Accept-Encoding: gzip;q=0.2, identity;q=0.8\r\n", false),
    ] {
        n += 1;
        let response = client.get_with("/objects", headers);
        assert_eq!(response.status, 200, "{headers}");
        assert_eq!(
            response.header("content-encoding"),
            gzip.then_some("gzip"),
            "{headers}"
        );
        let vary = response
            .header("vary")
            .expect("caches are told what the answer depends on");
        assert!(vary.eq_ignore_ascii_case("accept-encoding"), "{vary}");
        let body = if gzip {
            gunzip(&response)
        } else {
            response.text().to_owned()
        };
        assert_eq!(body, reference::body(1, n, 20), "{headers}");
    }
}

#[test]
fn head_says_what_get_would() {
    for headers in ["", "Accept-Encoding: gzip\r\n"] {
        let get = App::start(&[]).connect().get_with("/objects", headers);
        let app = App::start(&[]);
        let mut client = app.connect();
        let head = client.request("HEAD", "/objects", headers);
        assert_eq!(head.status, 200);
        assert_eq!(head.content_length(), get.body.len());
        for header in ["content-type", "content-encoding", "vary", "x-work-digest"] {
            assert_eq!(head.header(header), get.header(header), "{header}");
        }
        // Nothing came after the head, or this answer would not be understood.
        assert_eq!(client.get("/healthz").text(), "ok");
        app.expect_count("HEAD", "/objects", 200, 1.0);
    }
}
