//! The text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{Display, Write};

/// What the format is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Starts a family.
pub fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// Writes a line. `labels` are rendered already; see [`label`].
pub fn sample(out: &mut String, name: &str, labels: &str, value: impl Display) {
    out.push_str(name);
    if !labels.is_empty() {
        out.push('{');
        out.push_str(labels);
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// Adds a label to rendered ones.
pub fn label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            // Nothing else is forbidden, but a terminal would obey it.
            character if character.is_control() => labels.push(char::REPLACEMENT_CHARACTER),
            character => labels.push(character),
        }
    }
    labels.push('"');
}

/// Seconds from nanoseconds.
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        let mut out = String::new();
        family(&mut out, "a_total", "counter", "What.");
        let mut labels = String::new();
        label(&mut labels, "path", "C:\\x \"y\"\n\u{1b}[31m");
        label(&mut labels, "n", "1");
        sample(&mut out, "a_total", &labels, 7u64);
        sample(&mut out, "b", "", seconds(16_384));
        assert_eq!(
            out,
            "# HELP a_total What.\n# TYPE a_total counter\n\
             a_total{path=\"C:\\\\x \\\"y\\\"\\n\u{fffd}[31m\",n=\"1\"} 7\nb 0.000016384\n"
        );
    }

    proptest! {
        /// A value stays within its quotes and on its line, and can be read back.
        #[test]
        fn values_are_escaped(value: String) {
            let mut labels = String::new();
            label(&mut labels, "a", &value);
            prop_assert!(!labels.contains('\n'));
            let inner = labels.strip_prefix("a=\"").unwrap().strip_suffix('"').unwrap();
            let mut back = String::new();
            let mut characters = inner.chars();
            while let Some(character) = characters.next() {
                prop_assert_ne!(character, '"');
                back.push(match character {
                    '\\' => match characters.next().unwrap() {
                        'n' => '\n',
                        other => other,
                    },
                    other => other,
                });
            }
            let expected: String = value
                .chars()
                .map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c })
                .collect();
            prop_assert_eq!(back, expected);
        }
    }
}
