//! Programs that are built before they are measured.

use std::path::Path;

use crate::support::{flora_bench, measuring, report, run, run_until_valid, scenarios, skip};

fn setup(cache: &Path, programs: &[&str]) -> std::process::Command {
    let mut command = flora_bench();
    command
        .arg("setup")
        .args(programs)
        .env("XDG_CACHE_HOME", cache)
        .env("GOCACHE", go_cache());
    command
}

/// Go's own cache, which would else lie in the test's and be empty: minutes on a busy machine.
fn go_cache() -> String {
    let go = flora_bench::program::on_path("go");
    let cache = go.and_then(|go| flora_bench::program::first_line(&go, &["env", "GOCACHE"]).ok());
    cache.unwrap_or_default()
}

/// Whether Go is here; says so if it isn't.
fn has_go(test: &str) -> bool {
    let there = flora_bench::program::on_path("go").is_some();
    if !there {
        skip(test, "no go");
    }
    there
}

#[test]
fn a_program_is_built_once_and_measured() {
    if !has_go("a_program_is_built_once_and_measured") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let (code, first, stderr) = run(&mut setup(cache.path(), &["target-app-go"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("building target-app-go"), "{stderr}");
    let (code, again, stderr) = run(&mut setup(cache.path(), &["target-app-go"]));
    assert_eq!((code, &again), (0, &first));
    assert_eq!(stderr, "", "what is there is not built again");

    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let text = "question: q\ntarget: {program: target-app-go}\n";
    let scenarios = scenarios(&[("go", text)]);
    let (code, _, stderr) = run_until_valid(
        flora_bench()
            .args(["scenario", "go", "--rate", "200", "--blocks", "2"])
            .args(["--warmup", "200ms", "--measure", "400ms", "--slices", "2"])
            .arg("--out")
            .arg(out.path())
            .arg("--scenarios")
            .arg(scenarios.path())
            .env("XDG_CACHE_HOME", cache.path()),
    );
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let programs = report["fingerprint"]["programs"].as_array().unwrap();
    let program = programs.iter().find(|p| p["name"] == "target-app-go");
    let program = program.unwrap();
    let version = program["version"].as_str().unwrap();
    assert!(
        version.starts_with("target-app-go 0.1.0 (go1."),
        "{version}"
    );
    let built = Path::new(first.trim());
    assert_eq!(
        program["sha256"].as_str().unwrap(),
        flora_bench::program::sha256(built).unwrap()
    );
    assert_eq!(program["command"], "target-app-go");
}

#[test]
fn a_missing_tool_ends_with_3_and_the_command_that_installs_it() {
    let cache = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let scenarios = scenarios(&[("go", "question: q\ntarget: {program: target-app-go}\n")]);
    let measured = {
        let mut command = flora_bench();
        command
            .args(["scenario", "go", "--rate", "100", "--scenarios"])
            .arg(scenarios.path())
            .env("XDG_CACHE_HOME", cache.path());
        command
    };
    let _guard = measuring();
    for mut command in [setup(cache.path(), &["target-app-go"]), measured] {
        let (code, _, stderr) = run(command.env("PATH", empty.path()));
        assert_eq!(code, 3, "{stderr}");
        for part in ["`go` is not on PATH", "apt-get install"] {
            assert!(stderr.contains(part), "{stderr}");
        }
    }
    let (code, stdout, _) = run(flora_bench()
        .args(["list", "--scenarios"])
        .arg(scenarios.path())
        .env("PATH", empty.path()));
    assert_eq!(code, 0);
    assert!(stdout.contains("`go` is not on PATH"), "{stdout}");
}

#[test]
fn every_recipe_is_sound_and_an_unknown_program_gets_their_names() {
    let cache = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&mut setup(cache.path(), &[]));
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = run(&mut setup(cache.path(), &["no-such-program"]));
    assert_eq!(code, 2, "{stderr}");
    for program in [
        "datadog-trace-agent",
        "otel-go-auto",
        "otelcol",
        "target-app-datadog",
        "target-app-go",
        "target-app-go-datadog",
        "target-app-go-otel",
        "target-app-opentelemetry",
    ] {
        assert!(stdout.contains(program), "{program} not in: {stdout}");
        assert!(stderr.contains(program), "{program} not in: {stderr}");
    }
}
