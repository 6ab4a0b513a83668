//! A run that is watched by its records while it goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flora_bench::sample::Phase;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// What an agent that draws out its end leaves beside the run when it is told to end.
pub const ENDING: &str = "ending";

/// A run whose records are watched while it goes on.
pub struct Running {
    pub child: Child,
    out: PathBuf,
}

impl Running {
    /// Starts one that makes its run directory in `out`.
    pub fn start(command: &mut Command, out: &Path) -> Running {
        let errors = fs::File::create(out.join("stderr")).unwrap();
        Running {
            child: command
                .stdout(Stdio::null())
                .stderr(errors)
                .spawn()
                .unwrap(),
            out: out.to_owned(),
        }
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.out.join("latest").join(file)).unwrap_or_default()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.out.join("stderr")).unwrap()
    }

    /// Waits until something holds, while the run goes on.
    pub fn until<T>(&mut self, what: &str, holds: impl Fn(&Running) -> Option<T>) -> T {
        let (limit, pace) = (Duration::from_secs(120), Duration::from_millis(3));
        self.until_within(limit, pace, what, holds)
    }

    /// The same where it takes longer, or where asking costs so much that it should not be often.
    pub fn until_within<T>(
        &mut self,
        limit: Duration,
        pace: Duration,
        what: &str,
        holds: impl Fn(&Running) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = holds(self) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{what}: it ended with {ended:?}: {}",
                self.said()
            );
            assert!(Instant::now() < deadline, "{what}: never: {}", self.said());
            std::thread::sleep(pace);
        }
    }

    /// The plan's trials, once there is one.
    pub fn plan(&mut self) -> Vec<Value> {
        self.until("the plan", |running| {
            let plan: Value = serde_json::from_str(&running.read("plan.json")).ok()?;
            Some(plan["trials"].as_array().unwrap().clone())
        })
    }

    /// Whether there is a reading of a trial from this phase.
    pub fn has(&self, trial: u64, phase: Phase) -> bool {
        let start = format!("{{\"trial\":{trial},\"phase\":\"{}\"", phase.as_str());
        self.read("samples.jsonl").contains(&start)
    }

    /// Whether a trial has come so far.
    pub fn reached(&self, trial: u64, phase: Phase) -> bool {
        match phase {
            // What it has is alive before it has left a reading.
            Phase::Setup => !self.has(trial, Phase::Setup),
            // The first reading is the set-up's last act.
            Phase::Warmup => self.has(trial, Phase::Setup),
            Phase::Teardown => self.out.join(ENDING).exists(),
            phase => self.has(trial, phase),
        }
    }

    /// A process of the run, by what its command line or, for load drivers, its log is called.
    pub fn process(&self, word: &str, log: &str) -> Option<i32> {
        let owner = format!("FLORA_BENCH_OWNER={}-", self.child.id());
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let text = |file: &str| {
                let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let errors = fs::read_link(entry.path().join("fd/2")).unwrap_or_default();
            let found = text("environ").contains(&owner)
                && text("cmdline").contains(word)
                && errors.ends_with(log);
            found.then_some(pid)
        })
    }

    /// Its trials so far; the last line may be just being written.
    pub fn trials(&self) -> Vec<Value> {
        let text = self.read("trials.jsonl");
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Its end: the exit code and what it said.
    pub fn end(&mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or(-1), self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What a test that failed leaves would be in the way of those after it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
