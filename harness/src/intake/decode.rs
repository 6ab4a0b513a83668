//! From a body to counts: what each path takes, in which formats.

use super::body::Sent;
use super::refusal::Refusal;
use super::tally::Tally;
use super::{datadog, json, otlp};

/// What a body is written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Protobuf.
    Protobuf,
    /// JSON.
    Json,
    /// MessagePack.
    MessagePack,
}

impl Format {
    /// By a `Content-Type`, its parameters aside.
    pub fn of(content_type: &str) -> Option<Format> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        Some(match name.to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Format::Protobuf,
            "application/json" => Format::Json,
            "application/msgpack" | "application/x-msgpack" => Format::MessagePack,
            _ => return None,
        })
    }
}

/// Where something is sent, and so what it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Endpoint {
    /// Spans by OTLP.
    OtlpTraces,
    /// Metrics by OTLP.
    OtlpMetrics,
    /// Log records by OTLP.
    OtlpLogs,
    /// Spans of Datadog's trace agent.
    DatadogTraces,
    /// Its statistics.
    DatadogStats,
    /// Metrics of Datadog's agent.
    DatadogSeries,
    /// Its distributions.
    DatadogSketches,
    /// Its log records.
    DatadogLogs,
    /// Everything else of Datadog's that is JSON: metadata, events, checks.
    DatadogOther,
    /// Whether its key is valid.
    DatadogValidate,
}

impl Endpoint {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Endpoint; 10] = [
        Endpoint::OtlpTraces,
        Endpoint::OtlpMetrics,
        Endpoint::OtlpLogs,
        Endpoint::DatadogTraces,
        Endpoint::DatadogStats,
        Endpoint::DatadogSeries,
        Endpoint::DatadogSketches,
        Endpoint::DatadogLogs,
        Endpoint::DatadogOther,
        Endpoint::DatadogValidate,
    ];

    /// The word in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Endpoint::OtlpTraces => "otlp_traces",
            Endpoint::OtlpMetrics => "otlp_metrics",
            Endpoint::OtlpLogs => "otlp_logs",
            Endpoint::DatadogTraces => "datadog_traces",
            Endpoint::DatadogStats => "datadog_stats",
            Endpoint::DatadogSeries => "datadog_series",
            Endpoint::DatadogSketches => "datadog_sketches",
            Endpoint::DatadogLogs => "datadog_logs",
            Endpoint::DatadogOther => "datadog_other",
            Endpoint::DatadogValidate => "datadog_validate",
        }
    }

    /// By a path of OTLP over HTTP.
    pub fn otlp(path: &str) -> Option<Endpoint> {
        Some(match path {
            "/v1/traces" => Endpoint::OtlpTraces,
            "/v1/metrics" => Endpoint::OtlpMetrics,
            "/v1/logs" => Endpoint::OtlpLogs,
            _ => return None,
        })
    }

    /// By a method of OTLP over gRPC.
    pub fn grpc(path: &str) -> Option<Endpoint> {
        const PREFIX: &str = "/opentelemetry.proto.collector.";
        Some(match path.strip_prefix(PREFIX)? {
            "trace.v1.TraceService/Export" => Endpoint::OtlpTraces,
            "metrics.v1.MetricsService/Export" => Endpoint::OtlpMetrics,
            "logs.v1.LogsService/Export" => Endpoint::OtlpLogs,
            _ => return None,
        })
    }

    /// By a path of Datadog's; a slash at the end is one too many.
    pub fn datadog(path: &str) -> Option<Endpoint> {
        Some(match path.trim_end_matches('/') {
            "/api/v0.2/traces" => Endpoint::DatadogTraces,
            "/api/v0.2/stats" => Endpoint::DatadogStats,
            "/api/v1/series" | "/api/v2/series" => Endpoint::DatadogSeries,
            "/api/beta/sketches" => Endpoint::DatadogSketches,
            "/api/v2/logs" | "/v1/input" => Endpoint::DatadogLogs,
            "/intake"
            | "/api/v1/check_run"
            | "/api/v1/metadata"
            | "/api/v2/apmtelemetry"
            | "/api/v2/events"
            | "/api/v2/host_metadata" => Endpoint::DatadogOther,
            "/api/v1/validate" => Endpoint::DatadogValidate,
            _ => return None,
        })
    }

    /// Counts a body of that format.
    ///
    /// # Errors
    /// When the format is not read there, or the body is none of that format.
    pub fn count(
        self,
        format: Format,
        protocol: &str,
        sent: Sent<'_>,
        tally: &mut Tally,
    ) -> Result<(), Refusal> {
        use Format::{Json, MessagePack, Protobuf};
        let body = &mut *sent.reader()?;
        match (self, format) {
            (Endpoint::OtlpTraces, Protobuf) => otlp::traces(body, protocol, tally),
            (Endpoint::OtlpTraces, Json) => json::traces(body, protocol, tally),
            (Endpoint::OtlpMetrics, Protobuf) => otlp::metrics(body, tally),
            (Endpoint::OtlpMetrics, Json) => json::metrics(body, tally),
            (Endpoint::OtlpLogs, Protobuf) => otlp::logs(body, tally),
            (Endpoint::OtlpLogs, Json) => json::logs(body, tally),
            (Endpoint::DatadogTraces, Protobuf) => {
                // An agent writes the texts behind what refers to them.
                let strings = datadog::strings(&mut *sent.reader()?)?;
                datadog::traces(body, &strings, tally)
            }
            (Endpoint::DatadogStats, MessagePack) => datadog::stats(body, tally),
            (Endpoint::DatadogSeries, Protobuf) => datadog::series(body, tally),
            (Endpoint::DatadogSeries, Json) => json::series(body, tally),
            (Endpoint::DatadogSketches, Protobuf) => datadog::sketches(body, tally),
            (Endpoint::DatadogLogs, Json) => json::records(body, tally),
            (Endpoint::DatadogOther, Json) => json::anything(body),
            _ => Err(Refusal::ContentType),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::body::Encoding;
    use super::*;

    fn plain(bytes: &[u8]) -> Sent<'_> {
        Sent {
            bytes,
            encoding: Encoding::Identity,
        }
    }

    const FORMATS: [Format; 3] = [Format::Protobuf, Format::Json, Format::MessagePack];

    /// Bytes that a decoder gets somewhere with: fields and lengths of plausible sizes.
    fn plausible() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            Just(0x0a_u8),
            Just(0x12),
            Just(0x2a),
            Just(0x4a),
            Just(0x5a),
            Just(0x52),
            0u8..24,
            0x80u8..=0x9f,
            any::<u8>(),
        ];
        prop::collection::vec(byte, 0..300)
    }

    fn try_all(bytes: &[u8]) {
        for endpoint in Endpoint::ALL {
            for format in FORMATS {
                let mut tally = Tally::default();
                let _ = endpoint.count(format, "x", plain(bytes), &mut tally);
            }
        }
        let _ = super::super::statsd::datagram(bytes, &mut Tally::default());
    }

    proptest! {
        /// No input makes a decoder panic or run on for ever.
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            try_all(&bytes);
        }

        /// Nor does one that looks like something.
        #[test]
        fn something_like_it_may_come(bytes in plausible()) {
            try_all(&bytes);
        }

        /// A body that is cut short anywhere but between its parts is refused, and one that is whole is not.
        #[test]
        fn a_body_cut_short_is_refused(spans in 1u64..20, cut in any::<prop::sample::Index>()) {
            let body = super::super::otlp::tests::request(spans);
            let mut tally = Tally::default();
            let all = Endpoint::OtlpTraces.count(Format::Protobuf, "x", plain(&body), &mut tally);
            prop_assert_eq!(all, Ok(()));
            prop_assert_eq!(tally.spans.total(), spans);
            let cut = 1 + cut.index(body.len() - 1);
            let mut tally = Tally::default();
            let part = Endpoint::OtlpTraces.count(Format::Protobuf, "x", plain(&body[..cut]), &mut tally);
            prop_assert_eq!(part, Err(Refusal::Malformed));
        }
    }

    #[test]
    fn json_of_every_odd_shape_is_refused_or_counted() {
        for (text, expected) in [
            ("{}", Ok(())),
            ("null", Ok(())),
            ("{\"resourceSpans\":null}", Ok(())),
            (
                "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{}]}]}]}",
                Ok(()),
            ),
            ("{\"resourceSpans\":{}}", Err(Refusal::Malformed)),
            ("[]", Err(Refusal::Malformed)),
            ("{} {}", Err(Refusal::Malformed)),
            ("{\"resourceSpans\":[", Err(Refusal::Malformed)),
            ("", Err(Refusal::Malformed)),
        ] {
            let mut tally = Tally::default();
            let outcome =
                Endpoint::OtlpTraces.count(Format::Json, "x", plain(text.as_bytes()), &mut tally);
            assert_eq!(outcome, expected, "{text}");
        }
        let deep = "[".repeat(1 << 16);
        for endpoint in [Endpoint::DatadogOther, Endpoint::DatadogLogs] {
            let outcome = endpoint.count(
                Format::Json,
                "x",
                plain(deep.as_bytes()),
                &mut Tally::default(),
            );
            assert_eq!(outcome, Err(Refusal::Malformed));
        }
    }
}
