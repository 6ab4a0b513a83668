//! A span for every request by OpenTelemetry's interface, which both vendors' libraries implement.
//!
//! Neither has a middleware for hyper. What is done here for each request is what the middlewares
//! of other servers do, and the example that the OpenTelemetry project has for hyper: the caller's
//! context from the headers, a span of kind server named after method and route, the attributes
//! that the semantic conventions for HTTP require, and an error status from 500 on.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::HeaderExtractor;
use target_app::watch::{Watch, route};

/// Makes a span for every request.
#[derive(Debug)]
pub struct Spans(BoxedTracer);

impl Spans {
    /// From the tracer provider that is installed.
    pub fn new() -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Spans(global::tracer_with_scope(scope))
    }
}

impl Default for Spans {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch for Spans {
    type Span = BoxedSpan;

    fn begin(&self, request: &Request<Incoming>) -> BoxedSpan {
        let parent = global::get_text_map_propagator(|propagator| {
            propagator.extract(&HeaderExtractor(request.headers()))
        });
        let (method, uri) = (request.method(), request.uri());
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("url.path", uri.path().to_owned()),
            KeyValue::new("url.scheme", "http"),
        ];
        if let Some(query) = uri.query() {
            attributes.push(KeyValue::new("url.query", query.to_owned()));
        }
        let name = match route(uri.path()) {
            Some(route) => {
                attributes.push(KeyValue::new("http.route", route));
                format!("{method} {route}")
            }
            None => method.to_string(),
        };
        let span = self.0.span_builder(name).with_kind(SpanKind::Server);
        span.with_attributes(attributes)
            .start_with_context(&self.0, &parent)
    }

    fn end(&self, mut span: BoxedSpan, status: StatusCode) {
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// What `--version` says: this program's version, and those of the packages that it is measured for.
pub fn version(packages: &[&str]) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let found = packages.iter().map(|name| {
        let version = lock
            .split_once(&format!("name = \"{name}\"\nversion = \""))
            .and_then(|(_, rest)| rest.split_once('"'));
        format!(
            "{name} {}",
            version.map_or("unknown", |(version, _)| version)
        )
    });
    let found: Vec<String> = found.collect();
    let text = format!("{} ({})", env!("CARGO_PKG_VERSION"), found.join(", "));
    Box::leak(text.into_boxed_str())
}
