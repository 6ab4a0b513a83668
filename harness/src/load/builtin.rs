//! The harness's side of the built-in driver: starts it, tells it when, hears what came of it.

use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};

use super::driver::{Command, Event, Loop};
use super::{LoadResult, LoadSpec};
use crate::backend::TrialError;
use crate::backend::local::process::Process;
use crate::program;
use crate::sample::Phase;

/// The hidden subcommand of this program that is the driver.
pub const SUBCOMMAND: &str = "load-driver";

/// A driver that runs.
#[derive(Debug)]
pub struct Builtin {
    process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Builtin {
    /// The program to start as the driver, and its arguments.
    pub fn command() -> (PathBuf, Vec<String>) {
        (program::ITSELF.into(), vec![SUBCOMMAND.to_owned()])
    }

    /// Takes over a started driver and has it connect.
    ///
    /// # Errors
    /// When it ends, or says anything but that it is ready.
    pub async fn prepare(
        mut process: Process,
        spec: LoadSpec,
        kind: Loop,
    ) -> Result<Self, TrialError> {
        let (input, output) = process
            .pipes()
            .ok_or_else(|| TrialError::Load("has no pipes".into()))?;
        let mut driver = Builtin {
            process,
            input,
            output: BufReader::new(output).lines(),
        };
        driver.tell(&Command::Prepare(spec, kind)).await?;
        match driver.hear(Phase::Setup).await? {
            Event::Ready => Ok(driver),
            event => Err(unexpected(&event)),
        }
    }

    /// Sets the beginning of the load, in nanoseconds of `CLOCK_MONOTONIC`.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn start(&mut self, start_ns: u64) -> Result<(), TrialError> {
        self.tell(&Command::Start(start_ns)).await
    }

    /// Waits until it ends, which it must not do during the load.
    pub async fn ended(&mut self, phase: Phase) -> TrialError {
        self.process.ended(phase).await
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// When it ends without one.
    pub async fn result(&mut self) -> Result<LoadResult, TrialError> {
        match self.hear(Phase::Cooldown).await? {
            Event::Result(result) => Ok(result),
            event => Err(unexpected(&event)),
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        // Without its input it stops by itself.
        drop(self.input);
        self.process.stop(std::time::Duration::from_secs(1)).await;
    }

    async fn tell(&mut self, command: &Command) -> Result<(), TrialError> {
        let mut line = serde_json::to_string(command).expect("a command can be written");
        line.push('\n');
        match self.input.write_all(line.as_bytes()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.process.ended(Phase::Setup).await),
        }
    }

    async fn hear(&mut self, phase: Phase) -> Result<Event, TrialError> {
        match self.output.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line)
                .map_err(|error| TrialError::Load(format!("said `{line}`: {error}"))),
            _ => Err(self.process.ended(phase).await),
        }
    }
}

fn unexpected(event: &Event) -> TrialError {
    TrialError::Load(format!("said {event:?} out of turn"))
}
