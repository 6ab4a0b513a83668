//! `Changes` → Markdown, for a pull request's comment.

use super::{Changes, wording};
use crate::report::markdown::{escape, list, table};

/// The text, with a line break at its end.
pub fn render(changes: &Changes) -> String {
    let mut page = format!("# {}\n\n", escape(&wording::title(changes)));
    page += &list(wording::findings(changes));
    let mut section = |title: &str, text: String| {
        if !text.is_empty() {
            page += &format!("## {}\n\n{text}", escape(title));
        }
    };
    let lines = |differences: Vec<&super::Difference>| {
        list(differences.into_iter().map(wording::difference).collect())
    };
    section(
        "Not comparable, forced with --force",
        lines(changes.refusals().collect()),
    );
    section(
        "Warning: measured under different conditions",
        lines(changes.warnings().collect()),
    );
    section("What is compared", lines(changes.compared().collect()));
    for scenario in wording::scenarios(changes) {
        section(scenario, table(&wording::table(changes, scenario)));
    }
    section("Inconclusive", list(wording::reasons(changes)));
    let notes = changes.notes.iter().cloned();
    section(
        "Notes",
        list(notes.chain(wording::legend(changes)).collect()),
    );
    while page.ends_with("\n\n") {
        page.pop();
    }
    page
}
