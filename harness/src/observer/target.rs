//! The target's own request counter, from its `/metrics`.

use std::collections::BTreeMap;

use super::prometheus::{Endpoint, ScrapeError, sum};

/// The target's counter can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TargetMetricsError {
    /// No answer.
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
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
    endpoint: Endpoint,
    route: String,
}

impl TargetMetrics {
    /// For the target at `base` (such as `http://127.0.0.1:8080`) and the
    /// route that is measured.
    pub fn new(base: &str, route: &str) -> Self {
        Self::at(Endpoint::new(format!("{base}/metrics")), route)
    }

    /// For what serves a target's metrics.
    pub fn at(endpoint: Endpoint, route: &str) -> Self {
        TargetMetrics {
            endpoint,
            route: route.to_owned(),
        }
    }

    /// 2xx answers that the target has handed to the kernel, on the measured route.
    ///
    /// # Errors
    /// When the target does not answer, or has no such counter.
    pub async fn requests(&self) -> Result<f64, TargetMetricsError> {
        let text = self.endpoint.text().await?;
        count(&text, &self.route).ok_or_else(|| TargetMetricsError::Missing {
            url: self.endpoint.url.clone(),
        })
    }
}

/// Sum of `http_requests_total` over a route's 2xx answers. None when the text
/// has no such metric at all; a route that was never asked counts as 0.
fn count(text: &str, route: &str) -> Option<f64> {
    const COUNTER: &str = "http_requests_total";
    let labels = BTreeMap::from([("route".to_owned(), route.to_owned())]);
    text.contains(COUNTER).then(|| {
        sum(text, COUNTER, &labels, |sample| {
            let status = sample.labels.get("status");
            status.is_some_and(|status| status.starts_with('2'))
        })
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
