//! Spans as OTLP in JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>),
//! named by the conventions for HTTP servers
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span>).

use std::collections::BTreeMap;
use std::fmt::Write;

use flora_agent_common::layout::Span;

use super::json::string;
use crate::metrics::peers::peer_text;
use crate::metrics::routes::{RouteName, UNKNOWN};
use crate::watch::containers::Container;

/// `SPAN_KIND_SERVER`.
const SERVER: u8 = 2;

/// Why the kernel programs chose a span, by bit.
const REASONS: [&str; 3] = ["error", "slow", "sampled"];

/// What is needed to name a span.
pub trait Names {
    /// A route by its number.
    fn route(&mut self, number: u16) -> RouteName;
    /// A container by its number.
    fn container(&mut self, number: u16) -> Option<&Container>;
}

/// Random numbers for ids: a counter, scrambled (SplitMix64), from a random start.
#[derive(Debug)]
pub struct Ids(u64);

impl Ids {
    /// Starts anywhere.
    pub fn new(seed: u64) -> Self {
        Ids(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        // All zeros would be no id.
        (mixed ^ mixed >> 31).max(1)
    }
}

/// A request to a collector with all spans in it. `unix_offset` is added to their times.
pub fn encode(spans: &[Span], names: &mut dyn Names, ids: &mut Ids, unix_offset: u64) -> String {
    let mut by_container: BTreeMap<u16, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        by_container.entry(span.container).or_default().push(span);
    }
    let mut out = String::with_capacity(256 + spans.len() * 900);
    out.push_str("{\"resourceSpans\":[");
    for (index, (number, spans)) in by_container.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str("{\"resource\":{\"attributes\":[");
        resource(&mut out, names.container(*number));
        out.push_str("]},\"scopeSpans\":[{\"scope\":{\"name\":\"flora-agent\",\"version\":");
        string(&mut out, env!("CARGO_PKG_VERSION"));
        out.push_str("},\"spans\":[");
        for (index, span) in spans.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            write_span(&mut out, span, &names.route(span.route), ids, unix_offset);
        }
        out.push_str("]}]}");
    }
    out.push_str("]}");
    out
}

fn resource(out: &mut String, container: Option<&Container>) {
    let process = container.and_then(|container| container.process.as_deref());
    let names = container.and_then(|container| container.names.as_ref());
    let service = match (names, process) {
        // As the conventions for Kubernetes have it: what made the pod, or else the pod.
        (Some(names), _) => names.workload.as_ref().unwrap_or(&names.pod).clone(),
        // What they ask for where nobody has said a name.
        (None, Some(process)) => format!("unknown_service:{process}"),
        (None, None) => "unknown_service".to_owned(),
    };
    attribute(out, "service.name", &service);
    let Some(container) = container else {
        return;
    };
    let identity = &container.identity;
    for (name, value) in [
        ("process.executable.name", process),
        ("linux.cgroup", Some(container.group.as_str())),
        (
            "k8s.namespace.name",
            names.map(|names| names.namespace.as_str()),
        ),
        ("k8s.pod.name", names.map(|names| names.pod.as_str())),
        (
            "k8s.container.name",
            names.and_then(|names| names.container.as_deref()),
        ),
        ("k8s.pod.uid", identity.pod_uid.as_deref()),
        ("container.id", identity.container_id.as_deref()),
    ] {
        if let Some(value) = value {
            out.push(',');
            attribute(out, name, value);
        }
    }
}

fn attribute(out: &mut String, name: &str, value: &str) {
    out.push_str("{\"key\":");
    string(out, name);
    out.push_str(",\"value\":{\"stringValue\":");
    string(out, value);
    out.push_str("}}");
}

fn number(out: &mut String, name: &str, value: u64) {
    out.push_str("{\"key\":");
    string(out, name);
    // 64-bit integers are strings in OTLP's JSON.
    let _ = write!(out, ",\"value\":{{\"intValue\":\"{value}\"}}}}");
}

fn write_span(out: &mut String, span: &Span, route: &RouteName, ids: &mut Ids, unix_offset: u64) {
    // `{method} {route}`; HTTP stands in for a method that is not known.
    let method = match route.method {
        UNKNOWN => "HTTP",
        method => method,
    };
    let known = route.path != UNKNOWN;
    let name = if known {
        format!("{method} {}", route.path)
    } else {
        method.to_owned()
    };
    let time = |nanoseconds: u64| nanoseconds.wrapping_add(unix_offset);
    let _ = write!(
        out,
        "{{\"traceId\":\"{:016x}{:016x}\",\"spanId\":\"{:016x}\",\"kind\":{SERVER},\"name\":",
        ids.next(),
        ids.next(),
        ids.next()
    );
    string(out, &name);
    let _ = write!(
        out,
        ",\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\",\"attributes\":[",
        time(span.start),
        // An answer may begin before all of the request has come.
        time(span.end.max(span.start))
    );
    attribute(out, "http.request.method", route.method);
    out.push(',');
    if known {
        attribute(out, "http.route", &route.path);
        out.push(',');
    }
    if span.status != 0 {
        number(out, "http.response.status_code", u64::from(span.status));
        out.push(',');
    }
    if span.status >= 500 {
        attribute(out, "error.type", &span.status.to_string());
        out.push(',');
    }
    attribute(out, "client.address", &peer_text(span.peer));
    out.push(',');
    if span.peer_port != 0 {
        number(out, "client.port", u64::from(span.peer_port));
        out.push(',');
    }
    number(out, "server.port", u64::from(span.port));
    out.push(',');
    number(out, "http.request.size", span.request_bytes);
    out.push(',');
    number(out, "http.response.size", span.response_bytes);
    out.push(',');
    let reasons: Vec<_> = REASONS
        .iter()
        .enumerate()
        .filter(|(bit, _)| span.reason & 1 << bit != 0)
        .map(|(_, reason)| *reason)
        .collect();
    attribute(out, "flora.reason", &reasons.join(","));
    let _ = write!(
        out,
        "],\"events\":[{{\"name\":\"first byte\",\"timeUnixNano\":\"{}\"}}],\"status\":{{",
        time(span.first)
    );
    if span.status >= 500 {
        out.push_str("\"code\":2");
    }
    out.push_str("}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    struct Test;

    impl Names for Test {
        fn route(&mut self, slot: u16) -> RouteName {
            match slot {
                1 => RouteName {
                    method: "GET",
                    path: "/a\"/{id}".to_owned(),
                },
                _ => RouteName::other(),
            }
        }

        fn container(&mut self, _: u16) -> Option<&Container> {
            None
        }
    }

    fn span(route: u16, status: u16, container: u16) -> Span {
        Span {
            start: 100,
            first: 150,
            end: 200,
            request_bytes: 231,
            response_bytes: 964,
            peer: std::net::Ipv4Addr::new(10, 0, 0, 7)
                .to_ipv6_mapped()
                .octets(),
            peer_port: 4000,
            port: 8080,
            status,
            route,
            container,
            reason: 5,
            reserved: 0,
        }
    }

    fn attributes(span: &Value) -> BTreeMap<String, String> {
        let all = span["attributes"].as_array().unwrap();
        all.iter()
            .map(|attribute| {
                let value = &attribute["value"];
                let value = value.get("stringValue").or(value.get("intValue")).unwrap();
                let name = attribute["key"].as_str().unwrap().to_owned();
                (name, value.as_str().unwrap().to_owned())
            })
            .collect()
    }

    #[test]
    fn a_server_span() {
        let spans = [span(1, 503, 0), span(0, 0, 0), span(1, 200, 7)];
        let text = encode(&spans, &mut Test, &mut Ids::new(7), 1_000);
        let json: Value = serde_json::from_str(&text).unwrap();
        let resources = json["resourceSpans"].as_array().unwrap();
        assert_eq!(resources.len(), 2);
        let spans = resources[0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let first = &spans[0];
        assert_eq!(first["name"], "GET /a\"/{id}");
        assert_eq!(first["kind"], 2);
        assert_eq!(first["startTimeUnixNano"], "1100");
        assert_eq!(first["endTimeUnixNano"], "1200");
        assert_eq!(first["status"]["code"], 2);
        assert_eq!(first["traceId"].as_str().unwrap().len(), 32);
        assert_eq!(first["spanId"].as_str().unwrap().len(), 16);
        let attributes_of_first = attributes(first);
        for (name, value) in [
            ("http.request.method", "GET"),
            ("http.route", "/a\"/{id}"),
            ("http.response.status_code", "503"),
            ("client.address", "10.0.0.7"),
            ("server.port", "8080"),
            ("http.request.size", "231"),
            ("flora.reason", "error,sampled"),
        ] {
            assert_eq!(attributes_of_first[name], value, "{name}");
        }
        assert_eq!(spans[1]["name"], "HTTP");
        assert!(!attributes(&spans[1]).contains_key("http.response.status_code"));
        assert_ne!(spans[0]["traceId"], spans[1]["traceId"]);
    }

    #[test]
    fn the_resource_of_a_pod() {
        let names = crate::kubernetes::Names::new("shop", "cart-7f757457c5-89228").unwrap();
        let names = names.with_container(Some("app"));
        let container = Container::example("/kubepods/x", Some("node"), Some(names));
        let mut out = "[".to_owned();
        resource(&mut out, Some(&container));
        let json: Value = serde_json::from_str(&format!("{out}]")).unwrap();
        let found = attributes(&serde_json::json!({ "attributes": json }));
        for (name, value) in [
            ("service.name", "cart"),
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.name", "cart-7f757457c5-89228"),
            ("k8s.container.name", "app"),
            ("process.executable.name", "node"),
        ] {
            assert_eq!(found[name], value, "{name}");
        }
    }
}
