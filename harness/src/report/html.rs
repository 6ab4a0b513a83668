//! `Report` → one page that needs nothing but itself: no network, no script, no font.
//!
//! # Layout
//! - [`render`]: the page, top to bottom
//! - `checks`: every rule of every trial
//! - `html/style.css`: how it looks, on a desk, on a phone, on paper

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, CHARTS, ChartError, NARROW, WIDE};
use super::table::{Align, Table};
use super::{Report, ScenarioReport, ScenarioStatus, tables, words};
use crate::sample::Sample;

mod checks;

const STYLE: &str = include_str!("html/style.css");

/// A browser that obeys it loads nothing, even if a name in the report slipped through unescaped.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The text of `report.html`.
pub fn render(report: &Report, samples: &[Sample]) -> Result<String, ChartError> {
    let charts = CHARTS.iter().map(|chart| figure(chart, report, samples));
    let charts = charts.collect::<Result<Vec<Markup>, ChartError>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                title { (report.run) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report))
                main {
                    section #charts { h2 { "Charts" } @for chart in &charts { (chart) } }
                    (across(report))
                    @for scenario in &report.scenarios { (self::scenario(report, scenario)) }
                    (checks::section(report))
                    (cross_checks(report))
                    (notes(report))
                    (fingerprint(report))
                    (reproduce(report))
                }
            }
        }
    };
    Ok(page.into_string())
}

fn header(report: &Report) -> Markup {
    let headlines = words::headlines(report);
    html! {
        header {
            p .run { (report.run) " · " (report.started) }
            @for (n, headline) in headlines.iter().enumerate() {
                @if n == 0 { h1 { (headline) } } @else { p .finding { (headline) } }
            }
            p .caution { (words::caution(report)) }
        }
    }
}

/// The chart twice: as wide as a desk allows, and drawn anew for a phone. The style sheet shows one.
fn figure(chart: &chart::Chart, report: &Report, samples: &[Sample]) -> Result<Markup, ChartError> {
    let draw = |width, form: &str| {
        chart::svg(
            &chart.scene(report, samples, width),
            &format!("{}-{form}", chart.file),
        )
    };
    let (wide, narrow) = (draw(WIDE, "wide")?, draw(NARROW, "narrow")?);
    Ok(html! {
        figure #(format!("chart-{}", chart.file)) {
            div .wide { (PreEscaped(wide)) }
            div .narrow { (PreEscaped(narrow)) }
        }
    })
}

/// What concerns all scenarios: their overview, and each against the baseline.
fn across(report: &Report) -> Markup {
    html! {
        @if let Some(overview) = tables::overview(report) {
            section #scenarios { h2 { "Scenarios" } (table("Scenarios", &overview)) }
        }
        @if let Some(comparisons) = tables::comparisons(report) {
            section #comparisons {
                h2 { "Against the baseline" }
                (table("Against the baseline", &comparisons))
                p .small { "Intervals at " (words::confidence(report)) "." }
            }
        }
        @if !report.noise_floor.is_empty() {
            section #noise-floor {
                h2 { "Noise floor" }
                @for sentence in words::noise_floor(report) { p { (sentence) "." } }
            }
        }
    }
}

fn scenario(report: &Report, scenario: &ScenarioReport) -> Markup {
    html! {
        section .scenario {
            h2 { (scenario.name) }
            p { (scenario.question) }
            @if scenario.status != ScenarioStatus::Ok {
                p .bad { (words::status(scenario.status)) ": " (words::no_figures(scenario)) }
            }
            @if scenario.planned_trials > 0 {
                p .small { (words::basis_of(scenario)) " · intervals at " (words::confidence(report)) }
            }
            @if !scenario.statistics.is_empty() {
                h3 { "Figures" }
                (table(&format!("Figures of {}", scenario.name), &tables::figures(scenario)))
            }
            @if let Some(ledger) = &scenario.ledger {
                h3 { "Ledger" }
                (table(&format!("Ledger of {}", scenario.name), &tables::ledger(ledger)))
                p class=(if ledger.closes() { "good" } else { "bad" }) { (words::ledger(ledger)) }
            }
            @if let Some(analysis) = &scenario.analysis { p { (analysis) } }
        }
    }
}

fn cross_checks(report: &Report) -> Markup {
    html! {
        section #cross-checks {
            h2 { "Cross-checks with VictoriaMetrics" }
            @match tables::cross_checks(report) {
                Some(checks) => { (table("Cross-checks with VictoriaMetrics", &checks)) }
                None => { p { "No figure was cross-checked in this run." } }
            }
        }
    }
}

fn notes(report: &Report) -> Markup {
    html! {
        section #notes {
            h2 { "Notes" }
            @if report.notes.is_empty() { p { "None." } }
            @else { ul { @for note in &report.notes { li { (note) } } } }
        }
    }
}

fn fingerprint(report: &Report) -> Markup {
    html! {
        section #load { h2 { "Load and phases" } (table("Load and phases", &tables::parameters(report))) }
        section #fingerprint {
            h2 { "Fingerprint" }
            (table("Machine", &tables::machine(report)))
            (table("Programs", &tables::programs(report)))
        }
    }
}

fn reproduce(report: &Report) -> Markup {
    html! {
        section #reproduce {
            h2 { "Reproduce" }
            p { "The same scenarios, load and seed again:" }
            pre tabindex="0" { code { (words::command(report)) } }
            p .small { "flora-bench " (report.fingerprint.harness.version) }
        }
    }
}

/// A table in a frame of its own, which scrolls where the page is too narrow for it.
fn table(name: &str, table: &Table) -> Markup {
    let class = |align: Align| (align == Align::Right).then_some("number");
    // A name that is the same as the one above is still there to be read, but steps back.
    let again = |n: usize| n > 0 && table.rows[n][0] == table.rows[n - 1][0];
    html! {
        div .scroll role="region" aria-label=(name) tabindex="0" {
            table {
                thead {
                    tr {
                        @for (heading, align) in &table.columns {
                            th scope="col" class=[class(*align)] { (heading) }
                        }
                    }
                }
                tbody {
                    @for (n, row) in table.rows.iter().enumerate() {
                        tr .again[again(n)] {
                            @for (column, cell) in row.iter().enumerate() {
                                @let class = class(table.columns[column].1);
                                @if column == 0 { th scope="row" class=[class] { (cell) } }
                                @else { td class=[class] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
