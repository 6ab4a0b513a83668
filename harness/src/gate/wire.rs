//! The YAML form of budgets, and the same on the command line.
//!
//! Strict: a budget that is misspelt and silently ignored would let through
//! what its author meant to stop.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::{Budget, Key, Limit};
use crate::metric::{Metric, QUANTILES};
use crate::sample::Subject;
use crate::scenario::library::nearest;
use crate::yaml::{self, YamlError};

/// Budgets that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file can't be read, or is not of the form of budgets.
    #[error(transparent)]
    File(#[from] YamlError),
    /// A value that is well-formed and makes no sense.
    #[error("{place}: {message}")]
    Value {
        /// File and line, or the option.
        place: String,
        /// What is wrong, and what was expected.
        message: String,
    },
}

/// A budgets file: how much of which cost is allowed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "flora-bench budgets", rename = "budgets")]
pub struct WireBudgets {
    /// Limits by `METRIC [SUBJECT] [QUANTILE]`, such as `cpu_seconds_per_request target`
    /// or `request_duration_seconds target 0.99`. Without a subject: `total`, or `target`
    /// where only the target has such a figure.
    #[schemars(with = "BTreeMap<String, OneOrMany>")]
    budgets: Option<Entries>,
}

/// As they stand in the file.
#[derive(Debug)]
struct Entries(Vec<(Spanned<String>, OneOrMany)>);

/// A budget, or several of one figure.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "budgets_of_one_figure")]
enum OneOrMany {
    One(WireBudget),
    Many(Vec<WireBudget>),
}

/// A budget.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "budget")]
enum WireBudget {
    /// Just the limit, for every scenario but the baseline.
    Limit(WireLimit),
    /// With a scenario and a description.
    Full(WireFull),
}

/// A limit, and for whom and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "described_budget")]
struct WireFull {
    /// The highest value allowed.
    #[schemars(with = "Option<WireLimit>")]
    max: Option<Spanned<WireLimit>>,
    /// The lowest value allowed, where more is better: `requests_per_second`.
    #[schemars(with = "Option<WireLimit>")]
    min: Option<Spanned<WireLimit>>,
    /// Only this scenario; without it every one but the baseline and its twin.
    scenario: Option<String>,
    /// Why this much; printed beside the result.
    description: Option<String>,
}

/// `+5 %` or `0.05` limit the change against the baseline, `+16 MiB` too, in the metric's unit;
/// `64 MiB` without a sign limits the figure itself.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "limit")]
enum WireLimit {
    Text(String),
    // Only for the schema: a number's text is what is parsed.
    #[allow(dead_code)]
    Ratio(f64),
}

impl WireLimit {
    fn text(&self) -> String {
        match self {
            WireLimit::Text(text) => text.clone(),
            WireLimit::Ratio(ratio) => ratio.to_string(),
        }
    }
}

const EXPECTED_LIMIT: &str = "a limit such as `+5 %`, `+16 MiB` or `0.05`";

impl<'de> Deserialize<'de> for WireLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LimitVisitor;
        impl Visitor<'_> for LimitVisitor {
            type Value = WireLimit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED_LIMIT)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<WireLimit, E> {
                Ok(WireLimit::Text(text.to_owned()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<WireLimit, E> {
                Ok(WireLimit::Ratio(number))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<WireLimit, E> {
                Ok(WireLimit::Text(number.to_string()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<WireLimit, E> {
                Ok(WireLimit::Text(number.to_string()))
            }
        }
        deserializer.deserialize_any(LimitVisitor)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BudgetVisitor { many: true })
    }
}

impl<'de> Deserialize<'de> for WireBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(BudgetVisitor { many: false })? {
            OneOrMany::One(budget) => Ok(budget),
            OneOrMany::Many(_) => Err(de::Error::custom("a list in a list")),
        }
    }
}

/// By hand, because an untagged enum loses lines and says of a misspelt key only
/// that no variant matches.
struct BudgetVisitor {
    many: bool,
}

impl BudgetVisitor {
    fn limit<E>(text: String) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(WireBudget::Limit(WireLimit::Text(text))))
    }
}

impl<'de> Visitor<'de> for BudgetVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{EXPECTED_LIMIT}, or `max:` with such a limit")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Self::limit(text.to_owned())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<OneOrMany, E> {
        Self::limit(number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<OneOrMany, E> {
        Self::limit(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMany, E> {
        Self::limit(number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany, A::Error> {
        WireFull::deserialize(MapAccessDeserializer::new(map))
            .map(|full| OneOrMany::One(WireBudget::Full(full)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
        if !self.many {
            return Err(de::Error::custom("a list in a list"));
        }
        let mut budgets = Vec::new();
        while let Some(budget) = seq.next_element::<WireBudget>()? {
            budgets.push(budget);
        }
        Ok(OneOrMany::Many(budgets))
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("budgets such as `cpu_seconds_per_request total: +5 %`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key()? {
                    entries.push((key, map.next_value()?));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// The budgets in a file.
///
/// # Errors
/// When the file can't be read, is not of the form of budgets, or holds a value
/// that makes no sense.
pub fn read(path: &Path) -> Result<Vec<Budget>, BudgetError> {
    parse(path, &yaml::text("budgets file", path)?)
}

/// The budgets in a file's text; the path stands in errors.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Vec<Budget>, BudgetError> {
    let form = |message: String| BudgetError::File(YamlError::form(path, message));
    let wire: WireBudgets = yaml::parse(path, text)?;
    let entries = wire.budgets.map(|entries| entries.0).unwrap_or_default();
    if entries.is_empty() {
        return Err(form(
            "there is no budget in it, expected at least one below the key `budgets`, such as `cpu_seconds_per_request total: +5 %`"
                .into(),
        ));
    }
    let mut budgets = Vec::new();
    for (key_text, value) in entries {
        let place = |line: u64| format!("{}:{line}", path.display());
        let key_line = key_text.referenced.line();
        let key = key(&key_text.value).map_err(|message| BudgetError::Value {
            place: place(key_line),
            message,
        })?;
        let list = match value {
            OneOrMany::One(budget) => vec![budget],
            OneOrMany::Many(budgets) if budgets.is_empty() => {
                return Err(BudgetError::Value {
                    place: place(key_line),
                    message: format!("`{key}` is an empty list, expected at least one limit"),
                });
            }
            OneOrMany::Many(budgets) => budgets,
        };
        for budget in list {
            let (line, limit, scenario, description) = match budget {
                WireBudget::Limit(limit) => (key_line, limit, None, None),
                WireBudget::Full(full) => {
                    let WireFull {
                        max,
                        min,
                        scenario,
                        description,
                    } = full;
                    let (limit, wrong, right) = if key.metric.more_is_better() {
                        (min, max, "`min`: more of it is better")
                    } else {
                        (max, min, "`max`: less of it is better")
                    };
                    let limit = match (limit, wrong) {
                        (Some(limit), None) => limit,
                        (_, Some(wrong)) => {
                            return Err(BudgetError::Value {
                                place: place(wrong.referenced.line()),
                                message: format!("`{key}` is limited by {right}"),
                            });
                        }
                        (None, None) => {
                            return Err(BudgetError::Value {
                                place: place(key_line),
                                message: format!("`{key}` has no limit, expected {right}"),
                            });
                        }
                    };
                    (
                        limit.referenced.line(),
                        limit.value,
                        scenario,
                        description.map(|text| text.trim().to_owned()),
                    )
                }
            };
            let limit =
                Limit::parse(&limit.text(), key.metric).map_err(|message| BudgetError::Value {
                    place: place(line),
                    message: format!("`{key}`: {message}"),
                })?;
            budgets.push(Budget {
                key,
                limit,
                scenario,
                description: description.filter(|text| !text.is_empty()),
                place: place(key_line),
            });
        }
    }
    Ok(budgets)
}

/// The budget in `METRIC[,SUBJECT[,QUANTILE]]=LIMIT`.
///
/// # Errors
/// When a part of it makes no sense.
pub fn option(text: &str) -> Result<Budget, String> {
    let (key_text, limit) = text
        .split_once('=')
        .ok_or("expected METRIC[,SUBJECT]=LIMIT, such as cpu_seconds_per_request,total=0.05")?;
    let key = key(key_text)?;
    if key.metric.more_is_better() {
        return Err(format!(
            "more {} is better; limit it by `min` in a budgets file",
            key.metric.as_str()
        ));
    }
    Ok(Budget {
        key,
        limit: Limit::parse(limit, key.metric)?,
        scenario: None,
        description: None,
        place: format!("--max {text}"),
    })
}

/// `METRIC [SUBJECT] [QUANTILE]`, parted by spaces or commas.
fn key(text: &str) -> Result<Key, String> {
    let mut parts = text
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or_default();
    let metric = Metric::ALL
        .into_iter()
        .find(|metric| metric.as_str() == name)
        .ok_or_else(|| {
            unknown(
                "metric",
                name,
                &Metric::ALL.map(|metric| metric.as_str().to_owned()),
            )
        })?;
    let (mut subject, mut quantile) = (None, None);
    for part in parts {
        if let Some(found) = self::quantile(part) {
            if quantile.replace(found).is_some() {
                return Err(format!("`{text}` has two quantiles"));
            }
        } else if let Some(found) = Subject::ALL.into_iter().find(|s| s.as_str() == part) {
            if subject.replace(found).is_some() {
                return Err(format!("`{text}` has two subjects"));
            }
        } else {
            let known = Subject::ALL.map(|subject| subject.as_str().to_owned());
            return Err(unknown("subject", part, &known));
        }
    }
    let has_quantile = metric == Metric::RequestDurationSeconds;
    if has_quantile && quantile.is_none() {
        return Err(format!(
            "`{text}` has no quantile, expected one such as `{name} target {}`",
            QUANTILES[2]
        ));
    }
    if !has_quantile && quantile.is_some() {
        return Err(format!("`{name}` has no quantiles, in `{text}`"));
    }
    Ok(Key {
        metric,
        subject: subject.unwrap_or(default_subject(metric)),
        quantile,
    })
}

/// Target and agent together, where there is such a figure.
fn default_subject(metric: Metric) -> Subject {
    match metric {
        Metric::CpuSecondsPerRequest | Metric::MemoryWorkingSetBytes | Metric::MemoryPeakBytes => {
            Subject::Total
        }
        Metric::RequestDurationSeconds
        | Metric::RequestsPerSecond
        | Metric::ErrorRatio
        | Metric::CpuThrottledSeconds
        | Metric::StartupSeconds
        | Metric::SustainedRequestsPerSecond
        | Metric::MemoryLimitBytes
        | Metric::CpuThrottledPeriodsRatio => Subject::Target,
    }
}

/// `0.99` or `p99`.
fn quantile(text: &str) -> Option<f64> {
    let quantile = match text.strip_prefix('p') {
        Some(percent) => percent.parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (quantile > 0.0 && quantile < 1.0).then_some(quantile)
}

fn unknown(kind: &str, name: &str, known: &[String]) -> String {
    let suggestion = nearest(name, known)
        .map(|name| format!(", did you mean `{name}`?"))
        .unwrap_or_default();
    format!(
        "unknown {kind} `{name}`{suggestion}; there are: {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn budgets(text: &str) -> Vec<Budget> {
        parse(Path::new("ci/budgets.yaml"), text).unwrap()
    }

    fn message(text: &str) -> String {
        parse(Path::new("ci/budgets.yaml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_form() {
        let budgets = budgets(
            "\
# A comment.
budgets:
  cpu_seconds_per_request target: +5 %
  memory_working_set_bytes total:
    max: +16 MiB
    scenario: flora
    description: >
      The pod limit leaves 20 MiB of room.
  memory_working_set_bytes agent: 64 MiB
  request_duration_seconds target 0.99: 0.1
  cpu_seconds_per_request:
    - max: +2 µs
      scenario: a
    - 0.5
  requests_per_second: {min: 900 /s}
",
        );
        let found: Vec<(String, Limit, Option<&str>, &str)> = budgets
            .iter()
            .map(|b| {
                let scenario = b.scenario.as_deref();
                (b.key.to_string(), b.limit, scenario, b.place.as_str())
            })
            .collect();
        let expected = [
            (
                "cpu_seconds_per_request target",
                Limit::Ratio(0.05),
                None,
                3,
            ),
            (
                "memory_working_set_bytes total",
                Limit::Change(16.0 * MIB),
                Some("flora"),
                4,
            ),
            (
                "memory_working_set_bytes agent",
                Limit::Figure(64.0 * MIB),
                None,
                9,
            ),
            (
                "request_duration_seconds target 0.99",
                Limit::Ratio(0.1),
                None,
                10,
            ),
            (
                "cpu_seconds_per_request total",
                Limit::Change(2.0 * 1e-6),
                Some("a"),
                11,
            ),
            ("cpu_seconds_per_request total", Limit::Ratio(0.5), None, 11),
            ("requests_per_second target", Limit::Figure(900.0), None, 15),
        ];
        assert_eq!(found.len(), expected.len());
        for (found, (key, limit, scenario, line)) in found.iter().zip(expected) {
            let place = format!("ci/budgets.yaml:{line}");
            assert_eq!(found, &(key.to_owned(), limit, scenario, place.as_str()));
        }
        assert_eq!(
            budgets[1].description.as_deref(),
            Some("The pod limit leaves 20 MiB of room.")
        );
    }

    #[test]
    fn errors_name_file_line_and_what_was_expected() {
        for (text, expected) in [
            (
                "budgets:\n  cpu_second_per_request: +5 %\n",
                [
                    "budgets.yaml:2: ",
                    "did you mean `cpu_seconds_per_request`?",
                ],
            ),
            (
                "budgets:\n  cpu_seconds_per_request agnet: +5 %\n",
                [":2: ", "did you mean `agent`?"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request:\n    max: +5 MiB\n",
                [":3: ", "`MiB` is not a unit"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request: .nan\n",
                [":2:", "non-finite"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request: {max: .inf}\n",
                [":2:", "non-finite"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request: 5\n",
                [":2: ", "no unit"],
            ),
            ("budgets:\n  cpu_seconds_per_request: yes\n", [":2", "yes"]),
            ("budgets:\n  cpu_seconds_per_request:\n", [":2", "limit"]),
            (
                "budgets:\n  cpu_seconds_per_request: {}\n",
                [":2: ", "has no limit"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request: []\n",
                [":2: ", "empty list"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request: [[0.1]]\n",
                [":2", "list in a list"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request: {min: 5 %}\n",
                [":2: ", "`max`"],
            ),
            (
                "budgets:\n  requests_per_second: {max: 5 /s}\n",
                [":2: ", "`min`"],
            ),
            (
                "budgets:\n  cpu_seconds_per_request:\n    max: 5 %\n    maks: 6 %\n",
                [":4", "maks"],
            ),
            (
                "budgets:\n  startup_seconds: 5 %\n  startup_seconds: 6 %\n",
                [":3", "startup_seconds"],
            ),
            (
                "budgets:\n  request_duration_seconds: 5 %\n",
                [":2: ", "target 0.99"],
            ),
            (
                "budgets:\n  startup_seconds 0.5: 5 %\n",
                [":2: ", "no quantiles"],
            ),
            (
                "budgets:\n  startup_seconds target agent: 5 %\n",
                [":2: ", "two subjects"],
            ),
            ("budget:\n  startup_seconds: 5 %\n", [":1", "budget"]),
            ("budgets: {}\n", ["budgets.yaml: ", "no budget"]),
            ("budgets:\n", ["budgets.yaml: ", "no budget"]),
            ("", ["budgets.yaml: ", "no budget"]),
            ("- 1\n", ["budgets.yaml: ", ":1"]),
            ("budgets: [\n", ["budgets.yaml: ", ":"]),
        ] {
            let message = message(text);
            for part in expected {
                assert!(
                    message.contains(part),
                    "`{part}` not in: {message}\nof: {text}"
                );
            }
        }
    }

    #[test]
    fn options() {
        let budget = option("request_duration_seconds,p99=+10 %").unwrap();
        assert_eq!(
            budget.key.to_string(),
            "request_duration_seconds target 0.99"
        );
        assert_eq!(budget.limit, Limit::Ratio(0.1));
        for (text, expected) in [
            ("cpu_seconds_per_request", "METRIC[,SUBJECT]=LIMIT"),
            ("cpu=0.1", "unknown metric `cpu`"),
            ("startup_seconds=nan", "`nan` is not a limit"),
            ("requests_per_second=1000 /s", "`min`"),
        ] {
            let message = option(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
