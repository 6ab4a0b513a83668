//! `Report` → one page that needs nothing but itself: no network, no font, and
//! no script either, though with its own small one it sorts and filters.
//!
//! # Layout
//! - [`render`]: the page, top to bottom
//! - `overhead`: each arm against the baseline, one drawing per figure
//! - `checks`: every rule of every trial
//! - `table`: tables, and what the script must know of them
//! - `html/style.css`: how it looks, on a desk, on a phone, on paper
//! - `html/script.js`: sorting, filtering, choosing a figure

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::chart::{self, CHARTS, NARROW, Scene, WIDE};
use super::{Report, ScenarioReport, ScenarioStatus, tables, words};
use crate::sample::Sample;
use table::{plain, table};

mod checks;
mod overhead;
mod table;

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// A browser that obeys it loads nothing and runs nothing but the page's own
/// script, even if a name in the report slipped through unescaped.
fn policy() -> String {
    let hash = base64(&Sha256::digest(SCRIPT));
    format!("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'")
}

/// Base 64 as RFC 4648 has it, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0usize, |group, n| {
            group << 8 | usize::from(chunk.get(n).copied().unwrap_or(0))
        });
        for n in 0..4 {
            if n <= chunk.len() {
                text.push(char::from(LETTERS[group >> (18 - 6 * n) & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// The text of `report.html`.
pub fn render(report: &Report, samples: &[Sample]) -> String {
    let figures = |files: &[&str]| {
        let charts = CHARTS
            .iter()
            .filter(|chart| files.contains(&chart.file) && chart.applies(report));
        let drawn = charts.map(|chart| {
            let scene = |width| chart.scene(report, samples, width);
            drawing(&format!("chart-{}", chart.file), scene)
        });
        drawn.collect::<Vec<Markup>>()
    };
    let amplification = figures(&["amplification"]);
    let steps = figures(&["steps"]);
    let overhead = overhead::section(report);
    let costs = figures(&["ledger", "cost", "latency", "memory"]);
    let run = figures(&["blocks", "timeline"]);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="color-scheme" content="light dark";
                title { (report.run) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report))
                main {
                    @if let Some(slopes) = tables::amplification(report) {
                        section #amplification {
                            h2 { "Amplification, a labelled experiment" }
                            @for chart in &amplification { (chart) }
                            (table("amplified", "What one copy adds to a request, by who pays", &slopes))
                            p .small {
                                "The agent's programs were attached several times over, and a line was fitted in every block; intervals at "
                                (words::confidence(report)) ", from blocks. Two baselines: where the slope between two identical ones lies. "
                                "Beside its copies: the line at no copy, less the baselines. Bend: how far the middle lies off the line."
                            }
                        }
                    }
                    @if let Some(experiment) = &report.experiment {
                        section #experiment {
                            h2 { (words::experiment_title(experiment)) }
                            p { (together(&words::searched(report, experiment))) }
                            @for chart in &steps { (chart) }
                            @if let Some(found) = tables::experiment(report) {
                                (table("found", "What each arm's searches found", &found))
                            }
                            ul { @for sentence in words::beyond(report) { li { (together(&sentence)) } } }
                        }
                    }
                    (overhead)
                    (noise_floor(report))
                    @if report.experiment.is_none() {
                        section #costs {
                            h2 { "Costs" }
                            @if let Some(overview) = tables::overview(report) {
                                (table("scenarios", "Scenarios", &overview))
                            }
                            @for chart in &costs { (chart) }
                        }
                    }
                    (delivered(report))
                    (overhead::others(report))
                    section #run { h2 { "The run" } @for chart in &run { (chart) } }
                    @for (n, scenario) in report.scenarios.iter().enumerate() {
                        (self::scenario(report, n, scenario))
                    }
                    (checks::section(report))
                    (cross_checks(report))
                    (notes(report))
                    (fingerprint(report))
                    (reproduce(report))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn header(report: &Report) -> Markup {
    html! {
        header {
            p .run { (report.run) " · " (report.started) }
            @for (n, finding) in words::findings(report).iter().enumerate() {
                @let main = together(&finding.main);
                @if n == 0 { h1 { (main) } } @else { p .finding .aside[!finding.verdict] { (main) } }
                @if !finding.further.is_empty() {
                    ul .further { @for sentence in &finding.further { li { (together(sentence)) } } }
                }
            }
            @for warning in words::noise_warnings(report) {
                p .caution { strong { "Warning: " } (together(&warning)) }
            }
            p .caution { (words::caution(report)) }
        }
    }
}

/// The sentence with numbers that no line break parts from their units.
fn together(sentence: &str) -> String {
    let units = [
        "%", "ns", "µs", "ms", "s", "/s", "MiB", "blocks", "block", "trials",
    ];
    let mut text = String::with_capacity(sentence.len());
    for word in sentence.split(' ') {
        let bare = word.trim_end_matches([',', ')', ';', ':', '.']);
        let number = text.ends_with(|c: char| c.is_ascii_digit());
        if !text.is_empty() {
            text.push(if number && units.contains(&bare) {
                '\u{a0}'
            } else {
                ' '
            });
        }
        text += word;
    }
    text
}

/// A drawing twice: as wide as a desk allows, and drawn anew for a phone. The style sheet shows one.
fn drawing(id: &str, scene: impl Fn(f64) -> Scene) -> Markup {
    html! { figure id=(id) { (both_forms(id, scene)) } }
}

fn both_forms(id: &str, scene: impl Fn(f64) -> Scene) -> Markup {
    let wide = chart::svg(&scene(WIDE), &format!("{id}-wide"));
    let narrow = chart::svg(&scene(NARROW), &format!("{id}-narrow"));
    html! {
        div .wide { (PreEscaped(wide)) }
        div .narrow { (PreEscaped(narrow)) }
    }
}

fn delivered(report: &Report) -> Markup {
    html! {
        @if let Some(delivered) = tables::delivered(report) {
            section #delivered {
                h2 { "What you get for it" }
                p .small { "What each arm sent to the intake, per request that its target served." }
                (table("delivered-table", "What each arm sent to the intake, per request served", &delivered))
                ul { @for sentence in words::delivered(report) { li { (sentence) } } }
            }
        }
    }
}

fn noise_floor(report: &Report) -> Markup {
    let floor = tables::noise_floor(report);
    let drifts = words::drifts(report);
    html! {
        @if floor.is_some() || !drifts.is_empty() {
            section #noise-floor {
                h2 { "Noise floor" }
                @for sentence in words::noise_floor(report) { p { (together(&sentence)) "." } }
                @for sentence in drifts { p { (together(&sentence)) } }
                @if let Some(floor) = floor {
                    (table("noise", "What separates two identical baselines", &floor))
                }
            }
        }
    }
}

fn scenario(report: &Report, n: usize, scenario: &ScenarioReport) -> Markup {
    html! {
        section .scenario data-scenario=(scenario.name) {
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
                (table(
                    &format!("figures-{}", n + 1),
                    &format!("Figures of {}", scenario.name),
                    &tables::figures(scenario)
                ))
            }
            @if let Some(ledger) = &scenario.ledger {
                h3 { "Ledger" }
                (plain(&format!("Ledger of {}", scenario.name), &tables::ledger(ledger)))
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
                Some(checks) => { (table("checked", "Cross-checks with VictoriaMetrics", &checks)) }
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
        section #load { h2 { "Load and phases" } (plain("Load and phases", &tables::parameters(report))) }
        section #fingerprint {
            h2 { "Fingerprint" }
            (plain("Machine", &tables::machine(report)))
            (plain("Programs", &tables::programs(report)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
