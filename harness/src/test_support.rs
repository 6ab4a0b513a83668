//! What tests with real programs share.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{Invocation, ProgramError};

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
            let all = std::env::var("FLORA_BENCH_REQUIRE_ALL");
            assert!(all.as_deref() != Ok("1"), "{error}");
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}
