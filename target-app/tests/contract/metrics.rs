//! `GET /metrics`: the format, and what the numbers mean.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_parse::{Sample, Value};

use crate::app::App;
use crate::client::Response;

/// What `/metrics` said.
pub struct Scrape {
    text: String,
    samples: Vec<Sample>,
}

impl Scrape {
    /// Reads an answer.
    pub fn new(response: &Response) -> Self {
        assert_eq!(response.status, 200);
        let text = response.text().to_owned();
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let samples = prometheus_parse::Scrape::parse(lines)
            .expect("lines can be read")
            .samples;
        Self { text, samples }
    }

    /// The value of a metric without labels.
    pub fn value(&self, name: &str) -> f64 {
        let sample = self.samples.iter().find(|sample| sample.metric == name);
        number(sample.unwrap_or_else(|| panic!("{name} is missing in:\n{}", self.text)))
    }

    /// `http_requests_total` with these labels; 0 if it isn't there.
    pub fn requests(&self, method: &str, route: &str, status: u16) -> f64 {
        let status = status.to_string();
        let labels = [("method", method), ("route", route), ("status", &status)];
        let mut samples = self.samples.iter().filter(|sample| {
            sample.metric == "http_requests_total"
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(label) == Some(value))
        });
        let count = samples.next().map_or(0.0, number);
        assert!(
            samples.next().is_none(),
            "the same labels twice in:\n{}",
            self.text
        );
        count
    }

    /// All of `http_requests_total` but the scrapes.
    pub fn all_requests(&self) -> f64 {
        let requests = self
            .samples
            .iter()
            .filter(|sample| sample.metric == "http_requests_total");
        requests
            .filter(|sample| sample.labels.get("route") != Some("/metrics"))
            .map(number)
            .sum()
    }
}

fn number(sample: &Sample) -> f64 {
    match sample.value {
        Value::Counter(value) | Value::Gauge(value) => value,
        ref other => panic!(
            "{} is neither counter nor gauge but {other:?}",
            sample.metric
        ),
    }
}

#[test]
fn the_text_follows_the_format() {
    let app = App::start(&[]);
    app.get("/objects");
    let response = app.get("/metrics");
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = response.text();
    assert!(text.ends_with('\n'));
    let mut described = HashSet::new();
    let mut seen = HashSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help, ..] if !help.is_empty() => {
                assert!(described.insert(("HELP", *name)), "{line}")
            }
            ["#", "TYPE", name, kind] => {
                let expected = if name.ends_with("_total") {
                    "counter"
                } else {
                    "gauge"
                };
                assert_eq!(*kind, expected, "{line}");
                assert!(described.insert(("TYPE", *name)), "{line}");
            }
            [series, value] => {
                let name = series.split('{').next().expect("there is a first part");
                assert!(
                    described.contains(&("HELP", name)) && described.contains(&("TYPE", name)),
                    "{line}"
                );
                assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
                assert!(seen.insert(*series), "{line} is there twice");
            }
            _ => panic!("not a line of the format: {line:?}"),
        }
    }
    let scrape = Scrape::new(&response);
    assert_eq!(
        scrape.samples.len(),
        seen.len(),
        "every line is understood by a parser"
    );
}

#[test]
fn counters_that_are_sure_to_come_are_there_from_the_start() {
    let response = App::start(&[]).get("/metrics");
    for route in ["/objects", "/healthz", "/metrics"] {
        let series =
            format!("http_requests_total{{method=\"GET\",route=\"{route}\",status=\"200\"}} 0\n");
        assert!(
            response.text().contains(&series),
            "{series} is missing in:\n{}",
            response.text()
        );
    }
}

#[test]
fn the_process_is_described_as_the_kernel_sees_it() {
    let app = App::start(&[]);
    let before = app.scrape();
    let cpu = before.value("process_cpu_seconds_total");
    let memory = before.value("process_resident_memory_bytes");
    assert!(cpu > 0.0 && cpu < 10.0, "{cpu}");
    assert!(
        memory > 500e3 && memory < before.value("process_virtual_memory_bytes"),
        "{memory}"
    );
    assert!((4.0..=before.value("process_max_fds")).contains(&before.value("process_open_fds")));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970")
        .as_secs_f64();
    let age = now - before.value("process_start_time_seconds");
    assert!((-5.0..60.0).contains(&age), "started {age} seconds ago");

    let connections: Vec<_> = (0..10).map(|_| app.connect()).collect();
    app.get("/objects?work=2000");
    let after = app.scrape();
    assert!(after.value("process_cpu_seconds_total") > cpu + 0.005);
    assert!(after.value("process_open_fds") >= before.value("process_open_fds") + 9.0);
    assert_eq!(
        after.value("process_start_time_seconds"),
        before.value("process_start_time_seconds")
    );
    drop(connections);
}

#[test]
fn requests_are_counted_by_what_they_were() {
    let app = App::start(&[]);
    let mut client = app.connect();
    client.get("/objects");
    client.get("/objects?objects=3&work=0");
    client.get("/objects?objects=x");
    client.get("/healthz");
    client.get("/nothing");
    client.get("/objects/1");
    client.request("HEAD", "/objects", "");
    for method in ["POST", "OPTIONS", "PROPFIND"] {
        app.connect()
            .request(method, "/objects", "Content-Length: 0\r\n");
    }
    app.expect_count("GET", "/objects", 200, 2.0);
    app.expect_count("GET", "/objects", 400, 1.0);
    app.expect_count("GET", "/healthz", 200, 1.0);
    app.expect_count("GET", "other", 404, 2.0);
    app.expect_count("HEAD", "/objects", 200, 1.0);
    app.expect_count("POST", "/objects", 405, 1.0);
    app.expect_count("OPTIONS", "/objects", 405, 1.0);
    app.expect_count("other", "/objects", 405, 1.0);
    assert_eq!(app.scrape().all_requests(), 10.0);
}

/// A scrape shows those before it, and itself only in the next.
#[test]
fn scrapes_are_counted_too() {
    let app = App::start(&[]);
    let mut client = app.connect();
    for before in 0..5 {
        let scrape = Scrape::new(&client.get("/metrics"));
        assert_eq!(scrape.requests("GET", "/metrics", 200), f64::from(before));
    }
}
