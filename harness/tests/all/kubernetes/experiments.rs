//! Experiments on a real cluster: a search ends with an answer, and leaves nothing behind.

use serde_json::Value;

use super::cluster::Grounds;
use crate::support::{report, run, verified};

/// Carries a search of the baseline out, and holds the cluster against what it was. Gives what was
/// printed, and the report.
fn searched(grounds: &Grounds, options: &str) -> (String, Value) {
    let options: Vec<&str> = options.split(' ').collect();
    let (code, stdout, stderr) = run(&mut grounds.scenario(&["baseline"], &options));
    grounds.is_as_it_was();
    assert!([0, 4].contains(&code), "{stderr}\n{stdout}");
    verified(grounds.out.path());
    (stdout, report(grounds.out.path()))
}

/// The steps of the newest run's one search.
fn steps(report: &Value) -> Vec<Value> {
    let steps = &report["trials"][0]["steps"];
    steps
        .as_array()
        .unwrap_or_else(|| panic!("{report}"))
        .clone()
}

#[test]
fn a_rate_is_found_under_a_cpu_limit() {
    let Some(grounds) = Grounds::start("kubernetes::a_rate_is_found_under_a_cpu_limit") else {
        return;
    };
    // About what it sustains, so that the search has a short way.
    let options = "--experiment cpu-limit --cpu-limit 0.12 --rate 80 --warmup 1s --measure 2s";
    let (stdout, report) = searched(&grounds, options);
    let steps = steps(&report);
    assert!(steps.iter().any(|step| step["passed"] == true), "{report}");
    assert!(steps.iter().any(|step| step["passed"] == false), "{report}");
    assert!(stdout.contains("What 0.12 CPUs sustain"), "{stdout}");
    let held = |step: &Value| {
        step["throttled_ratio"]
            .as_f64()
            .is_some_and(|held| held > 0.0)
    };
    assert!(steps.iter().any(held), "{report}");
    let objects = std::fs::read_to_string(grounds.out.path().join("latest/objects.yaml")).unwrap();
    assert!(objects.contains("120m"), "{objects}");
}

#[test]
fn a_target_with_too_little_memory_is_told() {
    let Some(grounds) = Grounds::start("kubernetes::a_target_with_too_little_memory_is_told")
    else {
        return;
    };
    let options = "--experiment memory-limit --warmup 1s --measure 2s";
    let (_, report) = searched(&grounds, options);
    let steps = steps(&report);
    // The least that was tried. One that is nearly enough may fail for want of time as well.
    let value = |step: &&Value| step["value"].as_f64().unwrap();
    let least = steps
        .iter()
        .min_by(|a, b| value(a).total_cmp(&value(b)))
        .unwrap();
    assert_eq!(least["passed"], false, "{report}");
    let reason = least["reason"].as_str().unwrap_or_default();
    let explained = ["OOM kill", "the target's container failed"];
    assert!(explained.iter().any(|why| reason.contains(why)), "{report}");
}
