//! OTLP in protobuf (field numbers: `opentelemetry/proto/*/v1/*.proto` of
//! <https://github.com/open-telemetry/opentelemetry-proto>, version 1.7.0).

use std::fmt::Write;
use std::io::BufRead;

use super::protobuf::{TO_THE_END, Value, Wire};
use super::refusal::Refusal;
use super::span::{Fact, KEEP, Span};
use super::tally::Tally;

/// Field numbers.
mod field {
    /// Of a request: its resources. Of each of them: its scopes. Of each of those: what it holds.
    pub const RESOURCES: u64 = 1;
    pub const SCOPES: u64 = 2;
    pub const ITEMS: u64 = 2;
    pub const SPAN_NAME: u64 = 5;
    pub const SPAN_KIND: u64 = 6;
    pub const SPAN_ATTRIBUTES: u64 = 9;
    pub const METRIC_NAME: u64 = 1;
    /// `gauge`, `sum`, `histogram`, `exponential_histogram`, `summary`.
    pub const METRIC_DATA: [u64; 5] = [5, 7, 9, 10, 11];
    pub const DATA_POINTS: u64 = 1;
    pub const KEY: u64 = 1;
    pub const VALUE: u64 = 2;
    pub const STRING_VALUE: u64 = 1;
    pub const INT_VALUE: u64 = 3;
}

/// Calls `visit` for each span, metric or log record of a request.
fn items(
    body: &mut dyn BufRead,
    mut visit: impl FnMut(&mut Wire<'_>, u64) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    Wire::new(body).each(TO_THE_END, field::RESOURCES, |wire, end| {
        wire.each(end, field::SCOPES, |wire, end| {
            wire.each(end, field::ITEMS, |wire, end| visit(wire, end))
        })
    })
}

/// Counts an `ExportTraceServiceRequest`.
///
/// # Errors
/// When it is none.
pub fn traces(body: &mut dyn BufRead, protocol: &str, tally: &mut Tally) -> Result<(), Refusal> {
    let mut one = Span::default();
    let mut attribute = Attribute::default();
    items(body, |wire, end| {
        one.clear();
        while let Some((number, value)) = wire.next(end)? {
            match (number, value) {
                (field::SPAN_NAME, Value::Bytes(length)) => {
                    wire.text(length, KEEP, &mut one.name)?;
                }
                (field::SPAN_KIND, Value::Number(kind)) => one.set_kind(kind),
                (field::SPAN_ATTRIBUTES, Value::Bytes(length)) => {
                    let end = wire.end(length);
                    attribute.read(wire, end)?;
                    tally.span_attributes.add(&attribute.key, 1);
                    if let Some(fact) = Fact::of(&attribute.key) {
                        one.set(fact, &attribute.value);
                    }
                }
                (_, other) => wire.skip(other)?,
            }
        }
        one.count(protocol, tally);
        Ok(())
    })
}

/// Counts an `ExportMetricsServiceRequest`.
///
/// # Errors
/// When it is none.
pub fn metrics(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    let mut name = String::new();
    items(body, |wire, end| {
        name.clear();
        let mut points = 0;
        while let Some((number, value)) = wire.next(end)? {
            match value {
                Value::Bytes(length) if number == field::METRIC_NAME => {
                    wire.text(length, KEEP, &mut name)?;
                }
                Value::Bytes(length) if field::METRIC_DATA.contains(&number) => {
                    let end = wire.end(length);
                    wire.each(end, field::DATA_POINTS, |_, _| {
                        points += 1;
                        Ok(())
                    })?;
                }
                other => wire.skip(other)?,
            }
        }
        if points > 0 {
            tally.metric_points.add(&name, points);
        }
        Ok(())
    })
}

/// Counts an `ExportLogsServiceRequest`.
///
/// # Errors
/// When it is none.
pub fn logs(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    items(body, |_, _| {
        tally.log_records += 1;
        Ok(())
    })
}

/// A `KeyValue`, its value as text where somebody asks for it.
#[derive(Default)]
struct Attribute {
    key: String,
    value: String,
}

impl Attribute {
    fn read(&mut self, wire: &mut Wire<'_>, end: u64) -> Result<(), Refusal> {
        self.key.clear();
        self.value.clear();
        while let Some((number, value)) = wire.next(end)? {
            match (number, value) {
                (field::KEY, Value::Bytes(length)) => wire.text(length, KEEP, &mut self.key)?,
                // A value may come before its key, in theory.
                (field::VALUE, Value::Bytes(length))
                    if self.key.is_empty() || Fact::of(&self.key).is_some() =>
                {
                    let end = wire.end(length);
                    self.read_value(wire, end)?;
                }
                (_, other) => wire.skip(other)?,
            }
        }
        Ok(())
    }

    fn read_value(&mut self, wire: &mut Wire<'_>, end: u64) -> Result<(), Refusal> {
        while let Some((number, value)) = wire.next(end)? {
            match (number, value) {
                (field::STRING_VALUE, Value::Bytes(length)) => {
                    wire.text(length, KEEP, &mut self.value)?;
                }
                (field::INT_VALUE, Value::Number(number)) => {
                    self.value.clear();
                    let _ = write!(self.value, "{}", number as i64);
                }
                (_, other) => wire.skip(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 1 << 14 && field < 16);
        let (low, high) = (content.len() & 0x7f, content.len() >> 7);
        let tag = (field << 3 | 2) as u8;
        [&[tag, low as u8 | 0x80, high as u8][..], content].concat()
    }

    /// A request with server spans of one route, as an exporter would write it.
    pub fn request(spans: u64) -> Vec<u8> {
        let text = |value: &str| bytes(2, &bytes(1, value.as_bytes()));
        let status = [0x12, 0x03, 0x18, 0xc8, 0x01];
        let attribute = |key: &str, value: &[u8]| {
            bytes(9, &[bytes(1, key.as_bytes()), value.to_vec()].concat())
        };
        let span = [
            bytes(5, b"GET /objects"),
            vec![0x30, 2],
            attribute("http.route", &text("/objects")),
            attribute("http.response.status_code", &status),
        ]
        .concat();
        let all = (0..spans)
            .flat_map(|_| bytes(2, &span))
            .collect::<Vec<u8>>();
        bytes(1, &bytes(2, &all))
    }

    #[test]
    fn a_span_is_counted_by_what_it_says() {
        let mut tally = Tally::default();
        traces(&mut &request(3)[..], "otlp_http", &mut tally).unwrap();
        let spans: Vec<_> = tally.spans.iter().collect();
        let labels = "protocol=\"otlp_http\",kind=\"server\",route=\"/objects\",status=\"200\"";
        assert_eq!(spans, [(labels, 3)]);
        let attributes: Vec<_> = tally.span_attributes.iter().collect();
        assert_eq!(
            attributes,
            [("http.response.status_code", 3), ("http.route", 3)]
        );
    }
}
