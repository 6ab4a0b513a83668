//! A short run of the fuzzer's target: its seeds, each as it is and changed in thousands of ways.

#[path = "../fuzz/invariants.rs"]
mod invariants;

use std::fs;
use std::path::Path;

/// Changed copies of each seed.
const COPIES: u64 = 2000;

fn seeds() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end.max(1) as u64) as usize
    }
}

/// Bytes that mean something somewhere.
const TOKENS: [&[u8]; 12] = [
    b"\xff>",
    b"\xff<",
    b"\xff-",
    b"\xff=",
    b"\xff!",
    b"\r\n",
    b"\r\n\r\n",
    b"0",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
];

fn change(script: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(script.len() + 1);
    match random.below(6) {
        0 if at < script.len() => script[at] = random.below(256) as u8,
        1 if at < script.len() => {
            script.drain(at..(at + 1 + random.below(8)).min(script.len()));
        }
        2 => {
            let end = at + random.below(script.len() - at + 1);
            let part = script[at..end].to_vec();
            script.splice(at..at, part);
        }
        3 => {
            let from = random.below(other.len() + 1);
            script.truncate(at);
            script.extend_from_slice(&other[from..]);
        }
        4 => script.truncate(at),
        _ => {
            let token = TOKENS[random.below(TOKENS.len())];
            script.splice(at..at, token.iter().copied());
        }
    }
}

#[test]
fn seeds_and_their_neighbours() {
    let seeds = seeds();
    assert!(seeds.len() >= 10, "{}", seeds.len());
    let mut random = Random(7);
    for seed in &seeds {
        invariants::check(seed);
        for _ in 0..COPIES {
            let mut script = seed.clone();
            for _ in 0..1 + random.below(4) {
                let other = &seeds[random.below(seeds.len())];
                change(&mut script, other, &mut random);
            }
            invariants::check(&script);
        }
    }
}
