//! What is asked of a span: its kind, the route it answers, its status, and which attributes it has.

use std::fmt::Write;

use super::tally::{Tally, escape};

/// Bytes of a name or value that are kept; routes are shorter.
pub const KEEP: usize = 256;

/// What a span says of itself. One is used again for every span of a body.
#[derive(Debug, Default)]
pub struct Span {
    /// The word of its kind; empty where it says none.
    kind: String,
    /// Its name, or Datadog's resource.
    pub name: String,
    route: String,
    path: String,
    status: String,
    labels: String,
}

/// Values of attributes that matter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fact {
    /// The route's pattern.
    Route,
    /// The path that was asked for, or an address with it.
    Path,
    /// The status of the answer.
    Status,
    /// The kind, where it is an attribute.
    Kind,
}

impl Fact {
    /// What an attribute of this name tells, by OpenTelemetry's conventions for
    /// HTTP (the current ones and those before 1.21) and by Datadog's.
    pub fn of(attribute: &str) -> Option<Fact> {
        Some(match attribute {
            "http.route" => Fact::Route,
            "url.path" | "http.target" | "http.url" | "url.full" => Fact::Path,
            "http.response.status_code" | "http.status_code" => Fact::Status,
            "span.kind" => Fact::Kind,
            _ => return None,
        })
    }
}

impl Span {
    /// Forgets the span before.
    pub fn clear(&mut self) {
        for text in [
            &mut self.kind,
            &mut self.name,
            &mut self.route,
            &mut self.path,
            &mut self.status,
        ] {
            text.clear();
        }
    }

    /// Its kind by the number that OTLP and Datadog's indexed payloads share.
    pub fn set_kind(&mut self, number: u64) {
        let kind = ["", "internal", "server", "client", "producer", "consumer"];
        let kind = usize::try_from(number).ok().and_then(|n| kind.get(n));
        if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
            self.set(Fact::Kind, kind);
        }
    }

    /// Takes note of what an attribute tells.
    pub fn set(&mut self, fact: Fact, value: &str) {
        let text = match fact {
            Fact::Route => &mut self.route,
            Fact::Path => &mut self.path,
            Fact::Status => &mut self.status,
            Fact::Kind => &mut self.kind,
        };
        text.clear();
        text.push_str(value);
    }

    /// Adds it to the counts.
    pub fn count(&mut self, protocol: &str, tally: &mut Tally) {
        let route = [&self.route, &self.path, &self.name]
            .into_iter()
            .find_map(|text| path(text));
        self.labels.clear();
        labels(
            &mut self.labels,
            protocol,
            &self.kind,
            route.unwrap_or_default(),
            &self.status,
        );
        tally.spans.add(&self.labels, 1);
    }
}

/// The labels of a count of spans or of statistics, as they are shown.
pub fn labels(out: &mut String, protocol: &str, kind: &str, route: &str, status: &str) {
    let known = |text| if str::is_empty(text) { "unknown" } else { text };
    let _ = write!(out, "protocol=\"{protocol}\",kind=\"");
    escape(out, known(kind));
    out.push_str("\",route=\"");
    escape(out, known(route));
    out.push_str("\",status=\"");
    escape(out, known(status));
    out.push('"');
}

/// The path in a text that may be one, an address, or a name such as `GET /objects`.
pub fn path(text: &str) -> Option<&str> {
    let text = match text.split_once("://") {
        // An address without a path asks for the root.
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => &text[text.find('/')?..],
    };
    text.split(['?', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_what_tracers_write() {
        for (text, expected) in [
            ("/objects", Some("/objects")),
            ("GET /objects", Some("/objects")),
            ("GET /objects/{id}", Some("/objects/{id}")),
            ("/objects?work=1", Some("/objects")),
            ("http://127.0.0.1:8080/objects?work=1", Some("/objects")),
            ("http://127.0.0.1:8080", Some("/")),
            ("http.request", None),
            ("", None),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
    }

    #[test]
    fn the_route_comes_before_the_path_and_the_path_before_the_name() {
        let mut tally = Tally::default();
        let mut span = Span::default();
        for (route, path, name) in [
            ("/a/{id}", "/a/7", "GET /x"),
            ("", "/a/7", "GET /x"),
            ("", "", "GET /x"),
            ("", "", "work"),
        ] {
            span.clear();
            span.set_kind(2);
            span.set(Fact::Route, route);
            span.set(Fact::Path, path);
            span.name.push_str(name);
            span.count("otlp_http", &mut tally);
        }
        let routes: Vec<&str> = tally.spans.iter().map(|(labels, _)| labels).collect();
        assert_eq!(
            routes,
            ["/a/7", "/a/{id}", "/x", "unknown"].map(|route| format!(
                "protocol=\"otlp_http\",kind=\"server\",route=\"{route}\",status=\"unknown\""
            ))
        );
    }
}
