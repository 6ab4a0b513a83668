//! What exporters write, written here by hand.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// A field that holds bytes.
pub fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    let mut out = varint(field << 3 | 2);
    out.extend(varint(content.len() as u64));
    out.extend_from_slice(content);
    out
}

/// A field that holds a number.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// OTLP's attribute with a text.
fn attribute(key: &str, value: &str) -> Vec<u8> {
    let value = bytes(2, &bytes(1, value.as_bytes()));
    bytes(9, &[bytes(1, key.as_bytes()), value].concat())
}

/// OTLP's attribute with a number.
fn integer(key: &str, value: u64) -> Vec<u8> {
    let value = bytes(2, &number(3, value));
    bytes(9, &[bytes(1, key.as_bytes()), value].concat())
}

/// A request with so many spans of a kind.
pub fn otlp_traces(count: u64, kind: u64, route: &str) -> Vec<u8> {
    let span = [
        bytes(1, &[7; 16]),
        bytes(2, &[7; 8]),
        bytes(5, format!("GET {route}").as_bytes()),
        number(6, kind),
        attribute("http.route", route),
        integer("http.response.status_code", 200),
    ]
    .concat();
    let spans: Vec<u8> = (0..count).flat_map(|_| bytes(2, &span)).collect();
    let resource = bytes(1, &attribute("service.name", "x"));
    bytes(1, &[resource, bytes(2, &spans)].concat())
}

/// A request with one metric of so many points.
pub fn otlp_metrics(name: &str, points: u64) -> Vec<u8> {
    let data: Vec<u8> = (0..points).flat_map(|n| bytes(1, &number(3, n))).collect();
    let metric = [bytes(1, name.as_bytes()), bytes(7, &data)].concat();
    bytes(1, &bytes(2, &bytes(2, &metric)))
}

/// A request with so many log records.
pub fn otlp_logs(records: u64) -> Vec<u8> {
    let record = bytes(5, &bytes(1, b"a line"));
    let records: Vec<u8> = (0..records).flat_map(|_| bytes(2, &record)).collect();
    bytes(1, &bytes(2, &records))
}

/// An `AgentPayload` with so many server spans, their texts in them.
pub fn datadog_traces(count: u64, route: &str) -> Vec<u8> {
    let meta = |key: &str, value: &str| {
        let entry = [bytes(1, key.as_bytes()), bytes(2, value.as_bytes())];
        bytes(10, &entry.concat())
    };
    let span = [
        bytes(1, b"service"),
        bytes(2, b"http.request"),
        bytes(3, format!("GET {route}").as_bytes()),
        meta("span.kind", "server"),
        meta("http.status_code", "200"),
    ]
    .concat();
    let chunk: Vec<u8> = (0..count).flat_map(|_| bytes(3, &span)).collect();
    let tracer = [bytes(2, b"go"), bytes(6, &chunk)].concat();
    [bytes(1, b"host"), bytes(5, &tracer)].concat()
}

/// The same with references to a list of texts.
pub fn datadog_indexed(count: u64, route: &str) -> Vec<u8> {
    let resource = format!("GET {route}");
    let texts = ["", "http.request", &resource, "http.status_code", "200"];
    let strings: Vec<u8> = texts
        .iter()
        .flat_map(|text| bytes(1, text.as_bytes()))
        .collect();
    let status = [number(1, 3), bytes(2, &number(1, 4))].concat();
    let mut span = [number(2, 1), number(3, 2), bytes(9, &status)].concat();
    // The kind's field number takes two bytes.
    span.extend(number(16, 2));
    let chunk: Vec<u8> = (0..count).flat_map(|_| bytes(4, &span)).collect();
    // As the agent writes it: the texts last.
    bytes(11, &[bytes(11, &chunk), strings].concat())
}

/// Datadog's statistics of so many hits, in MessagePack.
pub fn datadog_stats(hits: u8, route: &str) -> Vec<u8> {
    let text = |text: &str| [&[0xa0 | text.len() as u8][..], text.as_bytes()].concat();
    let group = [
        vec![0x85],
        text("Resource"),
        text(&format!("GET {route}")),
        text("SpanKind"),
        text("server"),
        text("Hits"),
        vec![0xcc, hits],
        text("HTTPStatusCode"),
        vec![0xcd, 0, 200],
        text("OkSummary"),
        vec![0xc4, 2, 1, 2],
    ]
    .concat();
    // A bucket, its client, the payload: each has its `Stats`.
    (0..3).fold(group, |inner, _| {
        [
            vec![0x82],
            text("Start"),
            vec![0xcf, 0, 0, 0, 0, 0, 0, 0, 1],
            text("Stats"),
            vec![0x91],
            inner,
        ]
        .concat()
    })
}

/// As `gzip` does.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As HTTP's `deflate` is.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As `zstd` does.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}
