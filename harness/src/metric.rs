//! The one table of metrics: name, unit, which direction is better.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A statistic that a trial yields and a report claims.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// CPU time per answered request.
    CpuSecondsPerRequest,
    /// Mean of the window: memory charged less the file cache that can be dropped at once.
    MemoryWorkingSetBytes,
    /// Highest memory charge since the role started.
    MemoryPeakBytes,
    /// Time from the intended start to the last byte of the answer; has a quantile.
    RequestDurationSeconds,
    /// Complete 2xx answers per second of the window.
    RequestsPerSecond,
    /// Failed or unsent requests ÷ offered requests.
    ErrorRatio,
    /// Time in which a CPU quota kept the role from running.
    CpuThrottledSeconds,
    /// Time from the start of the process to its first answer.
    StartupSeconds,
    /// The highest rate that an experiment's search found the role to sustain.
    SustainedRequestsPerSecond,
    /// The smallest memory limit that an experiment's search found the role to survive.
    MemoryLimitBytes,
    /// Periods of the CPU quota in which it held the role back ÷ periods, at the sustained rate.
    CpuThrottledPeriodsRatio,
}

/// The unit in which a metric is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A ratio, 0–1.
    Ratio,
    /// Per second.
    PerSecond,
}

impl Metric {
    /// Every metric, in the order in which reports list them.
    pub const ALL: [Metric; 11] = [
        Metric::CpuSecondsPerRequest,
        Metric::MemoryWorkingSetBytes,
        Metric::MemoryPeakBytes,
        Metric::RequestDurationSeconds,
        Metric::RequestsPerSecond,
        Metric::ErrorRatio,
        Metric::CpuThrottledSeconds,
        Metric::StartupSeconds,
        Metric::SustainedRequestsPerSecond,
        Metric::MemoryLimitBytes,
        Metric::CpuThrottledPeriodsRatio,
    ];

    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::CpuSecondsPerRequest => "cpu_seconds_per_request",
            Metric::MemoryWorkingSetBytes => "memory_working_set_bytes",
            Metric::MemoryPeakBytes => "memory_peak_bytes",
            Metric::RequestDurationSeconds => "request_duration_seconds",
            Metric::RequestsPerSecond => "requests_per_second",
            Metric::ErrorRatio => "error_ratio",
            Metric::CpuThrottledSeconds => "cpu_throttled_seconds",
            Metric::StartupSeconds => "startup_seconds",
            Metric::SustainedRequestsPerSecond => "sustained_requests_per_second",
            Metric::MemoryLimitBytes => "memory_limit_bytes",
            Metric::CpuThrottledPeriodsRatio => "cpu_throttled_periods_ratio",
        }
    }

    /// The unit of its values.
    pub fn unit(self) -> Unit {
        match self {
            Metric::CpuSecondsPerRequest
            | Metric::RequestDurationSeconds
            | Metric::CpuThrottledSeconds
            | Metric::StartupSeconds => Unit::Seconds,
            Metric::MemoryWorkingSetBytes | Metric::MemoryPeakBytes | Metric::MemoryLimitBytes => {
                Unit::Bytes
            }
            Metric::ErrorRatio | Metric::CpuThrottledPeriodsRatio => Unit::Ratio,
            Metric::RequestsPerSecond | Metric::SustainedRequestsPerSecond => Unit::PerSecond,
        }
    }
}

impl Metric {
    /// A change within ± this counts as none, for a figure of this size.
    ///
    /// Tails, peaks and start-up move more from run to run than means do, and
    /// a smaller change of them is nobody's concern.
    pub fn margin_ratio(self, base: f64) -> f64 {
        let ratio = match self {
            Metric::CpuSecondsPerRequest | Metric::MemoryWorkingSetBytes => 0.02,
            _ => 0.05,
        };
        if base > 0.0 {
            f64::max(ratio, self.resolution() / base)
        } else {
            ratio
        }
    }

    /// The smallest step in which it is known, in its unit.
    ///
    /// The kernel charges memory to a cgroup in batches of 64 pages a CPU
    /// (`MEMCG_CHARGE_BATCH` in `include/linux/memcontrol.h`): a smaller
    /// difference says how the batches fell, not what is used. A limit is held
    /// to the page: before a charge fails, what is left of batches is given back.
    pub fn resolution(self) -> f64 {
        match (self, self.unit()) {
            (Metric::MemoryLimitBytes, _) => 4096.0,
            (_, Unit::Bytes) => 64.0 * 4096.0,
            _ => 0.0,
        }
    }

    /// Whether a higher value is the better one.
    pub fn more_is_better(self) -> bool {
        matches!(
            self,
            Metric::RequestsPerSecond | Metric::SustainedRequestsPerSecond
        )
    }

    /// Whether arms are compared by it. The rate is the same for all by design,
    /// and errors and throttling make a trial invalid; zeros have no ratio.
    pub fn is_compared(self) -> bool {
        !matches!(
            self,
            Metric::RequestsPerSecond
                | Metric::ErrorRatio
                | Metric::CpuThrottledSeconds
                | Metric::CpuThrottledPeriodsRatio
        )
    }

    /// Whether a change of it is a claim fixed in advance.
    pub fn is_headline(self) -> bool {
        matches!(
            self,
            Metric::CpuSecondsPerRequest
                | Metric::MemoryWorkingSetBytes
                | Metric::SustainedRequestsPerSecond
                | Metric::MemoryLimitBytes
        )
    }
}

/// The quantiles of request duration that every trial reports.
pub const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];
