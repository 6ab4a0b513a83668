//! JSON that is counted as it is read: OTLP's, and what Datadog's endpoints take.
//!
//! A value is walked through with serde's visitors and never built, so that
//! three bytes of input can't become a hundred of memory.

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::refusal::Refusal;
use super::span::{Fact, KEEP, Span};
use super::tally::Tally;

/// An object that is read field by field.
trait Object {
    /// Reads the value of one field, all of it.
    fn field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error>;

    /// It is over.
    fn end(&mut self) {}
}

/// Reads one object into whoever takes it; `null` is one without fields.
struct One<'o, O>(&'o mut O);
/// Reads an array of objects likewise; also a single object where `or_one`.
struct Each<'o, O> {
    object: &'o mut O,
    or_one: bool,
}
/// Reads a number or a text as text, as OTLP writes integers either way.
struct Text<'t>(&'t mut String);
/// Counts the elements of an array.
struct Count<'n>(&'n mut u64);

impl<'de, O: Object> DeserializeSeed<'de> for One<'_, O> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, O: Object> Visitor<'de> for One<'_, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            self.0.field(&name, &mut map)?;
        }
        self.0.end();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.end();
        Ok(())
    }
}

impl<'de, O: Object> DeserializeSeed<'de> for Each<'_, O> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, O: Object> Visitor<'de> for Each<'_, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element_seed(One(&mut *self.object))?.is_some() {}
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<(), M::Error> {
        if self.or_one {
            One(self.object).visit_map(map)
        } else {
            Err(serde::de::Error::custom("an object in place of an array"))
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let end = value.floor_char_boundary(KEEP);
        self.0.clear();
        self.0.push_str(&value[..end]);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        *self.0 = value.to_string();
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        *self.0 = value.to_string();
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        *self.0 = value.to_string();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        *self.0 = value.to_string();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {
            *self.0 += 1;
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

fn skip<'de, M: MapAccess<'de>>(map: &mut M) -> Result<(), M::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

fn each<'o, O>(object: &'o mut O) -> Each<'o, O> {
    Each {
        object,
        or_one: false,
    }
}

/// Reads one value, which must be all that there is.
fn read<'b>(
    body: &'b mut dyn BufRead,
    seed: impl for<'de> DeserializeSeed<'de, Value = ()>,
) -> Result<(), Refusal> {
    let mut json = serde_json::Deserializer::from_reader(body);
    let refused = |error: serde_json::Error| match error.io_error_kind() {
        Some(kind) => Refusal::from(std::io::Error::from(kind)),
        None => Refusal::Malformed,
    };
    seed.deserialize(&mut json).map_err(refused)?;
    json.end().map_err(refused)
}

/// An object of which one field holds an array of the next kind of objects.
struct Within<'n, O> {
    name: &'n str,
    next: O,
}

impl<O: Object> Object for Within<'_, O> {
    fn field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        if name == self.name {
            map.next_value_seed(each(&mut self.next))
        } else {
            skip(map)
        }
    }
}

fn within<O>(name: &str, next: O) -> Within<'_, O> {
    Within { name, next }
}

struct Spans<'t> {
    protocol: &'t str,
    tally: &'t mut Tally,
    span: Span,
    attribute: Attribute,
}

impl Object for Spans<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "name" => map.next_value_seed(Text(&mut self.span.name)),
            "kind" => {
                let mut kind = String::new();
                map.next_value_seed(Text(&mut kind))?;
                match kind.strip_prefix("SPAN_KIND_") {
                    Some(word) => self.span.set(Fact::Kind, &word.to_ascii_lowercase()),
                    None => self.span.set_kind(kind.parse().unwrap_or(0)),
                }
                Ok(())
            }
            "attributes" => map.next_value_seed(each(&mut Attributes {
                tally: self.tally,
                span: &mut self.span,
                attribute: &mut self.attribute,
            })),
            _ => skip(map),
        }
    }

    fn end(&mut self) {
        self.span.count(self.protocol, self.tally);
        self.span.clear();
    }
}

#[derive(Default)]
struct Attribute {
    key: String,
    value: String,
}

struct Attributes<'t> {
    tally: &'t mut Tally,
    span: &'t mut Span,
    attribute: &'t mut Attribute,
}

impl Object for Attributes<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "key" => map.next_value_seed(Text(&mut self.attribute.key)),
            "value" => map.next_value_seed(One(&mut AnyValue(&mut self.attribute.value))),
            _ => skip(map),
        }
    }

    fn end(&mut self) {
        let Attribute { key, value } = &mut *self.attribute;
        self.tally.span_attributes.add(key, 1);
        if let Some(fact) = Fact::of(key) {
            self.span.set(fact, value);
        }
        key.clear();
        value.clear();
    }
}

struct AnyValue<'t>(&'t mut String);

impl Object for AnyValue<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "stringValue" | "intValue" => map.next_value_seed(Text(self.0)),
            _ => skip(map),
        }
    }
}

/// Counts an `ExportTraceServiceRequest`
/// (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>).
///
/// # Errors
/// When it is none.
pub fn traces(body: &mut dyn BufRead, protocol: &str, tally: &mut Tally) -> Result<(), Refusal> {
    let spans = Spans {
        protocol,
        tally,
        span: Span::default(),
        attribute: Attribute::default(),
    };
    let scopes = within("scopeSpans", within("spans", spans));
    read(body, One(&mut within("resourceSpans", scopes)))
}

struct Metrics<'t> {
    tally: &'t mut Tally,
    name: String,
    points: u64,
}

impl Object for Metrics<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "name" | "metric" => map.next_value_seed(Text(&mut self.name)),
            // Datadog's series.
            "points" => map.next_value_seed(Count(&mut self.points)),
            "gauge" | "sum" | "histogram" | "exponentialHistogram" | "summary" => {
                map.next_value_seed(One(&mut DataPoints(&mut self.points)))
            }
            _ => skip(map),
        }
    }

    fn end(&mut self) {
        if self.points > 0 {
            self.tally.metric_points.add(&self.name, self.points);
        }
        self.name.clear();
        self.points = 0;
    }
}

struct DataPoints<'n>(&'n mut u64);

impl Object for DataPoints<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "dataPoints" => map.next_value_seed(Count(self.0)),
            _ => skip(map),
        }
    }
}

fn all_metrics(tally: &mut Tally) -> Metrics<'_> {
    Metrics {
        tally,
        name: String::new(),
        points: 0,
    }
}

/// Counts an `ExportMetricsServiceRequest`.
///
/// # Errors
/// When it is none.
pub fn metrics(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    let scopes = within("scopeMetrics", within("metrics", all_metrics(tally)));
    read(body, One(&mut within("resourceMetrics", scopes)))
}

/// Counts Datadog's series.
///
/// # Errors
/// When the body holds none.
pub fn series(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    read(body, One(&mut within("series", all_metrics(tally))))
}

struct Records<'t>(&'t mut Tally);

impl Object for Records<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, _: &str, map: &mut M) -> Result<(), M::Error> {
        skip(map)
    }

    fn end(&mut self) {
        self.0.log_records += 1;
    }
}

/// Counts an `ExportLogsServiceRequest`.
///
/// # Errors
/// When it is none.
pub fn logs(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    let scopes = within("scopeLogs", within("logRecords", Records(tally)));
    read(body, One(&mut within("resourceLogs", scopes)))
}

/// Counts log records as Datadog's intake takes them: an array of objects, or one.
///
/// # Errors
/// When the body holds none.
pub fn records(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    let mut records = Records(tally);
    read(
        body,
        Each {
            object: &mut records,
            or_one: true,
        },
    )
}

/// Takes any JSON.
///
/// # Errors
/// When it is none.
pub fn anything(body: &mut dyn BufRead) -> Result<(), Refusal> {
    struct Anything;
    impl<'de> DeserializeSeed<'de> for Anything {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ())
        }
    }
    read(body, Anything)
}
