//! A short run of the fuzzer's targets: seeds, each as it is and changed in hundreds of ways.

#[path = "../../fuzz/readers.rs"]
mod readers;

use std::fs;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::intake::encode;
use crate::support::repository;

/// Changed copies of each seed.
const COPIES: u32 = 400;

/// What means something somewhere.
const TOKENS: [&[u8]; 14] = [
    b"\n", b"\"", b"\\", b"{", b"}", b"[", b": ", b"- ", b"&a ", b"*a", b"1e999", b"-1", b"\xff",
    b"\0",
];

/// The seeds of one reader: files of their own, and what this repository has of its kind.
fn seeds(reader: &str) -> Vec<Vec<u8>> {
    let files = |directory: &str, wanted: &dyn Fn(&str) -> bool| -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = fs::read_dir(repository().join(directory))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && wanted(&path.file_name().unwrap().to_string_lossy()))
            .collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    };
    let mut seeds = files("harness/fuzz/seeds", &|name| {
        name.split('-').next() == Some(reader)
    });
    match reader {
        "scenario" => seeds.extend(files("scenarios", &|name| name.ends_with(".yaml"))),
        "records" => {
            let example = files("results/example", &|name| name.ends_with(".jsonl"));
            for file in example {
                seeds.extend(
                    file.split_inclusive(|byte| *byte == b'\n')
                        .take(20)
                        .map(<[u8]>::to_vec),
                );
            }
            seeds.extend(files("results/example", &|name| name == "plan.json"));
        }
        "intake" => {
            let bodies = [
                (0, encode::otlp_traces(3, 2, "/objects")),
                (1, encode::otlp_metrics("http.server.request.duration", 4)),
                (2, encode::otlp_logs(2)),
                (3, encode::datadog_traces(3, "/objects")),
                (3, encode::datadog_indexed(3, "/objects")),
                (4, encode::datadog_stats(7, "/objects")),
            ];
            for (endpoint, body) in bodies {
                let packed = [
                    body.clone(),
                    encode::gzip(&body),
                    encode::deflate(&body),
                    encode::zstd(&body),
                ];
                for (encoding, bytes) in (0u8..).zip(packed) {
                    seeds.push([&[encoding, endpoint][..], &bytes].concat());
                }
            }
        }
        _ => {}
    }
    seeds
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    let mut below = |end: usize| random.random_range(0..end.max(1));
    let at = below(bytes.len() + 1);
    match below(6) {
        0 if at < bytes.len() => bytes[at] = below(256) as u8,
        1 if at < bytes.len() => {
            let end = (at + 1 + below(8)).min(bytes.len());
            bytes.drain(at..end);
        }
        2 => {
            let end = at + below(bytes.len() - at + 1).min(64);
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        3 => {
            let from = below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        4 => bytes.truncate(at),
        _ => {
            let token = TOKENS[below(TOKENS.len())];
            bytes.splice(at..at, token.iter().copied());
        }
    }
}

/// Leaves seeds where the fuzzer begins with them: not all are files of this repository.
fn keep(seeds: &[Vec<u8>], directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    for (n, seed) in seeds.iter().enumerate() {
        fs::write(directory.join(format!("seed-{n:03}")), seed).unwrap();
    }
}

#[test]
fn readers_take_whatever_there_is() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    for (name, read) in readers::ALL {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        if let Some(corpus) = std::env::var_os("FUZZ_CORPUS") {
            keep(&seeds, &Path::new(&corpus).join(name));
        }
        for seed in &seeds {
            read(seed);
            for _ in 0..COPIES {
                let mut bytes = seed.clone();
                for _ in 0..random.random_range(1..5) {
                    let other = &seeds[random.random_range(0..seeds.len())];
                    change(&mut bytes, other, &mut random);
                }
                read(&bytes);
            }
        }
    }
}
