//! The scenario files of a directory, by name.

use std::path::{Path, PathBuf};

use super::Scenario;
use super::wire::{self, ScenarioFileError};

/// A scenario that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The directory can't be read.
    #[error(
        "cannot read the scenario directory {}: {source}; name another with --scenarios DIR",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such file.
    #[error("unknown scenario `{name}`{}; {} has: {}", suggestion(nearest), path.display(), known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// The directory.
        path: PathBuf,
        /// Every name that there is.
        known: Vec<String>,
    },
    /// The file can't be used.
    #[error(transparent)]
    File(#[from] ScenarioFileError),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

/// A directory of scenario files.
#[derive(Clone, Debug)]
pub struct Library {
    directory: PathBuf,
}

impl Library {
    /// The library in a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Library {
            directory: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of every scenario, sorted, the baseline first.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn names(&self) -> Result<Vec<String>, LibraryError> {
        let entries =
            std::fs::read_dir(&self.directory).map_err(|source| LibraryError::Directory {
                path: self.directory.clone(),
                source,
            })?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                (path.extension()? == "yaml").then_some(())?;
                Some(path.file_stem()?.to_string_lossy().into_owned())
            })
            .collect();
        names.sort_by_key(|name| (name != super::BASELINE, name.clone()));
        Ok(names)
    }

    /// The scenario of that name.
    ///
    /// # Errors
    /// When there is none, or its file can't be used.
    pub fn load(&self, name: &str) -> Result<Scenario, LibraryError> {
        let known = self.names()?;
        if !known.iter().any(|other| other == name) {
            return Err(LibraryError::Unknown {
                nearest: nearest(name, &known),
                name: name.to_owned(),
                path: self.directory.clone(),
                known,
            });
        }
        Ok(wire::read(&self.directory.join(format!("{name}.yaml")))?)
    }
}

/// The known name most like `name`, when one is like it at all.
pub(crate) fn nearest(name: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_gets_the_nearest() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["baseline", "flora", "opentelemetry"] {
            std::fs::write(
                directory.path().join(format!("{name}.yaml")),
                "question: q\n",
            )
            .unwrap();
        }
        let library = Library::new(directory.path());
        assert_eq!(
            library.names().unwrap(),
            ["baseline", "flora", "opentelemetry"]
        );
        let message = library.load("basline").unwrap_err().to_string();
        assert!(
            message.starts_with("unknown scenario `basline`, did you mean `baseline`?"),
            "{message}"
        );
        let message = library.load("zzz").unwrap_err().to_string();
        assert!(
            !message.contains("did you mean") && message.contains("flora"),
            "{message}"
        );
    }
}
