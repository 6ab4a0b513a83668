//! What others copy into their CI: the action, the examples, the budgets in the manual.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::gate::Recorded;
use crate::support::{flora_bench, repository, run, script, skip};

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The shell steps of the action: name and script.
fn steps() -> Vec<(String, String)> {
    let action = yaml("action.yml");
    let steps = action["runs"]["steps"].as_array().unwrap();
    let shell = steps.iter().filter(|step| step.get("run").is_some());
    shell
        .map(|step| {
            assert_eq!(step["shell"], "bash", "{step}");
            let text = |key: &str| step[key].as_str().unwrap().to_owned();
            (text("name"), text("run"))
        })
        .collect()
}

/// Runs a step as GitHub does, and gives its exit code and outputs.
fn step(name: &str, place: &Path, environment: &[(&str, &str)]) -> (i32, String) {
    let (_, text) = steps().into_iter().find(|(n, _)| n == name).unwrap();
    let (file, output) = (place.join("step.sh"), place.join("output"));
    fs::write(&file, text).unwrap();
    fs::write(&output, "").unwrap();
    let (code, stdout, stderr) = run(Command::new("bash")
        .args(["--noprofile", "--norc", "-eo", "pipefail"])
        .arg(&file)
        .current_dir(place)
        .env("GITHUB_OUTPUT", &output)
        .env("RUNNER_TEMP", place)
        .envs(environment.iter().copied()));
    eprintln!("{stdout}{stderr}");
    (code, fs::read_to_string(&output).unwrap())
}

#[test]
fn every_shell_step_is_bash() {
    let steps = steps();
    assert!(steps.len() >= 4);
    for (name, text) in steps {
        // Text of others, pasted into a script, is how actions are broken into.
        assert!(
            !text.contains("${{"),
            "{name} pastes an expression into its script"
        );
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("step.sh");
        fs::write(&file, text).unwrap();
        let (code, _, stderr) = run(Command::new("bash").arg("-n").arg(&file));
        assert_eq!(code, 0, "{name}: {stderr}");
    }
}

#[test]
fn the_measuring_step() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    // Says how it was called, makes a run as the program does, and ends with a given code.
    let program = script(
        place,
        "flora-bench",
        "printf '%s\\n' \"$@\" > called\nwhile [ $# -gt 1 ]; do shift; done\n\
         if [ \"$CODE\" != 3 ]; then mkdir \"$1/the-run\"; ln -s the-run \"$1/latest\"; fi\nexit $CODE",
    );
    let program = program.to_str().unwrap();
    let measured = |code: &str| {
        let environment = [
            ("FLORA_BENCH", program),
            ("SCENARIOS", "a b\nc"),
            ("BLOCKS", "7"),
            ("TIME", ""),
            ("ARGUMENTS", "--rate 500"),
            ("CODE", code),
        ];
        step("Measure", place, &environment)
    };
    let (code, output) = measured("0");
    assert_eq!(code, 0);
    assert!(
        output.starts_with("run=/") && output.ends_with("/the-run\n"),
        "{output}"
    );
    let called = fs::read_to_string(place.join("called")).unwrap();
    let called: Vec<&str> = called.lines().collect();
    assert_eq!(
        called[..9],
        [
            "scenario", "a", "b", "c", "--rate", "500", "--blocks", "7", "--out"
        ]
    );
    // Not valid: the gate says so. Anything else ends the job.
    let (code, output) = measured("4");
    assert_eq!((code, output.is_empty()), (0, false));
    assert_eq!(measured("3"), (3, String::new()));
}

#[test]
fn the_gate_step() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let program = script(
        place,
        "flora-bench",
        "printf '%s\\n' \"$@\" > called\nexit $CODE",
    );
    let program = program.to_str().unwrap();
    let judged = |code: &str, inconclusive: &str| {
        let environment = [
            ("FLORA_BENCH", program),
            ("RUN", "/some/run"),
            ("BUDGETS", "my budgets.yaml"),
            ("MAX", "startup_seconds=+5 %\n\nerror_ratio=0.1 %"),
            ("INCONCLUSIVE", inconclusive),
            ("CODE", code),
        ];
        step("Gate", place, &environment)
    };
    for (code, inconclusive, expected, verdict) in [
        ("0", "warn", 0, "verdict=within\n"),
        ("1", "warn", 1, "verdict=over\n"),
        ("2", "warn", 2, ""),
        ("4", "warn", 4, "verdict=invalid\n"),
        ("5", "warn", 0, "verdict=inconclusive\n"),
        ("5", "fail", 5, "verdict=inconclusive\n"),
    ] {
        assert_eq!(judged(code, inconclusive), (expected, verdict.to_owned()));
    }
    let called = fs::read_to_string(place.join("called")).unwrap();
    let called: Vec<&str> = called.lines().collect();
    assert_eq!(
        called,
        [
            "gate",
            "/some/run",
            "--budgets",
            "my budgets.yaml",
            "--max",
            "startup_seconds=+5 %",
            "--max",
            "error_ratio=0.1 %",
        ]
    );
}

#[test]
fn workflows_are_well_formed() {
    assert!(yaml("docs/ci/gitlab-ci.yml")["overhead"]["script"].is_array());
    let workflow = yaml("docs/ci/github.yml");
    let action = yaml("action.yml");
    let steps = workflow["jobs"]["overhead"]["steps"].as_array().unwrap();
    let used = steps.iter().find(|step| {
        let uses = step["uses"].as_str().unwrap_or_default();
        uses.starts_with("OWNER/flora-bench@")
    });
    for input in used.unwrap()["with"].as_object().unwrap().keys() {
        assert!(
            action["inputs"].get(input).is_some(),
            "the action has no input `{input}`"
        );
    }
}

#[test]
fn actionlint_finds_nothing() {
    let lint = |project: &Path| {
        Command::new("actionlint")
            .args(["-no-color", "-shellcheck=", "-pyflakes="])
            .current_dir(project)
            .output()
    };
    let project = tempfile::tempdir().unwrap();
    let project = project.path();
    fs::create_dir_all(project.join(".git")).unwrap();
    fs::create_dir_all(project.join(".github/workflows")).unwrap();
    if lint(project).is_err() {
        let why = "actionlint is not installed; `go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7` does it";
        if Command::new("go").arg("version").output().is_ok() {
            skip("actionlint_finds_nothing", why);
        } else {
            eprintln!("SKIPPED: actionlint_finds_nothing: {why}");
        }
        return;
    }
    // It knows the inputs and outputs of an action only when that is beside the workflow.
    let root = repository();
    fs::copy(root.join("action.yml"), project.join("action.yml")).unwrap();
    let text = fs::read_to_string(root.join("docs/ci/github.yml")).unwrap();
    let local = text.replace("OWNER/flora-bench@main", "./");
    assert_ne!(text, local);
    let target = project.join(".github/workflows/overhead.yml");
    for (text, good) in [
        (text, true),
        (local.clone(), true),
        // That it would find something.
        (
            local.replace("scenarios: my-agent", "scenarioz: my-agent"),
            false,
        ),
        (local.replace("outputs.verdict", "outputs.verdikt"), false),
    ] {
        fs::write(&target, text).unwrap();
        let output = lint(project).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), good, "{said}");
    }
}

#[test]
fn example_budgets_fit_a_run() {
    let manual = fs::read_to_string(repository().join("docs/GATE.md")).unwrap();
    let example = manual.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    flora_bench::gate::wire::parse(Path::new("docs/GATE.md"), example)
        .unwrap_or_else(|error| panic!("{error}"));
    let directory = Recorded::of(0.02).write();
    let (code, stdout, stderr) = run(flora_bench()
        .arg("gate")
        .arg(directory.path())
        .args(["--budgets", "docs/ci/budgets.yaml"])
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITHUB_STEP_SUMMARY"));
    assert_eq!(code, 0, "{stdout}{stderr}");
}
