//! The random objects an answer is made of.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Objects made before other tasks of the same thread get their turn.
const OBJECTS_PER_TURN: u32 = 256;

/// Room for one object as JSON. A guess: an answer that needs more makes its buffer grow.
const JSON_BYTES: usize = 256;

/// The words objects are put together from.
static WORDS: LazyLock<Words> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../words.json")).expect("words.json has every list")
});

/// A JSON array of `count` objects drawn from `random`.
pub async fn json(count: u32, random: &mut Random) -> Vec<u8> {
    let mut json = Vec::with_capacity(2 + count as usize * JSON_BYTES);
    json.push(b'[');
    for made in 1..=count {
        if made > 1 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &Object::random(random))
            .expect("an object always has a JSON form, and memory takes every byte");
        if made % OBJECTS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    json.push(b']');
    json
}

/// A customer, say. The order of the fields is the order in JSON and the order of drawing.
#[derive(Serialize)]
struct Object {
    id: String,
    name: String,
    email: String,
    age: u64,
    balance: f64,
    active: bool,
    tags: Vec<&'static str>,
    address: Address,
    created_at: String,
}

#[derive(Serialize)]
struct Address {
    street: String,
    city: &'static str,
    zip: String,
}

#[derive(Deserialize)]
struct Words {
    first_names: Vec<String>,
    last_names: Vec<String>,
    tags: Vec<String>,
    streets: Vec<String>,
    cities: Vec<String>,
}

impl Object {
    /// Every number is drawn in the order written here, which README.md tells the twins.
    fn random(random: &mut Random) -> Self {
        let words = &*WORDS;
        let id = format!("{:08x}", random.next() >> 32);
        let first = random.pick(&words.first_names);
        let last = random.pick(&words.last_names);
        let email = format!("{last}{}@example.com", random.below(100));
        Self {
            id,
            name: format!("{first} {last}"),
            email: email.to_ascii_lowercase(),
            age: 18 + random.below(63),
            balance: balance(random),
            active: random.below(2) == 1,
            tags: (0..1 + random.below(2))
                .map(|_| random.pick(&words.tags).as_str())
                .collect(),
            address: Address {
                street: format!("{} {}", 1 + random.below(999), random.pick(&words.streets)),
                city: random.pick(&words.cities).as_str(),
                zip: format!("{:05}", random.below(100_000)),
            },
            created_at: format!(
                "{}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                2015 + random.below(10),
                1 + random.below(12),
                1 + random.below(28),
                random.below(24),
                random.below(60),
                random.below(60)
            ),
        }
    }
}

/// Euros and cents. The cents are never 0, because languages disagree on how a float without a
/// fraction looks in JSON.
fn balance(random: &mut Random) -> f64 {
    let whole = random.below(10_000);
    let cents = 1 + random.below(99);
    (whole * 100 + cents) as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime starts").block_on(future)
    }

    #[test]
    fn none_is_an_empty_array() {
        assert_eq!(block_on(json(0, &mut Random::new(1))), b"[]");
    }

    #[test]
    fn twenty_are_a_typical_answer() {
        for seed in 0..200 {
            let json = block_on(json(20, &mut Random::new(seed)));
            assert!(
                (4_500..=5_000).contains(&json.len()),
                "{} bytes",
                json.len()
            );
        }
    }

    /// Characters that some languages' JSON writers escape would make twins' answers differ.
    #[test]
    fn words_need_no_escaping() {
        let words = include_str!("../words.json");
        assert!(words.is_ascii());
        assert!(!words.contains(['\\', '<', '>', '&', '\'', '/']));
    }

    #[test]
    fn the_number_of_objects_does_not_change_those_before() {
        let few = block_on(json(3, &mut Random::new(9)));
        let many = block_on(json(300, &mut Random::new(9)));
        assert!(many.starts_with(&few[..few.len() - 1]));
    }
}
