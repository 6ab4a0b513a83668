//! `Gate` → what is printed on standard output.

use super::{Gate, words};
use crate::report::console::Page;
use crate::report::table::{Align, Table};

/// The text, with a line break at its end.
pub fn render(gate: &Gate) -> String {
    let mut page = Page::default();
    page.wrapped("", "", &gate.sentence());
    page.blank();
    let mut table = Table::new([
        ("budget", Align::Left),
        ("scenario", Align::Left),
        ("measured", Align::Right),
        ("interval", Align::Right),
        ("limit", Align::Right),
        ("outcome", Align::Left),
    ]);
    for judgement in &gate.judgements {
        let cells = words::judged(judgement);
        table.row([
            words::figure(judgement),
            judgement.scenario.clone(),
            cells.change,
            cells.interval,
            words::limit(judgement),
            judgement.outcome.as_str().to_owned(),
        ]);
    }
    page.table(&table.without_empty_columns());
    let reasons = words::reasons(gate);
    if !reasons.is_empty() {
        page.blank();
        page.list(reasons);
    }
    page.blank();
    page.wrapped("", "", &format!("{}.", words::basis(gate)));
    page.list(words::noise_floor(gate));
    page.text
}
