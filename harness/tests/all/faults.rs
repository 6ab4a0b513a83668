//! What breaks around a run or in its records: nothing is lost without a word, nothing is left
//! behind, and nothing that was secret stands anywhere.

use std::path::Path;
use std::process::Command;

use crate::support::flora_bench;

mod killed;
mod leaks;
mod records;
pub mod running;
mod secrets;
mod time;

/// Two trials, with VictoriaMetrics beside them where it is installed.
fn watched(out: &Path, measure: &str) -> Command {
    let mut command = flora_bench();
    command
        .args(["scenario", "baseline", "--rate", "100", "--blocks", "1"])
        .args(["--warmup", "100ms", "--measure", measure, "--slices", "1"])
        .arg("--out")
        .arg(out);
    command
}

/// The same without.
fn short(out: &Path, measure: &str) -> Command {
    let mut command = watched(out, measure);
    command.args(["--victoria-metrics", "off"]);
    command
}
