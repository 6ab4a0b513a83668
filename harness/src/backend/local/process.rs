//! Child processes: placed before they run, gone when the harness is.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getppid, write};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::cgroup::{Group, open_procs};
use crate::backend::TrialError;
use crate::owner::{self, Owner};
use crate::program;
use crate::sample::{Phase, Subject};

/// How much of a child's output a message shows, in bytes.
const TAIL_BYTES: u64 = 4 * 1024;

/// What of the harness's own environment programs of others get: where things are, who the user is, and
/// how words, times and certificates are read. Everything else is said by the scenario, and so recorded: a
/// sampler or a limit of threads that happens to stand in a shell would change an arm without a word.
pub const ENVIRONMENT: [&str; 7] = ["HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"];
/// Likewise, whatever follows.
pub const ENVIRONMENT_PREFIXES: [&str; 2] = ["LC_", "SSL_CERT_"];

/// Whether programs of others get a variable of the harness's own environment.
fn is_passed_on(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        let begins = |prefix: &&str| name.starts_with(prefix);
        ENVIRONMENT.contains(&name) || ENVIRONMENT_PREFIXES.iter().any(begins)
    })
}

/// What to start, and where.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The role that it plays.
    pub subject: Subject,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, besides [`ENVIRONMENT`].
    pub env: Vec<(String, String)>,
    /// CPUs that it may use.
    pub cpus: &'a [usize],
    /// Its control group, where there are any.
    pub group: Option<&'a Group>,
    /// The file that takes its output.
    pub log: PathBuf,
    /// Whether the harness talks with it; its standard output is not logged then.
    pub piped: bool,
}

/// A child that runs.
#[derive(Debug)]
pub struct Process {
    subject: Subject,
    program: String,
    child: Child,
    /// Its process group, named after itself.
    group: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts a child in its control group, on its CPUs.
    ///
    /// Must be called on the main thread: the kernel ends a child when the
    /// *thread* that started it ends (`PR_SET_PDEATHSIG`).
    ///
    /// # Errors
    /// When the program can't be run or placed.
    pub fn spawn(spawn: Spawn<'_>) -> Result<Process, TrialError> {
        let program = spawn.program.display().to_string();
        let failed = |source: io::Error| TrialError::Start {
            role: spawn.subject.called(),
            program: program.clone(),
            source,
        };
        let groups = match spawn.group {
            Some(group) => open_procs(group)?,
            None => Vec::new(),
        };
        let mut cpus = CpuSet::new();
        for &cpu in spawn.cpus {
            cpus.set(cpu).map_err(|error| failed(error.into()))?;
        }
        log::info!(
            "starting the {}: taskset -c {} {} {}",
            spawn.subject.called(),
            join(spawn.cpus),
            program,
            spawn.args.join(" ")
        );
        let log = File::create(&spawn.log).map_err(failed)?;
        let mut command = tokio::process::Command::new(spawn.program);
        // What is part of this program has its environment.
        if spawn.program != Path::new(program::ITSELF) {
            command
                .env_clear()
                .envs(env::vars_os().filter(|(name, _)| is_passed_on(name)));
        }
        command
            .args(&spawn.args)
            .envs(spawn.env.iter().map(|(key, value)| (key, value)))
            .env(owner::VARIABLE, Owner::current().to_string())
            // The harness passes an interrupt on in its own time; a terminal must not.
            .process_group(0)
            .kill_on_drop(true)
            .stderr(log.try_clone().map_err(failed)?);
        if spawn.piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(log);
        }
        let parent = Pid::this();
        // SAFETY: between fork and exec only system calls are made (prctl,
        // getppid, write, sched_setaffinity), on memory that was set up before.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                // The parent may have died before the line above.
                if getppid() != parent {
                    return Err(nix::errno::Errno::ESRCH.into());
                }
                for file in &groups {
                    write(file, b"0")?;
                }
                sched_setaffinity(Pid::from_raw(0), &cpus)?;
                Ok(())
            });
        }
        let child = command.spawn().map_err(failed)?;
        let id = child.id().expect("it was not waited for yet");
        Ok(Process {
            subject: spawn.subject,
            program,
            group: Pid::from_raw(id as i32),
            child,
            log: spawn.log,
        })
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The program that it runs.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The pipes to and from it, if it was started with some.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        let runs = self.pid().is_some();
        let status = self.child.try_wait().ok().flatten();
        if runs && status.is_some() {
            self.end_group();
        }
        status
    }

    /// The error of one that has ended, if it has.
    pub fn has_ended(&mut self, phase: Phase) -> Option<TrialError> {
        let status = self.status()?;
        Some(self.exit_error(phase, Ok(status)))
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self, phase: Phase) -> TrialError {
        let status = self.wait().await;
        self.exit_error(phase, status)
    }

    /// Waits for its end, and ends what it has started with it.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let runs = self.pid().is_some();
        let status = self.child.wait().await;
        if runs {
            self.end_group();
        }
        status
    }

    /// Ends what it has started and left behind, which without control groups nobody else finds. While
    /// anybody is in the group its id is nobody else's; when nobody is, it was given back a moment ago,
    /// and the kernel gives all others before it gives that one again.
    fn end_group(&self) {
        let _ = killpg(self.group, Signal::SIGKILL);
    }

    /// Waits until it ends by itself, as it should.
    ///
    /// # Errors
    /// When it ends with another status than 0.
    pub async fn finished(&mut self, phase: Phase) -> Result<(), TrialError> {
        match self.wait().await {
            Ok(status) if status.success() => Ok(()),
            status => Err(self.exit_error(phase, status)),
        }
    }

    fn exit_error(&self, phase: Phase, status: io::Result<ExitStatus>) -> TrialError {
        TrialError::Exited {
            role: self.subject.called(),
            program: self.program.clone(),
            status: match status {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            phase,
            output: self.output(),
        }
    }

    /// The last lines that it wrote.
    pub fn output(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }

    /// Asks it to stop, and ends it when it does not.
    pub async fn stop(mut self, grace: Duration) {
        if self.pid().is_none() {
            return;
        }
        let _ = kill(self.group, Signal::SIGTERM);
        if tokio::time::timeout(grace, self.wait()).await.is_err() {
            log::warn!(
                "the {} `{}` did not stop within {grace:?} of SIGTERM and was killed",
                self.subject.called(),
                self.program
            );
            let _ = self.child.start_kill();
            let _ = self.wait().await;
        }
    }
}

/// One that nobody has stopped takes along what it has started, too.
impl Drop for Process {
    fn drop(&mut self) {
        // It goes by itself (`kill_on_drop`), and as long as it was not waited for the group is its own.
        if self.pid().is_some() {
            self.end_group();
        }
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn join(cpus: &[usize]) -> String {
    cpus.iter()
        .map(|cpu| cpu.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_an_arm_is_not_passed_on() {
        for name in ["PATH", "HOME", "LANG", "LC_ALL", "SSL_CERT_FILE"] {
            assert!(is_passed_on(name.as_ref()), "{name}");
        }
        for name in [
            "OTEL_TRACES_SAMPLER",
            "DD_TRACE_SAMPLE_RATE",
            "GOMAXPROCS",
            "HTTP_PROXY",
            "LD_PRELOAD",
            "PATHS",
            "",
        ] {
            assert!(!is_passed_on(name.as_ref()), "{name}");
        }
    }
}
