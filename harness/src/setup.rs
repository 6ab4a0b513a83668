//! Programs of others that are measured here and come as source: built from a
//! recipe, kept in a cache.
//!
//! A recipe is a file `*build.yaml` in or below `scenarios/` and `target-app/`
//! of the checkout. It names the program that it builds, and a scenario that
//! says that name gets it.
//!
//! # Layout
//! - [`recipe`]: what a recipe says
//! - [`build`]: carrying it out, unless that was done before
//! - [`Shelf`]: all recipes, by program

use std::fs;
use std::path::{Path, PathBuf};

use self::build::Built;
use self::recipe::Recipe;
use crate::yaml::YamlError;

pub mod build;
pub mod recipe;

/// Directories of a checkout that have recipes.
const PLACES: [&str; 2] = ["scenarios", "target-app"];
/// How deep recipes lie.
const DEPTH: usize = 4;

/// Why a program can't be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The recipe can't be used.
    #[error(transparent)]
    Recipe(#[from] YamlError),
    /// Two recipes for one program.
    #[error("`{program}` is built by {} and by {}; remove one", one.display(), other.display())]
    Twice {
        /// The program.
        program: String,
        /// A recipe.
        one: PathBuf,
        /// Another.
        other: PathBuf,
    },
    /// Tools are missing.
    #[error("building `{program}` needs what is missing here: {missing}")]
    Missing {
        /// The program.
        program: String,
        /// Each tool, with the command that installs it.
        missing: String,
    },
    /// A step failed.
    #[error("building `{program}` failed at `{step}` ({why}):\n{output}")]
    Step {
        /// The program.
        program: String,
        /// The step.
        step: String,
        /// How it ended.
        why: String,
        /// The end of what it wrote.
        output: String,
    },
    /// Every step went well and the program isn't there.
    #[error("building `{program}` left no {}; correct `output` in its recipe", output.display())]
    NoOutput {
        /// The program.
        program: String,
        /// Where it should be.
        output: PathBuf,
    },
    /// What was built is something else.
    #[error(
        "`{program}` says \"{said}\" of itself, which does not hold the version {expected} of its recipe; a program whose version is unknown is not measured"
    )]
    Version {
        /// The program.
        program: String,
        /// What it said.
        said: String,
        /// The version of its recipe.
        expected: String,
    },
    /// The cache can't be used.
    #[error("cannot keep what is built in {}: {source}; set XDG_CACHE_HOME to a place that can be written to", path.display())]
    Cache {
        /// The cache.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no home.
    #[error(
        "neither XDG_CACHE_HOME nor HOME is an absolute path; set one, to say where built programs are kept"
    )]
    NoHome,
}

/// All recipes of a checkout.
#[derive(Clone, Debug)]
pub struct Shelf {
    root: PathBuf,
}

impl Shelf {
    /// The recipes of the checkout with this root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Shelf { root: root.into() }
    }

    /// The recipes of the checkout that this program runs from, if it does.
    pub fn here() -> Option<Self> {
        crate::workspace::checkout().map(Shelf::new)
    }

    /// Every recipe, sorted by program.
    ///
    /// # Errors
    /// When one can't be used, or two build the same program.
    pub fn recipes(&self) -> Result<Vec<Recipe>, SetupError> {
        let mut files = Vec::new();
        for place in PLACES {
            find(&self.root.join(place), DEPTH, &mut files);
        }
        let recipes = files.iter().map(|file| Recipe::read(file));
        let mut recipes = recipes.collect::<Result<Vec<_>, _>>()?;
        recipes.sort_by(|a, b| a.program.cmp(&b.program));
        if let Some(pair) = recipes
            .windows(2)
            .find(|pair| pair[0].program == pair[1].program)
        {
            return Err(SetupError::Twice {
                program: pair[0].program.clone(),
                one: pair[0].file.clone(),
                other: pair[1].file.clone(),
            });
        }
        Ok(recipes)
    }

    /// The recipe of a program, if there is one.
    ///
    /// # Errors
    /// When recipes can't be used.
    pub fn recipe(&self, program: &str) -> Result<Option<Recipe>, SetupError> {
        let recipes = self.recipes()?;
        Ok(recipes.into_iter().find(|recipe| recipe.program == program))
    }
}

/// The program of a recipe, built if it isn't in the cache yet.
///
/// # Errors
/// When it can't be built, with what to do about it.
pub fn provide(recipe: &Recipe) -> Result<Built, SetupError> {
    build::provide(recipe, &build::cache()?)
}

/// The program of a recipe, if it is in the cache.
///
/// # Errors
/// When a tool is missing, or there is no cache.
pub fn find_built(recipe: &Recipe) -> Result<Option<Built>, SetupError> {
    build::find(recipe, &build::cache()?)
}

/// Recipes in a directory. What can't be read has none.
fn find(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && depth > 0 {
            find(&path, depth - 1, files);
        } else if entry.file_name().to_string_lossy().ends_with("build.yaml") {
            files.push(path);
        }
    }
}
