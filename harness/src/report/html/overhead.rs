//! Each arm against the baseline: a drawing and a row per figure.

use maud::{Markup, html};

use super::table::table;
use super::{both_forms, drawing};
use crate::report::chart::{draw_claim, draw_key};
use crate::report::claims::{self, Claim};
use crate::report::{Report, tables, words};

/// The section of the claims; nothing where nothing was compared.
pub fn section(report: &Report) -> Markup {
    let headline = claims::claims(report, true);
    let others = claims::claims(report, false);
    let all: Vec<Claim> = headline.iter().chain(&others).copied().collect();
    if all.is_empty() {
        return html! {};
    }
    // Without the script, the others are shown beside their table, so that they can be told apart.
    let drawings = headline
        .iter()
        .map(|claim| drawn(report, *claim, true))
        .collect::<Vec<Markup>>();
    let further = others
        .iter()
        .map(|claim| drawn(report, *claim, false))
        .collect::<Vec<Markup>>();
    let key = drawing("chart-key", |width| draw_key(report, &all, width));
    let comparisons = tables::comparisons(report, true);
    html! {
        section #overhead {
            h2 { "Against the baseline" }
            (controls(report, &headline, &others))
            div #chart-overhead { (key) @for claim in &drawings { (claim) } @for claim in &further { (claim) } }
            @if let Some(comparisons) = comparisons {
                (table("comparisons", "Against the baseline", &comparisons))
            }
            p .small {
                "Intervals at " (words::confidence(report)) ", from blocks; p is corrected for the number of claims. "
                "Two baselines: where two identical ones lie. Could see: the smallest change found in four of five such runs."
            }
        }
    }
}

/// The figures that were not claimed in advance.
pub fn others(report: &Report) -> Markup {
    html! {
        @if let Some(others) = tables::comparisons(report, false) {
            section #other-figures {
                h2 { "Other figures against the baseline" }
                p .small { "No claim was fixed in advance about these; p is corrected among them." }
                (table("others", "Other figures against the baseline", &others))
            }
        }
    }
}

fn drawn(report: &Report, claim: Claim, headline: bool) -> Markup {
    let id = claim.id();
    let forms = both_forms(&format!("claim-{id}"), |width| {
        draw_claim(report, claim, width)
    });
    html! {
        figure .claim id=(format!("claim-{id}")) data-claim=(id) data-headline[headline] { (forms) }
    }
}

/// What the script works with; without it, they are not shown.
fn controls(report: &Report, headline: &[Claim], others: &[Claim]) -> Markup {
    let option = |claim: &Claim| {
        html! { option value=(claim.id()) { (words::claim_title(*claim)) } }
    };
    html! {
        div .controls role="search" aria-label="What is shown" {
            span .control {
                label for="figure" { "Figure" }
                select #figure {
                    option value="" { "All headline figures" }
                    @if !headline.is_empty() {
                        optgroup label="Headline" { @for claim in headline { (option(claim)) } }
                    }
                    @if !others.is_empty() {
                        optgroup label="Others" { @for claim in others { (option(claim)) } }
                    }
                }
            }
            span .control {
                label for="scenario" { "Scenario" }
                select #scenario {
                    option value="" { "All" }
                    @for scenario in &report.scenarios { option { (scenario.name) } }
                }
            }
            span .control {
                label for="text" { "Rows with" }
                input #text type="search" autocomplete="off" spellcheck="false";
            }
            button #reset type="button" { "Show all" }
            span #status role="status" {}
        }
    }
}
