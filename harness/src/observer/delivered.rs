//! What was sent to the intake, in all and by name.

use super::prometheus::{Endpoint, ScrapeError, series};
use crate::intake::exposition;
use crate::sample::{Reading, Sample};

/// What stands for the names that found no room.
pub const OTHERS: &str = "…";

/// Asks an intake what it has counted.
#[derive(Clone, Debug)]
pub struct DeliveredReader {
    endpoint: Endpoint,
}

/// One count, and whose where there are several.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// What was counted.
    pub reading: Reading,
    /// Of what.
    pub name: Option<String>,
    /// How much.
    pub value: f64,
}

impl DeliveredReader {
    /// For where an intake serves its counts, `127.0.0.1:PORT`.
    pub fn new(address: &str) -> Self {
        Self::at(Endpoint::new(format!("http://{address}/metrics")))
    }

    /// For what serves an intake's counts.
    pub fn at(endpoint: Endpoint) -> Self {
        DeliveredReader { endpoint }
    }

    /// The same as samples, each made by `one` of what was counted and how much.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn samples(
        &self,
        one: impl Fn(Reading, f64) -> Sample,
    ) -> Result<Vec<Sample>, ScrapeError> {
        let counts = self.read().await?.into_iter();
        Ok(counts
            .map(|count| Sample {
                name: count.name,
                ..one(count.reading, count.value)
            })
            .collect())
    }

    /// Everything that it has counted so far.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn read(&self) -> Result<Vec<Count>, ScrapeError> {
        Ok(counts(&self.endpoint.text().await?))
    }
}

/// Counts in the order of the text; those of one reading and name are added up.
fn counts(text: &str) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    for series in series(text) {
        let (reading, label) = match series.metric.as_str() {
            exposition::SPANS => (Reading::IntakeSpansTotal, None),
            exposition::SPAN_ATTRIBUTES => (Reading::IntakeSpanAttributesTotal, Some("name")),
            exposition::METRIC_POINTS => (Reading::IntakeMetricPointsTotal, Some("name")),
            exposition::LOG_RECORDS => (Reading::IntakeLogRecordsTotal, None),
            exposition::STATS_HITS => (Reading::IntakeStatsHitsTotal, None),
            exposition::REQUESTS => (Reading::IntakeRequestsTotal, None),
            exposition::BYTES => (Reading::IntakeBytesTotal, None),
            exposition::REJECTED => (Reading::IntakeRejectedTotal, Some("reason")),
            _ => continue,
        };
        let name = label.map(|label| {
            let name = series.labels.get(label).map(String::as_str);
            name.unwrap_or(OTHERS).to_owned()
        });
        let value = series.value;
        match counts
            .iter_mut()
            .find(|count| count.reading == reading && count.name == name)
        {
            Some(count) => count.value += value,
            None => counts.push(Count {
                reading,
                name,
                value,
            }),
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::exposition::Counts;
    use crate::intake::refusal::Refusal;

    /// Names that need escaping come back as they were.
    #[test]
    fn what_is_shown_is_read_back() {
        let mut shown = Counts::default();
        shown.tally.spans.add("protocol=\"x\",kind=\"server\"", 2);
        shown.tally.spans.add("protocol=\"x\",kind=\"client\"", 3);
        for name in ["http.route", "a \"quoted\" {one}"] {
            shown.tally.span_attributes.add(name, 5);
        }
        shown.rejected.insert(Refusal::Malformed, 1);
        let read = counts(&shown.text());
        let of = |reading, name: Option<&str>| {
            let mut found = read
                .iter()
                .filter(|count| count.reading == reading && count.name.as_deref() == name);
            found.next().map(|count| count.value)
        };
        assert_eq!(of(Reading::IntakeSpansTotal, None), Some(5.0));
        let attributes = Reading::IntakeSpanAttributesTotal;
        assert_eq!(of(attributes, Some("http.route")), Some(5.0));
        assert_eq!(of(attributes, Some("a \"quoted\" {one}")), Some(5.0));
        let rejected = Reading::IntakeRejectedTotal;
        assert_eq!(of(rejected, Some("malformed")), Some(1.0));
        assert_eq!(of(Reading::IntakeLogRecordsTotal, None), Some(0.0));
    }
}
