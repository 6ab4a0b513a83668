//! Overhead → money: what the differences of a run cost for a million requests, and for a month of
//! many replicas. Pure but for [`Prices::read`].
//!
//! A difference in CPU seconds per request is so many core-hours for a million requests, whatever
//! the rate. Memory is held for as long as requests come, so its share of one request depends on the
//! rate, which is the run's. Interval ends are priced as the estimate is; where CPU and memory are
//! added, so are their ends, which makes the sum's interval rather too wide than too narrow.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::report::console::Page;
use crate::report::format;
use crate::report::table::{
    Align::{Left, Right},
    Table,
};
use crate::report::{Comparison, Interval, Report};
use crate::sample::Subject;
use crate::yaml::{self, YamlError};

/// Requests that a price is given for.
const REQUESTS: f64 = 1e6;
/// Hours of an average month: 365 days of 24 hours, a twelfth.
const MONTH_HOURS: f64 = 730.0;
const HOUR_SECONDS: f64 = 3600.0;
const GIBIBYTE: f64 = (1u64 << 30) as f64;

/// What machines cost: a file of four lines.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Where the prices are from, in words; stands beside every figure.
    pub source: String,
    /// Their currency (ISO 4217).
    pub currency: String,
    /// One CPU, as the kernel counts them, for an hour.
    pub core_hour: f64,
    /// One GiB of memory for an hour.
    pub gibibyte_hour: f64,
}

impl Prices {
    /// Reads a file of prices.
    ///
    /// # Errors
    /// When it can't be read, or a price is no price.
    pub fn read(path: &Path) -> Result<Self, YamlError> {
        let prices: Prices = yaml::parse(path, &yaml::text("prices", path)?)?;
        for (name, price) in [
            ("core_hour", prices.core_hour),
            ("gibibyte_hour", prices.gibibyte_hour),
        ] {
            if !price.is_finite() || price < 0.0 {
                return Err(YamlError::form(
                    path,
                    format!("`{name}` is {price}; a price is 0 or more"),
                ));
            }
        }
        Ok(prices)
    }
}

/// What a difference comes to when one unit of it costs this.
fn priced(difference: &Comparison, price: f64) -> Interval {
    let difference = Interval {
        estimate: difference.overhead,
        low: difference.overhead_low,
        high: difference.overhead_high,
    };
    times(difference, price)
}

fn times(amount: Interval, factor: f64) -> Interval {
    Interval {
        estimate: amount.estimate * factor,
        low: amount.low.map(|low| low * factor),
        high: amount.high.map(|high| high * factor),
    }
}

fn sum(a: Interval, b: Interval) -> Interval {
    let both = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
    Interval {
        estimate: a.estimate + b.estimate,
        low: both(a.low, b.low),
        high: both(a.high, b.high),
    }
}

/// What one arm's overhead costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmPrice {
    /// The arm.
    pub scenario: String,
    /// Whose overhead: `total` where there is an agent beside the target, else `target`.
    pub subject: Subject,
    /// CPU time, for a million requests.
    pub cpu_per_million_requests: Interval,
    /// Memory, for the time that a million requests take at the run's rate; none where it was not measured.
    pub memory_per_million_requests: Option<Interval>,
    /// Both, for a million requests.
    pub per_million_requests: Interval,
    /// Both, for a month of all replicas at the run's rate each.
    pub per_month: Interval,
}

/// What a run's overheads cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// The prices that it rests on.
    pub prices: Prices,
    /// Requests per second of each replica: the run's rate.
    pub requests_per_second: f64,
    /// How many replicas a month is priced for.
    pub replicas: u32,
    /// The level of the intervals, 0–1.
    pub confidence: f64,
    /// Each arm that is compared with the baseline.
    pub arms: Vec<ArmPrice>,
}

/// Prices what a report says of its arms at its rate.
pub fn bill(report: &Report, prices: Prices, replicas: u32) -> Bill {
    let rate = report.request_rate;
    let cpu = REQUESTS / HOUR_SECONDS * prices.core_hour;
    let memory = REQUESTS / rate / HOUR_SECONDS / GIBIBYTE * prices.gibibyte_hour;
    let months = rate * HOUR_SECONDS * MONTH_HOURS / REQUESTS * f64::from(replicas);
    let arms = report.scenarios.iter().filter_map(|scenario| {
        let find = |metric, subject| {
            let mut all = report.comparisons.iter();
            all.find(|one| {
                (one.scenario.as_str(), one.metric, one.subject)
                    == (scenario.name.as_str(), metric, subject)
            })
        };
        let (subject, difference) = [Subject::Total, Subject::Target]
            .into_iter()
            .find_map(|subject| Some((subject, find(Metric::CpuSecondsPerRequest, subject)?)))?;
        let cpu = priced(difference, cpu);
        let held = find(Metric::MemoryWorkingSetBytes, subject).map(|held| priced(held, memory));
        let both = held.map_or(cpu, |held| sum(cpu, held));
        Some(ArmPrice {
            scenario: scenario.name.clone(),
            subject,
            cpu_per_million_requests: cpu,
            memory_per_million_requests: held,
            per_million_requests: both,
            per_month: times(both, months),
        })
    });
    Bill {
        arms: arms.collect(),
        requests_per_second: rate,
        replicas,
        confidence: report.confidence,
        prices,
    }
}

/// For people.
pub fn render(bill: &Bill) -> String {
    let Prices {
        source,
        currency,
        core_hour,
        gibibyte_hour,
    } = &bill.prices;
    let mut page = Page::default();
    page.line(&format!(
        "What the overheads cost, in {currency} ({} intervals)",
        format::level(bill.confidence)
    ));
    page.blank();
    let mut table = Table::new([
        ("scenario", Left),
        ("a million requests", Right),
        ("a month", Right),
    ]);
    for arm in &bill.arms {
        table.row([
            arm.scenario.clone(),
            amount(arm.per_million_requests),
            amount(arm.per_month),
        ]);
    }
    page.table(&table);
    page.blank();
    page.wrapped(
        "",
        "",
        &format!(
            "CPU and memory of target and agent together. A month is {MONTH_HOURS:.0} hours of {} replicas at {} requests per second each. {core_hour} {currency} a core-hour, {gibibyte_hour} {currency} a GiB-hour: {source}.",
            bill.replicas,
            format::number(bill.requests_per_second, 0)
        ),
    );
    page.text
}

fn amount(amount: Interval) -> String {
    let largest = [Some(amount.estimate), amount.low, amount.high];
    let largest = largest
        .into_iter()
        .flatten()
        .map(f64::abs)
        .fold(0.0, f64::max);
    // Three digits of the largest of the three.
    let decimals = match largest {
        0.0 => 2,
        some => (2 - some.log10().floor() as i32).clamp(0, 9),
    };
    let number = |value| format::number(value, decimals);
    match (amount.low, amount.high) {
        (Some(low), Some(high)) => format!(
            "{} ({} to {})",
            number(amount.estimate),
            number(low),
            number(high)
        ),
        _ => number(amount.estimate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn difference(metric: Metric, overhead: f64) -> Comparison {
        Comparison {
            scenario: "arm".into(),
            baseline: "baseline".into(),
            metric,
            subject: Subject::Total,
            quantile: None,
            headline: true,
            blocks: 8,
            overhead_ratio: 0.1,
            low: Some(0.05),
            high: Some(0.15),
            overhead,
            overhead_low: Some(overhead / 2.0),
            overhead_high: Some(overhead * 1.5),
            injected: None,
            p_value: None,
            permutation_p_value: None,
            adjusted_p_value: None,
            detectable_ratio: None,
            margin_ratio: 0.01,
            verdict: Verdict::Higher,
            reason: None,
            block_ratios: Vec::new(),
        }
    }

    fn prices() -> Prices {
        Prices {
            source: "nobody".into(),
            currency: "EUR".into(),
            core_hour: 0.036,
            gibibyte_hour: 0.01,
        }
    }

    /// By hand: 100 µs of a million requests are 100 s of a core, 1/36 of an hour: 0.001.
    #[test]
    fn a_million_requests() {
        let cpu = priced(
            &difference(Metric::CpuSecondsPerRequest, 100e-6),
            REQUESTS / HOUR_SECONDS * prices().core_hour,
        );
        assert!((cpu.estimate - 0.001).abs() < 1e-12, "{cpu:?}");
        assert!((cpu.low.unwrap() - 0.0005).abs() < 1e-12, "{cpu:?}");
        assert_eq!(amount(cpu), "0.00100 (0.00050 to 0.00150)");
    }

    #[test]
    fn prices_that_are_none_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prices.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Prices::read(&path).map_err(|error| error.to_string())
        };
        let good = "source: nobody\ncurrency: EUR\ncore_hour: 0.036\ngibibyte_hour: 0.01\n";
        assert_eq!(read(good), Ok(prices()));
        let negative = read(&good.replace("0.036", "-1")).unwrap_err();
        assert!(negative.contains("`core_hour` is -1"), "{negative}");
        let unknown = read(&good.replace("core_hour", "cpu_hour")).unwrap_err();
        assert!(unknown.contains("cpu_hour"), "{unknown}");
    }
}
