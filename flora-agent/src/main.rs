//! Parses arguments, calls one command, chooses the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    flora_agent::cli::main()
}
