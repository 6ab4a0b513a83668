//! The structure of `report.html`.

use flora_bench::report::{Report, html};
use flora_bench::sample::Sample;

use crate::fixtures;
use crate::markup::assert_balanced;

fn page((report, samples): (Report, Vec<Sample>)) -> String {
    html::render(&report, &samples)
}

#[test]
fn has_every_section_and_closes_every_element() {
    for run in [
        fixtures::baseline(),
        fixtures::agents(),
        fixtures::many(),
        fixtures::single(),
    ] {
        let page = page(run);
        assert_balanced(&page);
        for id in [
            "charts",
            "checks",
            "cross-checks",
            "notes",
            "load",
            "fingerprint",
            "reproduce",
        ] {
            assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
        }
        for chart in ["cost", "memory", "latency", "timeline"] {
            assert!(page.contains(&format!("id=\"chart-{chart}\"")), "{chart}");
        }
        assert!(!page.contains("NaN"));
    }
    let page = page(fixtures::agents());
    for id in ["scenarios", "comparisons", "noise-floor"] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
}

#[test]
fn begins_with_the_finding() {
    let page = page(fixtures::baseline());
    let (h1, chart) = (page.find("<h1>").unwrap(), page.find("<svg").unwrap());
    assert!(h1 < chart);
    assert!(page[h1..].starts_with("<h1>One request costs the target 1"));
}

#[test]
fn names_no_place_outside_itself() {
    let page = page(fixtures::agents());
    let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
    for outside in [
        "http:", "https:", "//", " src=", "@import", "url(", "<link", "<script",
    ] {
        let first = without_namespace.find(outside);
        assert_eq!(
            first.map(|at| &without_namespace[at..at + 40]),
            None,
            "{outside}"
        );
    }
}

#[test]
fn ids_are_unique() {
    let page = page(fixtures::agents());
    let mut ids: Vec<&str> = page
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn whatever_a_scenario_is_called_is_text() {
    const EVIL: &str = "<script>alert('1')</script>\"><img src=x onerror=alert(1)>&amp;";
    let (mut report, samples) = fixtures::agents();
    for text in [&mut report.run, &mut report.started] {
        *text = EVIL.to_owned();
    }
    for scenario in &mut report.scenarios {
        scenario.name = EVIL.to_owned();
        scenario.question = EVIL.to_owned();
        scenario.analysis = Some(EVIL.to_owned());
        scenario.reason = Some(EVIL.to_owned());
    }
    for comparison in &mut report.comparisons {
        comparison.scenario = EVIL.to_owned();
        comparison.baseline = EVIL.to_owned();
    }
    for trial in &mut report.trials {
        trial.arm = EVIL.to_owned();
        trial.error = Some(EVIL.to_owned());
        for check in &mut trial.analysis.checks {
            check.name = EVIL.to_owned();
            check.detail = EVIL.to_owned();
        }
    }
    report.notes = vec![EVIL.to_owned()];
    report.fingerprint.machine.cpu_model = EVIL.to_owned();
    report.fingerprint.programs[0].command = Some(EVIL.to_owned());
    let page = page((report, samples));
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("&lt;script&gt;"));
    assert_balanced(&page);
}

#[test]
fn what_failed_is_open_and_first() {
    let page = page(fixtures::baseline());
    let failed = page.find("<details class=\"trial\" open>").unwrap();
    let passed = page.find("passed every check").unwrap();
    assert!(failed < passed);
    assert!(page.contains("97.2 % of the offered rate was sent"));
}
