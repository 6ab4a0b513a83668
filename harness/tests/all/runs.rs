//! Run directories with figures that are made up: no measurement, the same every time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flora_bench::fingerprint::{Accounting, Fingerprint, Machine, Program};
use flora_bench::metric::{Metric, QUANTILES};
use flora_bench::plan::{LoadDriver, LoadPlan, Plan, RateSource, TrialPlan};
use flora_bench::record::{Records, write_json};
use flora_bench::report::{self, Report};
use flora_bench::sample::Subject;
use flora_bench::scenario::{Agent, AgentScope, Load, Scenario, Target, Trials};
use flora_bench::trial::{TrialAnalysis, TrialRecord, TrialStatistic, TrialStatus};

/// Requests in every window.
pub const REQUESTS: u64 = 8_000;
/// CPU seconds per request of every agent.
pub const AGENT: f64 = 5e-6;
/// Working set of every target.
pub const MEMORY: f64 = 8_000_000.0;

/// A run; its parts may be changed before it is written.
#[derive(Clone)]
pub struct Run(pub Records);

/// A run whose arms' targets cost this much CPU per request in each block.
/// Every arm but `baseline` and `baseline-twin` has an agent.
pub fn run(name: &str, started: &str, arms: &[(&str, &[f64])]) -> Run {
    let mut planned = Vec::new();
    let mut trials = Vec::new();
    let blocks = arms.iter().map(|(_, costs)| costs.len()).max().unwrap_or(0);
    for block in 0..blocks {
        for (arm, costs) in arms {
            let Some(cost) = costs.get(block) else {
                continue;
            };
            let (trial, block) = (trials.len() as u32 + 1, block as u32 + 1);
            planned.push(TrialPlan {
                trial,
                block,
                arm: (*arm).to_owned(),
                turns: Vec::new(),
            });
            trials.push(TrialRecord {
                trial,
                block,
                arm: (*arm).to_owned(),
                status: TrialStatus::Valid,
                error: None,
                phases: Vec::new(),
                window_unix: None,
                node: None,
                analysis: TrialAnalysis {
                    telemetry: None,
                    delivered: None,
                    steps: Vec::new(),
                    requests: REQUESTS,
                    statistics: statistics(*cost, arm),
                    ledger: None,
                    checks: Vec::new(),
                },
            });
        }
    }
    let blocks = blocks as u32;
    Run(Records {
        plan: Plan {
            schema_version: 1,
            run: name.to_owned(),
            started: started.to_owned(),
            backend: "local".to_owned(),
            seed: 7,
            confidence: 0.95,
            load: LoadPlan {
                driver: LoadDriver::Builtin,
                rate: 800.0,
                rate_source: RateSource::Given,
                capacity: None,
            },
            warmup_seconds: 1.0,
            measure_seconds: 10.0,
            slices: 1,
            parallel: 1,
            pause_seconds: 0.01,
            amplified: None,
            experiment: None,
            expected_detectable_ratio: None,
            limitations: Vec::new(),
            left_out: Vec::new(),
            arms: arms.iter().map(|(arm, _)| scenario(arm, blocks)).collect(),
            trials: planned,
        },
        fingerprint: fingerprint(),
        trials,
        samples: Vec::new(),
        resumptions: Vec::new(),
    })
}

impl Run {
    /// What it comes to.
    pub fn report(&self) -> Report {
        report::build::build(&self.0)
    }

    /// Writes it into a directory of its own name.
    pub fn write(&self, out: &Path) -> PathBuf {
        let directory = out.join(&self.0.plan.run);
        fs::create_dir_all(&directory).unwrap();
        write_json(&directory.join("plan.json"), &self.0.plan).unwrap();
        write_json(&directory.join("fingerprint.json"), &self.0.fingerprint).unwrap();
        let lines = self.0.trials.iter().map(|trial| {
            let line = serde_json::to_string(trial).unwrap();
            line + "\n"
        });
        fs::write(directory.join("trials.jsonl"), lines.collect::<String>()).unwrap();
        fs::write(directory.join("samples.jsonl"), "").unwrap();
        directory
    }

    /// Every trial of an arm no longer counts.
    pub fn spoil(&mut self, arm: &str) {
        for trial in self.0.trials.iter_mut().filter(|t| t.arm == arm) {
            trial.status = TrialStatus::Invalid;
        }
    }
}

fn statistics(cost: f64, arm: &str) -> Vec<TrialStatistic> {
    let mut all = Vec::new();
    let mut add = |metric, subject, quantile, value| {
        all.push(TrialStatistic {
            metric,
            subject,
            quantile,
            value,
        });
    };
    let cpu = Metric::CpuSecondsPerRequest;
    let agent = if arm.starts_with("baseline") {
        0.0
    } else {
        AGENT
    };
    add(cpu, Subject::Target, None, cost);
    if agent > 0.0 {
        add(cpu, Subject::Agent, None, agent);
    }
    add(cpu, Subject::Total, None, cost + agent);
    add(cpu, Subject::Load, None, 3e-5);
    let memory = Metric::MemoryWorkingSetBytes;
    add(memory, Subject::Target, None, MEMORY);
    for (quantile, factor) in QUANTILES.into_iter().zip([2.0, 4.0, 7.0, 20.0]) {
        let metric = Metric::RequestDurationSeconds;
        add(metric, Subject::Target, Some(quantile), cost * factor);
    }
    add(Metric::RequestsPerSecond, Subject::Target, None, 800.0);
    add(Metric::ErrorRatio, Subject::Target, None, 0.0);
    add(Metric::StartupSeconds, Subject::Target, None, 0.012);
    all
}

fn scenario(name: &str, blocks: u32) -> Scenario {
    Scenario {
        name: name.to_owned(),
        question: "What does it cost?".to_owned(),
        analysis: None,
        baseline: None,
        target: Target {
            program: "target-app".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cpus: 1,
            port: None,
            objects: 20,
            work: 1,
            seed: 1,
            startup_timeout_seconds: 20.0,
            inject: None,
        },
        agent: (!name.starts_with("baseline")).then(|| Agent {
            version: "1.0.0".to_owned(),
            scope: AgentScope::Target,
            needs: Vec::new(),
            processes: Vec::new(),
            startup_timeout_seconds: 20.0,
            telemetry: None,
            copies: None,
        }),
        load: Load {
            path: "/objects".to_owned(),
            gzip: false,
            connections: 32,
            rate: None,
            timeout_seconds: 10.0,
        },
        trials: Trials {
            blocks,
            warmup_seconds: 1.0,
            measure_seconds: 10.0,
            slices: 1,
            pause_seconds: 0.01,
        },
        kubernetes: None,
        file_sha256: "00".repeat(32),
    }
}

fn fingerprint() -> Fingerprint {
    let program = |name: &str, sha256: &str| Program {
        name: name.to_owned(),
        version: format!("{name} 0.1.0"),
        sha256: Some(sha256.repeat(32)),
        command: Some(name.to_owned()),
    };
    Fingerprint {
        harness: program("flora-bench", "ab"),
        machine: Machine {
            cpu_model: "Model One".to_owned(),
            cpus: 4,
            memory_bytes: 8 << 30,
            kernel: "6.1.0 #1 SMP".to_owned(),
            os: "Some Linux 12".to_owned(),
            virtualised: false,
            governor: None,
        },
        cgroups: "cgroup v2".to_owned(),
        cpu_sets: ["agent", "harness", "load", "target"]
            .map(|role| (role.to_owned(), vec![1]))
            .into(),
        accounting: Accounting {
            cpu: "cgroup v2".to_owned(),
            memory: "cgroup v2".to_owned(),
        },
        programs: vec![program("target-app", "cd")],
        scenario_files: BTreeMap::new(),
    }
}
