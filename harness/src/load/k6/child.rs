//! k6 as a child of a trial.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Begun, SCRIPT, failures, read_summary};
use crate::backend::TrialError;
use crate::backend::local::process::Process;
use crate::clock::{monotonic_ns, unix_seconds};
use crate::error;
use crate::load::{LoadResult, LoadSpec};
use crate::sample::Phase;

/// How long k6 may take from its start to its first request.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at what k6 has said.
const POLL: Duration = Duration::from_millis(5);
/// How long k6 may take to end after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The files of one k6 run.
#[derive(Debug)]
pub struct Files {
    /// The script.
    pub script: PathBuf,
    /// Where the summary will be.
    pub summary: PathBuf,
}

/// Lays out the files of a k6 run in a directory; an old summary goes.
///
/// # Errors
/// When the script can't be written.
pub fn prepare(directory: &Path) -> Result<Files, TrialError> {
    let files = Files {
        script: directory.join("fixed-rate.js"),
        summary: directory.join("k6-summary.json"),
    };
    let _ = fs::remove_file(&files.summary);
    fs::write(&files.script, SCRIPT).map_err(|source| TrialError::Observe {
        what: files.script.display().to_string(),
        source,
    })?;
    Ok(files)
}

/// A k6 that runs.
#[derive(Debug)]
pub struct K6 {
    process: Process,
    files: Files,
    spec: LoadSpec,
}

impl K6 {
    /// Takes over a started k6.
    pub fn new(process: Process, files: Files, spec: LoadSpec) -> Self {
        K6 {
            process,
            files,
            spec,
        }
    }

    /// Waits until k6 says that it has begun, and when its window is.
    ///
    /// # Errors
    /// When it ends before, or says nothing for half a minute.
    pub async fn begun(&mut self) -> Result<u64, TrialError> {
        let deadline = monotonic_ns() + BEGIN_LIMIT.as_nanos() as u64;
        loop {
            if let Some(begun) = self.process.output().lines().find_map(Begun::parse) {
                // From the wall clock, which is k6's, to the one that never jumps.
                let (now_ns, now_unix) = (monotonic_ns(), unix_seconds());
                let at = |unix: f64| (now_ns as f64 + (unix - now_unix) * 1e9) as u64;
                return Ok(at(begun.window.0 - self.spec.warmup_seconds));
            }
            if monotonic_ns() > deadline {
                return Err(TrialError::Load(format!(
                    "k6 sent nothing within {BEGIN_LIMIT:?}; its last output:\n{}",
                    self.process.output()
                )));
            }
            tokio::select! {
                error = self.process.ended(Phase::Setup) => return Err(error),
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Waits until it ends, which it must not do during the load.
    pub async fn ended(&mut self, phase: Phase) -> TrialError {
        self.process.ended(phase).await
    }

    /// Waits for its end, and reads its summary.
    ///
    /// # Errors
    /// When it fails, or its summary can't be right.
    pub async fn result(&mut self) -> Result<LoadResult, TrialError> {
        self.process.finished(Phase::Cooldown).await?;
        let output = self.process.output();
        read_summary(&self.files.summary, &self.spec, failures(&output))
            .map_err(|error| TrialError::Load(format!("k6: {}", error::text(&error))))
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.stop(STOP_GRACE).await;
    }
}
