//! Every reader of text and bytes that others wrote, whatever those are: the fuzzer's targets, and a
//! test of the ordinary run. Both include this file.
//!
//! What is asked of each is that it ends, without a panic; what it makes of well-formed input is
//! what unit tests are for.

use std::path::Path;

use flora_bench::gate;
use flora_bench::intake::body::{Encoding, Sent};
use flora_bench::intake::decode::{Endpoint, Format};
use flora_bench::intake::statsd;
use flora_bench::intake::tally::Tally;
use flora_bench::load::{LoadSpec, k6};
use flora_bench::observer::prometheus;
use flora_bench::plan::Plan;
use flora_bench::sample::Sample;
use flora_bench::scenario::{placeholder, wire};
use flora_bench::trial::TrialRecord;

/// What takes whatever there is.
type Reader = fn(&[u8]);

/// The readers, by the name of their target and of their seeds.
pub const ALL: [(&str, Reader); 6] = [
    ("exposition", exposition),
    ("k6", k6_output),
    ("scenario", scenario),
    ("budgets", budgets),
    ("intake", intake),
    ("records", records),
];

/// Prometheus text: of targets, agents and the intake.
pub fn exposition(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    prometheus::series(&text).for_each(drop);
    let any = std::collections::BTreeMap::new();
    prometheus::sum(&text, "http_requests_total", &any, |_| true);
}

/// What k6 writes: its lines, its summary.
pub fn k6_output(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let load = LoadSpec {
        url: "http://127.0.0.1:1/objects".into(),
        gzip: false,
        connections: 16,
        rate: 200.0,
        warmup_seconds: 3.0,
        measure_seconds: 10.0,
        timeout_seconds: 5.0,
        periods: Vec::new(),
    };
    let _ = k6::read_output(&text, &load);
}

/// Scenario files, and the words in braces in them.
pub fn scenario(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = wire::parse(Path::new("fuzzed.yaml"), &text);
    let _ = placeholder::find(&text);
}

/// Budgets: as a file, and on the command line.
pub fn budgets(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = gate::wire::parse(Path::new("budgets.yaml"), &text);
    let _ = gate::wire::option(&text);
}

/// Bodies and datagrams that agents send. The first byte says how it is compressed, the second
/// which path takes it.
pub fn intake(bytes: &[u8]) {
    let [encoding, endpoint, bytes @ ..] = bytes else {
        return;
    };
    let encodings = [
        Encoding::Identity,
        Encoding::Gzip,
        Encoding::Deflate,
        Encoding::Zstd,
    ];
    let encoding = encodings[usize::from(*encoding) % encodings.len()];
    let endpoint = Endpoint::ALL[usize::from(*endpoint) % Endpoint::ALL.len()];
    let mut tally = Tally::default();
    for format in [Format::Protobuf, Format::Json, Format::MessagePack] {
        let _ = endpoint.count(format, "fuzzed", Sent { bytes, encoding }, &mut tally);
    }
    let _ = statsd::datagram(bytes, &mut tally);
}

/// Lines of a run's records.
pub fn records(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Sample>(bytes);
    let _ = serde_json::from_slice::<TrialRecord>(bytes);
    let _ = serde_json::from_slice::<Plan>(bytes);
}
