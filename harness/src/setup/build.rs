//! Carrying a recipe out, once for each state of what it depends on.
//!
//! What was built lies in a directory named after the program and the identity
//! of its recipe. Steps run in a directory beside it, which becomes that one in
//! a single rename: what is there is whole.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::SetupError;
use super::recipe::{Recipe, Tool};
use crate::owner::Owner;
use crate::program;
use crate::terminal::say;

/// What a directory is called that steps still run in.
const UNFINISHED: &str = "unfinished-";
/// How much of a failed step's output is shown.
const LAST_LINES: usize = 20;

/// What was built, and from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The program's name.
    pub program: String,
    /// The version that it tells, or where it tells none that of its recipe.
    pub version: String,
    /// SHA-256 of the program.
    pub sha256: String,
    /// SHA-256 of the recipe and of everything that it builds from.
    pub recipe_sha256: String,
    /// What the tools said of their versions.
    pub tools: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// A program that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub receipt: Receipt,
}

/// What the tools of a recipe say of their versions.
///
/// # Errors
/// With everything that is missing, and the commands that install it.
pub fn tools(recipe: &Recipe) -> Result<Vec<String>, SetupError> {
    let found: Vec<Result<String, String>> = recipe.needs.iter().map(tool).collect();
    let missing: Vec<String> = found.iter().filter_map(|tool| tool.clone().err()).collect();
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    Err(SetupError::Missing {
        program: recipe.program.clone(),
        missing: missing.join("; "),
    })
}

fn tool(need: &Tool) -> Result<String, String> {
    let Tool { tool, install, .. } = need;
    let path = program::on_path(tool)
        .ok_or_else(|| format!("`{tool}` is not on PATH (install it with: {install})"))?;
    if need.says.is_empty() {
        return Ok(tool.clone());
    }
    let says: Vec<&str> = need.says.iter().map(String::as_str).collect();
    let version = program::first_line(&path, &says).unwrap_or_default();
    match &need.at_least {
        Some(least) if !reaches(&version, least) => Err(format!(
            "`{tool}` says that it is \"{version}\", {least} or newer is needed (install it with: {install})"
        )),
        _ => Ok(version),
    }
}

/// Whether the first version in a text is at least another.
fn reaches(text: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split('.')
            .map_while(|part| part.parse().ok())
            .collect()
    };
    let found = text
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()));
    found.is_some_and(|found| numbers(found) >= numbers(least))
}

/// The program of a recipe, built if it isn't there yet.
///
/// # Errors
/// When a tool is missing, a step fails, or what was built isn't what the recipe says.
pub fn provide(recipe: &Recipe, cache: &Path) -> Result<Built, SetupError> {
    let tools = tools(recipe)?;
    let identity = recipe.identity(&tools)?;
    let home = home(recipe, &identity, cache);
    if let Some(built) = cached(recipe, &home) {
        return Ok(built);
    }
    let failed = |source| SetupError::Cache {
        path: cache.to_owned(),
        source,
    };
    fs::create_dir_all(cache).map_err(failed)?;
    sweep(cache);
    let room = Room(cache.join(format!(
        "{UNFINISHED}{}-{}",
        recipe.program,
        Owner::current()
    )));
    let build = room.0.join("build");
    fs::create_dir_all(&build).map_err(failed)?;
    let began = Instant::now();
    run_steps(recipe, &build)?;
    let output = build.join(&recipe.output);
    let program = room.0.join(&recipe.program);
    let absent = || SetupError::NoOutput {
        program: recipe.program.clone(),
        output: recipe.output.clone(),
    };
    if !output.is_file() {
        return Err(absent());
    }
    fs::copy(&output, &program).map_err(failed)?;
    let receipt = Receipt {
        program: recipe.program.clone(),
        version: version(recipe, &program)?,
        sha256: program::sha256(&program).map_err(failed)?,
        recipe_sha256: identity,
        tools,
        seconds: began.elapsed().as_secs_f64(),
    };
    let text = serde_json::to_string_pretty(&receipt).expect("a receipt has only plain values");
    fs::write(room.0.join("receipt.json"), text).map_err(failed)?;
    fs::remove_dir_all(&build).map_err(failed)?;
    // What is there by now is somebody else's who was quicker, or not what it was.
    if home.is_dir() && cached(recipe, &home).is_none() {
        remove(&home);
    }
    if let Err(source) = fs::rename(&room.0, &home)
        && !home.is_dir()
    {
        return Err(failed(source));
    }
    say(format_args!(
        "built {} {} in {:.0} s; it is kept in {}",
        recipe.program,
        recipe.version,
        receipt.seconds,
        home.display()
    ));
    cached(recipe, &home).ok_or_else(absent)
}

/// The program of a recipe, if it was built before.
///
/// # Errors
/// When a tool is missing or a source can't be read.
pub fn find(recipe: &Recipe, cache: &Path) -> Result<Option<Built>, SetupError> {
    let identity = recipe.identity(&tools(recipe)?)?;
    Ok(cached(recipe, &home(recipe, &identity, cache)))
}

/// Where a program is kept.
fn home(recipe: &Recipe, identity: &str, cache: &Path) -> PathBuf {
    cache.join(format!("{}-{}", recipe.program, &identity[..16]))
}

/// What an earlier run built, if it still is what it was.
fn cached(recipe: &Recipe, home: &Path) -> Option<Built> {
    let text = fs::read_to_string(home.join("receipt.json")).ok()?;
    let receipt: Receipt = serde_json::from_str(&text).ok()?;
    let path = home.join(&recipe.program);
    (program::sha256(&path).ok()? == receipt.sha256).then_some(Built { path, receipt })
}

fn run_steps(recipe: &Recipe, build: &Path) -> Result<(), SetupError> {
    let count = recipe.steps.len();
    for (at, step) in recipe.steps.iter().enumerate() {
        let words: Vec<String> = step
            .run
            .iter()
            .map(|word| recipe.fill(word, build))
            .collect();
        let shown = step.run.join(" ");
        say(format_args!(
            "building {} {} (step {} of {count}; about {} in all, the first time): {shown}",
            recipe.program,
            recipe.version,
            at + 1,
            recipe.takes
        ));
        let within = step.within.as_deref().unwrap_or_default();
        let within = build.join(recipe.fill(within, build));
        let env = recipe.env.iter();
        let output = Command::new(&words[0])
            .args(&words[1..])
            .envs(env.map(|(name, value)| (name, recipe.fill(value, build))))
            .current_dir(&within)
            .stdin(Stdio::null())
            .output();
        let (why, text) = match output {
            Ok(output) if output.status.success() => continue,
            Ok(output) => (
                output.status.to_string(),
                [output.stdout, output.stderr].concat(),
            ),
            Err(error) => (error.to_string(), Vec::new()),
        };
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        return Err(SetupError::Step {
            program: recipe.program.clone(),
            step: shown,
            why,
            output: last.join("\n"),
        });
    }
    Ok(())
}

/// What the program says that it is.
fn version(recipe: &Recipe, program: &Path) -> Result<String, SetupError> {
    if recipe.says.is_empty() {
        return Ok(recipe.version.clone());
    }
    let says: Vec<&str> = recipe.says.iter().map(String::as_str).collect();
    let said = program::first_line(program, &says).unwrap_or_default();
    if said.contains(&recipe.version) {
        return Ok(said);
    }
    Err(SetupError::Version {
        program: recipe.program.clone(),
        said,
        expected: recipe.version.clone(),
    })
}

/// Removes what builds left that were killed.
fn sweep(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(UNFINISHED).and_then(|rest| {
            let mut parts = rest.rsplitn(3, '-');
            let (start, pid) = (parts.next()?, parts.next()?);
            Owner::parse(&format!("{pid}-{start}"))
        });
        if owner.is_some_and(|owner| !owner.is_alive()) {
            remove(&entry.path());
        }
    }
}

/// A build's directory; gone, unless it was renamed, when its value is.
struct Room(PathBuf);

impl Drop for Room {
    fn drop(&mut self) {
        if self.0.exists() {
            remove(&self.0);
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        say(format_args!("cannot remove {}: {error}", path.display()));
    }
}

/// Where what was built is kept: outside of the repository, for every checkout.
///
/// # Errors
/// When the environment names no home.
pub fn cache() -> Result<PathBuf, SetupError> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("flora-bench/peers"))
        .ok_or(SetupError::NoHome)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recipe whose program is a script that says what `$WORD` was when it was built.
    fn recipe(directory: &Path, change: (&str, &str)) -> Recipe {
        let text = "program: peer\nversion: '1.2'\nsays: [--version]\ntakes: no time\n\
                    needs: [{tool: sh, install: apt-get install dash}]\nenv: {WORD: 'peer {version}'}\n\
                    steps:\n  - run: [mkdir, sub]\n  - run: [sh, -c, 'printf \"#!/bin/sh\\\\necho $WORD\" > peer && chmod +x peer']\n    within: sub\n\
                    output: sub/peer\n";
        let file = directory.join("build.yaml");
        fs::write(&file, text.replace(change.0, change.1)).unwrap();
        Recipe::read(&file).unwrap()
    }

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).map_or(0, |entries| entries.count())
    }

    #[test]
    fn a_program_is_built_once_and_again_when_it_is_not_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        let recipe = recipe(directory.path(), ("", ""));
        assert!(find(&recipe, &cache).unwrap().is_none());
        let built = provide(&recipe, &cache).unwrap();
        assert_eq!(built.receipt.version, "peer 1.2");
        assert_eq!(built.receipt.sha256, program::sha256(&built.path).unwrap());
        assert_eq!(provide(&recipe, &cache).unwrap().receipt, built.receipt);
        assert_eq!(entries(&cache), 1);

        fs::write(&built.path, "something else").unwrap();
        assert!(find(&recipe, &cache).unwrap().is_none());
        let again = provide(&recipe, &cache).unwrap();
        assert_eq!(again.receipt.sha256, built.receipt.sha256);
    }

    #[test]
    fn what_goes_wrong_is_said_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        for (change, parts) in [
            (
                ("mkdir, sub", "sh, -c, 'echo no room >&2; exit 7'"),
                ["no room", "7"],
            ),
            (("mkdir, sub", "./nowhere"), ["./nowhere", "No such file"]),
            (
                ("output: sub/peer", "output: sub/pear"),
                ["sub/pear", "`output`"],
            ),
            (("{version}", "2.0"), ["\"peer 2.0\"", "1.2"]),
            (
                ("tool: sh", "tool: no-such-tool"),
                ["no-such-tool", "apt-get install dash"],
            ),
            (
                (
                    "tool: sh",
                    "tool: sh, says: [-c, echo sh 3.4], at_least: '3.5'",
                ),
                ["sh 3.4", "3.5 or newer"],
            ),
        ] {
            let recipe = recipe(directory.path(), change);
            let message = provide(&recipe, &cache).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "`{part}` not in: {message}");
            }
            assert_eq!(entries(&cache), 0, "{message}");
        }
    }

    #[test]
    fn a_cache_without_room_is_no_fault_of_the_recipe() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        fs::create_dir(&cache).unwrap();
        let done = |program: &str, args: &[&str]| {
            let status = Command::new(program).args(args).arg(&cache).status();
            status.is_ok_and(|status| status.success())
        };
        if !done("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) {
            return crate::test_support::skip("mounting a tmpfs needs root");
        }
        // There is room for it once, and not for its copy.
        let large = ("chmod +x peer", "head -c 40000 /dev/zero >> peer");
        let outcome = provide(&recipe(directory.path(), large), &cache);
        assert!(done("umount", &[]));
        let message = outcome.unwrap_err().to_string();
        for part in ["No space left on device", "XDG_CACHE_HOME"] {
            assert!(message.contains(part), "`{part}` not in: {message}");
        }
    }

    #[test]
    fn what_a_killed_build_left_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let dead = cache
            .path()
            .join(format!("{UNFINISHED}my-peer-1-99999999999"));
        let alive = cache
            .path()
            .join(format!("{UNFINISHED}my-peer-{}", Owner::current()));
        fs::create_dir(&dead).unwrap();
        fs::create_dir(&alive).unwrap();
        sweep(cache.path());
        assert!(!dead.exists() && alive.exists());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (text, least, expected) in [
            ("go version go1.26.8 linux/amd64", "1.26", true),
            ("go version go1.26.8 linux/amd64", "1.9", true),
            ("go version go1.19.8 linux/amd64", "1.26", false),
            ("Debian clang version 14.0.6", "14", true),
            ("cargo 1.95.0 (abc 2026-01-01)", "1.95.1", false),
            ("nothing", "1", false),
        ] {
            assert_eq!(reaches(text, least), expected, "{text} {least}");
        }
    }
}
