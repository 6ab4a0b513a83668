//! The target's own request counter, from its `/metrics`.

use std::time::Duration;

use prometheus_parse::{Scrape, Value};

/// The target's counter can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TargetMetricsError {
    /// No answer.
    #[error("cannot read {url}: {source}")]
    Request {
        /// The address.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An answer without the counter.
    #[error("{url} has no `http_requests_total` with route, method and status")]
    Missing {
        /// The address.
        url: String,
    },
}

/// Asks the target what it has answered.
#[derive(Clone, Debug)]
pub struct TargetMetrics {
    client: reqwest::Client,
    url: String,
    route: String,
}

impl TargetMetrics {
    /// For the target at `base` (such as `http://127.0.0.1:8080`) and the
    /// route that is measured, which is the load's path without its query.
    pub fn new(base: &str, path: &str) -> Self {
        TargetMetrics {
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(5))
                .build()
                .expect("a client without TLS can always be built"),
            url: format!("{base}/metrics"),
            route: path.split('?').next().unwrap_or(path).to_owned(),
        }
    }

    /// 2xx answers that the target has handed to the kernel, on the measured route.
    ///
    /// # Errors
    /// When the target does not answer, or has no such counter.
    pub async fn requests(&self) -> Result<f64, TargetMetricsError> {
        let failed = |source| TargetMetricsError::Request {
            url: self.url.clone(),
            source,
        };
        let text = self
            .client
            .get(&self.url)
            .send()
            .await
            .and_then(|response| response.error_for_status())
            .map_err(failed)?
            .text()
            .await
            .map_err(failed)?;
        count(&text, &self.route).ok_or_else(|| TargetMetricsError::Missing {
            url: self.url.clone(),
        })
    }
}

/// Sum of `http_requests_total` over a route's 2xx answers. None when the text
/// has no such metric at all; a route that was never asked counts as 0.
fn count(text: &str, route: &str) -> Option<f64> {
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).ok()?;
    let declared = text.contains("http_requests_total");
    declared.then(|| {
        scrape
            .samples
            .iter()
            .filter(|sample| {
                sample.metric == "http_requests_total"
                    && sample.labels.get("route") == Some(route)
                    && sample
                        .labels
                        .get("status")
                        .is_some_and(|status| status.starts_with('2'))
            })
            .map(|sample| match sample.value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
                _ => 0.0,
            })
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP http_requests_total Requests answered.
# TYPE http_requests_total counter
http_requests_total{method="GET",route="/objects",status="200"} 41
http_requests_total{method="HEAD",route="/objects",status="200"} 1
http_requests_total{method="GET",route="/objects",status="400"} 7
http_requests_total{method="GET",route="/metrics",status="200"} 9
"#;

    #[test]
    fn only_the_route_and_2xx_count() {
        assert_eq!(count(TEXT, "/objects"), Some(42.0));
        assert_eq!(count(TEXT, "/other"), Some(0.0));
        assert_eq!(count("up 1\n", "/objects"), None);
        assert_eq!(count("", "/objects"), None);
    }
}
