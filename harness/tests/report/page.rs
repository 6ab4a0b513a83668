//! The structure of `report.html`.

use flora_bench::report::{Report, html};
use flora_bench::sample::Sample;

use crate::fixtures;
use crate::markup::{assert_balanced, without_script};

fn page((report, samples): (Report, Vec<Sample>)) -> String {
    html::render(&report, &samples)
}

#[test]
fn has_every_section_and_closes_every_element() {
    for run in [
        fixtures::baseline(),
        fixtures::agents(),
        fixtures::many(),
        fixtures::turns(),
        fixtures::amplified(),
        fixtures::single(),
    ] {
        let page = page(run);
        assert_balanced(&page);
        for id in [
            "costs",
            "run",
            "checks",
            "cross-checks",
            "notes",
            "load",
            "fingerprint",
            "reproduce",
        ] {
            assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
        }
        for chart in ["ledger", "cost", "memory", "latency", "blocks", "timeline"] {
            assert!(page.contains(&format!("id=\"chart-{chart}\"")), "{chart}");
        }
        assert!(!without_script(&page).contains("NaN"));
    }
    let page = page(fixtures::agents());
    for id in ["overhead", "noise-floor", "other-figures"] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
}

/// Verdicts, then the comparison, then the noise floor, then costs, then everything else.
#[test]
fn the_comparison_comes_first() {
    let page = page(fixtures::agents());
    let places: Vec<usize> = [
        "<h1>flora adds",
        "<section id=\"overhead\"",
        "data-claim=\"cpu_seconds_per_request.total\"",
        "<table id=\"comparisons\"",
        "<section id=\"noise-floor\"",
        "<table id=\"scenarios\"",
        "id=\"chart-ledger\"",
        "<table id=\"others\"",
        "id=\"chart-blocks\"",
        "<section class=\"scenario\"",
        "<section id=\"checks\"",
    ]
    .iter()
    .map(|text| {
        page.find(text)
            .unwrap_or_else(|| panic!("{text} is missing"))
    })
    .collect();
    assert!(places.is_sorted(), "{places:?}");
    // Nothing is hidden before a script hides it.
    assert!(!page.contains("class=\"off") && !page.contains(" hidden"));
}

/// The page runs its own script and nothing else.
#[test]
fn the_policy_names_the_script() {
    let page = page(fixtures::agents());
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("default-src 'none'"));
    let policy = page.split("script-src '").nth(1).unwrap();
    assert!(policy.starts_with("sha256-"), "{}", &policy[..20]);
    assert!(!policy[..200].contains("unsafe"));
}

/// A pair of identical baselines that differ is a warning, above everything that rests on them.
#[test]
fn a_noise_floor_beside_zero_is_a_warning() {
    let (mut report, samples) = fixtures::agents();
    assert!(!page((report.clone(), samples.clone())).contains("Warning"));
    let floor = &mut report.noise_floor[0];
    (floor.overhead_ratio, floor.low, floor.high) = (0.021, Some(0.012), Some(0.03));
    let page = page((report, samples));
    let warning = page
        .find("Two identical baselines differ themselves")
        .unwrap();
    assert!(warning < page.find("<section id=\"overhead\"").unwrap());
}

#[test]
fn a_typical_page_is_small() {
    for run in [fixtures::agents(), fixtures::turns()] {
        let size = page(run).len();
        assert!(size < 600_000, "{size} bytes");
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
        "http:", "https:", " src=", "@import", "url(", "<link", "fetch(", "import(", "XMLHttp",
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
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<img"));
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
