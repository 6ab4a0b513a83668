//! What differs in where and with what two runs, or two arms, were measured.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Side;
use crate::fingerprint::Program;
use crate::plan::Plan;
use crate::report::{format, words};
use crate::sample::Subject;
use crate::scenario::Scenario;

/// One thing that is not the same on both sides.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// What it is, such as `request rate`.
    pub what: String,
    /// How it was in A.
    pub a: String,
    /// How it was in B.
    pub b: String,
    /// What follows.
    pub weight: Weight,
}

/// What follows from a difference.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Figures can't be compared.
    Refuses,
    /// It may have a part in every change.
    Warns,
    /// It is what is compared.
    Compared,
}

/// What the offered rate is called.
pub const RATE: &str = "request rate";

/// Keys of a target that leave its cost alone, or are compared by themselves.
const TARGET_ASIDE: [&str; 3] = ["port", "startup_timeout_seconds", "inject"];
/// Keys of a load that leave the target's cost alone; the rate that was offered is in the plan.
const LOAD_ASIDE: [&str; 2] = ["rate", "timeout_seconds"];

/// What two runs differ in, as far as the arms that both have are concerned.
pub fn between_runs(a: Side<'_>, b: Side<'_>, arms: &[&str]) -> Vec<Difference> {
    let mut list = List::default();
    plans(&mut list, a, b);
    for arm in arms {
        if let Some((arm_a, arm_b)) = a.plan.arm(arm).zip(b.plan.arm(arm)) {
            scenarios(&mut list, arm, (a, arm_a), (b, arm_b));
        }
    }
    agents(&mut list, a, b, arms);
    list.sorted()
}

/// What two arms of a run differ in.
pub fn between_arms(run: Side<'_>, a: &str, b: &str) -> Vec<Difference> {
    let mut list = List::default();
    if let Some((arm_a, arm_b)) = run.plan.arm(a).zip(run.plan.arm(b)) {
        scenarios(&mut list, "", (run, arm_a), (run, arm_b));
    }
    list.sorted()
}

#[derive(Default)]
struct List(Vec<Difference>);

impl List {
    fn add(&mut self, weight: Weight, what: &str, a: impl Into<String>, b: impl Into<String>) {
        let (a, b) = (a.into(), b.into());
        let difference = Difference {
            what: what.to_owned(),
            a,
            b,
            weight,
        };
        if difference.a != difference.b && !self.0.contains(&difference) {
            self.0.push(difference);
        }
    }

    fn sorted(mut self) -> Vec<Difference> {
        self.0.sort_by_key(|difference| difference.weight);
        self.0
    }
}

fn plans(list: &mut List, a: Side<'_>, b: Side<'_>) {
    use Weight::{Refuses, Warns};

    let seconds = format::duration;
    let (plan_a, plan_b) = (a.plan, b.plan);
    let rate = |rate: f64| format!("{rate} requests per second");
    list.add(Refuses, "backend", &plan_a.backend, &plan_b.backend);
    let asked = |plan: &Plan| match &plan.experiment {
        Some(experiment) => json(&experiment.question).to_string(),
        None => "a fixed rate".to_owned(),
    };
    list.add(Refuses, "experiment", asked(plan_a), asked(plan_b));
    // Where rates are searched for, the one in the plan is only where that begins.
    let searched = |plan: &Plan| plan.experiment.is_some_and(|e| e.is_of_rates());
    if !(searched(plan_a) && searched(plan_b)) {
        let (a, b) = (plan_a.load.rate, plan_b.load.rate);
        list.add(Refuses, RATE, rate(a), rate(b));
    }
    let driver = |side: Side<'_>| words::driver(side.plan.load.driver);
    list.add(Refuses, "load driver", driver(a), driver(b));
    for (what, a, b) in [
        ("warm-up", plan_a.warmup_seconds, plan_b.warmup_seconds),
        ("window", plan_a.measure_seconds, plan_b.measure_seconds),
    ] {
        list.add(Refuses, what, seconds(a), seconds(b));
    }
    let slices = |side: Side<'_>| side.plan.slices.to_string();
    list.add(Refuses, "slices of the window", slices(a), slices(b));
    let pause = |side: Side<'_>| side.plan.pause_seconds.to_string();
    list.add(Refuses, "pause after a slice", pause(a), pause(b));

    let (a, b) = (&a.report.fingerprint, &b.report.fingerprint);
    list.add(
        Refuses,
        "CPU accounting",
        &a.accounting.cpu,
        &b.accounting.cpu,
    );
    list.add(
        Warns,
        "memory accounting",
        &a.accounting.memory,
        &b.accounting.memory,
    );
    for (role, cpus) in &a.cpu_sets {
        let Some(others) = b.cpu_sets.get(role) else {
            continue;
        };
        let decisive = [Subject::Target, Subject::Agent, Subject::Load];
        let weight = if decisive.iter().any(|subject| subject.as_str() == role) {
            Refuses
        } else {
            Warns
        };
        let what = format!("number of CPUs of {}", role.replace('_', " "));
        list.add(
            weight,
            &what,
            cpus.len().to_string(),
            others.len().to_string(),
        );
    }

    let (machine_a, machine_b) = (&a.machine, &b.machine);
    let kind = |virtualised: bool| if virtualised { "virtual" } else { "physical" };
    let governor = |name: &Option<String>| name.clone().unwrap_or_else(|| "not shown".into());
    let memory = |bytes: u64| format::quantity(crate::metric::Unit::Bytes, bytes as f64);
    for (what, a, b) in [
        (
            "CPU model",
            machine_a.cpu_model.clone(),
            machine_b.cpu_model.clone(),
        ),
        (
            "CPUs",
            machine_a.cpus.to_string(),
            machine_b.cpus.to_string(),
        ),
        (
            "memory of the machine",
            memory(machine_a.memory_bytes),
            memory(machine_b.memory_bytes),
        ),
        ("kernel", machine_a.kernel.clone(), machine_b.kernel.clone()),
        ("system", machine_a.os.clone(), machine_b.os.clone()),
        (
            "machine",
            kind(machine_a.virtualised).into(),
            kind(machine_b.virtualised).into(),
        ),
        (
            "frequency governor",
            governor(&machine_a.governor),
            governor(&machine_b.governor),
        ),
        (
            "flora-bench",
            a.harness.version.clone(),
            b.harness.version.clone(),
        ),
        (
            "build of flora-bench",
            a.harness.command.clone().unwrap_or_default(),
            b.harness.command.clone().unwrap_or_default(),
        ),
    ] {
        list.add(Warns, what, a, b);
    }
    let k6 = |programs: &[Program]| {
        let found = programs.iter().find(|program| program.name == "k6");
        found.map_or("none".to_owned(), version)
    };
    list.add(Warns, "k6", k6(&a.programs), k6(&b.programs));
}

/// What one arm of A and one of B differ in; `label` names it where there are several.
fn scenarios(
    list: &mut List,
    label: &str,
    (side_a, a): (Side<'_>, &Scenario),
    (side_b, b): (Side<'_>, &Scenario),
) {
    let target = |side: Side<'_>, scenario: &Scenario| {
        let programs = &side.report.fingerprint.programs;
        let found = programs
            .iter()
            .find(|program| program.name == scenario.target.program);
        found.map_or("not recorded".to_owned(), version)
    };
    list.add(
        Weight::Refuses,
        "target program",
        target(side_a, a),
        target(side_b, b),
    );
    let parts = [
        (
            "target",
            json(&a.target),
            json(&b.target),
            &TARGET_ASIDE[..],
        ),
        ("load", json(&a.load), json(&b.load), &LOAD_ASIDE[..]),
    ];
    for (name, a, b, aside) in parts {
        differing(list, Weight::Refuses, name, &a, &b, aside);
    }
    let of = if label.is_empty() {
        String::new()
    } else {
        format!(" of {label}")
    };
    let (inject_a, inject_b) = (json(&a.target.inject), json(&b.target.inject));
    let inject = format!("injected cost{of}");
    differing(list, Weight::Compared, &inject, &inject_a, &inject_b, &[]);
    let (agent_a, agent_b) = (json(&a.agent), json(&b.agent));
    let agent = format!("agent{of}");
    differing(list, Weight::Compared, &agent, &agent_a, &agent_b, &[]);
}

/// Programs that are neither the target nor the experiment's own: the agent's.
fn agents(list: &mut List, a: Side<'_>, b: Side<'_>, arms: &[&str]) {
    let mine = |side: Side<'_>| -> BTreeMap<String, String> {
        let targets: BTreeSet<&str> = arms
            .iter()
            .filter_map(|arm| side.plan.arm(arm))
            .map(|scenario| scenario.target.program.as_str())
            .collect();
        let own = ["k6", "victoria-metrics", "victoria_metrics"];
        let programs = side.report.fingerprint.programs.iter();
        programs
            .filter(|program| !targets.contains(program.name.as_str()))
            .filter(|program| !own.contains(&program.name.as_str()))
            .map(|program| (program.name.clone(), version(program)))
            .collect()
    };
    let (of_a, of_b) = (mine(a), mine(b));
    let none = "none".to_owned();
    for name in of_a.keys().chain(of_b.keys()) {
        let (a, b) = (
            of_a.get(name).unwrap_or(&none),
            of_b.get(name).unwrap_or(&none),
        );
        list.add(Weight::Compared, name, a, b);
    }
}

/// A program as one can tell it from another build of itself.
fn version(program: &Program) -> String {
    match &program.sha256 {
        Some(sha256) => {
            let short: String = sha256.chars().take(12).collect();
            format!("{} (SHA-256 {short}…)", program.version)
        }
        None => program.version.clone(),
    }
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Where two values differ, key by key, so that a key that is added one day is not forgotten here.
fn differing(list: &mut List, weight: Weight, name: &str, a: &Value, b: &Value, aside: &[&str]) {
    if let (Value::Object(a), Value::Object(b)) = (a, b) {
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys
            .into_iter()
            .filter(|key| !aside.contains(&key.as_str()))
        {
            let none = Value::Null;
            let (a, b) = (a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none));
            if key == "env" {
                environment(list, weight, name, a, b);
            } else {
                differing(list, weight, &format!("{name}, {key}"), a, b, &[]);
            }
        }
    } else if let (Value::Array(a), Value::Array(b)) = (a, b)
        && a.len() == b.len()
        && a.iter().all(Value::is_object)
    {
        for (a, b) in a.iter().zip(b) {
            let part = a.get("name").and_then(Value::as_str).unwrap_or_default();
            differing(list, weight, &format!("{name}, {part}"), a, b, aside);
        }
    } else if a != b {
        list.add(weight, name, brief(a), brief(b));
    }
}

/// Names only: values may be keys to something.
fn environment(list: &mut List, weight: Weight, name: &str, a: &Value, b: &Value) {
    let empty = serde_json::Map::new();
    let (a, b) = (
        a.as_object().unwrap_or(&empty),
        b.as_object().unwrap_or(&empty),
    );
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys.into_iter().filter(|key| a.get(*key) != b.get(*key)) {
        let said = |set: bool, other: bool| match (set, other) {
            (false, _) => "not set",
            (true, true) => "one value",
            (true, false) => "set",
        };
        let (in_a, in_b) = (a.contains_key(key), b.contains_key(key));
        let what = format!("{name}, environment {key}");
        let of_b = if in_a && in_b {
            "another value"
        } else {
            said(in_b, in_a)
        };
        list.add(weight, &what, said(in_a, in_b), of_b);
    }
}

fn brief(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.join(" ")
        }
        Value::Object(keys) if keys.contains_key("version") => brief(&keys["version"]),
        other => other.to_string(),
    };
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "none".to_owned(),
        None => text,
    }
}
