//! CPU seconds per request from what a server holds, without the harness's own arithmetic.
//!
//! # Why raw samples and not `rate()`
//! - Before v1.85.3 VictoriaMetrics silently extends the window of `rate(m[d])`
//!   when it lies close to the scrape interval, and its `increase()` reaches
//!   back to the sample before the window; Prometheus extrapolates to the
//!   window's edges instead. Three servers, three numbers.
//! - Scrapes jitter, so the first and last sample of the two counters lie at
//!   different distances from the window's edges. Each difference is therefore
//!   divided by the time between its own two samples:
//!   (Δcpu ÷ Δt of cpu) ÷ (Δrequests ÷ Δt of requests).
//!
//! What is left is the part of the window that the samples do not cover: up to
//! one interval at each edge. Under a constant rate that costs precision, not truth.
//!
//! [`pasted_query`] writes the customary expression, for looking at it by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::{Client, ClientError, Point, Series};
use crate::exporter::label_value;

/// Why the cross-check has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CrossCheckError {
    /// The server was not to be had.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nothing, or a single sample, lies in the window.
    #[error(
        "`{selector}` has {samples} sample{} between {start:.3} and {end:.3}, and a difference needs 2",
        if *samples == 1 { "" } else { "s" }
    )]
    TooFewSamples {
        /// The selector.
        selector: String,
        /// How many samples the window holds.
        samples: usize,
        /// The window's start, in seconds since the epoch.
        start: f64,
        /// Its end, in seconds since the epoch.
        end: f64,
    },
    /// The counter went back: what it counts was restarted inside the window.
    #[error(
        "`{selector}` fell from {before} to {after} at {time:.3}: it was restarted in the window"
    )]
    Reset {
        /// The selector.
        selector: String,
        /// The value before.
        before: f64,
        /// The value after.
        after: f64,
        /// When, in seconds since the epoch.
        time: f64,
    },
    /// Several series match, and they were not read at the same moments.
    #[error(
        "`{selector}` matches {series} series that were not read together (see {time:.3}); name one of them with further labels"
    )]
    NotTogether {
        /// The selector.
        selector: String,
        /// How many series match.
        series: usize,
        /// A moment at which one of them is missing, in seconds since the epoch.
        time: f64,
    },
    /// Nothing was counted.
    #[error("`{selector}` did not grow in the window, so there is nothing to divide by")]
    NoRequests {
        /// The selector.
        selector: String,
    },
}

/// Which two counters are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selectors {
    /// CPU seconds, such as `container_cpu_usage_seconds_total{container="target"}`.
    pub cpu: String,
    /// Requests, such as `http_requests_total{route="/objects"}`.
    pub requests: String,
}

impl Selectors {
    /// The CPU time of a container (on one machine: a role) and the requests of a route.
    pub fn new(container: &str, route: &str) -> Self {
        Selectors {
            cpu: format!(
                "container_cpu_usage_seconds_total{{container={}}}",
                label_value(container)
            ),
            requests: format!("http_requests_total{{route={}}}", label_value(route)),
        }
    }
}

/// What the window holds of a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterRate {
    /// How many samples lie in the window.
    pub samples: usize,
    /// The first of them.
    pub first: Point,
    /// The last of them.
    pub last: Point,
}

impl CounterRate {
    /// What it grew by per second between its first and its last sample.
    pub fn per_second(&self) -> f64 {
        (self.last.value - self.first.value) / (self.last.time - self.first.time)
    }
}

/// CPU seconds per request as the server's samples have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossCheck {
    /// CPU seconds per request.
    pub cpu_seconds_per_request: f64,
    /// The CPU counter, in seconds.
    pub cpu: CounterRate,
    /// The request counter.
    pub requests: CounterRate,
}

/// The rate of a counter inside a window (seconds since the epoch, edges
/// included), from the first to the last sample that lies in it.
///
/// Several series of one scrape (one per `status`, say) are added up; one that
/// appears later counts from 0, as a counter with a new label does.
///
/// # Errors
/// Fewer than two samples, a counter that goes back, or series that were not
/// read together.
pub fn counter_rate(
    selector: &str,
    series: &[Series],
    (start, end): (f64, f64),
) -> Result<CounterRate, CrossCheckError> {
    let points = add_up(selector, series, (start, end))?;
    let (Some(first), Some(last), true) = (points.first(), points.last(), points.len() >= 2) else {
        return Err(CrossCheckError::TooFewSamples {
            selector: selector.to_owned(),
            samples: points.len(),
            start,
            end,
        });
    };
    if let Some(pair) = points.windows(2).find(|pair| pair[1].value < pair[0].value) {
        return Err(CrossCheckError::Reset {
            selector: selector.to_owned(),
            before: pair[0].value,
            after: pair[1].value,
            time: pair[1].time,
        });
    }
    Ok(CounterRate {
        samples: points.len(),
        first: *first,
        last: *last,
    })
}

/// The sum of all series at each moment of the window, oldest first.
fn add_up(
    selector: &str,
    series: &[Series],
    (start, end): (f64, f64),
) -> Result<Vec<Point>, CrossCheckError> {
    // Servers keep milliseconds. Of two samples of one moment the later one is kept:
    // a reading that was scraped twice is there twice.
    let moments: Vec<BTreeMap<i64, f64>> = series
        .iter()
        .map(|one| {
            one.points
                .iter()
                .filter(|p| (start..=end).contains(&p.time))
                .map(|p| ((p.time * 1e3).round() as i64, p.value))
                .collect()
        })
        .filter(|moments: &BTreeMap<_, _>| !moments.is_empty())
        .collect();
    let mut sum: BTreeMap<i64, f64> = BTreeMap::new();
    for (moment, value) in moments.iter().flatten() {
        *sum.entry(*moment).or_default() += value;
    }
    for one in &moments {
        let first = *one.keys().next().expect("not empty");
        if let Some((missing, _)) = sum.range(first..).find(|(m, _)| !one.contains_key(m)) {
            return Err(CrossCheckError::NotTogether {
                selector: selector.to_owned(),
                series: moments.len(),
                time: *missing as f64 / 1e3,
            });
        }
    }
    Ok(sum
        .into_iter()
        .map(|(moment, value)| Point {
            time: moment as f64 / 1e3,
            value,
        })
        .collect())
}

/// CPU seconds per request inside a window (seconds since the epoch), from raw
/// samples of both counters.
///
/// # Errors
/// As [`counter_rate`], and [`CrossCheckError::NoRequests`].
pub fn cpu_seconds_per_request(
    selectors: &Selectors,
    cpu: &[Series],
    requests: &[Series],
    window: (f64, f64),
) -> Result<CrossCheck, CrossCheckError> {
    let cpu = counter_rate(&selectors.cpu, cpu, window)?;
    let requests = counter_rate(&selectors.requests, requests, window)?;
    if requests.per_second() <= 0.0 {
        return Err(CrossCheckError::NoRequests {
            selector: selectors.requests.clone(),
        });
    }
    Ok(CrossCheck {
        cpu_seconds_per_request: cpu.per_second() / requests.per_second(),
        cpu,
        requests,
    })
}

/// The customary PromQL for the same figure and the moment to evaluate it at
/// (seconds since the epoch). Its answer differs a little, for the reasons at
/// the head of this module.
pub fn pasted_query(selectors: &Selectors, (start, end): (f64, f64)) -> (String, f64) {
    let range = ((end - start) * 1e3).round() as u64;
    let range = if range.is_multiple_of(1000) {
        format!("{}s", range / 1000)
    } else {
        format!("{range}ms")
    };
    (
        format!(
            "sum(increase({}[{range}])) / sum(increase({}[{range}]))",
            selectors.cpu, selectors.requests
        ),
        end,
    )
}

/// Asks a server for CPU seconds per request inside a window (seconds since the epoch).
///
/// Fresh rows are not visible at once. This asks for them to be flushed, and
/// then until each counter has a sample at or after the window's end, or until
/// `patience` (a few seconds) is over; what is visible then is what counts.
/// Call it while the target still lives, or give it all the patience.
///
/// # Errors
/// [`CrossCheckError`], naming the address, the expression, or what the window lacks.
pub async fn cross_check(
    client: &Client,
    selectors: &Selectors,
    window: (f64, f64),
    patience: Duration,
) -> Result<CrossCheck, CrossCheckError> {
    const PAUSE: Duration = Duration::from_millis(250);
    let (start, end) = window;
    let deadline = Instant::now() + patience;
    loop {
        // Not every server can be told; for those the loop does the waiting.
        if let Err(error) = client.flush().await {
            log::debug!("no flush: {error}");
        }
        let later = end + patience.as_secs_f64();
        let cpu = client.raw(&selectors.cpu, start, later).await?;
        let requests = client.raw(&selectors.requests, start, later).await?;
        let complete = reaches(&cpu, end) && reaches(&requests, end);
        if complete || Instant::now() >= deadline {
            return cpu_seconds_per_request(selectors, &cpu, &requests, window);
        }
        sleep(PAUSE).await;
    }
}

/// Whether any series has a sample at or after `end`. (Samples become visible
/// a scrape at a time, so one series speaks for those beside it.)
fn reaches(series: &[Series], end: f64) -> bool {
    series
        .iter()
        .any(|one| one.points.last().is_some_and(|last| last.time >= end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(points: &[(f64, f64)]) -> Series {
        Series {
            labels: BTreeMap::new(),
            points: points
                .iter()
                .map(|&(time, value)| Point { time, value })
                .collect(),
        }
    }

    fn rate(all: &[Series], window: (f64, f64)) -> Result<CounterRate, CrossCheckError> {
        counter_rate("m", all, window)
    }

    #[test]
    fn hand_computed() {
        let selectors = Selectors::new("target", "/objects");
        // 0.3 CPU seconds in 3 s, 400 requests in 2 s: 0.1 ÷ 200.
        let cpu = [series(&[
            (9.0, 0.0),
            (10.5, 1.0),
            (12.5, 1.2),
            (13.5, 1.3),
            (14.5, 9.0),
        ])];
        let requests = [series(&[
            (9.9, 5.0),
            (11.0, 100.0),
            (13.0, 500.0),
            (15.0, 900.0),
        ])];
        let check = cpu_seconds_per_request(&selectors, &cpu, &requests, (10.0, 14.0)).unwrap();
        assert!((check.cpu_seconds_per_request - 5e-4).abs() < 1e-12);
        assert_eq!((check.cpu.samples, check.requests.samples), (3, 2));
    }

    #[test]
    fn edges_belong_to_the_window_and_doubles_count_once() {
        let all = [series(&[
            (10.0, 1.0),
            (11.0, 2.0),
            (11.0, 2.0),
            (12.0, 3.0),
        ])];
        let rate = rate(&all, (10.0, 12.0)).unwrap();
        assert_eq!(rate.samples, 3);
        assert_eq!(rate.per_second(), 1.0);
    }

    #[test]
    fn too_few_samples_are_counted_out() {
        let one = [series(&[(10.0, 1.0), (20.0, 2.0)])];
        let error = rate(&one, (5.0, 15.0)).unwrap_err().to_string();
        assert!(error.contains("has 1 sample between"), "{error}");
        let error = rate(&[], (5.0, 15.0)).unwrap_err().to_string();
        assert!(error.contains("has 0 samples between"), "{error}");
    }

    #[test]
    fn a_restart_is_an_error() {
        let all = [series(&[(10.0, 100.0), (11.0, 3.0), (12.0, 200.0)])];
        let error = rate(&all, (10.0, 12.0)).unwrap_err();
        assert!(matches!(error, CrossCheckError::Reset { before, .. } if before == 100.0));
        // Outside the window it is another trial's business.
        assert!(rate(&all, (10.5, 12.0)).is_ok());
    }

    #[test]
    fn series_of_one_scrape_add_up_and_may_start_late() {
        let ok = series(&[(10.0, 100.0), (11.0, 200.0), (12.0, 300.0)]);
        let failed = series(&[(11.0, 7.0), (12.0, 10.0)]);
        let sum = rate(&[ok.clone(), failed], (10.0, 12.0)).unwrap();
        assert_eq!((sum.first.value, sum.last.value), (100.0, 310.0));
        let elsewhere = series(&[(10.3, 5.0), (11.3, 6.0), (12.3, 7.0)]);
        let error = rate(&[ok, elsewhere], (10.0, 12.5)).unwrap_err();
        assert!(
            matches!(error, CrossCheckError::NotTogether { series: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn nothing_served_is_an_error() {
        let selectors = Selectors::new("target", "/objects");
        let cpu = [series(&[(10.0, 1.0), (11.0, 1.1)])];
        let requests = [series(&[(10.0, 5.0), (11.0, 5.0)])];
        let error = cpu_seconds_per_request(&selectors, &cpu, &requests, (10.0, 11.0)).unwrap_err();
        assert!(matches!(error, CrossCheckError::NoRequests { .. }));
    }

    #[test]
    fn the_query_to_paste() {
        let selectors = Selectors::new("target", r#"/a"b"#);
        let (promql, time) = pasted_query(&selectors, (100.0, 104.5));
        assert_eq!(
            promql,
            r#"sum(increase(container_cpu_usage_seconds_total{container="target"}[4500ms])) / sum(increase(http_requests_total{route="/a\"b"}[4500ms]))"#
        );
        assert_eq!(time, 104.5);
        assert!(pasted_query(&selectors, (0.0, 10.0)).0.contains("[10s]"));
    }

    proptest! {
        /// Two steady counters give their ratio, wherever their scrapes fall in the window.
        #[test]
        fn jitter_does_not_bias(
            cpu_offset in 0.0f64..1.0,
            requests_offset in 0.0f64..1.0,
            jitter in proptest::collection::vec(-0.1f64..0.1, 12),
            cost in 1e-6f64..1e-2,
            per_second in 1.0f64..1e5,
        ) {
            let steady = |offset: f64, slope: f64| {
                let points: Vec<_> = jitter
                    .iter()
                    .enumerate()
                    .map(|(n, jitter)| (1e3 * (1000.0 + offset + n as f64 + jitter)).round() / 1e3)
                    .map(|time| (time, slope * (time - 900.0)))
                    .collect();
                [series(&points)]
            };
            let check = cpu_seconds_per_request(
                &Selectors::new("target", "/"),
                &steady(cpu_offset, cost * per_second),
                &steady(requests_offset, per_second),
                (1001.0, 1010.0),
            ).unwrap();
            prop_assert!((check.cpu_seconds_per_request / cost - 1.0).abs() < 1e-6);
        }
    }
}
