//! Words such as `{target_pid}` in an agent's command: what only the harness knows.
//!
//! Everything else in braces stays as it is, so that JSON, shell and template
//! languages pass through; a plain lower-case word that is none of these is an
//! error, because an agent that gets it literally measures something else.

use std::fmt;

/// What a scenario file may ask the harness to fill in.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Placeholder {
    /// The target's base address, such as `http://127.0.0.1:8080`.
    TargetUrl,
    /// The port that the target listens on.
    TargetPort,
    /// The target's process id.
    TargetPid,
    /// The target's control group in the version 2 hierarchy, as a path.
    TargetCgroup,
    /// The route that is measured: the load's path without its query.
    TargetRoute,
    /// A free loopback port for the agent's own use, such as its `/metrics`.
    AgentPort,
    /// How many times the agent is to attach its programs; 1 unless amplified.
    Copies,
    /// The directory of the scenario files, for configuration that lies beside them.
    Scenarios,
    /// Where the intake takes OTLP over HTTP: `127.0.0.1:PORT`.
    IntakeOtlpHttp,
    /// Where it takes OTLP over gRPC, likewise.
    IntakeOtlpGrpc,
    /// Where it takes what Datadog's agents send, likewise.
    IntakeDatadog,
    /// Where it takes StatsD over UDP, likewise.
    IntakeStatsd,
    /// The port alone, for settings that take no address.
    IntakeStatsdPort,
}

impl Placeholder {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Placeholder; 13] = [
        Placeholder::TargetUrl,
        Placeholder::TargetPort,
        Placeholder::TargetPid,
        Placeholder::TargetCgroup,
        Placeholder::TargetRoute,
        Placeholder::AgentPort,
        Placeholder::Copies,
        Placeholder::Scenarios,
        Placeholder::IntakeOtlpHttp,
        Placeholder::IntakeOtlpGrpc,
        Placeholder::IntakeDatadog,
        Placeholder::IntakeStatsd,
        Placeholder::IntakeStatsdPort,
    ];

    /// Those that need an intake.
    pub const INTAKE: [Placeholder; 5] = [
        Placeholder::IntakeOtlpHttp,
        Placeholder::IntakeOtlpGrpc,
        Placeholder::IntakeDatadog,
        Placeholder::IntakeStatsd,
        Placeholder::IntakeStatsdPort,
    ];

    /// Whether it is known before the target is started.
    pub fn precedes_target(self) -> bool {
        !matches!(self, Placeholder::TargetPid | Placeholder::TargetCgroup)
    }

    /// The word between the braces.
    pub fn as_str(self) -> &'static str {
        match self {
            Placeholder::TargetUrl => "target_url",
            Placeholder::TargetPort => "target_port",
            Placeholder::TargetPid => "target_pid",
            Placeholder::TargetCgroup => "target_cgroup",
            Placeholder::TargetRoute => "target_route",
            Placeholder::AgentPort => "agent_port",
            Placeholder::Copies => "copies",
            Placeholder::Scenarios => "scenarios",
            Placeholder::IntakeOtlpHttp => "intake_otlp_http",
            Placeholder::IntakeOtlpGrpc => "intake_otlp_grpc",
            Placeholder::IntakeDatadog => "intake_datadog",
            Placeholder::IntakeStatsd => "intake_statsd",
            Placeholder::IntakeStatsdPort => "intake_statsd_port",
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.as_str())
    }
}

/// A word in braces that stands for nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unknown(pub String);

/// The placeholders in a text.
///
/// # Errors
/// With the first word in braces that looks like one and is none.
pub fn find(text: &str) -> Result<Vec<Placeholder>, Unknown> {
    parts(text)
        .filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Word(word) => Some(known(word).ok_or_else(|| Unknown(word.to_owned()))),
        })
        .collect()
}

/// The text with its placeholders filled in.
pub fn fill(text: &str, value: impl Fn(Placeholder) -> String) -> String {
    parts(text)
        .map(|part| match part {
            Part::Text(text) => text.to_owned(),
            Part::Word(word) => known(word).map_or_else(|| format!("{{{word}}}"), &value),
        })
        .collect()
}

/// What a message says that a file may use.
pub fn choices() -> String {
    Placeholder::ALL.map(|known| known.to_string()).join(", ")
}

fn known(word: &str) -> Option<Placeholder> {
    Placeholder::ALL
        .into_iter()
        .find(|placeholder| placeholder.as_str() == word)
}

enum Part<'a> {
    Text(&'a str),
    Word(&'a str),
}

fn parts(mut rest: &str) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(word) = leading_word(rest) {
            rest = &rest[word.len() + 2..];
            return Some(Part::Word(word));
        }
        // The next brace that opens a word; this one, if it opens none, is text.
        let end = rest
            .char_indices()
            .skip(1)
            .find(|&(at, _)| leading_word(&rest[at..]).is_some())
            .map_or(rest.len(), |(at, _)| at);
        let (text, behind) = rest.split_at(end);
        rest = behind;
        Some(Part::Text(text))
    })
}

/// `word` of `{word}…`, where it could be a placeholder's.
fn leading_word(text: &str) -> Option<&str> {
    let (word, _) = text.strip_prefix('{')?.split_once('}')?;
    let plain = word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (plain && !word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_found_and_filled_in() {
        let text = "--url={target_url}/x:{copies}{agent_port}";
        assert_eq!(
            find(text).unwrap(),
            [
                Placeholder::TargetUrl,
                Placeholder::Copies,
                Placeholder::AgentPort
            ]
        );
        let filled = fill(text, |placeholder| placeholder.as_str().to_uppercase());
        assert_eq!(filled, "--url=TARGET_URL/x:COPIESAGENT_PORT");
    }

    #[test]
    fn what_could_be_a_placeholder_and_is_none_is_an_error() {
        assert_eq!(find("a {target_pdi} b"), Err(Unknown("target_pdi".into())));
    }

    #[test]
    fn other_braces_stay() {
        for text in [
            "",
            "{",
            "}",
            "{}",
            "{{.Names}}",
            r#"{"a": {"b": 1}}"#,
            "${HOME}",
            "awk '{ print $1 }'",
            "{Target_pid}",
            "é{é}é",
        ] {
            assert_eq!(find(text), Ok(Vec::new()), "{text}");
            assert_eq!(fill(text, |_| String::new()), text);
        }
    }

    /// A value that looks like a placeholder is not filled in again.
    #[test]
    fn values_are_taken_as_they_are() {
        assert_eq!(fill("{target_pid}", |_| "{copies}".into()), "{copies}");
    }
}
