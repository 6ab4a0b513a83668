//! What the answers must be, written a second time from README.md alone and sharing no code with
//! the program. A twin that differs from it by a byte is no twin.

use std::sync::LazyLock;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

static WORDS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../words.json")).expect("words.json is JSON")
});

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn word(&mut self, list: &str) -> &'static str {
        let list = WORDS[list].as_array().expect("words.json has the list");
        let at = self.below(list.len() as u64);
        list[at as usize].as_str().expect("words are strings")
    }
}

/// The state that the request with number `n`, from 1, starts at.
fn start(seed: u64, n: u32) -> u64 {
    let mut seeds = Draw(seed);
    (0..n)
        .map(|_| seeds.next())
        .last()
        .expect("requests are numbered from 1")
}

/// The body of the answer to request `n`.
pub fn body(seed: u64, n: u32, objects: u32) -> String {
    let mut draw = Draw(start(seed, n));
    let objects: Vec<String> = (0..objects).map(|_| object(&mut draw)).collect();
    format!("[{}]", objects.join(","))
}

fn object(draw: &mut Draw) -> String {
    let id = draw.next() >> 32;
    let (first, last) = (draw.word("first_names"), draw.word("last_names"));
    let email = format!("{}{}@example.com", last.to_lowercase(), draw.below(100));
    let age = 18 + draw.below(63);
    let (whole, cents) = (draw.below(10_000), 1 + draw.below(99));
    let balance = format!("{whole}.{cents:02}");
    let balance = balance.trim_end_matches('0');
    let active = draw.below(2) == 1;
    let tags: Vec<String> = (0..1 + draw.below(2))
        .map(|_| format!("\"{}\"", draw.word("tags")))
        .collect();
    let tags = tags.join(",");
    let (number, street) = (1 + draw.below(999), draw.word("streets"));
    let (city, zip) = (draw.word("cities"), draw.below(100_000));
    let (year, month, day) = (
        2015 + draw.below(10),
        1 + draw.below(12),
        1 + draw.below(28),
    );
    let (hour, minute, second) = (draw.below(24), draw.below(60), draw.below(60));
    format!(
        r#"{{"id":"{id:08x}","name":"{first} {last}","email":"{email}","age":{age},"balance":{balance},"active":{active},"tags":[{tags}],"address":{{"street":"{number} {street}","city":"{city}","zip":"{zip:05}"}},"created_at":"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"}}"#
    )
}

/// `x-work-digest` of the answer to request `n`.
pub fn digest(seed: u64, n: u32, work: u32) -> Option<String> {
    let mut draw = Draw(!start(seed, n));
    let mut digest = Vec::new();
    for _ in 0..work {
        let mut block: Vec<u64> = (0..2048).map(|_| draw.next()).collect();
        block.sort();
        digest.extend(block.iter().flat_map(|number| number.to_le_bytes()));
        digest = Sha256::digest(&digest).to_vec();
    }
    (work > 0).then(|| digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
