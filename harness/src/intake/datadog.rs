//! What Datadog's agents send to Datadog (`datadog/trace/*.proto` and
//! `datadog/trace/idx/*.proto` of `github.com/DataDog/datadog-agent/pkg/proto`
//! 0.82.0; metrics: `github.com/DataDog/agent-payload`).

use std::fmt::Write;
use std::io::BufRead;

use super::msgpack::Pack;
use super::protobuf::{TO_THE_END, Value, Wire};
use super::refusal::Refusal;
use super::span::{self, Fact, KEEP, Span};
use super::tally::Tally;

/// Field numbers.
mod field {
    pub const TRACER_PAYLOADS: u64 = 5;
    pub const INDEXED_PAYLOADS: u64 = 11;
    pub const CHUNKS: u64 = 6;
    pub const CHUNK_SPANS: u64 = 3;
    pub const SPAN_NAME: u64 = 2;
    pub const SPAN_RESOURCE: u64 = 3;
    pub const SPAN_META: u64 = 10;
    pub const SPAN_METRICS: u64 = 11;
    /// Of the entry of a map.
    pub const KEY: u64 = 1;
    pub const VALUE: u64 = 2;

    /// Of payloads whose texts are references to a list.
    pub mod indexed {
        pub const STRINGS: u64 = 1;
        pub const CHUNKS: u64 = 11;
        pub const CHUNK_SPANS: u64 = 4;
        pub const SPAN_NAME: u64 = 2;
        pub const SPAN_RESOURCE: u64 = 3;
        pub const SPAN_ATTRIBUTES: u64 = 9;
        pub const SPAN_KIND: u64 = 16;
        pub const STRING_REFERENCE: u64 = 1;
        pub const INT_VALUE: u64 = 4;
    }

    pub const SERIES: u64 = 1;
    pub const SERIES_METRIC: u64 = 2;
    pub const SERIES_POINTS: u64 = 4;
    pub const SKETCHES: u64 = 1;
    pub const SKETCH_METRIC: u64 = 1;
    pub const SKETCH_DISTRIBUTIONS: u64 = 3;
    pub const SKETCH_DOGSKETCHES: u64 = 7;
}

/// The protocol of its spans and statistics, as labels have it.
const PROTOCOL: &str = "datadog";
/// Bytes that the texts of an indexed payload may take; an agent sends at most 3.2 MB in all.
const STRINGS: usize = 4 << 20;

/// The texts of each indexed payload of an `AgentPayload`. They come behind the
/// spans that refer to them, so a body is read twice.
///
/// # Errors
/// When it is none.
pub fn strings(body: &mut dyn BufRead) -> Result<Vec<Strings>, Refusal> {
    let mut all = Vec::new();
    let (mut bytes, mut text) = (0, String::new());
    Wire::new(body).each(TO_THE_END, field::INDEXED_PAYLOADS, |wire, end| {
        let mut strings = Strings::default();
        while let Some((number, value)) = wire.next(end)? {
            match (number, value) {
                (field::indexed::STRINGS, Value::Bytes(length)) => {
                    wire.text(length, KEEP, &mut text)?;
                    // What is beyond the limit can't be referred to, and its
                    // spans are of an unknown route.
                    bytes += text.len() + size_of::<Box<str>>();
                    if bytes <= STRINGS {
                        strings.0.push(text.as_str().into());
                    }
                }
                (_, other) => wire.skip(other)?,
            }
        }
        bytes += size_of::<Strings>();
        if bytes <= STRINGS {
            all.push(strings);
        }
        Ok(())
    })?;
    Ok(all)
}

/// Counts an `AgentPayload`, with the [`strings`] of its indexed payloads.
///
/// # Errors
/// When it is none.
pub fn traces(
    body: &mut dyn BufRead,
    strings: &[Strings],
    tally: &mut Tally,
) -> Result<(), Refusal> {
    let (mut all, none) = (strings.iter(), Strings::default());
    let mut wire = Wire::new(body);
    let mut one = Span::default();
    while let Some((number, value)) = wire.next(TO_THE_END)? {
        match (number, value) {
            (field::TRACER_PAYLOADS, Value::Bytes(length)) => {
                let end = wire.end(length);
                wire.each(end, field::CHUNKS, |wire, end| {
                    wire.each(end, field::CHUNK_SPANS, |wire, end| {
                        plain(wire, end, &mut one, tally)
                    })
                })?;
            }
            (field::INDEXED_PAYLOADS, Value::Bytes(length)) => {
                let end = wire.end(length);
                let strings = all.next().unwrap_or(&none);
                indexed(&mut wire, end, strings, &mut one, tally)?;
            }
            (_, other) => wire.skip(other)?,
        }
    }
    Ok(())
}

/// A span with its texts in it.
fn plain(wire: &mut Wire<'_>, end: u64, one: &mut Span, tally: &mut Tally) -> Result<(), Refusal> {
    one.clear();
    let (mut key, mut text) = (String::new(), String::new());
    while let Some((number, value)) = wire.next(end)? {
        match (number, value) {
            (field::SPAN_RESOURCE, Value::Bytes(length)) => {
                wire.text(length, KEEP, &mut one.name)?;
            }
            (field::SPAN_NAME, Value::Bytes(length)) if one.name.is_empty() => {
                wire.text(length, KEEP, &mut one.name)?;
            }
            (field::SPAN_META | field::SPAN_METRICS, Value::Bytes(length)) => {
                let end = wire.end(length);
                key.clear();
                text.clear();
                while let Some((part, value)) = wire.next(end)? {
                    match (part, value) {
                        (field::KEY, Value::Bytes(length)) => wire.text(length, KEEP, &mut key)?,
                        (field::VALUE, Value::Bytes(length)) if number == field::SPAN_META => {
                            wire.text(length, KEEP, &mut text)?;
                        }
                        (_, other) => wire.skip(other)?,
                    }
                }
                tally.span_attributes.add(&key, 1);
                if let Some(fact) = Fact::of(&key).filter(|_| !text.is_empty()) {
                    one.set(fact, &text);
                }
            }
            (_, other) => wire.skip(other)?,
        }
    }
    one.count(PROTOCOL, tally);
    Ok(())
}

/// The texts of an indexed payload.
#[derive(Debug, Default)]
pub struct Strings(Vec<Box<str>>);

impl Strings {
    fn get(&self, reference: u64) -> &str {
        let index = usize::try_from(reference).ok();
        index
            .and_then(|index| self.0.get(index))
            .map_or("", |text| text)
    }
}

/// A payload whose texts are referred to by number.
fn indexed(
    wire: &mut Wire<'_>,
    end: u64,
    strings: &Strings,
    one: &mut Span,
    tally: &mut Tally,
) -> Result<(), Refusal> {
    wire.each(end, field::indexed::CHUNKS, |wire, end| {
        wire.each(end, field::indexed::CHUNK_SPANS, |wire, end| {
            indexed_span(wire, end, strings, one, tally)
        })
    })
}

fn indexed_span(
    wire: &mut Wire<'_>,
    end: u64,
    strings: &Strings,
    one: &mut Span,
    tally: &mut Tally,
) -> Result<(), Refusal> {
    use field::indexed;

    one.clear();
    while let Some((number, value)) = wire.next(end)? {
        match (number, value) {
            (indexed::SPAN_RESOURCE, Value::Number(reference)) => {
                one.name.clear();
                one.name.push_str(strings.get(reference));
            }
            (indexed::SPAN_NAME, Value::Number(reference)) if one.name.is_empty() => {
                one.name.push_str(strings.get(reference));
            }
            (indexed::SPAN_KIND, Value::Number(kind)) => one.set_kind(kind),
            (indexed::SPAN_ATTRIBUTES, Value::Bytes(length)) => {
                let end = wire.end(length);
                let (mut key, mut text) = ("", String::new());
                while let Some((part, value)) = wire.next(end)? {
                    match (part, value) {
                        (field::KEY, Value::Number(reference)) => key = strings.get(reference),
                        (field::VALUE, Value::Bytes(length)) => {
                            let end = wire.end(length);
                            indexed_value(wire, end, strings, &mut text)?;
                        }
                        (_, other) => wire.skip(other)?,
                    }
                }
                tally.span_attributes.add(key, 1);
                if let Some(fact) = Fact::of(key).filter(|_| !text.is_empty()) {
                    one.set(fact, &text);
                }
            }
            (_, other) => wire.skip(other)?,
        }
    }
    one.count(PROTOCOL, tally);
    Ok(())
}

fn indexed_value(
    wire: &mut Wire<'_>,
    end: u64,
    strings: &Strings,
    text: &mut String,
) -> Result<(), Refusal> {
    while let Some((number, value)) = wire.next(end)? {
        match (number, value) {
            (field::indexed::STRING_REFERENCE, Value::Number(reference)) => {
                text.clear();
                text.push_str(strings.get(reference));
            }
            (field::indexed::INT_VALUE, Value::Number(number)) => {
                text.clear();
                let _ = write!(text, "{}", number as i64);
            }
            (_, other) => wire.skip(other)?,
        }
    }
    Ok(())
}

/// Counts a `StatsPayload` in MessagePack: what an agent says of requests
/// whether or not it sends their spans.
///
/// # Errors
/// When it is none.
pub fn stats(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    // Payload, those of its clients, their buckets, what was grouped in each.
    fn groups(pack: &mut Pack<'_>, depth: u8, tally: &mut Tally) -> Result<(), Refusal> {
        if depth == 0 {
            return group(pack, tally);
        }
        pack.map(|pack, key| match key {
            "Stats" => pack.array(|pack| groups(pack, depth - 1, tally)),
            _ => pack.skip_value(),
        })
    }
    groups(&mut Pack::new(body), 3, tally)
}

/// A `ClientGroupedStats`.
fn group(pack: &mut Pack<'_>, tally: &mut Tally) -> Result<(), Refusal> {
    let (mut resource, mut endpoint, mut kind) = (String::new(), String::new(), String::new());
    let (mut status, mut hits) = (0, 0);
    pack.map(|pack, key| {
        match key {
            "Resource" => resource = pack.text()?,
            "HTTPEndpoint" => endpoint = pack.text()?,
            "SpanKind" => kind = pack.text()?,
            "HTTPStatusCode" => status = pack.integer()?,
            "Hits" => hits = pack.integer()?,
            _ => pack.skip_value()?,
        }
        Ok(())
    })?;
    let route = span::path(&endpoint).or_else(|| span::path(&resource));
    let status = if status == 0 {
        String::new()
    } else {
        status.to_string()
    };
    let mut labels = String::new();
    span::labels(
        &mut labels,
        PROTOCOL,
        &kind,
        route.unwrap_or_default(),
        &status,
    );
    // More than this is no count of anything, and sums must not run over.
    tally.stats_hits.add(&labels, hits.min(1 << 40));
    Ok(())
}

/// Counts a `MetricPayload`.
///
/// # Errors
/// When it is none.
pub fn series(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    metrics(
        body,
        (field::SERIES, field::SERIES_METRIC),
        &[field::SERIES_POINTS],
        tally,
    )
}

/// Counts a `SketchPayload`.
///
/// # Errors
/// When it is none.
pub fn sketches(body: &mut dyn BufRead, tally: &mut Tally) -> Result<(), Refusal> {
    metrics(
        body,
        (field::SKETCHES, field::SKETCH_METRIC),
        &[field::SKETCH_DISTRIBUTIONS, field::SKETCH_DOGSKETCHES],
        tally,
    )
}

fn metrics(
    body: &mut dyn BufRead,
    (item, metric): (u64, u64),
    points: &[u64],
    tally: &mut Tally,
) -> Result<(), Refusal> {
    let mut name = String::new();
    Wire::new(body).each(TO_THE_END, item, |wire, end| {
        name.clear();
        let mut counted = 0;
        while let Some((number, value)) = wire.next(end)? {
            match value {
                Value::Bytes(length) if number == metric => wire.text(length, KEEP, &mut name)?,
                other => {
                    counted += u64::from(points.contains(&number));
                    wire.skip(other)?;
                }
            }
        }
        if counted > 0 {
            tally.metric_points.add(&name, counted);
        }
        Ok(())
    })
}
