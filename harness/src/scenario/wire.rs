//! The YAML form of a scenario.
//!
//! Every key is optional here; what is missing comes from `defaults.yaml`.
//! Unknown keys are errors: a misspelt key that is silently ignored would
//! measure something else than its author meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use crate::workspace;
use crate::yaml::{self, YamlError};

use self::kubernetes::WireKubernetes;
use super::{
    Agent, AgentProcess, AgentScope, Counted, Inject, IntakeCount, Load, Need, PrometheusCounter,
    Scenario, Start, Target, Telemetry, Trials, placeholder,
};

mod kubernetes;

const DEFAULTS: &str = include_str!("defaults.yaml");
/// How long an agent's count may still rise after the last answer: a batch that
/// is sent once a second has gone by then.
const SETTLE: Duration = Duration::from_secs(1);
/// The same of what is sent to the intake: OpenTelemetry's batches leave every five seconds.
const INTAKE_SETTLE: Duration = Duration::from_secs(6);

/// A scenario file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioFileError {
    /// The file can't be read, or is not of a scenario's form.
    #[error(transparent)]
    File(#[from] YamlError),
    /// A value that is well-formed and makes no sense.
    #[error("{}:{line}: `{key}` is {value}, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The key, with its section.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        expected: String,
    },
}

/// A scenario file: one experiment arm.
///
/// What is asked, which target, which agent, what load, how many trials. Every
/// key but `question` has a default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "flora-bench scenario", rename = "scenario")]
pub struct WireScenario {
    /// What the scenario asks, in one sentence.
    #[schemars(with = "Option<String>")]
    question: Option<Spanned<String>>,
    /// What its author says of the result; printed beside it.
    analysis: Option<String>,
    /// The scenario that it is measured against, where that is not `baseline`: one with the same target, uninstrumented.
    baseline: Option<String>,
    /// The application under load.
    #[serde(default)]
    target: WireTarget,
    /// The observability software under test; without it the target runs alone.
    agent: Option<WireAgent>,
    /// What is sent to the target.
    #[serde(default)]
    load: WireLoad,
    /// How long and how often.
    #[serde(default)]
    trials: WireTrials,
    /// How target and agent run in a cluster.
    kubernetes: Option<WireKubernetes>,
}

/// The application under load.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "target")]
struct WireTarget {
    /// A program of this workspace by name (`target-app`), or a path to any other that keeps the target's contract.
    #[schemars(with = "Option<String>")]
    program: Option<Spanned<String>>,
    /// Further arguments.
    args: Option<Vec<String>>,
    /// Further environment, such as `OTEL_EXPORTER_OTLP_ENDPOINT: http://{intake_otlp_http}`; filled in as an agent's is; what is known only of a running target can't be.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    env: Option<BTreeMap<String, Spanned<String>>>,
    /// CPUs that it gets, where the machine has them to spare.
    #[schemars(with = "Option<u32>", range(min = 1))]
    cpus: Option<Spanned<u32>>,
    /// The port that it listens on; a free one without it.
    #[schemars(with = "Option<u16>", range(min = 1))]
    port: Option<Spanned<u16>>,
    /// JSON objects in an answer.
    #[schemars(with = "Option<u32>", range(max = 10000))]
    objects: Option<Spanned<u32>>,
    /// CPU-intensive tasks in a request.
    #[schemars(with = "Option<u32>", range(max = 10000))]
    work: Option<Spanned<u32>>,
    /// Seed of its random content.
    seed: Option<u64>,
    /// How long it may take to answer after its start, such as `20s`.
    #[schemars(with = "Option<String>")]
    startup_timeout: Option<Spanned<WireDuration>>,
    /// A known cost that the target adds by itself: a synthetic agent.
    inject: Option<WireInject>,
}

/// A known cost that the target adds by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "inject")]
struct WireInject {
    /// CPU time that every request burns, such as `2us`.
    #[schemars(with = "Option<String>")]
    cpu: Option<WireDuration>,
    /// Memory that is held from the start, such as `16 MiB`.
    #[schemars(with = "Option<String>")]
    memory: Option<WireBytes>,
}

/// A size in words: `512 KiB`, `16 MiB`, `1GiB`.
#[derive(Clone, Copy, Debug)]
struct WireBytes(u64);

impl<'de> Deserialize<'de> for WireBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        bytes(&text)
            .map(WireBytes)
            .map_err(serde::de::Error::custom)
    }
}

/// A size in words, in bytes: `512 KiB`, `16 MiB`, `1GiB`, `100 B`.
///
/// # Errors
/// With what was expected, when it is none.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let factor = match unit.trim() {
        "B" => Some(1u64),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let size = number.parse::<f64>().ok().zip(factor);
    size.map(|(number, factor)| number * factor as f64)
        .filter(|size| (0.0..=1e15).contains(size))
        .map(|size| size.round() as u64)
        .ok_or_else(|| {
            format!("`{text}` is not a size, expected a number with a unit such as `512 KiB` or `16 MiB`")
        })
}

/// The observability software under test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "agent")]
struct WireAgent {
    /// The version that is measured; that of this workspace without it, where all its programs are of this workspace.
    #[schemars(with = "Option<String>")]
    version: Option<Spanned<String>>,
    /// What it reaches: `target` when it touches nothing but its own target, so that other arms may be alive beside it and take turns; `machine`, the default, when it has to be alone.
    scope: Option<AgentScope>,
    /// What the machine must offer for it to run; `list` says what is missing.
    #[serde(default)]
    needs: Vec<Need>,
    /// Programs that run beside the target, all accounted as the agent. None, `[]`, where the agent is part of the target and what it sends to the intake is counted, or where it runs in clusters alone.
    #[schemars(with = "Vec<WireAgentProcess>")]
    processes: Spanned<Vec<WireAgentProcess>>,
    /// How long it may take until it answers and has seen the first request, such as `20s`.
    #[schemars(with = "Option<String>")]
    startup_timeout: Option<Spanned<WireDuration>>,
    /// How its own output accounts for requests; without it nobody knows what it saw.
    telemetry: Option<WireTelemetry>,
}

/// How an agent's own output accounts for requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[schemars(rename = "telemetry")]
enum WireTelemetry {
    /// A counter in Prometheus text that the agent serves.
    Prometheus(WirePrometheusCounter),
    /// What arrives at the intake that the harness runs beside the arm.
    Intake(WireIntakeCount),
}

/// What of what arrives at the harness's intake accounts for a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "intake_count")]
struct WireIntakeCount {
    /// What is counted: `server_spans`, the default, or `datadog_stats`, the hits in Datadog's statistics.
    count: Option<Counted>,
    /// The route that it must be of, `{target_route}` without it.
    #[schemars(with = "Option<String>")]
    route: Option<Spanned<String>>,
    /// How long the count must stand still before nothing more is awaited, such as `6s`, the default: longer than the exporter waits between two batches.
    #[schemars(with = "Option<String>")]
    settle: Option<WireDuration>,
}

/// A counter in Prometheus text that the agent serves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "prometheus_counter")]
struct WirePrometheusCounter {
    /// Where it is served, such as `http://127.0.0.1:{agent_port}/metrics`.
    #[schemars(with = "String")]
    url: Spanned<String>,
    /// Its name; every series of it that has the labels is counted.
    #[schemars(with = "String")]
    metric: Spanned<String>,
    /// Labels that a series must have, such as `route: "{target_route}"`: what the target serves besides the load must not be counted.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    labels: BTreeMap<String, Spanned<String>>,
    /// How long after the last answer it may still rise, such as `1s`, the default.
    #[schemars(with = "Option<String>")]
    settle: Option<WireDuration>,
}

/// One program of an agent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "process")]
struct WireAgentProcess {
    /// A name for messages and log files.
    name: String,
    /// The program (`flora-agent` of this workspace, or any other) and its arguments; `{target_url}`, `{target_port}`, `{target_pid}`, `{target_cgroup}`, `{target_route}`, `{agent_port}`, `{copies}`, `{scenarios}`, `{intake_statsd_port}` and, each as `127.0.0.1:PORT`, `{intake_otlp_http}`, `{intake_otlp_grpc}`, `{intake_datadog}` and `{intake_statsd}` are filled in.
    #[schemars(with = "Vec<String>")]
    command: Vec<Spanned<String>>,
    /// Further environment, filled in likewise.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    env: BTreeMap<String, Spanned<String>>,
    /// When it is started: `after_target`, the default, once the target answers; `before_target` when the target sends to it, and then the target waits until `{agent_port}` takes connections.
    #[serde(default)]
    start: Start,
}

/// What is sent to the target.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "load")]
struct WireLoad {
    /// Path of every request, with its query, such as `/objects?work=5`.
    #[schemars(with = "Option<String>")]
    path: Option<Spanned<String>>,
    /// Whether requests accept gzip.
    gzip: Option<bool>,
    /// Keep-alive connections.
    #[schemars(with = "Option<u32>", range(min = 1, max = 10000))]
    connections: Option<Spanned<u32>>,
    /// Offered rate in requests per second; without it, found from the baseline's capacity.
    #[schemars(with = "Option<f64>", range(min = 1))]
    rate: Option<Spanned<f64>>,
    /// How long an answer may take before the request counts as failed, such as `10s`.
    #[schemars(with = "Option<String>")]
    timeout: Option<Spanned<WireDuration>>,
}

/// How long and how often.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "trials")]
struct WireTrials {
    /// How many times every arm is measured.
    #[schemars(with = "Option<u32>", range(min = 1, max = 10000))]
    blocks: Option<Spanned<u32>>,
    /// Load before the window opens, such as `3s`.
    #[schemars(with = "Option<String>")]
    warmup: Option<Spanned<WireDuration>>,
    /// The measured window, such as `10s`.
    #[schemars(with = "Option<String>")]
    measure: Option<Spanned<WireDuration>>,
    /// How many slices the window is cut into, between which the arms of a block take turns; 1 measures trial after trial.
    #[schemars(with = "Option<u32>", range(min = 1, max = 1000))]
    slices: Option<Spanned<u32>>,
    /// The pause after each slice, such as `800ms`: answers come in, and what an agent sends late still counts as the slice's.
    #[schemars(with = "Option<String>")]
    pause: Option<Spanned<WireDuration>>,
}

/// A duration in words: `500ms`, `30s`, `2m`.
#[derive(Clone, Copy, Debug)]
struct WireDuration(Duration);

impl<'de> Deserialize<'de> for WireDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(WireDuration).map_err(|_| {
            serde::de::Error::custom(format!(
                "`{text}` is not a duration, expected a number with a unit such as `500ms`, `30s` or `2m`"
            ))
        })
    }
}

/// The scenario in a file.
///
/// # Errors
/// When the file can't be read, is not of a scenario's form, or holds a value
/// that makes no sense.
pub fn read(path: &Path) -> Result<Scenario, ScenarioFileError> {
    parse(path, &yaml::text("scenario file", path)?)
}

/// The scenario in a file's text; the path gives the name and stands in errors.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Scenario, ScenarioFileError> {
    let wire: WireScenario = yaml::parse(path, text)?;
    let defaults: WireScenario =
        serde_saphyr::from_str(DEFAULTS).expect("the built-in defaults are well-formed");
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    Resolver { path }.scenario(name, wire, defaults, text)
}

/// Joins a file with the defaults and checks each value where it stands.
struct Resolver<'a> {
    path: &'a Path,
}

impl Resolver<'_> {
    fn scenario(
        &self,
        name: String,
        file: WireScenario,
        defaults: WireScenario,
        text: &str,
    ) -> Result<Scenario, ScenarioFileError> {
        let question = file.question.ok_or_else(|| {
            let missing =
                "the key `question` is missing, expected what the scenario asks, in one sentence";
            YamlError::form(self.path, missing)
        })?;
        self.check("question", &question, "a sentence", |text| {
            !text.trim().is_empty()
        })?;
        // Target and agent get the same time to start.
        let limit = defaults.target.startup_timeout.clone();
        let kubernetes = file.kubernetes.as_ref();
        let manifests = kubernetes.is_some_and(WireKubernetes::has_manifests);
        Ok(Scenario {
            name,
            question: question.value.trim().to_owned(),
            analysis: file.analysis.map(|text| text.trim().to_owned()),
            baseline: file.baseline,
            target: self.target(file.target, defaults.target)?,
            agent: file
                .agent
                .map(|agent| self.agent(agent, limit, manifests))
                .transpose()?,
            load: self.load(file.load, defaults.load)?,
            trials: self.trials(file.trials, defaults.trials)?,
            kubernetes: file
                .kubernetes
                .map(|kubernetes| self.kubernetes(kubernetes))
                .transpose()?,
            file_sha256: crate::program::hex(&Sha256::digest(text.as_bytes())),
        })
    }

    fn target(&self, file: WireTarget, defaults: WireTarget) -> Result<Target, ScenarioFileError> {
        let program = either(file.program, defaults.program);
        self.check(
            "target.program",
            &program,
            "a program's name or path",
            |p| !p.trim().is_empty(),
        )?;
        let cpus = either(file.cpus, defaults.cpus);
        self.check("target.cpus", &cpus, "at least 1", |n| *n >= 1)?;
        if let Some(port) = &file.port {
            self.check("target.port", port, "a port from 1 to 65535", |n| *n >= 1)?;
        }
        let objects = either(file.objects, defaults.objects);
        self.check("target.objects", &objects, "0 to 10000", |n| *n <= 10_000)?;
        let work = either(file.work, defaults.work);
        self.check("target.work", &work, "0 to 10000", |n| *n <= 10_000)?;
        let timeout = either(file.startup_timeout, defaults.startup_timeout);
        Ok(Target {
            program: program.value,
            args: either(file.args, defaults.args),
            env: either(file.env, defaults.env)
                .iter()
                .map(|(name, value)| {
                    let value = self.early_template("target.env", value)?;
                    Ok((name.clone(), value))
                })
                .collect::<Result<_, ScenarioFileError>>()?,
            cpus: cpus.value as usize,
            port: file.port.map(|port| port.value),
            objects: objects.value,
            work: work.value,
            seed: either(file.seed, defaults.seed),
            startup_timeout_seconds: self.positive("target.startup_timeout", &timeout)?,
            inject: file.inject.map(|inject| Inject {
                cpu_seconds: inject.cpu.map_or(0.0, |cpu| cpu.0.as_secs_f64()),
                memory_bytes: inject.memory.map_or(0, |memory| memory.0),
            }),
        })
    }

    fn agent(
        &self,
        file: WireAgent,
        limit: Option<Spanned<WireDuration>>,
        manifests: bool,
    ) -> Result<Agent, ScenarioFileError> {
        let in_the_target = matches!(file.telemetry, Some(WireTelemetry::Intake(_)));
        if file.processes.value.is_empty() && !in_the_target && !manifests {
            return Err(self.value(
                "agent.processes",
                &file.processes,
                "an empty list".into(),
                "at least one process, or `telemetry: {intake: {}}` where the agent is part of the target, or `kubernetes.manifests` where it runs in clusters alone",
            ));
        }
        let ours = |process: &WireAgentProcess| {
            let program = process.command.first();
            program.is_some_and(|program| workspace::is_program(&program.value))
        };
        let version = match &file.version {
            Some(version) => {
                self.check(
                    "agent.version",
                    version,
                    "the version that is measured",
                    |version| !version.trim().is_empty(),
                )?;
                version.value.clone()
            }
            None if !file.processes.value.is_empty() && file.processes.value.iter().all(ours) => {
                env!("CARGO_PKG_VERSION").to_owned()
            }
            None => {
                return Err(self.value(
                    "agent.version",
                    &file.processes,
                    "missing".into(),
                    "the version that is measured: what isn't known isn't measured",
                ));
            }
        };
        let processes = file.processes.value.iter();
        let processes = processes
            .map(|process| {
                if process.command.is_empty() {
                    return Err(self.value(
                        "agent.processes.command",
                        &file.processes,
                        "an empty list".into(),
                        "a program and its arguments",
                    ));
                }
                let command = process.command.iter();
                let env = process.env.iter();
                let template = |key, text| match process.start {
                    Start::BeforeTarget => self.early_template(key, text),
                    Start::AfterTarget => self.template(key, text),
                };
                Ok(AgentProcess {
                    name: process.name.clone(),
                    command: command
                        .map(|word| template("agent.processes.command", word))
                        .collect::<Result<_, _>>()?,
                    env: env
                        .map(|(name, value)| {
                            let value = template("agent.processes.env", value)?;
                            Ok((name.clone(), value))
                        })
                        .collect::<Result<_, ScenarioFileError>>()?,
                    start: process.start,
                })
            })
            .collect::<Result<_, ScenarioFileError>>()?;
        let limit = either(file.startup_timeout, limit);
        Ok(Agent {
            version,
            scope: file.scope.unwrap_or_default(),
            needs: file.needs,
            processes,
            startup_timeout_seconds: self.positive("agent.startup_timeout", &limit)?,
            telemetry: file
                .telemetry
                .map(|telemetry| self.telemetry(telemetry))
                .transpose()?,
            copies: None,
        })
    }

    fn telemetry(&self, file: WireTelemetry) -> Result<Telemetry, ScenarioFileError> {
        let file = match file {
            WireTelemetry::Prometheus(file) => file,
            WireTelemetry::Intake(file) => return self.intake(file),
        };
        self.check(
            "agent.telemetry.prometheus.url",
            &file.url,
            "an address such as `http://127.0.0.1:{agent_port}/metrics`",
            |url| url.starts_with("http://") || url.starts_with("{target_url}"),
        )?;
        self.check(
            "agent.telemetry.prometheus.metric",
            &file.metric,
            "the name of a counter such as `http_requests_total`",
            |name| {
                let plain = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
                !name.is_empty() && name.chars().all(plain)
            },
        )?;
        let labels = file.labels.iter();
        Ok(Telemetry::Prometheus(PrometheusCounter {
            url: self.template("agent.telemetry.prometheus.url", &file.url)?,
            labels: labels
                .map(|(name, value)| {
                    let value = self.template("agent.telemetry.prometheus.labels", value)?;
                    Ok((name.clone(), value))
                })
                .collect::<Result<_, ScenarioFileError>>()?,
            metric: file.metric.value,
            settle_seconds: file.settle.map_or(SETTLE, |settle| settle.0).as_secs_f64(),
        }))
    }

    /// The same, for what is needed before the target runs.
    fn early_template(
        &self,
        key: &'static str,
        text: &Spanned<String>,
    ) -> Result<String, ScenarioFileError> {
        let found = placeholder::find(&text.value).unwrap_or_default();
        if let Some(late) = found.iter().find(|found| !found.precedes_target()) {
            return Err(self.value(
                key,
                text,
                format!("`{}` with `{late}`", text.value),
                "nothing that is known only once the target runs",
            ));
        }
        self.template(key, text)
    }

    fn intake(&self, file: WireIntakeCount) -> Result<Telemetry, ScenarioFileError> {
        const KEY: &str = "agent.telemetry.intake.route";
        let route = match &file.route {
            Some(route) => {
                self.check(KEY, route, "a path, or `{target_route}`", |route| {
                    route.starts_with(['/', '{'])
                })?;
                self.template(KEY, route)?
            }
            None => placeholder::Placeholder::TargetRoute.to_string(),
        };
        let settle = file.settle.map_or(INTAKE_SETTLE, |settle| settle.0);
        Ok(Telemetry::Intake(IntakeCount {
            count: file.count.unwrap_or_default(),
            route,
            settle_seconds: settle.as_secs_f64(),
        }))
    }

    /// A text whose placeholders are all known.
    fn template(
        &self,
        key: &'static str,
        text: &Spanned<String>,
    ) -> Result<String, ScenarioFileError> {
        match placeholder::find(&text.value) {
            Ok(_) => Ok(text.value.clone()),
            Err(placeholder::Unknown(word)) => Err(self.value(
                key,
                text,
                format!("`{}` with the unknown word `{{{word}}}`", text.value),
                &format!("one of {}", placeholder::choices()),
            )),
        }
    }

    fn load(&self, file: WireLoad, defaults: WireLoad) -> Result<Load, ScenarioFileError> {
        let path = either(file.path, defaults.path);
        self.check(
            "load.path",
            &path,
            "an absolute path such as `/objects`, without spaces",
            |path| path.starts_with('/') && path.parse::<hyper::http::uri::PathAndQuery>().is_ok(),
        )?;
        let connections = either(file.connections, defaults.connections);
        self.check("load.connections", &connections, "1 to 10000", |n| {
            (1..=10_000).contains(n)
        })?;
        if let Some(rate) = &file.rate {
            self.check(
                "load.rate",
                rate,
                "1 to 1000000 requests per second",
                |rate| (1.0..=1e6).contains(rate),
            )?;
        }
        let timeout = either(file.timeout, defaults.timeout);
        Ok(Load {
            path: path.value,
            gzip: either(file.gzip, defaults.gzip),
            connections: connections.value,
            rate: file.rate.map(|rate| rate.value),
            timeout_seconds: self.positive("load.timeout", &timeout)?,
        })
    }

    fn trials(&self, file: WireTrials, defaults: WireTrials) -> Result<Trials, ScenarioFileError> {
        let blocks = either(file.blocks, defaults.blocks);
        self.check("trials.blocks", &blocks, "1 to 10000", |n| {
            (1..=10_000).contains(n)
        })?;
        let warmup = either(file.warmup, defaults.warmup);
        let measure = either(file.measure, defaults.measure);
        let slices = either(file.slices, defaults.slices);
        self.check("trials.slices", &slices, "1 to 1000", |n| {
            (1..=1_000).contains(n)
        })?;
        let pause = either(file.pause, defaults.pause);
        Ok(Trials {
            blocks: blocks.value,
            warmup_seconds: warmup.value.0.as_secs_f64(),
            measure_seconds: self.positive("trials.measure", &measure)?,
            slices: slices.value,
            pause_seconds: self.positive("trials.pause", &pause)?,
        })
    }

    fn positive(
        &self,
        key: &'static str,
        duration: &Spanned<WireDuration>,
    ) -> Result<f64, ScenarioFileError> {
        if duration.value.0.is_zero() {
            return Err(self.value(key, duration, "0s".into(), "more than nothing"));
        }
        Ok(duration.value.0.as_secs_f64())
    }

    fn check<T: std::fmt::Debug>(
        &self,
        key: &'static str,
        spanned: &Spanned<T>,
        expected: &str,
        holds: impl Fn(&T) -> bool,
    ) -> Result<(), ScenarioFileError> {
        if holds(&spanned.value) {
            Ok(())
        } else {
            Err(self.value(key, spanned, format!("{:?}", spanned.value), expected))
        }
    }

    fn value<T>(
        &self,
        key: &'static str,
        spanned: &Spanned<T>,
        value: String,
        expected: &str,
    ) -> ScenarioFileError {
        ScenarioFileError::Value {
            path: self.path.to_owned(),
            line: spanned.referenced.line(),
            key,
            value,
            expected: expected.to_owned(),
        }
    }
}

/// The file's value, or the default's, which `defaults.yaml` always has.
fn either<T>(file: Option<T>, default: Option<T>) -> T {
    file.or(default)
        .expect("the built-in defaults have every key")
}

#[cfg(test)]
mod tests;
