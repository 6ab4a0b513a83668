//! Bad input: a clear message, the contract's exit code, nothing left behind.

use crate::support::{flora_bench, leftovers, measuring, run, scenarios, script};

/// A scenario directory whose baseline has this target section.
fn with_target(target: &str) -> tempfile::TempDir {
    scenarios(&[(
        "baseline",
        &format!(
            "question: q\ntarget: {target}\ntrials: {{warmup: 100ms, measure: 500ms, blocks: 1}}\n"
        ),
    )])
}

fn measure(scenarios: &std::path::Path, more: &[&str]) -> (i32, String, String) {
    let out = tempfile::tempdir().unwrap();
    run(flora_bench()
        .args(["scenario", "baseline", "--scenarios"])
        .arg(scenarios)
        .arg("--out")
        .arg(out.path())
        .args(more))
}

#[test]
fn an_unknown_scenario_gets_the_nearest_name() {
    let (code, stdout, stderr) = run(flora_bench().args(["scenario", "basline"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("did you mean `baseline`?"), "{stderr}");
    assert_eq!(stdout, "");
}

#[test]
fn the_twin_is_no_scenario_of_its_own() {
    let (code, _, stderr) = run(flora_bench().args(["scenario", "baseline-twin"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("part of every run"), "{stderr}");
}

#[test]
fn malformed_scenario_files() {
    for (text, expected) in [
        ("question: q\ntargt: {}\n", "targt"),
        ("question: q\ntarget: {objects: -1}\n", "objects"),
        ("question: q\ntrials: {measure: soon}\n", "soon"),
        ("{", "baseline.yaml"),
    ] {
        let directory = scenarios(&[("baseline", text)]);
        let (code, _, stderr) = measure(directory.path(), &[]);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn bad_options() {
    for options in [
        ["--rate", "0"],
        ["--rate", "fast"],
        ["--blocks", "0"],
        ["--measure", "0s"],
        ["--measure", "ten"],
        ["--load", "wrk"],
        ["--slices", "0"],
        ["--time", "0s"],
    ] {
        let (code, _, stderr) = run(flora_bench().args(["scenario", "baseline"]).args(options));
        assert_eq!(code, 2, "{options:?}: {stderr}");
        assert!(stderr.contains(options[0]), "{stderr}");
    }
}

#[test]
fn a_port_that_is_taken() {
    let _guard = measuring();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let directory = with_target(&format!("{{port: {port}}}"));
    let (code, _, stderr) = measure(directory.path(), &["--rate", "100"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains(&format!("port {port} is taken")),
        "{stderr}"
    );
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn a_target_that_exits_at_start_shows_its_last_output() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let program = script(
        directory.path(),
        "broken",
        "[ \"$1\" = --version ] && echo broken 1 && exit\necho 'no database at nowhere:5432' >&2\nexit 7",
    );
    let scenarios = with_target(&format!("{{program: {}}}", program.display()));
    let (code, _, stderr) = measure(scenarios.path(), &["--rate", "100"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("no database at nowhere:5432"), "{stderr}");
    assert!(stderr.contains("exit status: 7"), "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn a_target_that_never_gets_healthy() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let program = script(
        directory.path(),
        "sleeper",
        "[ \"$1\" = --version ] && echo sleeper 1 && exit\necho 'still starting'\nexec sleep 60",
    );
    let scenarios = with_target(&format!(
        "{{program: {}, startup_timeout: 2s}}",
        program.display()
    ));
    let (code, _, stderr) = measure(scenarios.path(), &["--rate", "100"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("did not answer"), "{stderr}");
    assert!(stderr.contains("startup_timeout"), "{stderr}");
    assert!(stderr.contains("still starting"), "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn a_target_without_a_version_is_not_measured() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), "silent", "exit 0");
    let scenarios = with_target(&format!("{{program: {}}}", program.display()));
    let (code, _, stderr) = measure(scenarios.path(), &["--rate", "100"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("version"), "{stderr}");
}

/// Many a program takes no notice of an option that it doesn't know, and serves.
#[test]
fn a_target_that_serves_instead_of_saying_its_version_is_ended() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let text = format!("echo $$ > {}; exec sleep 300", pid.display());
    let program = script(directory.path(), "server", &text);
    let scenarios = with_target(&format!("{{program: {}}}", program.display()));
    let (code, _, stderr) = measure(scenarios.path(), &["--rate", "100"]);
    assert_eq!(code, 3, "{stderr}");
    for part in ["server --version went on for", "version is unknown"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    let pid = std::fs::read_to_string(pid).unwrap();
    let command = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    assert!(!command.starts_with(b"sleep"), "{pid} still runs");
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// What would be taken no notice of is refused.
#[test]
fn options_of_the_other_backend() {
    for arguments in [
        "doctor --namespace x",
        "doctor --kubeconfig x",
        "doctor --backend kubernetes --namespace x",
        "doctor --backend kubernetes --parallel 2",
        "doctor --backend kubernetes --node-class a/b/c --provisioner karpenter",
        "scenario baseline --dry-run --backend kubernetes --cgroups off",
        "scenario baseline --dry-run --backend kubernetes --victoria-metrics off",
        "scenario baseline --dry-run --backend kubernetes --victoria-metrics http://127.0.0.1:1",
    ] {
        let (code, stdout, stderr) = run(flora_bench().args(arguments.split(' ')));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments}: {stderr}");
        let way_out = ["leave them out", "add --backend kubernetes"];
        assert!(way_out.iter().any(|way| stderr.contains(way)), "{stderr}");
    }
}

#[test]
fn a_target_that_is_not_there() {
    let _guard = measuring();
    let scenarios = with_target("{program: ./no/such/program}");
    let (code, _, stderr) = measure(scenarios.path(), &["--rate", "100"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("./no/such/program"), "{stderr}");
}

#[test]
fn a_rate_that_cannot_be_reached_says_what_was_reached() {
    let _guard = measuring();
    let scenarios = with_target("{work: 50}");
    let (code, _, stderr) = measure(scenarios.path(), &["--rate", "50000"]);
    assert_eq!(code, 4, "{stderr}");
    assert!(
        stderr.contains("of 50000.0 requests per second were answered"),
        "{stderr}"
    );
    assert!(stderr.contains("never sent"), "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn an_out_directory_that_cannot_be_written() {
    let _guard = measuring();
    let scenarios = with_target("{}");
    let (code, _, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--rate", "100", "--scenarios"])
        .arg(scenarios.path())
        .args(["--out", "/proc/nowhere"]));
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("/proc/nowhere") && stderr.contains("--out"),
        "{stderr}"
    );
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn a_disk_that_fills_up() {
    let _guard = measuring();
    // Every write to this device fails with "No space left on device".
    let out = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24k", "tmpfs"])
        .arg(out.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        crate::support::skip("a_disk_that_fills_up", "mounting a tmpfs needs root");
        return;
    }
    let scenarios = with_target("{}");
    let (code, _, stderr) = run(flora_bench()
        .args([
            "scenario",
            "baseline",
            "--rate",
            "200",
            "--blocks",
            "3",
            "--scenarios",
        ])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    let unmounted = std::process::Command::new("umount")
        .arg(out.path())
        .status()
        .unwrap();
    assert!(unmounted.success());
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
}
