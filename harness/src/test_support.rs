//! What tests with real programs share.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::program::{Invocation, ProgramError};
use crate::victoria_metrics::child::{self, ScrapeJob};
use crate::victoria_metrics::{Client, ServerUrl};

/// A child that is killed when the test ends, however it ends.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program, its output in a file.
pub fn spawn(invocation: &Invocation, output: &Path) -> Guard {
    let file = File::create(output).unwrap();
    let child = Command::new(&invocation.program)
        .args(&invocation.args)
        .envs(invocation.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap_or_else(|error| panic!("{invocation}: {error}"));
    Guard(child)
}

/// The program, or `None` after saying on standard error that the test is
/// skipped. With `FLORA_BENCH_REQUIRE_ALL=1` what is missing fails the test.
pub fn require<T>(found: Result<T, ProgramError>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(error) => {
            skip(&error.to_string());
            None
        }
    }
}

/// Says that a test is skipped, past the test harness, which keeps to itself what tests print. With
/// `FLORA_BENCH_REQUIRE_ALL=1` the test fails.
pub fn skip(why: &str) {
    let all = std::env::var("FLORA_BENCH_REQUIRE_ALL");
    assert!(all.as_deref() != Ok("1"), "{why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// A VictoriaMetrics that is ready, or `None` where it is not installed.
pub async fn victoria_metrics(directory: &Path, jobs: &[ScrapeJob]) -> Option<(Guard, Client)> {
    let program = require(child::find_program(None))?;
    let config = directory.join("scrape.yml");
    fs::write(&config, child::scrape_config(jobs)).unwrap();
    let output = directory.join("victoria-metrics.log");
    // Another process may take the port that was free a moment ago.
    for _ in 0..5 {
        let port = child::free_port().unwrap();
        let invocation = child::command(&program, port, &directory.join("data"), &config);
        let mut guard = spawn(&invocation, &output);
        let client = Client::new(ServerUrl::loopback(port)).unwrap();
        let ready = client.wait_ready(Duration::from_secs(30)).await;
        if guard.0.try_wait().unwrap().is_some() {
            continue;
        }
        let said = || fs::read_to_string(&output).unwrap_or_default();
        ready.unwrap_or_else(|error| panic!("{error}; {}", said()));
        return Some((guard, client));
    }
    panic!("no free port in five attempts");
}
