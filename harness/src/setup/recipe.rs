//! What a recipe says: how one program of somebody else is built.
//!
//! The file is YAML and strict. In words of `steps` and `env`,
//! `{source}` stands for the recipe's own directory, `{build}` for an empty one
//! that the steps run in, and `{version}` for the version.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::program;
use crate::yaml::{self, YamlError};

/// What a file is called that is built from.
const SOURCE: &str = "source";

/// How one program is built.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The name by which scenarios call the program.
    pub program: String,
    /// The version that is built; steps use it as `{version}`.
    pub version: String,
    /// Arguments with which the program tells its version. The answer must hold
    /// the version; without them nothing can be asked and the recipe's word counts.
    #[serde(default)]
    pub says: Vec<String>,
    /// How long it takes on two cores with nothing downloaded yet, in words.
    pub takes: String,
    /// Programs that the steps need.
    pub needs: Vec<Tool>,
    /// Files and directories that are built from, relative to the recipe. When
    /// one changes, the program is built anew.
    #[serde(default)]
    pub sources: Vec<PathBuf>,
    /// Environment of every step.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is done, one after another.
    pub steps: Vec<Step>,
    /// The program, relative to the directory that the steps run in.
    pub output: PathBuf,
    /// The recipe's own file.
    #[serde(skip)]
    pub file: PathBuf,
    #[serde(skip)]
    text: String,
}

/// A program that is needed to build another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name on `PATH`.
    pub tool: String,
    /// Arguments with which it tells its version, which is part of what was built.
    #[serde(default)]
    pub says: Vec<String>,
    /// The least version that will do, as numbers with points.
    #[serde(default)]
    pub at_least: Option<String>,
    /// The command that installs it.
    pub install: String,
}

/// One step of a recipe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Program and arguments.
    pub run: Vec<String>,
    /// Where, relative to the build directory; in it without one.
    #[serde(default)]
    pub within: Option<String>,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// When the file can't be read or says something that makes no sense.
    pub fn read(file: &Path) -> Result<Self, YamlError> {
        let text = yaml::text("recipe", file)?;
        let form = |message: String| YamlError::form(file, message);
        let recipe: Recipe = yaml::parse(file, &text)?;
        if recipe.steps.iter().any(|step| step.run.is_empty()) || recipe.steps.is_empty() {
            return Err(form(
                "`steps` is empty or has an empty `run`, expected a program and its arguments"
                    .into(),
            ));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if recipe.program.is_empty() || !recipe.program.chars().all(plain) {
            return Err(form(format!(
                "`program` is {:?}, expected a plain file name",
                recipe.program
            )));
        }
        Ok(Recipe {
            file: file.to_owned(),
            text,
            ..recipe
        })
    }

    /// The directory that sources are relative to.
    pub fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// What all of it depends on, as SHA-256: the recipe, every source, and what
    /// the tools say of their versions.
    ///
    /// # Errors
    /// When a source can't be read.
    pub fn identity(&self, tools: &[String]) -> Result<String, YamlError> {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(self.text.as_bytes());
        tools.iter().for_each(|tool| add(tool.as_bytes()));
        let mut files = Vec::new();
        for source in &self.sources {
            collect(&self.directory().join(source), &mut files)?;
        }
        files.sort();
        for file in files {
            let name = file.strip_prefix(self.directory()).unwrap_or(&file);
            add(name.to_string_lossy().as_bytes());
            add(&fs::read(&file).map_err(|source| YamlError::Read {
                what: SOURCE,
                path: file.clone(),
                source,
            })?);
        }
        Ok(program::hex(&hash.finalize()))
    }

    /// A word with what it stands for.
    pub fn fill(&self, word: &str, build: &Path) -> String {
        // Steps run elsewhere, so the recipe's directory has to be absolute.
        let source = std::path::absolute(self.directory()).unwrap_or_default();
        word.replace("{source}", &source.display().to_string())
            .replace("{build}", &build.display().to_string())
            .replace("{version}", &self.version)
    }
}

/// Every file below a path.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), YamlError> {
    let failed = |source| YamlError::Read {
        what: SOURCE,
        path: path.to_owned(),
        source,
    };
    if path.metadata().map_err(failed)?.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        collect(&entry.map_err(failed)?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "program: a\nversion: '1'\ntakes: 1 s\nneeds: []\nsources: [src]\nsteps: [{run: ['true']}]\noutput: a\n";

    fn recipe(directory: &Path, text: &str) -> Result<Recipe, YamlError> {
        let file = directory.join("build.yaml");
        fs::write(&file, text).unwrap();
        Recipe::read(&file)
    }

    #[test]
    fn whatever_is_built_from_is_part_of_the_identity() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("src")).unwrap();
        let source = directory.path().join("src/a.go");
        let identity = |text: &str, content: &str, tool: &str| {
            fs::write(&source, content).unwrap();
            let recipe = recipe(directory.path(), text).unwrap();
            recipe.identity(&[tool.to_owned()]).unwrap()
        };
        let first = identity(TEXT, "x", "go 1");
        assert_eq!(first, identity(TEXT, "x", "go 1"));
        for other in [
            identity(&TEXT.replace("1 s", "2 s"), "x", "go 1"),
            identity(TEXT, "y", "go 1"),
            identity(TEXT, "x", "go 2"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        for (text, part) in [
            (TEXT.replace("output", "outptu"), "outptu"),
            (
                TEXT.replace("program: a", "program: ../a"),
                "plain file name",
            ),
            (TEXT.replace("['true']", "[]"), "`steps`"),
        ] {
            let message = recipe(directory.path(), &text).unwrap_err().to_string();
            assert!(
                message.contains("build.yaml") && message.contains(part),
                "{message}"
            );
        }
        let missing = recipe(directory.path(), TEXT).unwrap().identity(&[]);
        assert!(missing.unwrap_err().to_string().contains("src"));
    }
}
