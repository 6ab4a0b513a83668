//! Scenario files: what is asked, which target, which agent, what load, how many trials.
//!
//! # Layout
//! - [`Scenario`] and its parts: what the rest of the program works with
//! - [`wire`]: the YAML form, strict, with defaults from `scenario/defaults.yaml`
//! - [`kubernetes`]: what is said for clusters
//! - [`library`]: the files of a directory, by name
//! - [`placeholder`]: words in an agent's command that the harness fills in

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::placeholder::Placeholder;

pub mod kubernetes;
pub mod library;
pub mod placeholder;
pub mod wire;

/// The scenario that every other one is measured against.
pub const BASELINE: &str = "baseline";
/// The arm that is the baseline once more: what separates the two is noise.
pub const TWIN: &str = "baseline-twin";

/// A scenario, complete: its file with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: the file's, without `.yaml`.
    pub name: String,
    /// What it asks, in one sentence.
    pub question: String,
    /// What its author says of the result; printed beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<String>,
    /// The scenario that it is measured against; `baseline` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The application under load.
    pub target: Target,
    /// The observability software under test; none measures the target alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// What is sent to the target.
    pub load: Load,
    /// How long and how often.
    pub trials: Trials,
    /// How target and agent run in a cluster, as far as defaults don't say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<kubernetes::Kubernetes>,
    /// SHA-256 of the file that it was read from.
    pub file_sha256: String,
}

/// The application under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A program of this workspace by name, or a path to any other.
    pub program: String,
    /// Further arguments.
    pub args: Vec<String>,
    /// Further environment; placeholders are filled in, but for what is known only of a running target.
    pub env: BTreeMap<String, String>,
    /// CPUs that it gets, where the machine has them to spare.
    pub cpus: usize,
    /// The port that it listens on; a free one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// JSON objects in an answer.
    pub objects: u32,
    /// CPU-intensive tasks in a request.
    pub work: u32,
    /// Seed of its random content.
    pub seed: u64,
    /// How long it may take to answer after its start.
    pub startup_timeout_seconds: f64,
    /// A known cost that the target adds by itself, so that one can see whether it is found again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<Inject>,
}

impl Target {
    /// What its program is called with, to listen there.
    pub fn arguments(&self, listen: &str) -> Vec<String> {
        let mut args = vec![
            "--listen".to_owned(),
            listen.to_owned(),
            "--objects".to_owned(),
            self.objects.to_string(),
            "--work".to_owned(),
            self.work.to_string(),
            "--seed".to_owned(),
            self.seed.to_string(),
        ];
        if let Some(inject) = &self.inject {
            args.extend([
                "--burn-nanoseconds".to_owned(),
                format!("{:.0}", inject.cpu_seconds * 1e9),
                "--hold-bytes".to_owned(),
                inject.memory_bytes.to_string(),
            ]);
        }
        args.extend(self.args.iter().cloned());
        args
    }
}

/// A known cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inject {
    /// CPU time that every request burns, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is held from the start, in bytes, its page tables included.
    pub memory_bytes: u64,
}

/// The observability software under test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// What is measured; an agent whose version is unknown is not measured.
    pub version: String,
    /// What it reaches.
    #[serde(default)]
    pub scope: AgentScope,
    /// What the machine must offer for it to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// Programs that run beside the target, all accounted as the agent; none
    /// where it is part of the target and exports to the intake.
    pub processes: Vec<AgentProcess>,
    /// How long it may take until it answers and has seen the first request.
    #[serde(default = "twenty_seconds")]
    pub startup_timeout_seconds: f64,
    /// How its own output accounts for requests; its yield is unknown without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// How many times it attaches its programs, in a run that amplifies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u32>,
}

/// What `defaults.yaml` says of every start, for plans that were written without it.
fn twenty_seconds() -> f64 {
    20.0
}

/// Something that not every machine offers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// The right to load eBPF programs and to attach them to a control group.
    Ebpf,
    /// A kernel that lets its own functions be probed.
    Kprobes,
    /// A program that the user has installed.
    Program(NeededProgram),
}

/// A program that can't be had from a recipe: the user has it, or the scenario
/// can't run here.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeededProgram {
    /// Its name on `PATH`.
    pub name: String,
    /// How to get it, in words.
    pub install: String,
    /// Arguments with which it tells its version, which is recorded then; the
    /// scenario's own word, `agent.version`, where it can't be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
}

/// Where an agent's own output says how many requests it accounts for.
///
/// Whatever the kind, what is read in the end is one counter, at moments when
/// no request is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Telemetry {
    /// A counter in Prometheus text that the agent serves.
    Prometheus(PrometheusCounter),
    /// What arrives at the harness's own intake.
    Intake(IntakeCount),
}

impl Telemetry {
    /// How long after the last answer the agent's count may still rise, in seconds.
    pub fn settle_seconds(&self) -> f64 {
        match self {
            Telemetry::Prometheus(counter) => counter.settle_seconds,
            Telemetry::Intake(count) => count.settle_seconds,
        }
    }
}

/// A counter in Prometheus text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusCounter {
    /// Where it is served; placeholders are filled in.
    pub url: String,
    /// Its name.
    pub metric: String,
    /// Labels that a series must have to be counted; placeholders are filled in.
    pub labels: BTreeMap<String, String>,
    /// How long after the last answer it may still rise.
    pub settle_seconds: f64,
}

/// What of what arrives at the intake accounts for a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeCount {
    /// What is counted.
    pub count: Counted,
    /// The route that it must be of; placeholders are filled in.
    pub route: String,
    /// How long the count must stand still before nothing more is awaited.
    pub settle_seconds: f64,
}

/// What accounts for a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// A span whose kind is server: one for each request that was answered.
    #[default]
    ServerSpans,
    /// A hit in Datadog's statistics of server spans, which its agents keep of
    /// requests whose spans they don't send too.
    DatadogStats,
}

/// What an agent reaches, which decides whether other arms may be alive beside it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentScope {
    /// Its own target and itself; the arms of a block may take turns.
    Target,
    /// More than that, or nobody knows: it has the machine to itself.
    #[default]
    Machine,
}

/// One program of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentProcess {
    /// A name for messages and log files.
    pub name: String,
    /// The program, of this workspace by name or any other, and its arguments;
    /// placeholders are filled in.
    pub command: Vec<String>,
    /// Further environment; placeholders are filled in.
    pub env: BTreeMap<String, String>,
    /// When it is started.
    #[serde(default, skip_serializing_if = "Start::is_default")]
    pub start: Start,
}

/// When a program of an agent is started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Before the target, which sends to it from its own start on.
    BeforeTarget,
    /// Once the target answers, to look at it.
    #[default]
    AfterTarget,
}

impl Start {
    fn is_default(&self) -> bool {
        *self == Start::default()
    }
}

impl Agent {
    /// What is said of a program that the user must have installed.
    pub fn needed_program(&self, name: &str) -> Option<&NeededProgram> {
        self.needs.iter().find_map(|need| match need {
            Need::Program(program) if program.name == name => Some(program),
            _ => None,
        })
    }

    /// Every text in which placeholders are filled in.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let processes = self.processes.iter().flat_map(|process| {
            let env = process.env.values();
            process.command.iter().chain(env)
        });
        let telemetry = self.telemetry.iter().flat_map(|telemetry| match telemetry {
            Telemetry::Prometheus(counter) => std::iter::once(&counter.url)
                .chain(counter.labels.values())
                .collect::<Vec<_>>(),
            Telemetry::Intake(count) => vec![&count.route],
        });
        processes.chain(telemetry).map(String::as_str)
    }

    /// Whether something of it depends on what the harness fills in there.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.texts()
            .any(|text| placeholder::find(text).is_ok_and(|found| found.contains(&placeholder)))
    }
}

impl Scenario {
    /// The name of the scenario that this one is measured against.
    pub fn baseline(&self) -> &str {
        self.baseline.as_deref().unwrap_or(BASELINE)
    }

    /// Whether something of it is sent to the harness's intake, or counted there.
    pub fn uses_intake(&self) -> bool {
        let counted = self.agent.as_ref().is_some_and(|agent| {
            matches!(agent.telemetry, Some(Telemetry::Intake(_)))
                || Placeholder::INTAKE.into_iter().any(|p| agent.uses(p))
        });
        let elsewhere = self.kubernetes.as_ref().and_then(|k| k.env.as_ref());
        let env = self.target.env.values();
        let sent = env
            .chain(elsewhere.into_iter().flatten().map(|(_, text)| text))
            .any(|text| {
                let found = placeholder::find(text).unwrap_or_default();
                found.iter().any(|p| Placeholder::INTAKE.contains(p))
            });
        counted || sent
    }

    /// Whether its agent does several times what it does when it is used, to
    /// see what one time costs; its own cost is then nobody's.
    pub fn is_amplified(&self) -> bool {
        let copies = self.agent.as_ref().and_then(|agent| agent.copies);
        copies.is_some_and(|copies| copies > 1)
    }
}

impl Load {
    /// The route that is measured: the path without its query.
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or(&self.path)
    }
}

/// What is sent to the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Path of every request.
    pub path: String,
    /// Whether requests accept gzip.
    pub gzip: bool,
    /// Keep-alive connections.
    pub connections: u32,
    /// Offered rate in requests per second; found from the baseline's capacity without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How long an answer may take before the request counts as failed.
    pub timeout_seconds: f64,
}

/// How long and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trials {
    /// How many times every arm is measured.
    pub blocks: u32,
    /// Load before the window opens.
    pub warmup_seconds: f64,
    /// The measured window.
    pub measure_seconds: f64,
    /// How many slices the window is cut into, between which the arms of a block take turns.
    #[serde(default = "crate::plan::one")]
    pub slices: u32,
    /// The pause after each slice, in which what belongs to its requests still counts.
    #[serde(default = "crate::plan::pause")]
    pub pause_seconds: f64,
}
