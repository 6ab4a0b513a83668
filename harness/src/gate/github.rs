//! `Gate` → annotations of GitHub Actions: lines that its runner reads from the output.

use super::{Gate, Judgement, Outcome, words};

/// The lines. GitHub shows ten of a kind for each step, so what passed is one line.
pub fn annotations(gate: &Gate) -> String {
    let mut text = String::new();
    for judgement in &gate.judgements {
        let (command, title) = match judgement.outcome {
            Outcome::Over => ("error", "Over budget"),
            Outcome::Invalid => ("error", "Measurement not valid"),
            Outcome::Inconclusive => ("warning", "Inconclusive"),
            Outcome::Within => continue,
        };
        text += &line(command, title, &message(judgement));
    }
    if gate.outcome == Outcome::Within {
        text += &line("notice", "Within budget", &gate.sentence());
    }
    text
}

fn message(judgement: &Judgement) -> String {
    let mut message = words::sentence(judgement);
    if let Some(reason) = &judgement.reason {
        message += &format!("; {reason}");
    }
    if let Some(description) = &judgement.budget.description {
        message += &format!("\n{description}");
    }
    message
}

fn line(command: &str, title: &str, message: &str) -> String {
    format!("::{command} title={}::{}\n", property(title), data(message))
}

/// Escapes as the runner undoes it (`actions/toolkit`, `packages/core/src/command.ts`).
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text from elsewhere that the runner must not take for a command of its own.
pub fn harmless(text: &str) -> String {
    // Twice, because what stands between two pairs of colons may be a pair itself.
    text.replace("::", ": :")
        .replace("::", ": :")
        .replace("##[", "## [")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_or_a_property_early() {
        assert_eq!(
            line("error", "a: b, 5 %", "+5 %\r\n::error::x"),
            "::error title=a%3A b%2C 5 %25::+5 %25%0D%0A::error::x\n"
        );
    }

    #[test]
    fn no_command_survives_in_other_text() {
        let text = harmless("  ::stop-commands::x\n:::: ##[error]");
        assert!(!text.contains("::") && !text.contains("##["), "{text}");
    }
}
