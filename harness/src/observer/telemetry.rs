//! What an agent's own output accounts for.
//!
//! Whatever the kind of output, what is read is one counter of requests, at
//! moments when none is under way, so that it can be set exactly against what
//! the target served between the same two moments.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::prometheus::{Endpoint, ScrapeError, series};
use crate::intake::exposition;
use crate::scenario::{Counted, PrometheusCounter, Telemetry};

/// How much longer than it settles a count is awaited that goes on to rise.
const RISING: Duration = Duration::from_secs(30);

/// Asks an agent's output how many requests it accounts for.
#[derive(Clone, Debug)]
pub struct TelemetryReader {
    counter: PrometheusCounter,
    endpoint: Endpoint,
    /// Whether the count is that of the intake, which exporters send to in
    /// batches: it has settled when it stands still.
    intake: bool,
}

impl TelemetryReader {
    /// For what a scenario says, its placeholders filled in by `fill`; `intake`
    /// is where the intake, if there is one, serves its counts.
    pub fn new(telemetry: &Telemetry, intake: Option<&str>, fill: impl Fn(&str) -> String) -> Self {
        Self::made(telemetry, intake, None, fill)
    }

    /// The same, read where the scenario's own address means nothing: in a cluster.
    pub fn at(endpoint: Endpoint, telemetry: &Telemetry, fill: impl Fn(&str) -> String) -> Self {
        Self::made(telemetry, None, Some(endpoint), fill)
    }

    fn made(
        telemetry: &Telemetry,
        intake: Option<&str>,
        endpoint: Option<Endpoint>,
        fill: impl Fn(&str) -> String,
    ) -> Self {
        let counter = match telemetry {
            Telemetry::Prometheus(counter) => counter.clone(),
            Telemetry::Intake(count) => PrometheusCounter {
                url: format!("http://{}/metrics", intake.unwrap_or_default()),
                metric: match count.count {
                    Counted::ServerSpans => exposition::SPANS,
                    Counted::DatadogStats => exposition::STATS_HITS,
                }
                .to_owned(),
                labels: [("kind", "server"), ("route", &count.route)]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                settle_seconds: count.settle_seconds,
            },
        };
        let endpoint = endpoint.unwrap_or_else(|| Endpoint::new(fill(&counter.url)));
        let counter = PrometheusCounter {
            url: endpoint.url.clone(),
            labels: counter
                .labels
                .iter()
                .map(|(name, value)| (name.clone(), fill(value)))
                .collect(),
            ..counter
        };
        TelemetryReader {
            intake: matches!(telemetry, Telemetry::Intake(_)),
            endpoint,
            counter,
        }
    }

    /// Waits until the agent answers at all.
    pub async fn ready(&self) {
        while self.requests().await.is_err() {
            sleep(self.endpoint.poll()).await;
        }
    }

    /// Requests that it accounts for so far; what it has not heard of counts as 0.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn requests(&self) -> Result<f64, ScrapeError> {
        let text = self.endpoint.text().await?;
        let PrometheusCounter { metric, labels, .. } = &self.counter;
        let counted = series(&text).filter(|series| {
            let has = |(name, value)| series.labels.get(name) == Some(value);
            series.metric == *metric && labels.iter().all(has)
        });
        Ok(counted.map(|series| series.value).sum())
    }

    /// The same, once it has reached `expected`, or has had its time to and rises no more.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn settled(&self, expected: f64) -> Result<f64, ScrapeError> {
        let mut deadline = Instant::now() + self.settle();
        let last = deadline + RISING;
        let mut before = None;
        loop {
            let counted = self.requests().await?;
            if self.intake && before.is_some_and(|before| counted > before) {
                deadline = last.min(Instant::now() + self.settle());
            }
            // Who is held up past the time looks once more: what was read before says nothing of now.
            let now = Instant::now();
            let over = now >= last || (now >= deadline && before == Some(counted));
            if counted >= expected || over {
                return Ok(counted);
            }
            before = Some(counted);
            sleep(self.endpoint.poll()).await;
        }
    }

    /// Waits until the agent accounts for a request that the target has answered,
    /// with one more by `ask` each time that it did not: the proof that it works
    /// before any load.
    ///
    /// Gives what it counts then, and 0 when it saw nothing within `limit`.
    ///
    /// # Errors
    /// When there is no answer, or `ask` fails.
    pub async fn proven<E: From<ScrapeError>>(
        &self,
        limit: Duration,
        ask: impl AsyncFn() -> Result<(), E>,
    ) -> Result<f64, E> {
        let began = Instant::now();
        let mut counted = self.settled(1.0).await?;
        // An agent that answers before it watches misses the first requests.
        let missed = counted < 1.0;
        while counted < 1.0 && began.elapsed() < limit {
            ask().await?;
            counted = self.settled(1.0).await?;
        }
        if missed {
            // One that it merely reports late must not be taken for the load's.
            sleep(self.settle()).await;
            counted = self.requests().await?;
        }
        Ok(counted)
    }

    /// How long after the last answer its count may still rise.
    pub fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.counter.settle_seconds)
    }

    /// What is read, for messages: `seen_total{route="/objects"} at http://…`.
    pub fn describe(&self) -> String {
        if self.intake {
            let PrometheusCounter { metric, labels, .. } = &self.counter;
            let what = match metric.as_str() {
                exposition::STATS_HITS => "hits in the statistics of server spans",
                _ => "server spans",
            };
            return format!("the count of {what} of {} at the intake", labels["route"]);
        }
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
