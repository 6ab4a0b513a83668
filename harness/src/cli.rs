//! The commands.
//!
//! # Layout
//! - [`mod@scenario`] measures
//! - [`mod@calibrate`] measures a known cost
//! - [`measure`] is what every command that measures shares; [`cluster`] is what names a cluster
//! - [`mod@resume`] finishes a run that was cut short
//! - [`mod@report`], [`mod@compare`], [`mod@history`], [`mod@export`], [`mod@price`], [`mod@verify`],
//!   [`mod@gate`] work from records alone
//! - [`mod@list`], [`mod@doctor`] say what there is, what this machine offers
//! - [`mod@setup`] builds programs of others
//! - [`mod@clean`] removes leftovers, [`mod@schema`] prints JSON Schemas
//! - [`mod@observe`] reads a node's pods, in a cluster
//! - [`progress`] is what is seen while a run goes on
//! - [`exit`] holds the exit codes

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use self::exit::Failure;
use crate::terminal::{harmless, say};

pub mod calibrate;
pub mod clean;
pub mod cluster;
pub mod compare;
pub mod doctor;
pub mod exit;
pub mod export;
pub mod gate;
pub mod history;
pub mod list;
pub mod measure;
pub mod observe;
pub mod price;
pub mod progress;
pub mod report;
pub mod resume;
pub mod scenario;
pub mod schema;
pub mod setup;
pub mod verify;

/// Measures what an observability agent costs the application it observes.
///
/// A scenario is a target application, an agent (or none) and a load. Every
/// trial starts a fresh target, warms it up, and counts the CPU time and memory
/// of target, agent, load driver and harness over a window of fixed request
/// rate. Figures come with intervals over trials; a trial that broke a rule of
/// validity is recorded with its reason and never averaged in.
///
/// Results go to standard output, everything else to standard error.
///
/// Examples:
///   flora-bench scenario baseline
///   flora-bench scenario baseline --rate 500 --blocks 10 --measure 10s
///   flora-bench report latest
#[derive(Debug, Parser)]
#[command(
    name = "flora-bench",
    version = crate::fingerprint::VERSION,
    verbatim_doc_comment,
    after_long_help = exit::HELP,
    max_term_width = 100
)]
struct Arguments {
    /// Say more on standard error; twice for every detail.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Scenario(Box<scenario::Arguments>),
    List(list::Arguments),
    Doctor(doctor::Arguments),
    Setup(setup::Arguments),
    Calibrate(Box<calibrate::Arguments>),
    Report(report::Arguments),
    Compare(compare::Arguments),
    History(history::Arguments),
    Export(export::Arguments),
    Price(price::Arguments),
    Resume(resume::Arguments),
    Verify(verify::Arguments),
    Gate(gate::Arguments),
    Clean(clean::Arguments),
    Schema(schema::Arguments),
    Observe(observe::Arguments),
    /// The built-in load driver, a process of its own.
    #[command(hide = true, name = crate::load::builtin::SUBCOMMAND)]
    LoadDriver,
    /// The intake that agents send to, a process of its own.
    #[command(hide = true, name = crate::intake::SUBCOMMAND)]
    Intake {
        /// Listen where pods reach it, until a signal comes.
        #[arg(long)]
        in_cluster: bool,
    },
}

/// How a command prints a table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.verbose);
    let outcome = match arguments.command {
        Command::Scenario(arguments) => scenario::run(*arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Setup(arguments) => setup::run(arguments),
        Command::Calibrate(arguments) => calibrate::run(*arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::History(arguments) => history::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Price(arguments) => price::run(arguments),
        Command::Resume(arguments) => resume::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Gate(arguments) => gate::run(arguments),
        Command::Clean(arguments) => clean::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
        Command::Observe(arguments) => observe::run(arguments),
        Command::LoadDriver => crate::load::driver::main().map_err(Failure::unexpected),
        Command::Intake { in_cluster } => {
            crate::intake::server::main(in_cluster).map_err(Failure::unexpected)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = crate::error::text(failure.error.as_ref());
            say(format_args!("flora-bench: {text}"));
            ExitCode::from(failure.code)
        }
    }
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Off)
        .filter_module("flora_bench", level)
        .format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            let text = record.args().to_string();
            writeln!(out, "flora-bench: {level}: {}", harmless(&text))
        })
        .init();
}

/// Prints a result; a reader that went away is not an error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let text = harmless(text);
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::unexpected(error.into()))
        }
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON.
fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::unexpected(error.into()))?;
    print(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
