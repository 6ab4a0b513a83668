//! The application under load. README.md says what it answers, exactly enough for a twin in
//! another language to do the same.
//!
//! # Layout
//!
//! - `args`: the command line
//! - `server`: connections, from taking them to letting them finish
//! - `handler`: from a request to its answer
//! - `query`, `accept_encoding`: what a request asks for
//! - `random`, `work`, `objects`: what an answer is made of
//! - `watch`: where instrumentation looks on, in programs that have any
//! - `delivery`: counting an answer when it has been handed to the kernel
//! - `metrics`, `process`: what was answered, and what it cost
//! - `synthetic`: a known cost on top, for whoever tests a measurement

mod accept_encoding;
mod args;
mod delivery;
mod handler;
mod metrics;
mod objects;
mod process;
mod query;
mod random;
mod server;
mod synthetic;
pub mod watch;
mod work;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _};
use tokio::runtime::{Builder, Runtime};

use crate::handler::App;
use crate::synthetic::{Burn, Hold};

pub use crate::args::Args;
use crate::watch::Watch;

/// Reads the command line, or ends the program where it makes no sense or asks for help. Programs
/// differ in their name and in what their version says.
pub fn args(name: &'static str, version: &'static str) -> Args {
    let command = Args::command().name(name).version(version);
    let matches = command.get_matches_from(std::env::args_os());
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Serves until SIGTERM or SIGINT, `watch` looking on.
pub fn run<W: Watch>(args: &Args, watch: W) -> ExitCode {
    let runtime = match runtime(args.threads()) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("failed to start {} threads: {error}", args.threads());
            return ExitCode::FAILURE;
        }
    };
    let _held = Hold::new(args.hold_bytes);
    let burn = Burn::new(args.burn_nanoseconds);
    let app = Arc::new(App::new(args.objects, args.work, args.seed, burn));
    let patience = Duration::from_secs(args.patience.into());
    let ended = runtime.block_on(server::run(app, args.listen, patience, watch));
    // What is still running had its time to drain.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build()
}
