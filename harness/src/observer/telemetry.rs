//! What an agent's own output accounts for.
//!
//! Whatever the kind of output, what is read is one counter of requests, at
//! moments when none is under way, so that it can be set exactly against what
//! the target served between the same two moments.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::prometheus::{Endpoint, ScrapeError, sum};
use crate::scenario::{PrometheusCounter, Telemetry};

/// Pause between two looks at a counter that may still rise.
const POLL: Duration = Duration::from_millis(20);

/// Asks an agent's output how many requests it accounts for.
#[derive(Clone, Debug)]
pub struct TelemetryReader {
    counter: PrometheusCounter,
    endpoint: Endpoint,
}

impl TelemetryReader {
    /// For what a scenario says, its placeholders filled in by `fill`.
    pub fn new(telemetry: &Telemetry, fill: impl Fn(&str) -> String) -> Self {
        let Telemetry::Prometheus(counter) = telemetry;
        let counter = PrometheusCounter {
            url: fill(&counter.url),
            labels: counter
                .labels
                .iter()
                .map(|(name, value)| (name.clone(), fill(value)))
                .collect(),
            ..counter.clone()
        };
        TelemetryReader {
            endpoint: Endpoint::new(counter.url.clone()),
            counter,
        }
    }

    /// Waits until the agent answers at all.
    pub async fn ready(&self) {
        while self.requests().await.is_err() {
            sleep(POLL).await;
        }
    }

    /// Requests that it accounts for so far; what it has not heard of counts as 0.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn requests(&self) -> Result<f64, ScrapeError> {
        let text = self.endpoint.text().await?;
        let PrometheusCounter { metric, labels, .. } = &self.counter;
        Ok(sum(&text, metric, labels, |_| true))
    }

    /// The same, once it has reached `expected` or has had its time to.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn settled(&self, expected: f64) -> Result<f64, ScrapeError> {
        let deadline = Instant::now() + self.settle();
        loop {
            let counted = self.requests().await?;
            if counted >= expected || Instant::now() >= deadline {
                return Ok(counted);
            }
            sleep(POLL).await;
        }
    }

    /// How long after the last answer its count may still rise.
    pub fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.counter.settle_seconds)
    }

    /// What is read, for messages: `seen_total{route="/objects"} at http://…`.
    pub fn describe(&self) -> String {
        let labels: Vec<String> = self
            .counter
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        format!("{}{labels} at {}", self.counter.metric, self.counter.url)
    }
}
