//! `?objects=N&work=N`: counts for one request instead of the configured ones.

use thiserror::Error;

/// The most objects, and the most units of work, one request may ask for.
pub const LIMIT: u32 = 10_000;

/// How many characters of a refused value are quoted.
const QUOTED: usize = 40;

/// What a query asks for; `None` where the configured count holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// How many objects.
    pub objects: Option<u32>,
    /// How many units of work.
    pub work: Option<u32>,
}

/// Why a query was refused. The text goes to the client, so it names everything needed to mend it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QueryError {
    /// The value isn't a number, or not one in the range.
    #[error("{name}=\"{value}\" is not accepted: expected a whole number from 0 to {LIMIT}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value, escaped and cut to a bounded length.
        value: String,
    },
    /// The parameter stands there more than once, with different values.
    #[error(
        "{name}=\"{value}\" contradicts {name}=\"{first}\" before it: expected one whole number from 0 to {LIMIT}"
    )]
    Conflict {
        /// The parameter.
        name: &'static str,
        /// The later value, escaped and cut to a bounded length.
        value: String,
        /// The value before it.
        first: u32,
    },
}

impl Overrides {
    /// Reads a query, the part of the target after `?`. Parameters with other names are ignored.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut overrides = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "objects" => set(&mut overrides.objects, "objects", &value)?,
                "work" => set(&mut overrides.work, "work", &value)?,
                _ => {}
            }
        }
        Ok(overrides)
    }
}

fn set(slot: &mut Option<u32>, name: &'static str, value: &str) -> Result<(), QueryError> {
    let count = count(value).ok_or_else(|| QueryError::Value {
        name,
        value: quote(value),
    })?;
    match slot.replace(count) {
        Some(first) if first != count => Err(QueryError::Conflict {
            name,
            value: quote(value),
            first,
        }),
        _ => Ok(()),
    }
}

/// Digits only: `str::parse` alone would take a sign as well.
fn count(value: &str) -> Option<u32> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let count = value.parse().ok().filter(|_| digits)?;
    (count <= LIMIT).then_some(count)
}

/// `value` as printable ASCII of bounded length.
fn quote(value: &str) -> String {
    let mut escaped = value.escape_default();
    let mut quoted: String = escaped.by_ref().take(QUOTED).collect();
    if escaped.next().is_some() {
        quoted.push_str("...");
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn objects(query: &str) -> Option<Option<u32>> {
        Overrides::parse(query)
            .ok()
            .map(|overrides| overrides.objects)
    }

    #[test]
    fn accepted() {
        for (query, expected) in [
            ("", None),
            ("objects=0", Some(0)),
            ("objects=10000", Some(10_000)),
            ("objects=007", Some(7)),
            ("objects=5&objects=5", Some(5)),
            ("obj%65cts=%35", Some(5)),
            ("&&objects=5&", Some(5)),
            ("page=-1&=&%zz=%&objects=5", Some(5)),
            ("Objects=x", None),
        ] {
            assert_eq!(objects(query), Some(expected), "{query}");
        }
        let both = Overrides {
            objects: Some(3),
            work: Some(4),
        };
        assert_eq!(Overrides::parse("work=4&objects=3"), Ok(both));
    }

    #[test]
    fn refused() {
        for query in [
            "objects",
            "objects=",
            "objects=-1",
            "objects=%2B1",
            "objects=+1",
            "objects=1.0",
            "objects=1e3",
            "objects=0x10",
            "objects=10001",
            "objects=99999999999999999999",
            "objects=%",
            "objects=%zz",
            "objects=%FF",
            "objects=%00",
            "objects=1;work=2",
            "objects=1=2",
            "objects=%D9%A1",
            "objects=5&objects=6",
            "objects=5&objects=",
            "work=1&objects=x",
        ] {
            assert_eq!(objects(query), None, "{query}");
        }
    }

    #[test]
    fn errors_say_how_to_mend_it() {
        let text = |query| Overrides::parse(query).expect_err("refused").to_string();
        assert_eq!(
            text("work=-1"),
            "work=\"-1\" is not accepted: expected a whole number from 0 to 10000"
        );
        assert_eq!(
            text("work=1&work=2"),
            "work=\"2\" contradicts work=\"1\" before it: expected one whole number from 0 to 10000"
        );
        assert_eq!(
            text("work=%0d%0A%22%C3%A9"),
            "work=\"\\r\\n\\\"\\u{e9}\" is not accepted: expected a whole number from 0 to 10000"
        );
    }

    proptest! {
        /// Exactly the numbers up to the limit are accepted, and come out as they went in.
        #[test]
        fn numbers(count: u32, work in 0..=LIMIT) {
            let overrides = Overrides::parse(&format!("objects={count}&work={work}"));
            let expected = Overrides { objects: Some(count), work: Some(work) };
            prop_assert_eq!(overrides.ok(), (count <= LIMIT).then_some(expected));
        }

        /// Whatever is sent, nothing panics, and a refusal is short and printable.
        #[test]
        fn anything(query in "((objects|work|o)=?)?.{0,200}") {
            if let Err(err) = Overrides::parse(&query) {
                let text = err.to_string();
                prop_assert!(text.len() < 200, "{}", text);
                prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", text);
            }
        }
    }
}
