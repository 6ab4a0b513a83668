//! The tables of a report, as text: what console, Markdown and HTML all show.

use super::claims::{self, Claim};
use super::format;
use super::table::{
    Align::{Left, Right},
    Table,
};
use super::words;
use super::{Report, ScenarioReport, ScenarioStatus, Statistic};
use crate::metric::{Metric, Unit};
use crate::sample::Subject;
use crate::trial::Ledger;

/// The order in which whose figures are listed.
pub const SUBJECTS: [Subject; 8] = [
    Subject::Target,
    Subject::Agent,
    Subject::Total,
    Subject::Load,
    Subject::Intake,
    Subject::Harness,
    Subject::VictoriaMetrics,
    Subject::Node,
];

/// Every statistic of a scenario.
pub fn figures(scenario: &ScenarioReport) -> Table {
    let mut table = Table::new([
        ("figure", Left),
        ("of", Left),
        ("estimate", Right),
        ("interval", Right),
        ("spread", Right),
    ]);
    for statistic in sorted(&scenario.statistics) {
        if statistic.subject == Subject::Total && !scenario.has_agent() {
            continue;
        }
        let estimate = words::estimate(statistic);
        table.row([
            words::metric(statistic.metric, statistic.quantile),
            words::subject(statistic.subject).to_owned(),
            estimate.point,
            estimate.interval.unwrap_or_default(),
            statistic
                .coefficient_of_variation
                .map_or(String::new(), words::share),
        ]);
    }
    table.without_empty_columns()
}

fn sorted(statistics: &[Statistic]) -> Vec<&Statistic> {
    let rank = |subject| SUBJECTS.iter().position(|s| *s == subject);
    let mut sorted: Vec<&Statistic> = statistics.iter().collect();
    sorted.sort_by(|a, b| {
        a.metric
            .cmp(&b.metric)
            .then(rank(a.subject).cmp(&rank(b.subject)))
            .then(
                a.quantile
                    .unwrap_or(0.0)
                    .total_cmp(&b.quantile.unwrap_or(0.0)),
            )
    });
    sorted
}

/// One row per scenario; none with a single one, nor where searches took the place of costs.
pub fn overview(report: &Report) -> Option<Table> {
    if report.scenarios.len() < 2 || report.experiment.is_some() {
        return None;
    }
    let mut table = Table::new([
        ("scenario", Left),
        ("trials", Left),
        ("target CPU", Right),
        ("agent CPU", Right),
        ("total CPU", Right),
        ("target memory", Right),
        ("p99", Right),
        ("yield", Right),
    ]);
    for scenario in &report.scenarios {
        let point = |metric, subject| {
            words::statistic(scenario, metric, subject)
                .map_or(String::new(), |s| words::estimate(s).point)
        };
        let p99 = scenario
            .statistics
            .iter()
            .find(|s| s.metric == Metric::RequestDurationSeconds && s.quantile == Some(0.99));
        table.row([
            scenario.name.clone(),
            trials(scenario),
            point(Metric::CpuSecondsPerRequest, Subject::Target),
            point(Metric::CpuSecondsPerRequest, Subject::Agent),
            point(Metric::CpuSecondsPerRequest, Subject::Total),
            point(Metric::MemoryWorkingSetBytes, Subject::Target),
            p99.map_or(String::new(), |s| words::estimate(s).point),
            scenario
                .telemetry_yield_ratio
                .map_or(String::new(), words::yielded),
        ]);
    }
    Some(table.without_empty_columns())
}

/// What each arm sent to the intake, per request that its target served; none
/// where no arm sent anything there.
pub fn delivered(report: &Report) -> Option<Table> {
    let mut table = Table::new([
        ("scenario", Left),
        ("yield", Right),
        ("spans", Right),
        ("metric points", Right),
        ("log records", Right),
        ("hits in statistics", Right),
        ("bytes sent", Right),
        ("refused", Right),
    ]);
    for scenario in &report.scenarios {
        let Some(delivered) = &scenario.delivered else {
            continue;
        };
        let each = |count: u64, digits| match count {
            0 => String::new(),
            _ if delivered.served == 0 => "n/a".to_owned(),
            _ => match count as f64 / delivered.served as f64 {
                few if few < 5e-4 => "< 0.001".to_owned(),
                ratio => format::number(ratio, digits),
            },
        };
        let refused = delivered.rejected.values().sum();
        table.row([
            scenario.name.clone(),
            scenario
                .telemetry_yield_ratio
                .map_or(String::new(), words::yielded),
            each(delivered.spans, 3),
            each(delivered.metric_points.values().sum(), 3),
            each(delivered.log_records, 3),
            each(delivered.stats_hits, 3),
            each(delivered.bytes, 0),
            match refused {
                0 => String::new(),
                refused => format::count(refused),
            },
        ]);
    }
    (!table.rows.is_empty()).then(|| table.without_empty_columns())
}

/// How many trials count, and the status where it is not ok.
fn trials(scenario: &ScenarioReport) -> String {
    let counted = format!("{}/{}", scenario.trials, scenario.planned_trials);
    match scenario.status {
        ScenarioStatus::Ok => counted,
        status if scenario.planned_trials == 0 => words::status(status).to_owned(),
        status => format!("{counted}, {}", words::status(status)),
    }
}

/// Each arm against the baseline, by the claims fixed in advance or by the
/// other figures; none when nothing was compared.
pub fn comparisons(report: &Report, headline: bool) -> Option<Table> {
    let mut table = Table::new([
        ("figure", Left),
        ("of", Left),
        ("scenario", Left),
        ("overhead", Right),
        ("its interval", Right),
        ("change", Right),
        ("interval", Right),
        ("verdict", Left),
        ("p, corrected", Right),
        ("two baselines", Right),
        ("could see", Right),
        ("blocks", Right),
    ]);
    for claim in claims::claims(report, headline) {
        let noise = noise_interval(report, claim);
        for comparison in claims::of_claim(report, claim) {
            let added = words::added(comparison);
            let change = format::change(comparison.overhead_ratio, comparison.low, comparison.high);
            let p = comparison.adjusted_p_value.or(comparison.p_value);
            table.row([
                words::metric(claim.metric, claim.quantile),
                words::subject(claim.subject).to_owned(),
                comparison.scenario.clone(),
                added.point,
                added.interval.unwrap_or_default(),
                change.point,
                change.interval.unwrap_or_default(),
                words::verdict(comparison.verdict).to_owned(),
                p.map_or(String::new(), format::p_value),
                noise.clone().unwrap_or_default(),
                smallest(comparison.detectable_ratio),
                comparison.blocks.to_string(),
            ]);
        }
    }
    (!table.rows.is_empty()).then(|| table.without_empty_columns())
}

/// Between which changes two identical baselines lie in a figure.
pub fn noise_interval(report: &Report, claim: Claim) -> Option<String> {
    let floor = claims::noise(report, claim)?;
    format::change(floor.overhead_ratio, floor.low, floor.high).interval
}

/// The smallest change that could have been seen.
fn smallest(ratio: Option<f64>) -> String {
    let text = |ratio| format::change(ratio, None, None).point.replace('+', "");
    ratio.map_or(String::new(), text)
}

/// What separates two identical baselines, by figure; none when there was no second one.
pub fn noise_floor(report: &Report) -> Option<Table> {
    let mut table = Table::new([
        ("figure", Left),
        ("of", Left),
        ("difference", Right),
        ("interval", Right),
        ("p", Right),
        ("could see", Right),
        ("blocks", Right),
    ]);
    for claim in claims::noise_claims(report) {
        let Some(floor) = claims::noise(report, claim) else {
            continue;
        };
        let change = format::change(floor.overhead_ratio, floor.low, floor.high);
        table.row([
            words::metric(claim.metric, claim.quantile),
            words::subject(claim.subject).to_owned(),
            change.point,
            change.interval.unwrap_or_default(),
            floor.p_value.map_or(String::new(), format::p_value),
            smallest(floor.detectable_ratio),
            floor.blocks.to_string(),
        ]);
    }
    (!table.rows.is_empty()).then(|| table.without_empty_columns())
}

/// What one copy of the agent's programs adds to a request, by who pays; none
/// in a run that amplifies nothing.
pub fn amplification(report: &Report) -> Option<Table> {
    let mut table = Table::new([
        ("CPU time of", Left),
        ("one copy", Right),
        ("interval", Right),
        ("two baselines", Right),
        ("beside its copies", Right),
        ("its interval", Right),
        ("bend", Right),
    ]);
    for slope in &report.amplification.as_ref()?.slopes {
        let (copy, interval) = words::amount(slope.per_copy);
        let (beside, its_interval) = words::amount(slope.beside_copies);
        table.row([
            words::payer(slope.of).to_owned(),
            copy,
            interval,
            words::amount(slope.two_baselines).1,
            beside,
            its_interval,
            slope
                .bend
                .map_or(String::new(), |bend| words::amount(bend).1),
        ]);
    }
    (!table.rows.is_empty()).then(|| table.without_empty_columns())
}

/// What each arm's searches found, and how far that is from the baseline: rates as a ratio,
/// memory in its unit; none without an experiment.
pub fn experiment(report: &Report) -> Option<Table> {
    let experiment = report.experiment.as_ref()?;
    let metric = experiment.metric();
    let mut table = Table::new([
        ("scenario", Left),
        ("found", Right),
        ("interval", Right),
        ("change", Right),
        ("its interval", Right),
        ("p99 there", Right),
        ("throttled", Right),
        ("agent's memory", Right),
    ]);
    let cells = |estimate: Option<format::Estimate>| {
        let cells = estimate.map(|e| [e.point, e.interval.unwrap_or_default()]);
        cells.unwrap_or_default()
    };
    for scenario in report.scenarios.iter().filter(|s| s.planned_trials > 0) {
        let of = |metric, subject| words::statistic(scenario, metric, subject);
        let point = |found: Option<&Statistic>| {
            found.map_or(String::new(), |found| words::estimate(found).point)
        };
        let mut compared = claims::contenders(report);
        let compared = compared.find(|c| c.scenario == scenario.name && c.metric == metric);
        let change = compared.map(|c| match experiment.is_of_rates() {
            true => format::change(c.overhead_ratio, c.low, c.high),
            false => words::added(c),
        });
        let bounded =
            |s: &&Statistic| s.metric == Metric::RequestDurationSeconds && s.quantile == Some(0.99);
        let p99 = scenario.statistics.iter().find(bounded);
        let p99 = p99.filter(|_| experiment.is_of_rates());
        let [found, interval] = cells(of(metric, Subject::Target).map(words::estimate));
        let [change, its_interval] = cells(change);
        table.row([
            scenario.name.clone(),
            found,
            interval,
            change,
            its_interval,
            point(p99),
            of(Metric::CpuThrottledPeriodsRatio, Subject::Target)
                .map_or(String::new(), |s| words::share(s.estimate)),
            point(of(Metric::MemoryPeakBytes, Subject::Agent)),
        ]);
    }
    (!table.rows.is_empty()).then(|| table.without_empty_columns())
}

/// Where the machine's CPU time went.
pub fn ledger(ledger: &Ledger) -> Table {
    let mut table = Table::new([
        ("CPU time of", Left),
        ("seconds", Right),
        ("share", Right),
        ("per request", Right),
    ]);
    let mut add = |name: &str, seconds: f64| {
        let share = if ledger.node_busy_seconds > 0.0 {
            words::share(seconds / ledger.node_busy_seconds)
        } else {
            String::new()
        };
        let per_request = match ledger.requests {
            0 => String::new(),
            requests => format::quantity(Unit::Seconds, seconds / requests as f64),
        };
        table.row([
            name.to_owned(),
            format::number(seconds, 3),
            share,
            per_request,
        ]);
    };
    for row in &ledger.rows {
        add(words::subject(row.subject), row.cpu_seconds);
    }
    match ledger.other_tasks_seconds {
        Some(others) => {
            add("other tasks", others);
            add("no task", ledger.remainder_seconds - others);
        }
        None => add("remainder", ledger.remainder_seconds),
    }
    add("node, busy", ledger.node_busy_seconds);
    table
}

/// The same figures by another way; none when nothing was cross-checked.
pub fn cross_checks(report: &Report) -> Option<Table> {
    let mut table = Table::new([
        ("trial", Right),
        ("scenario", Left),
        ("figure", Left),
        ("of", Left),
        ("harness", Right),
        ("VictoriaMetrics", Right),
        ("difference", Right),
    ]);
    for check in &report.cross_checks {
        let ratio = check.victoria_metrics / check.direct - 1.0;
        table.row([
            check.trial.to_string(),
            check.scenario.clone(),
            words::metric(check.metric, None),
            words::subject(check.subject).to_owned(),
            format::value(check.metric, check.direct),
            format::value(check.metric, check.victoria_metrics),
            format::change(ratio, None, None).point,
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// What was set: load, phases, trials, seed.
pub fn parameters(report: &Report) -> Table {
    let mut table = Table::new([("parameter", Left), ("value", Left)]);
    let mut add = |name: &str, value: String| table.row([name.to_owned(), value]);
    let rate = report.request_rate;
    let decimals = if rate < 10.0 { 1 } else { 0 };
    add(
        "offered rate",
        format!(
            "{} requests per second, {}",
            format::number(rate, decimals),
            words::rate_source(report)
        ),
    );
    add("load driver", words::driver(report.load.driver).to_owned());
    add("warm-up", format::duration(report.warmup_seconds));
    add("measured window", format::duration(report.measure_seconds));
    add("trials", report.trials.len().to_string());
    add("confidence", words::confidence(report));
    add("seed", report.seed.to_string());
    add("started", report.started.clone());
    table
}

/// Where it was measured, and how.
pub fn machine(report: &Report) -> Table {
    let fingerprint = &report.fingerprint;
    let machine = &fingerprint.machine;
    let mut table = Table::new([("machine", Left), ("value", Left)]);
    let mut add = |name: &str, value: String| table.row([name.to_owned(), value]);
    let virtualised = if machine.virtualised { ", virtual" } else { "" };
    add(
        "CPU",
        format!("{} × {}{virtualised}", machine.cpus, machine.cpu_model),
    );
    add(
        "memory",
        format::quantity(Unit::Bytes, machine.memory_bytes as f64),
    );
    add("kernel", machine.kernel.clone());
    add("system", machine.os.clone());
    if let Some(governor) = &machine.governor {
        add("frequency governor", governor.clone());
    }
    add("CPU accounting", fingerprint.accounting.cpu.clone());
    add("memory accounting", fingerprint.accounting.memory.clone());
    for (role, cpus) in &fingerprint.cpu_sets {
        let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
        add(
            &format!("CPUs of {}", role.replace('_', " ")),
            cpus.join(", "),
        );
    }
    table
}

/// The programs and scenario files that took part, each with its hash.
pub fn programs(report: &Report) -> Table {
    let mut table = Table::new([
        ("program", Left),
        ("version", Left),
        ("SHA-256", Left),
        ("command", Left),
    ]);
    let fingerprint = &report.fingerprint;
    for program in std::iter::once(&fingerprint.harness).chain(&fingerprint.programs) {
        table.row([
            program.name.clone(),
            program.version.clone(),
            program.sha256.clone().unwrap_or_default(),
            program.command.clone().unwrap_or_default(),
        ]);
    }
    for (scenario, sha256) in &fingerprint.scenario_files {
        table.row([
            format!("scenario {scenario}"),
            String::new(),
            sha256.clone(),
            String::new(),
        ]);
    }
    table.without_empty_columns()
}
