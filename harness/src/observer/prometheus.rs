//! Prometheus text, read from a program's `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_parse::{Sample, Scrape, Value};

/// An address that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {url}: {source}")]
pub struct ScrapeError {
    /// The address.
    pub url: String,
    /// Why.
    pub source: reqwest::Error,
}

/// How long a program may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One address that serves Prometheus text.
#[derive(Clone, Debug)]
pub struct Endpoint {
    client: reqwest::Client,
    /// The address.
    pub url: String,
}

impl Endpoint {
    /// For an address such as `http://127.0.0.1:8080/metrics`.
    pub fn new(url: String) -> Self {
        Endpoint {
            client: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .build()
                .expect("a client without TLS can always be built"),
            url,
        }
    }

    /// The text that it serves now.
    ///
    /// # Errors
    /// When there is no answer, or one that says that something is wrong.
    pub async fn text(&self) -> Result<String, ScrapeError> {
        let failed = |source| ScrapeError {
            url: self.url.clone(),
            source,
        };
        self.client
            .get(&self.url)
            .send()
            .await
            .and_then(|response| response.error_for_status())
            .map_err(failed)?
            .text()
            .await
            .map_err(failed)
    }
}

/// Sum of a counter over its series that have these labels and are otherwise `wanted`.
pub fn sum(
    text: &str,
    metric: &str,
    labels: &BTreeMap<String, String>,
    wanted: impl Fn(&Sample) -> bool,
) -> f64 {
    let Ok(scrape) = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))) else {
        return 0.0;
    };
    let series = scrape.samples.iter().filter(|sample| {
        sample.metric == metric
            && labels
                .iter()
                .all(|(name, value)| sample.labels.get(name) == Some(value))
            && wanted(sample)
    });
    series
        .map(|sample| match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            _ => 0.0,
        })
        .sum()
}
