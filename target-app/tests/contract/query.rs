//! Queries that are refused, and how.

use crate::app::App;

const BAD_VALUES: [&str; 20] = [
    "",
    "-1",
    "-0",
    "+1",
    "%2B1",
    "1.0",
    "1e3",
    "0x10",
    "abc",
    "10001",
    "4294967296",
    "99999999999999999999",
    "%",
    "%zz",
    "%FF",
    "%00",
    "%0d%0aX-Injected:%201",
    "1;work=2",
    "1%26",
    "%D9%A1",
];

#[test]
fn bad_values_are_refused_with_a_way_to_mend_them() {
    let app = App::start(&[]);
    let mut client = app.connect();
    for name in ["objects", "work"] {
        for value in BAD_VALUES {
            let target = format!("/objects?{name}={value}");
            let response = client.get(&target);
            assert_eq!(response.status, 400, "{target}");
            assert_eq!(
                response.header("content-type"),
                Some("text/plain; charset=utf-8"),
                "{target}"
            );
            assert_eq!(response.header("x-injected"), None);
            let text = response.text().trim_end();
            assert!(text.contains(name), "{target}: {text}");
            assert!(text.contains("from 0 to 10000"), "{target}: {text}");
            assert!(
                text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{target}: {text}"
            );
            if matches!(
                value,
                "-1" | "1.0" | "abc" | "10001" | "99999999999999999999"
            ) {
                assert!(text.contains(&format!("\"{value}\"")), "{target}: {text}");
            }
        }
    }
    app.expect_count("GET", "/objects", 400, 2.0 * BAD_VALUES.len() as f64);
}

#[test]
fn a_name_without_value_is_refused() {
    let app = App::start(&[]);
    for target in [
        "/objects?objects",
        "/objects?work",
        "/objects?work=1&objects",
    ] {
        assert_eq!(app.get(target).status, 400, "{target}");
    }
}

#[test]
fn a_long_value_is_quoted_in_part() {
    let response = App::start(&[]).get(&format!("/objects?objects={}", "9".repeat(5_000)));
    assert_eq!(response.status, 400);
    assert!(
        response.text().contains("\"9999999999"),
        "{}",
        response.text()
    );
    assert!(response.body.len() < 300, "{} bytes", response.body.len());
}

#[test]
fn the_same_name_twice_must_say_the_same() {
    let app = App::start(&[]);
    for (query, status) in [
        ("objects=1&objects=1", 200),
        ("objects=1&work=0&objects=1", 200),
        ("objects=1&objects=2", 400),
        ("objects=1&objects=", 400),
        ("objects=x&objects=1", 400),
        ("work=1&objects=5&work=2", 400),
    ] {
        assert_eq!(
            app.get(&format!("/objects?{query}")).status,
            status,
            "{query}"
        );
    }
}

#[test]
fn other_names_are_ignored() {
    let app = App::start(&[]);
    for query in [
        "",
        "page=-1",
        "&&",
        "=",
        "%zz=%",
        "Objects=x",
        "object=x",
        "objects2=x",
        "x=objects=-1",
        "objects%20=x",
    ] {
        let response = app.get(&format!("/objects?{query}"));
        assert_eq!(response.status, 200, "{query}: {}", response.text());
    }
}

#[test]
fn numbers_can_be_written_in_more_than_one_way() {
    let app = App::start(&[]);
    for query in [
        "objects=3",
        "objects=003",
        "objects=%33",
        "obj%65cts=3",
        "x=y&objects=3",
    ] {
        let response = app.get(&format!("/objects?{query}"));
        assert_eq!(response.text().matches("\"id\"").count(), 3, "{query}");
    }
}
