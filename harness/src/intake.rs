//! The intake: takes what agents and SDKs send, counts it, and forgets it.
//!
//! A process of its own beside each arm that exports to it, so that what it
//! costs is a row of the ledger and nobody else's. It decodes what is sent as
//! it reads it and keeps nothing but counts: of spans by kind, route and status,
//! of metric points, log records and statistics, and the names that they carry.
//!
//! # Layout
//! - [`child`]: the harness's side: starts it, learns where it listens
//! - [`server`]: its listeners, and what each path takes
//! - [`body`]: bodies with their limits, decompressed as they are read
//! - [`grpc`]: unary calls of gRPC over HTTP/2
//! - [`decode`]: from a body to counts, by path and format
//! - [`protobuf`], [`json`], [`msgpack`]: readers that hold one field at a time
//! - [`otlp`], [`datadog`], [`statsd`]: what is sent in them
//! - [`span`]: what is asked of a span
//! - [`tally`]: the counts, bounded
//! - [`exposition`]: the counts as Prometheus text

pub mod body;
pub mod child;
pub mod datadog;
pub mod decode;
pub mod exposition;
pub mod grpc;
pub mod json;
pub mod msgpack;
pub mod otlp;
pub mod protobuf;
pub mod refusal;
pub mod server;
pub mod span;
pub mod statsd;
pub mod tally;

use serde::{Deserialize, Serialize};

use crate::scenario::placeholder::Placeholder;

/// The hidden subcommand of this program that is the intake.
pub const SUBCOMMAND: &str = "intake";

/// Where it listens, `127.0.0.1:PORT` each: the one line that it says on its standard output.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// OTLP over HTTP, protobuf and JSON.
    pub otlp_http: String,
    /// OTLP over gRPC, without TLS.
    pub otlp_grpc: String,
    /// What Datadog's agents send to Datadog.
    pub datadog: String,
    /// StatsD over UDP.
    pub statsd: String,
    /// Its own counts as Prometheus text.
    pub metrics: String,
}

impl Addresses {
    /// What stands for a word in braces; nothing where that is none of an intake's.
    pub fn word(&self, placeholder: Placeholder) -> Option<&str> {
        match placeholder {
            Placeholder::IntakeOtlpHttp => Some(&self.otlp_http),
            Placeholder::IntakeOtlpGrpc => Some(&self.otlp_grpc),
            Placeholder::IntakeDatadog => Some(&self.datadog),
            Placeholder::IntakeStatsd => Some(&self.statsd),
            Placeholder::IntakeStatsdPort => self.statsd.rsplit(':').next(),
            _ => None,
        }
    }
}
