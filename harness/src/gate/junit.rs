//! `Gate` → `junit.xml`: a suite a scenario, a case a budget.

use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite,
};

use super::{Gate, Judgement, Outcome, words};

/// The text of `junit.xml`.
///
/// # Errors
/// When it can't be serialised, which no text in it can bring about.
pub fn render(gate: &Gate) -> Result<String, SerializeError> {
    let mut report = Report::new("flora-bench gate");
    let mut scenarios: Vec<&str> = Vec::new();
    for judgement in &gate.judgements {
        if !scenarios.contains(&judgement.scenario.as_str()) {
            scenarios.push(&judgement.scenario);
        }
    }
    for scenario in scenarios {
        let mut suite = TestSuite::new(scenario);
        suite.add_property(Property::new("run", gate.run.as_str()));
        suite.add_property(Property::new("blocks", gate.blocks.to_string()));
        suite.add_property(Property::new("request_rate", gate.request_rate.to_string()));
        let of_scenario = |judgement: &&Judgement| judgement.scenario == scenario;
        suite.add_test_cases(gate.judgements.iter().filter(of_scenario).map(case));
        report.add_test_suite(suite);
    }
    report.to_string()
}

fn case(judgement: &Judgement) -> TestCase {
    let mut message = words::sentence(judgement);
    if let Some(reason) = &judgement.reason {
        message += &format!("; {reason}");
    }
    let mut status = match judgement.outcome {
        Outcome::Within => TestCaseStatus::success(),
        Outcome::Over => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Invalid => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Inconclusive => TestCaseStatus::skipped(),
    };
    status.set_message(message);
    match judgement.outcome {
        Outcome::Over => {
            status.set_type("over budget");
        }
        Outcome::Invalid => {
            status.set_type("measurement not valid");
        }
        Outcome::Within | Outcome::Inconclusive => {}
    }
    let mut case = TestCase::new(
        format!("{}: {}", judgement.budget.key, words::limit(judgement)),
        status,
    );
    case.set_classname(judgement.scenario.as_str());
    // Readers that know of no fourth outcome show "skipped"; this says what it is.
    case.add_property(Property::new("outcome", judgement.outcome.as_str()));
    if let Some(estimate) = judgement.estimate() {
        for (name, value) in [
            ("estimate", Some(estimate.point)),
            ("low", estimate.low),
            ("high", estimate.high),
            ("limit", Some(judgement.budget.limit.value())),
        ] {
            if let Some(value) = value {
                case.add_property(Property::new(name, value.to_string()));
            }
        }
    }
    if let Some(description) = &judgement.budget.description {
        // A reader of XML turns line breaks in an attribute into spaces anyway.
        let words: Vec<&str> = description.split_whitespace().collect();
        case.add_property(Property::new("description", words.join(" ")));
    }
    case
}
