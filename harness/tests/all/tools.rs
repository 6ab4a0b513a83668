//! With VictoriaMetrics and k6 present, and without.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{
    flora_bench, leftovers, measuring, report, run, run_until_valid, scenarios, skip,
};

fn on_path(name: &str) -> bool {
    flora_bench::program::on_path(name).is_some()
}

/// A run of two short trials with these options.
fn short(out: &std::path::Path, more: &[&str]) -> (i32, String, String) {
    run_until_valid(
        flora_bench()
            .args(["scenario", "baseline", "--rate", "300", "--blocks", "2"])
            .args(["--warmup", "1s", "--measure", "5s", "--out"])
            .arg(out)
            .args(more),
    )
}

#[test]
fn victoria_metrics_gives_the_same_cost() {
    if !on_path("victoria-metrics") {
        return skip(
            "victoria_metrics_gives_the_same_cost",
            "no victoria-metrics",
        );
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    // A scrape a second: a busy machine may miss one of five, and two are needed.
    let (code, stdout, stderr) = short(out.path(), &["--slices", "1"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
    let report = report(out.path());
    let checks = report["cross_checks"].as_array().unwrap();
    let trials = |arm: usize| report["scenarios"][arm]["trials"].as_u64().unwrap() as usize;
    let valid = trials(0) + trials(1);
    // A trial that has none is named, and not all of them can be without.
    assert!(!checks.is_empty(), "{stdout}{stderr}");
    let without = stderr.matches("has no cross-check").count();
    assert_eq!(checks.len() + without, valid, "{stdout}{stderr}");
    for check in checks {
        let direct = check["direct"].as_f64().unwrap();
        let series = check["victoria_metrics"].as_f64().unwrap();
        // Both hold the same seconds but for the window's edges: a scrape a second, three of them.
        assert!((0.5..2.0).contains(&(series / direct)), "{check}");
    }
    let programs = report["fingerprint"]["programs"].to_string();
    assert!(programs.contains("victoria-metrics"), "{programs}");
    assert!(
        out.path().join("latest/victoria-metrics").is_dir(),
        "its data is in the run"
    );
}

/// Where the scenario says where its target listens, that is scraped.
#[test]
fn victoria_metrics_finds_a_target_with_a_port_of_its_own() {
    if !on_path("victoria-metrics") {
        return skip(
            "victoria_metrics_finds_a_target_with_a_port_of_its_own",
            "no victoria-metrics",
        );
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let port = flora_bench::victoria_metrics::child::free_port().unwrap();
    let text = format!("question: q\ntarget: {{port: {port}}}\n");
    let scenarios = scenarios(&[("baseline", &text)]);
    let directory = scenarios.path().to_str().unwrap();
    let more = ["--slices", "1", "--scenarios", directory];
    let (code, stdout, stderr) = short(out.path(), &more);
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let checks = report["cross_checks"].as_array().unwrap();
    assert!(!checks.is_empty(), "{stdout}{stderr}");
}

#[test]
fn without_victoria_metrics_the_report_says_so() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, _, stderr) = short(out.path(), &["--slices", "1", "--victoria-metrics", "off"]);
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    assert_eq!(report["cross_checks"].as_array().unwrap().len(), 0);
    assert!(report["notes"].to_string().contains("VictoriaMetrics"));
}

#[test]
fn a_server_of_ones_own_gets_the_readings_pushed() {
    let Some(program) = flora_bench::program::on_path("victoria-metrics") else {
        return skip(
            "a_server_of_ones_own_gets_the_readings_pushed",
            "no victoria-metrics",
        );
    };
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let port = flora_bench::victoria_metrics::child::free_port().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut server = std::process::Command::new(program)
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .arg(format!("-storageDataPath={}", data.path().display()))
        .arg("-search.latencyOffset=0s")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it does not serve"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, _, stderr) = short(out.path(), &["--victoria-metrics", &url]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let checks = report["cross_checks"].as_array().unwrap();
    assert!(!checks.is_empty(), "{stderr}");
    for check in checks {
        let ratio = check["victoria_metrics"].as_f64().unwrap() / check["direct"].as_f64().unwrap();
        assert!((0.5..2.0).contains(&ratio), "{check}");
    }
}

#[test]
fn a_server_that_is_not_there_or_cannot_be() {
    for (url, code, words) in [
        ("http://127.0.0.1:9", 3, "127.0.0.1:9"),
        ("https://example.org", 2, "https"),
        ("http://user:secret@127.0.0.1:1", 2, "credentials"),
        ("nonsense", 2, "nonsense"),
    ] {
        let _guard = measuring();
        let out = tempfile::tempdir().unwrap();
        let (found, _, stderr) = short(out.path(), &["--victoria-metrics", url]);
        assert_eq!(found, code, "{url}: {stderr}");
        assert!(stderr.contains(words), "{stderr}");
        // Nothing was done yet, and nothing written that would be the latest run.
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "{url}");
    }
}

#[test]
fn k6_in_the_place_of_the_built_in_driver() {
    if !on_path("k6") {
        return skip("k6_in_the_place_of_the_built_in_driver", "no k6");
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = short(out.path(), &["--load", "k6"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
    let report = report(out.path());
    assert_eq!(report["load"]["driver"], "k6");
    let of = |metric: &str, subject: &str| {
        report["scenarios"][0]["statistics"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["metric"] == metric && s["subject"] == subject)
            .unwrap_or_else(|| panic!("no {metric} of the {subject}"))["estimate"]
            .as_f64()
            .unwrap()
    };
    assert!((1e-6..1e-2).contains(&of("cpu_seconds_per_request", "target")));
    assert!(of("cpu_seconds_per_request", "load") > 0.0);
    assert!((295.0..=305.0).contains(&of("requests_per_second", "target")));
    assert!(of("request_duration_seconds", "target") > 0.0);
    let programs = report["fingerprint"]["programs"].to_string();
    assert!(programs.contains("k6 v"), "{programs}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("k6"), "{notes}");
    assert!(notes.contains("one after another"), "{notes}");
    assert_eq!(report["slices"], 1);
    let (code, _, stderr) =
        run(flora_bench().args(["scenario", "baseline", "--load", "k6", "--slices", "4"]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("--slices 1"), "{stderr}");
}

#[test]
fn k6_that_is_not_installed_is_told_with_what_to_do() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(flora_bench()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", out.path())
        .args([
            "scenario", "baseline", "--load", "k6", "--rate", "100", "--out",
        ])
        .arg(out.path()));
    if stderr.contains("requests per second, about") {
        return skip("k6_that_is_not_installed", "k6 is in /usr/bin");
    }
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("install"), "{stderr}");
}
