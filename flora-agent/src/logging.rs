//! Logs on standard error, as text or as JSON.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use crate::spans::json;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: an object a line.
    Json,
}

struct Logger(Format);

/// Starts logging. Only the agent's own messages, down to a level.
pub fn start(format: Format, level: LevelFilter) {
    let logger = match format {
        Format::Text => &Logger(Format::Text),
        Format::Json => &Logger(Format::Json),
    };
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("flora_agent")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let line = line(self.0, record, &utc(time.as_secs(), time.subsec_millis()));
        // Whoever reads the log may be gone; the agent goes on.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(format: Format, record: &Record, time: &str) -> String {
    let message = record.args().to_string();
    let mut line = String::with_capacity(128);
    match format {
        Format::Text => {
            let _ = write!(line, "{time} {:5} {}", record.level(), printable(&message));
        }
        Format::Json => {
            let level = record.level().as_str().to_ascii_lowercase();
            let _ = write!(
                line,
                "{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":"
            );
            json::string(&mut line, &message);
        }
    }
    let _ = record.key_values().visit(&mut Fields {
        format,
        line: &mut line,
    });
    line.push_str(match format {
        Format::Text => "\n",
        Format::Json => "}\n",
    });
    line
}

/// Names of processes and paths may hold anything; a terminal would obey some of it.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            // A verifier's log has many lines.
            '\n' | '\t' => character,
            _ if character.is_control() => char::REPLACEMENT_CHARACTER,
            _ => character,
        })
        .collect()
}

struct Fields<'a> {
    format: Format,
    line: &'a mut String,
}

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let number = value.to_f64().is_some() || value.to_bool().is_some();
        let value = value.to_string();
        match self.format {
            Format::Text => {
                let _ = write!(self.line, " {key}={}", printable(&value));
            }
            Format::Json => {
                self.line.push(',');
                json::string(self.line, key.as_str());
                self.line.push(':');
                if number {
                    self.line.push_str(&value);
                } else {
                    json::string(self.line, &value);
                }
            }
        }
        Ok(())
    }
}

/// `2026-11-25T04:41:50.123Z`, by the calendar of
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn utc(seconds: u64, milliseconds: u32) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let time = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{milliseconds:03}Z",
        time / 3_600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(utc(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(utc(1_795_668_110, 999), "2026-11-26T04:41:50.999Z");
    }

    #[test]
    fn both_formats() {
        let fields = [
            ("cgroup", Value::from("/a \"b\"")),
            ("links", Value::from(2)),
        ];
        let record = Record::builder()
            .args(format_args!("attached\u{1b}"))
            .level(log::Level::Info)
            .key_values(&fields)
            .build();
        let text = line(Format::Text, &record, "T");
        assert_eq!(text, "T INFO  attached\u{fffd} cgroup=/a \"b\" links=2\n");
        let text = line(Format::Json, &record, "T");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["level"], "info");
        assert_eq!(json["cgroup"], "/a \"b\"");
        assert_eq!(json["links"], 2);
    }
}
