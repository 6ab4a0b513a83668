//! `price`: the recorded example in money. No measurement is made.

use serde_json::Value;

use crate::support::{flora_bench, repository, run};

fn price(more: &[&str]) -> (i32, String, String) {
    run(flora_bench()
        .args(["price", "results/example", "--prices"])
        .args(more))
}

#[test]
fn the_example_in_money() {
    let (code, stdout, stderr) =
        price(&["docs/prices.yaml", "--replicas", "100", "--format", "json"]);
    assert_eq!(code, 0, "{stderr}");
    let bill: Value = serde_json::from_str(&stdout).unwrap();
    let text = std::fs::read_to_string(repository().join("results/example/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let rate = bill["requests_per_second"].as_f64().unwrap();
    for arm in bill["arms"].as_array().unwrap() {
        let of = |metric: &str| {
            let mut all = report["comparisons"].as_array().unwrap().iter();
            all.find(|one| {
                one["scenario"] == arm["scenario"]
                    && one["subject"] == arm["subject"]
                    && one["metric"] == metric
            })
            .unwrap()
        };
        let (cpu, memory) = (
            of("cpu_seconds_per_request"),
            of("memory_working_set_bytes"),
        );
        let hours = 1e6 / rate / 3600.0;
        let mut month = 0.0;
        for (end, key) in [
            ("estimate", "overhead"),
            ("low", "overhead_low"),
            ("high", "overhead_high"),
        ] {
            let core_hours = cpu[key].as_f64().unwrap() * 1e6 / 3600.0;
            let gibibyte_hours = memory[key].as_f64().unwrap() / 1024f64.powi(3) * hours;
            let close = |name: &str, expected: f64| {
                let found = arm[name][end].as_f64().unwrap();
                assert!(
                    (found - expected).abs() <= 1e-9 * expected.abs().max(1e-9),
                    "{name} {found} {expected}"
                );
            };
            close("cpu_per_million_requests", core_hours * 0.03);
            close("memory_per_million_requests", gibibyte_hours * 0.004);
            month = (core_hours * 0.03 + gibibyte_hours * 0.004) * 730.0 / hours * 100.0;
            close("per_month", month);
        }
        assert!(month.is_finite());
    }
    let (code, stdout, _) = price(&["docs/prices.yaml"]);
    assert_eq!(code, 0);
    for part in [
        "synthetic-cpu",
        "USD",
        "10 replicas",
        "example prices that nobody charges",
    ] {
        assert!(stdout.contains(part), "{part} not in: {stdout}");
    }
}

#[test]
fn what_can_not_be_priced_is_told() {
    let (code, _, stderr) = price(&["docs/no-such-prices.yaml"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("docs/no-such-prices.yaml"), "{stderr}");
    let (code, _, stderr) = price(&["docs/prices.yaml", "--replicas", "0"]);
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) =
        run(flora_bench().args(["price", "no-such-run", "--prices", "docs/prices.yaml"]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("no-such-run"), "{stderr}");
}
