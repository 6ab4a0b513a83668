//! Load: what is sent to the target, and what came of it.

use serde::{Deserialize, Serialize};

pub mod k6;

/// One trial's load, the same for every driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// Where every request goes, such as `http://127.0.0.1:8080/objects`.
    pub url: String,
    /// Whether requests accept gzip.
    pub gzip: bool,
    /// Keep-alive connections.
    pub connections: u32,
    /// Offered rate, in requests per second.
    pub rate: f64,
    /// Load before the window, in seconds.
    pub warmup_seconds: f64,
    /// The window, in seconds.
    pub measure_seconds: f64,
    /// How long an answer may take before the request counts as failed, in seconds.
    pub timeout_seconds: f64,
}

/// What came of one trial's load, counted over its window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadResult {
    /// Requests whose intended start lies in the window.
    pub offered: u64,
    /// Complete 2xx answers received in the window.
    pub completed: u64,
    /// Requests of the window that failed.
    pub failed: u64,
    /// Requests of the window that were never sent.
    pub dropped: u64,
    /// Length of the window, in seconds.
    pub window_seconds: f64,
    /// How late requests were handed to a connection, 99th percentile, in seconds.
    pub send_lag_seconds: Option<f64>,
    /// Request durations: `[upper bound in seconds, count]` of each bucket that is not empty.
    pub buckets: Vec<(f64, u64)>,
    /// Request durations where the driver gives no histogram: `[quantile, seconds]`.
    pub quantiles: Vec<(f64, f64)>,
    /// The first few failures, in words.
    pub failures: Vec<String>,
}
