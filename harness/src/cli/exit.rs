//! Exit codes: what a script can rely on.

use crate::backend::TrialError;
use crate::backend::kubernetes::ClusterError;
use crate::backend::kubernetes::groups::GroupError;
use crate::record::RecordError;
use crate::scenario::library::LibraryError;

/// Gate: over budget.
pub const OVER_BUDGET: u8 = 1;
/// Bad arguments, scenario file, budgets file or run directory.
pub const USAGE: u8 = 2;
/// Something that the command needs is missing here.
pub const MISSING: u8 = 3;
/// The measurement is not valid.
pub const INVALID: u8 = 4;
/// Gate: too noisy to tell.
pub const INCONCLUSIVE: u8 = 5;
/// Interrupted; cleaned up, records kept.
pub const INTERRUPTED: u8 = 130;

/// The same for `--help`.
pub const HELP: &str = "\
Exit codes:
  0    done; gate: passed
  1    gate: over budget
  2    bad arguments, scenario file, budgets file or run directory
  3    something the command needs is missing here
  4    the measurement is not valid
  5    gate: inconclusive, too noisy to tell
  130  interrupted; cleaned up, records kept";

/// An error and the exit code that it brings.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What went wrong.
    pub error: anyhow::Error,
}

impl Failure {
    /// An error with its code.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Failure {
            code,
            error: error.into(),
        }
    }

    /// A message with its code.
    pub fn message(code: u8, message: impl std::fmt::Display) -> Self {
        Failure {
            code,
            error: anyhow::anyhow!("{message}"),
        }
    }

    /// What should not happen; it counts as something missing.
    pub fn unexpected(error: anyhow::Error) -> Self {
        Failure {
            code: MISSING,
            error,
        }
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        Failure::new(USAGE, error)
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let code = match &error {
            // A disk that fills up under a run is no fault of the arguments.
            RecordError::Write { .. } => MISSING,
            _ => USAGE,
        };
        Failure::new(code, error)
    }
}

impl From<TrialError> for Failure {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Interrupted => Failure::new(INTERRUPTED, error),
            TrialError::Record(error) => error.into(),
            TrialError::Cluster(
                ClusterError::Manifest(_) | ClusterError::Groups(GroupError::NoMatch { .. }),
            ) => Failure::new(USAGE, error),
            error => Failure::new(MISSING, error),
        }
    }
}
