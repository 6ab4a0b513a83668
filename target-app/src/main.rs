//! The application under load, with nobody looking on.

use std::process::ExitCode;

use target_app::watch::Nobody;

fn main() -> ExitCode {
    let args = target_app::args("target-app", env!("CARGO_PKG_VERSION"));
    target_app::run(&args, Nobody)
}
