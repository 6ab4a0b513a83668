//! `Gate` → `gate.md`, for a pull request: the verdict first.

use super::{Gate, Outcome, words};
use crate::report::markdown::{escape, list, table};
use crate::report::table::{Align, Table};

/// The text of `gate.md`.
pub fn render(gate: &Gate) -> String {
    let mut page = format!("**{}**\n\n", escape(&gate.sentence()));
    let mut rows = Table::new([
        ("budget", Align::Left),
        ("scenario", Align::Left),
        ("change", Align::Right),
        ("interval", Align::Right),
        ("limit", Align::Right),
        ("outcome", Align::Left),
    ]);
    for judgement in &gate.judgements {
        let cells = words::cells(judgement);
        let outcome = match judgement.outcome {
            Outcome::Over => "over budget",
            outcome => outcome.as_str(),
        };
        rows.row([
            words::figure(judgement),
            judgement.scenario.clone(),
            cells.change,
            cells.interval,
            words::limit(judgement),
            outcome.to_owned(),
        ]);
    }
    page += &table(&rows);
    let mut remarks = words::reasons(gate);
    for judgement in &gate.judgements {
        if let Some(description) = &judgement.budget.description {
            let figure = words::figure(judgement);
            let limit = words::limit(judgement);
            let remark = format!("{figure}, {limit}: {description}");
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
    }
    page += &list(remarks);
    let mut basis = format!("{}.", words::basis(gate));
    for sentence in words::noise_floor(gate) {
        basis.push(' ');
        basis += &sentence;
    }
    page += &format!("{}\n", escape(&basis));
    page
}
