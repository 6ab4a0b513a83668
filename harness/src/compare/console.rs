//! `Changes` → what is printed on standard output.

use super::{Changes, wording};
use crate::report::console::Page;

/// The text, with a line break at its end.
pub fn render(changes: &Changes) -> String {
    let mut page = Page::default();
    page.line(&wording::title(changes));
    page.blank();
    page.list(wording::findings(changes));
    let refusals: Vec<String> = changes.refusals().map(wording::difference).collect();
    if !refusals.is_empty() {
        page.section("Not comparable, forced with --force");
        page.list(refusals);
    }
    let warnings: Vec<String> = changes.warnings().map(wording::difference).collect();
    if !warnings.is_empty() {
        page.section("Warning: measured under different conditions");
        page.list(warnings);
    }
    let compared: Vec<String> = changes.compared().map(wording::difference).collect();
    if !compared.is_empty() {
        page.section("What is compared");
        page.list(compared);
    }
    for scenario in wording::scenarios(changes) {
        page.section(scenario);
        // The chance has its part in the verdict; there is no room for it here.
        page.table(&wording::table(changes, scenario).without("p"));
    }
    let reasons = wording::reasons(changes);
    if !reasons.is_empty() {
        page.section("Inconclusive");
        page.list(reasons);
    }
    page.section("Notes");
    page.list(changes.notes.clone());
    page.list(wording::legend(changes));
    page.text
}
