//! Options, and what is done with them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use log::LevelFilter;
use nix::unistd::{SysconfVar, sysconf};

use crate::agent::{self, AgentError, Options};
use crate::cgroup::find::{self, Directory, FindError};
use crate::cgroup::mount::Mount;
use crate::cgroup::pods;
use crate::kubernetes::node::Node;
use crate::load::{self, LoadError, Settings};
use crate::spans::endpoint::Endpoint;
use crate::watch::{AttachError, Target};
use crate::{check, logging, privileges};

/// Bad arguments.
const USAGE: u8 = 2;
/// Something that is needed is missing here.
const MISSING: u8 = 3;

/// Copies of the programs, at most: the kernel attaches up to 64 to a control group.
const COPIES: u16 = 64;

const EXAMPLES: &str = "\
Examples:
  flora-agent --pid 4711
  flora-agent --container 3f4b0cf1ea1b --listen 127.0.0.1:9464
  flora-agent --pod shop/cart-7f757457c5-89228
  flora-agent --subtree /sys/fs/cgroup/kubepods.slice --otlp-endpoint http://127.0.0.1:4318
  flora-agent --pods --host-root /host
  flora-agent --check

Exit codes:
  0  told to stop; --check: it can run here
  2  bad arguments
  3  something that is needed is missing here";

/// Sees every HTTP request of a container from the kernel, and serves what it counts.
#[derive(Debug, Parser)]
#[command(name = "flora-agent", disable_version_flag = true, after_help = EXAMPLES)]
struct Cli {
    /// Watch a control group (version 2) and all below as one container; can be given several times
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<PathBuf>,
    /// Watch the control group of a process
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Watch a container, by its id or the beginning of it
    #[arg(long, value_name = "ID")]
    container: Vec<String>,
    /// Watch a pod of this node, each container by itself
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pod: Vec<(String, String)>,
    /// Watch everything below a control group, each container by itself, also those that come later
    #[arg(long, value_name = "PATH")]
    subtree: Vec<PathBuf>,
    /// Watch all pods of this node, wherever the kubelet has their control groups
    ///
    /// Where one machine has several nodes (kind, and tests), the variable POD_UID says which of them
    /// this is: the uid of the agent's own pod.
    #[arg(long)]
    pods: bool,
    /// Where the node's root is seen; what the kubelet and the runtime keep there tells the names of pods
    #[arg(long, value_name = "PATH", default_value = "/")]
    host_root: PathBuf,
    /// Where GET /metrics and /healthz are served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// Send spans to a collector by OTLP over HTTP
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<Endpoint>,
    /// Send a span of every Nth request, a power of two; 0 for none
    #[arg(long, value_name = "N", default_value = "0", value_parser = sample_mask, requires = "otlp_endpoint")]
    sample_every: u32,
    /// Send a span of every request that takes at least this long (500ms, 2s)
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "otlp_endpoint")]
    slow: Option<Duration>,
    /// Send a span of every request that is answered with a status from 500 on
    #[arg(long, requires = "otlp_endpoint")]
    span_errors: bool,
    /// Format of the log on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: logging::Format,
    /// Log more
    #[arg(long, short)]
    verbose: bool,
    /// Say whether the agent can run here, and what is missing; load once, and end
    #[arg(long)]
    check: bool,
    /// Diagnostic: have the kernel time every run of the programs; this costs time itself
    #[arg(long)]
    bpf_stats: bool,
    /// Diagnostic: load and attach the programs N times; only the first copy is shown
    ///
    /// A socket remembers where it keeps the state of 16 maps and searches for that of others.
    /// Each copy has two such maps, so with more than 8 a copy costs more than it would alone.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(COPIES)))]
    copies: u16,
    /// Diagnostic: the programs as kernels before 6.3 need them; chosen by itself there
    #[arg(long, hide = true)]
    clear_windows: bool,
    /// Print the version, and the hash of the kernel programs
    #[arg(long, short = 'V')]
    version: bool,
}

/// An error and the exit code that it brings.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let code = match &error {
            FindError::Mount(_) => MISSING,
            FindError::Open { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                MISSING
            }
            _ => USAGE,
        };
        Failure {
            code,
            error: error.into(),
        }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Attach(AttachError::Find(error)) => error.into(),
            AgentError::Load(LoadError::Refused(_)) => Failure {
                code: MISSING,
                error: anyhow::Error::new(error).context(privileges::refusal()),
            },
            error => Failure {
                code: MISSING,
                error: error.into(),
            },
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verbose {
        LevelFilter::Debug
    } else {
        LevelFilter::Info
    };
    logging::start(cli.log_format, level);
    match command(cli) {
        Ok(code) => code,
        Err(Failure { code, error }) => {
            log::error!("{error:#}");
            ExitCode::from(code)
        }
    }
}

fn command(cli: Cli) -> Result<ExitCode, Failure> {
    if cli.version {
        println!("flora-agent {}", env!("CARGO_PKG_VERSION"));
        println!("kernel programs: sha256 {}", load::object_hash());
        return Ok(ExitCode::SUCCESS);
    }
    let settings = settings(&cli);
    let node = Node::new(&cli.host_root);
    if cli.check {
        let targets = targets(&cli, &node)?;
        let possible = check::run(settings, &targets, &node);
        return Ok(if possible {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(MISSING)
        });
    }
    let targets = targets(&cli, &node)?;
    if targets.is_empty() {
        return Err(Failure {
            code: USAGE,
            error: anyhow::anyhow!(
                "nothing to watch: give --cgroup, --pid, --container, --pod, --pods or --subtree (see --help)"
            ),
        });
    }
    let options = Options {
        targets,
        node,
        listen: cli.listen,
        settings,
        collector: cli.otlp_endpoint,
        copies: usize::from(cli.copies),
        bpf_statistics: cli.bpf_stats,
    };
    agent::run(&options)?;
    Ok(ExitCode::SUCCESS)
}

fn settings(cli: &Cli) -> Settings {
    let possible = sysconf(SysconfVar::_NPROCESSORS_CONF).ok().flatten();
    let sends = cli.otlp_endpoint.is_some();
    Settings {
        cpus: Settings::cpus(possible.unwrap_or(1) as usize),
        span_mask: if sends { cli.sample_every } else { u32::MAX },
        slow_nanoseconds: cli.slow.map_or(u64::MAX, |slow| {
            u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX)
        }),
        span_errors: cli.span_errors,
        clear_windows: cli.clear_windows,
        spans: sends,
    }
}

/// The control groups that are meant.
fn targets(cli: &Cli, node: &Node) -> Result<Vec<Target>, FindError> {
    let open = |path: &PathBuf| -> Result<PathBuf, FindError> {
        let directory = Directory::open(path)?;
        // Paths are compared with each other, so each has one name.
        std::fs::canonicalize(&directory.path).map_err(|source| FindError::Open {
            path: path.clone(),
            source,
        })
    };
    let mut targets = Vec::new();
    for path in &cli.cgroup {
        targets.push(Target::One(open(path)?));
    }
    if !cli.pid.is_empty() || !cli.container.is_empty() || !cli.pod.is_empty() {
        let mount = Mount::find()?;
        for pid in &cli.pid {
            let path = open(&find::of_process(&mount, *pid)?)?;
            if path == mount.point {
                log::warn!(pid = *pid; "the process is in the root control group: all of this machine is watched");
            }
            targets.push(Target::One(path));
        }
        for id in &cli.container {
            targets.push(Target::One(open(&find::of_container(&mount, id)?)?));
        }
        for (namespace, pod) in &cli.pod {
            for path in find::of_pod(&mount, node, namespace, pod)? {
                targets.push(Target::Each(open(&path)?));
            }
        }
    }
    if cli.pods {
        let own = std::env::var("POD_UID").ok();
        let path = pods::of_node(&cli.host_root, own.as_deref())?;
        log::info!(cgroup = path.display().to_string().as_str(); "all pods of this node are watched");
        targets.push(Target::Each(open(&path)?));
    }
    for path in &cli.subtree {
        targets.push(Target::Each(open(path)?));
    }
    Ok(targets)
}

/// What the programs compare a random number with: N − 1, or all ones for none.
fn sample_mask(text: &str) -> Result<u32, String> {
    let every: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    match every {
        0 => Ok(u32::MAX),
        every if every.is_power_of_two() => Ok(every - 1),
        every => {
            let next = every.checked_next_power_of_two().unwrap_or(1 << 31);
            Err(format!("not a power of two; {next} is the next one"))
        }
    }
}

fn pod(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, pod)) if !namespace.is_empty() && !pod.is_empty() => {
            Ok((namespace.to_owned(), pod.to_owned()))
        }
        _ => Err("expected a namespace and a name: shop/cart-0".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let wrong = || "expected a number and a unit: 500ms, 2s".to_owned();
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn masks() {
        assert_eq!(sample_mask("0"), Ok(u32::MAX));
        assert_eq!(sample_mask("1"), Ok(0));
        assert_eq!(sample_mask("1024"), Ok(1023));
        assert!(sample_mask("1000").unwrap_err().contains("1024"));
        assert!(sample_mask("4294967295").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "5", "s", "-1s", "1h", "1e99s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_off_without_a_collector() {
        let cli = Cli::try_parse_from(["flora-agent", "--pid", "1"]).unwrap();
        let settings = settings(&cli);
        assert_eq!(settings.span_mask, u32::MAX);
        assert_eq!(settings.slow_nanoseconds, u64::MAX);
        assert!(!settings.span_errors);
        assert!(Cli::try_parse_from(["flora-agent", "--slow", "1s"]).is_err());
    }
}
