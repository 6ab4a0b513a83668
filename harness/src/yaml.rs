//! Files in YAML: read, or told what is wrong with them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A file in YAML that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// It can't be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What it is, in words.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not YAML, or not of the form that was expected.
    #[error("{}: {message}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Line, key, value and what was expected.
        message: String,
    },
}

impl YamlError {
    /// Not of the form that was expected, for this reason.
    pub fn form(path: &Path, message: impl Into<String>) -> Self {
        YamlError::Form {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// The text of a file.
///
/// # Errors
/// When it can't be read.
pub fn text(what: &'static str, path: &Path) -> Result<String, YamlError> {
    fs::read_to_string(path).map_err(|source| YamlError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

/// What a text says; the path stands in errors.
///
/// # Errors
/// When it is not YAML, or not of this form.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, YamlError> {
    serde_saphyr::from_str(text).map_err(|error| YamlError::form(path, error.to_string()))
}
