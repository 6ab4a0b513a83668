//! `gate`: exit codes, files and annotations, on runs that the tests make up.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{flora_bench, repository, run};

const MIB: f64 = 1_048_576.0;

/// A recorded run of a baseline, its twin and `flora`, whose agent makes a
/// request cost `ratio` more, with every block off by up to `noise`.
pub struct Recorded {
    pub ratio: f64,
    pub noise: f64,
    pub blocks: u32,
    /// How many of `flora`'s trials count.
    pub valid: u32,
}

impl Recorded {
    pub fn of(ratio: f64) -> Recorded {
        Recorded {
            ratio,
            noise: 0.002,
            blocks: 6,
            valid: 6,
        }
    }

    /// Writes it, in the form of the run that the README shows.
    pub fn write(&self) -> tempfile::TempDir {
        let example = repository().join("results/example");
        let read = |file: &str| fs::read_to_string(example.join(file)).unwrap();
        let mut plan: Value = serde_json::from_str(&read("plan.json")).unwrap();
        let baseline = plan["arms"][0].clone();
        let arms: Vec<Value> = ["baseline", "baseline-twin", "flora"]
            .into_iter()
            .map(|name| {
                let mut arm = baseline.clone();
                arm["name"] = json!(name);
                if name == "flora" {
                    let process = json!({"name": "flora", "command": ["flora"], "env": {}});
                    arm["agent"] = json!({"version": "1", "processes": [process]});
                }
                arm
            })
            .collect();
        let template: Value =
            serde_json::from_str(read("trials.jsonl").lines().next().unwrap()).unwrap();
        let (mut planned, mut trials) = (Vec::new(), String::new());
        for block in 1..=self.blocks {
            for (n, arm) in arms.iter().enumerate() {
                let number = planned.len() as u32 + 1;
                let place = json!({"trial": number, "block": block, "arm": arm["name"]});
                let mut trial = template.clone();
                for key in ["trial", "block", "arm"] {
                    trial[key] = place[key].clone();
                }
                planned.push(place);
                trial["statistics"] = self.statistics(block, n);
                let counts = arm["name"] != "flora" || block <= self.valid;
                trial["status"] = json!(if counts { "valid" } else { "invalid" });
                trials += &format!("{trial}\n");
            }
        }
        plan["run"] = json!("2025-01-02T030405Z-flora");
        plan["arms"] = json!(arms);
        plan["trials"] = json!(planned);
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
        write("plan.json", &plan.to_string());
        write("fingerprint.json", &read("fingerprint.json"));
        write("trials.jsonl", &trials);
        write("samples.jsonl", "");
        directory
    }

    fn statistics(&self, block: u32, arm: usize) -> Value {
        // Different in every block and arm, the same in every test run.
        let wobble = |salt: u32| {
            let hash = (block * 7 + arm as u32 * 3 + salt).wrapping_mul(2_654_435_761) >> 16;
            1.0 + self.noise * (f64::from(hash) / 32_768.0 - 1.0)
        };
        let has_agent = arm == 2;
        let cpu = 1e-4 * wobble(1) * if has_agent { 1.0 + self.ratio } else { 1.0 };
        let memory = 6.0 * MIB * wobble(2);
        let latency = 1e-3 * wobble(3) * if has_agent { 1.0 + self.ratio } else { 1.0 };
        let mut statistics = vec![
            json!({"metric": "cpu_seconds_per_request", "subject": "target", "value": cpu}),
            json!({"metric": "memory_working_set_bytes", "subject": "target", "value": memory}),
            json!({"metric": "request_duration_seconds", "subject": "target", "quantile": 0.99, "value": latency}),
        ];
        let (mut cpu_total, mut memory_total) = (cpu, memory);
        if has_agent {
            let (cpu, memory) = (4e-6 * wobble(4), 18.0 * MIB * wobble(5));
            statistics.extend([
                json!({"metric": "cpu_seconds_per_request", "subject": "agent", "value": cpu}),
                json!({"metric": "memory_working_set_bytes", "subject": "agent", "value": memory}),
            ]);
            cpu_total += cpu;
            memory_total += memory;
        }
        statistics.extend([
            json!({"metric": "cpu_seconds_per_request", "subject": "total", "value": cpu_total}),
            json!({"metric": "memory_working_set_bytes", "subject": "total", "value": memory_total}),
        ]);
        json!(statistics)
    }
}

/// The command, whatever these tests themselves run in.
fn gate(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = flora_bench();
    command
        .arg("gate")
        .arg(directory)
        .args(arguments)
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITHUB_STEP_SUMMARY");
    command
}

fn judged(recorded: &Recorded, arguments: &[&str]) -> (i32, String, String) {
    run(&mut gate(recorded.write().path(), arguments))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn each_outcome_has_its_exit_code() {
    let noisy = Recorded {
        noise: 0.2,
        ..Recorded::of(0.05)
    };
    let one_block = Recorded {
        blocks: 1,
        ..Recorded::of(0.05)
    };
    let invalid = Recorded {
        valid: 1,
        ..Recorded::of(0.05)
    };
    let target = "cpu_seconds_per_request,target=";
    for (recorded, limit, code, sentence) in [
        (
            &Recorded::of(0.05),
            "0.07",
            0,
            "Within budget: CPU per request (target) of flora: +5",
        ),
        (&Recorded::of(0.05), "+7 µs", 0, "+7 µs is allowed"),
        (
            &Recorded::of(0.05),
            "0.03",
            1,
            "Over budget in 1 of 1 budget",
        ),
        (&Recorded::of(0.05), "+3us", 1, "Over budget"),
        (&Recorded::of(0.05), "120 µs", 0, "Within budget"),
        (
            &noisy,
            "0.05",
            5,
            "Inconclusive in 1 of 1 budget, too noisy to tell",
        ),
        (&one_block, "0.5", 5, "one block has no interval"),
        (
            &invalid,
            "0.5",
            4,
            "flora is not valid: 1 of 6 trials count",
        ),
    ] {
        let (found, stdout, stderr) = judged(recorded, &["--max", &format!("{target}{limit}")]);
        assert_eq!(found, code, "{limit}: {stdout}{stderr}");
        let squeezed = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(sentence), "{stdout}");
        assert_eq!(stderr.is_empty(), code == 0, "{stderr}");
        assert!(!stdout.contains("::"), "{stdout}");
    }
}

#[test]
fn over_comes_before_not_valid_before_inconclusive() {
    let noisy = Recorded {
        noise: 0.2,
        ..Recorded::of(0.5)
    };
    let over = "memory_working_set_bytes,agent=1 MiB";
    let (code, stdout, _) = judged(
        &noisy,
        &["--max", "cpu_seconds_per_request,target=0.5", "--max", over],
    );
    assert_eq!(code, 1, "{stdout}");
    assert!(
        stdout.contains("inconclusive") && stdout.contains("over"),
        "{stdout}"
    );
}

#[test]
fn files_are_written_and_can_be_read() {
    let directory = Recorded::of(0.05).write();
    let budgets = file(
        "\
budgets:
  cpu_seconds_per_request target:
    max: +3 %
    description: \"<&>\\\"' | \\u0007 ]]>\"
  memory_working_set_bytes agent: 64 MiB
  request_duration_seconds p99: +5 %
",
    );
    let path = budgets.path().to_str().unwrap();
    let (code, stdout, _) = run(&mut gate(
        directory.path(),
        &["--budgets", path, "--format", "json"],
    ));
    assert_eq!(code, 1, "{stdout}");
    let gate: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(gate["outcome"], "over");
    let outcomes: Vec<&str> = gate["judgements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|judgement| judgement["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["over", "within", "inconclusive"]);
    assert_eq!(
        gate["judgements"][0]["limit"],
        json!({"kind": "ratio", "value": 0.03})
    );
    assert_eq!(gate["noise_floor"].as_array().unwrap().len(), 2);

    let xml = fs::read_to_string(directory.path().join("junit.xml")).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let cases: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .collect();
    let kinds: Vec<Option<&str>> = cases
        .iter()
        .map(|case| {
            let kinds = ["failure", "error", "skipped"];
            let is_kind = |node: &roxmltree::Node<'_, '_>| kinds.contains(&node.tag_name().name());
            case.children()
                .find(is_kind)
                .map(|node| node.tag_name().name())
        })
        .collect();
    assert_eq!(kinds, [Some("failure"), None, Some("skipped")]);
    assert_eq!(document.root_element().attribute("tests"), Some("3"));

    let markdown = fs::read_to_string(directory.path().join("gate.md")).unwrap();
    assert!(
        markdown.starts_with("**Over budget in 1 of 3 budgets: "),
        "{markdown}"
    );
    for row in [
        "| flora | +5",
        "| +3 % | over budget |",
        "| 64 MiB | within |",
        "&lt;&amp;&gt;",
    ] {
        assert!(markdown.contains(row), "`{row}` not in: {markdown}");
    }
    assert!(
        markdown.contains("6 blocks") && markdown.contains("Noise floor"),
        "{markdown}"
    );
}

#[test]
fn on_github() {
    let directory = Recorded::of(0.05).write();
    let summary = directory.path().join("summary");
    fs::write(&summary, "before\n").unwrap();
    let budgets = file(
        "\
budgets:
  cpu_seconds_per_request target: {max: +3 %, description: \"::stop-commands::x\"}
  memory_working_set_bytes agent: 64 MiB
",
    );
    let path = budgets.path().to_str().unwrap();
    let on_github = |arguments: &[&str]| {
        run(gate(directory.path(), arguments)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", &summary))
    };
    let annotations = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| line.trim_start().starts_with("::"));
        lines.map(str::to_owned).collect()
    };
    let (code, stdout, _) = on_github(&["--budgets", path]);
    assert_eq!(code, 1);
    let found = annotations(&stdout);
    assert_eq!(found.len(), 1, "{stdout}");
    assert!(
        found[0].starts_with("::error title=Over budget::"),
        "{stdout}"
    );
    assert!(
        found[0].contains("+3 %25 is allowed%0A::stop-commands::x"),
        "{stdout}"
    );
    let text = fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("before\n**Over budget"), "{text}");
    // JSON stays JSON; the runner reads standard error too.
    let (_, stdout, stderr) = on_github(&["--budgets", path, "--format", "json"]);
    serde_json::from_str::<Value>(&stdout).unwrap();
    assert_eq!(annotations(&stderr), found);
    let (code, stdout, _) = on_github(&["--max", "cpu_seconds_per_request=0.5"]);
    assert_eq!(code, 0);
    assert!(annotations(&stdout)[0].starts_with("::notice title=Within budget::"));
    // A summary that can't be written changes no verdict.
    let (code, _, stderr) = run(
        gate(directory.path(), &["--max", "cpu_seconds_per_request=0.5"])
            .env("GITHUB_STEP_SUMMARY", "/proc/nowhere"),
    );
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("/proc/nowhere"), "{stderr}");
}

#[test]
fn bad_budgets() {
    let directory = Recorded::of(0.05).write();
    let refused = |arguments: &[&str], expected: &[&str]| {
        let (code, stdout, stderr) = run(&mut gate(directory.path(), arguments));
        assert_eq!(code, 2, "{arguments:?}: {stdout}{stderr}");
        for part in expected {
            assert!(stderr.contains(part), "`{part}` not in: {stderr}");
        }
        assert_eq!(stdout, "");
    };
    refused(
        &[],
        &["--budgets FILE", "--max cpu_seconds_per_request,total=0.05"],
    );
    for (option, expected) in [
        (
            "cpu_second_per_request=0.1",
            "did you mean `cpu_seconds_per_request`?",
        ),
        ("cpu_seconds_per_request=NaN", "`NaN` is not a limit"),
        ("cpu_seconds_per_request=inf", "`inf` is not a limit"),
        ("cpu_seconds_per_request", "METRIC[,SUBJECT]=LIMIT"),
        (
            "cpu_seconds_per_request,agent=0.1",
            "the run has: cpu_seconds_per_request target",
        ),
        (
            "startup_seconds=1 s",
            "no `startup_seconds target` of flora",
        ),
    ] {
        refused(&["--max", option], &[expected]);
    }
    refused(
        &[
            "--max",
            "cpu_seconds_per_request=0.1",
            "--scenario",
            "flroa",
        ],
        &["did you mean `flora`?"],
    );
    for (text, expected) in [
        ("", "no budget"),
        ("budgets: {}\n", "no budget"),
        ("budgets: [\n", "budgets.yaml"),
        (
            "budgets:\n  startup: 1\n",
            "budgets.yaml:2: unknown metric `startup`, did you mean `startup_seconds`?",
        ),
        (
            "budgets:\n  startup_seconds: {max: 1 s, scenario: x}\n",
            "budgets.yaml:2: the run has no scenario `x`",
        ),
    ] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("budgets.yaml");
        fs::write(&path, text).unwrap();
        refused(&["--budgets", path.to_str().unwrap()], &[expected]);
    }
    refused(
        &["--budgets", "/no/such/file.yaml"],
        &["/no/such/file.yaml"],
    );
    assert!(!directory.path().join("gate.md").exists());
}

#[test]
fn bad_run_directories() {
    let budget = ["--max", "cpu_seconds_per_request=0.1"];
    let (code, _, stderr) = run(&mut gate(Path::new("no-such-run"), &budget));
    assert_eq!(code, 2);
    assert!(stderr.contains("no-such-run"), "{stderr}");
    let directory = Recorded::of(0.05).write();
    let plan = directory.path().join("plan.json");
    let text = fs::read_to_string(&plan).unwrap();
    let other = text.replace("\"schema_version\":1", "\"schema_version\":99");
    assert_ne!(text, other);
    fs::write(&plan, other).unwrap();
    let (code, _, stderr) = run(&mut gate(directory.path(), &budget));
    assert_eq!(code, 2);
    assert!(stderr.contains("schema version 99"), "{stderr}");
    // This run has only a baseline.
    let baseline = repository().join("results/calibration/same/2026-11-25T014608Z-baseline");
    let (code, _, stderr) = run(&mut gate(&baseline, &budget));
    assert_eq!(code, 2);
    assert!(stderr.contains("only the baseline"), "{stderr}");
}
