//! The harness's side of the intake: starts it, learns where it listens, ends it.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdin;

use super::{Addresses, SUBCOMMAND};
use crate::backend::TrialError;
use crate::backend::local::cgroup::Group;
use crate::backend::local::process::{Process, Spawn};
use crate::backend::local::sampler::RoleObserver;
use crate::backend::local::system::Workshop;
use crate::program;
use crate::sample::{Phase, Subject};

/// An intake that runs.
#[derive(Debug)]
pub struct Intake {
    /// Where it listens.
    pub addresses: Addresses,
    process: Process,
    /// Without its input it ends by itself.
    _input: ChildStdin,
}

impl Intake {
    /// Starts one in its own group, and gives a reader of its cost too.
    ///
    /// # Errors
    /// When it can't be started, or ends at once.
    pub async fn start(
        workshop: &Workshop,
        seat: usize,
        groups: &mut Vec<Group>,
    ) -> Result<(Intake, RoleObserver), TrialError> {
        let group = workshop.group(Subject::Intake, seat, groups)?;
        let mut process = Process::spawn(Spawn {
            subject: Subject::Intake,
            program: program::ITSELF.as_ref(),
            args: vec![SUBCOMMAND.to_owned()],
            env: Vec::new(),
            cpus: &workshop.cpu_sets[&Subject::Intake],
            group: group.as_ref(),
            log: workshop.log("intake", seat),
            piped: true,
        })?;
        let (input, output) = process.pipes().expect("it was started with pipes");
        let line = BufReader::new(output).lines().next_line().await;
        let said = line.ok().flatten();
        let addresses = said.and_then(|line| serde_json::from_str(&line).ok());
        let Some(addresses) = addresses else {
            return Err(process.ended(Phase::Setup).await);
        };
        let pids = process.pid().into_iter().collect();
        let observer = RoleObserver::open(Subject::Intake, group.as_ref(), pids)?;
        let intake = Intake {
            addresses,
            process,
            _input: input,
        };
        Ok((intake, observer))
    }

    /// The error of one that has ended, if it has.
    pub fn has_ended(&mut self, phase: Phase) -> Option<TrialError> {
        self.process.has_ended(phase)
    }

    /// Waits until it ends, which it must not do while a trial goes on.
    pub async fn ended(&mut self, phase: Phase) -> TrialError {
        self.process.ended(phase).await
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.stop(std::time::Duration::from_secs(1)).await;
    }
}
