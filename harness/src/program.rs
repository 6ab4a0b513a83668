//! Programs of others that the harness starts: where they are, and how they are called.
//!
//! Nothing here starts a long-running child: [`Invocation`] is a plain value,
//! and the backend decides in which cgroup it runs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

/// How long a program may take to say its version; even slow ones are well below.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks at whether it has ended.
const ANSWER_POLL: Duration = Duration::from_millis(2);

/// This program as the kernel runs it: its file may have been replaced meanwhile, as by a build.
pub const ITSELF: &str = "/proc/self/exe";

/// A program that is not there.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A path was given, and there is no program at it.
    #[error("{} is not a program that can be executed", path.display())]
    NotExecutable {
        /// The path that was given.
        path: PathBuf,
    },
    /// No directory of `PATH` holds it.
    #[error("no {} in PATH; {advice}", names.join(" or "))]
    NotFound {
        /// The names that were looked for.
        names: Vec<String>,
        /// How to get it.
        advice: String,
    },
    /// It can't be asked for its version.
    #[error("cannot run {}: {source}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It goes on instead of answering.
    #[error(
        "{} {args} went on for {limit:?} instead of answering, and was ended",
        path.display()
    )]
    Endless {
        /// The program.
        path: PathBuf,
        /// What it was asked.
        args: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It prints nothing.
    #[error("`{} {args}` says nothing", path.display())]
    Silent {
        /// The program.
        path: PathBuf,
        /// What it was asked.
        args: String,
    },
    /// It does not say its version.
    #[error("{} does not say its version: {output}", path.display())]
    Version {
        /// The program.
        path: PathBuf,
        /// What it said instead.
        output: String,
    },
}

/// How a program is called. A value, so that it can be tested, logged and recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    pub args: Vec<OsString>,
    /// Environment that is set in addition to what is inherited.
    pub env: Vec<(String, String)>,
}

/// A line that can be pasted into a shell.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(OsStr::new(value)))?;
        }
        f.write_str(&quoted(self.program.as_os_str()))?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        Ok(())
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Finds a program: `explicit` and nothing else when it is given, else the
/// first of `names` in the first directory of `PATH` that has one of them,
/// else one of the absolute paths in `elsewhere`.
///
/// # Errors
/// [`ProgramError::NotExecutable`] or [`ProgramError::NotFound`], the latter
/// ending in `advice`.
pub fn find(
    explicit: Option<&Path>,
    names: &[&str],
    elsewhere: &[&str],
    advice: &str,
) -> Result<PathBuf, ProgramError> {
    let search = env::var_os("PATH").unwrap_or_default();
    find_in(&search, explicit, names, elsewhere, advice)
}

fn find_in(
    search: &OsStr,
    explicit: Option<&Path>,
    names: &[&str],
    elsewhere: &[&str],
    advice: &str,
) -> Result<PathBuf, ProgramError> {
    if let Some(path) = explicit {
        return if is_executable(path) {
            Ok(path.to_owned())
        } else {
            Err(ProgramError::NotExecutable {
                path: path.to_owned(),
            })
        };
    }
    env::split_paths(search)
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)))
        .chain(elsewhere.iter().map(PathBuf::from))
        .find(|path| is_executable(path))
        .ok_or_else(|| ProgramError::NotFound {
            names: names.iter().map(ToString::to_string).collect(),
            advice: advice.to_owned(),
        })
}

/// The first program of that name on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    find(None, &[name], &[], "").ok()
}

/// Whether a path is a program that can be run.
pub fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Everything that `program` with `args` prints, standard output first.
///
/// # Errors
/// [`ProgramError::Run`] when it can't be started, [`ProgramError::Endless`] when it doesn't end:
/// one that takes no notice of `--version` may well serve instead.
pub fn output(program: &Path, args: &[&str]) -> Result<String, ProgramError> {
    output_within(program, args, ANSWER_LIMIT)
}

fn output_within(program: &Path, args: &[&str], limit: Duration) -> Result<String, ProgramError> {
    let failed = |source| ProgramError::Run {
        path: program.to_owned(),
        source,
    };
    // Files, because a pipe is open for as long as any child of the program's has it.
    let (stdout, stderr) = (scratch().map_err(failed)?, scratch().map_err(failed)?);
    let mut child = Command::new(program)
        .args(args)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(failed)?)
        .stderr(stderr.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    let began = Instant::now();
    while child.try_wait().map_err(failed)?.is_none() {
        if began.elapsed() >= limit {
            // The group is its own, and stays so until the child is waited for.
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            let _ = child.wait();
            return Err(ProgramError::Endless {
                path: program.to_owned(),
                args: args.join(" "),
                limit,
            });
        }
        thread::sleep(ANSWER_POLL);
    }
    let said = written(stdout).and_then(|said| Ok(said + &written(stderr)?));
    said.map_err(failed)
}

/// A file that is nowhere but in memory.
fn scratch() -> io::Result<File> {
    Ok(memfd_create("output", MFdFlags::MFD_CLOEXEC)?.into())
}

fn written(mut file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first line that a program prints.
///
/// # Errors
/// As of [`output`]; [`ProgramError::Silent`] when it prints nothing.
pub fn first_line(program: &Path, args: &[&str]) -> Result<String, ProgramError> {
    let text = output(program, args)?;
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty());
    line.map(str::to_owned).ok_or_else(|| ProgramError::Silent {
        path: program.to_owned(),
        args: args.join(" "),
    })
}

/// Bytes in hexadecimal, as hashes are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it can't be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn hashes_as_sha256sum_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        // FIPS 180-4, appendix B.1.
        assert_eq!(
            sha256(file.path()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    fn place(directory: &Path, name: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_is_said_is_read_whoever_still_holds_the_output() {
        let said = |script: &str| output(Path::new("/bin/sh"), &["-c", script]).unwrap();
        assert_eq!(said("echo b >&2; echo a; exit 3"), "a\nb\n");
        let began = Instant::now();
        assert_eq!(said("sleep 20 & echo $0"), "/bin/sh\n");
        assert!(began.elapsed() < Duration::from_secs(9));
    }

    #[test]
    fn what_goes_on_instead_of_answering_is_ended_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!("sleep 300 & echo $$ $! > {}; wait", pids.display());
        let limit = Duration::from_secs(2);
        let error = output_within(Path::new("/bin/sh"), &["-c", &script], limit).unwrap_err();
        assert!(matches!(error, ProgramError::Endless { .. }), "{error}");
        assert!(
            error.to_string().contains("instead of answering"),
            "{error}"
        );
        let pids = fs::read_to_string(pids).unwrap();
        let runs = |pid: &str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Whoever has inherited it may take its time to look.
            stat.contains("(s") && !stat.contains(") Z")
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while pids.split_whitespace().any(runs) {
            assert!(Instant::now() < deadline, "{pids} still run");
            thread::sleep(ANSWER_POLL);
        }
    }

    #[test]
    fn the_first_directory_wins_and_then_the_first_name() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        place(a.path(), "one", 0o644);
        let two = place(a.path(), "two", 0o755);
        let one = place(b.path(), "one", 0o755);
        let search = env::join_paths([a.path(), b.path()]).unwrap();
        let find = |names: &[&str]| find_in(&search, None, names, &[], "install it").unwrap();
        assert_eq!(find(&["one", "two"]), two);
        assert_eq!(find(&["one"]), one);
    }

    #[test]
    fn a_path_that_was_given_is_the_only_one_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        place(directory.path(), "one", 0o755);
        let missing = directory.path().join("other");
        let error = find_in(
            directory.path().as_os_str(),
            Some(&missing),
            &["one"],
            &[],
            "",
        )
        .unwrap_err();
        assert!(matches!(error, ProgramError::NotExecutable { path } if path == missing));
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let error = find_in(OsStr::new(""), None, &["a", "b"], &[], "install a").unwrap_err();
        assert_eq!(error.to_string(), "no a or b in PATH; install a");
    }

    #[test]
    fn an_invocation_can_be_pasted() {
        let invocation = Invocation {
            program: "/usr/bin/k6".into(),
            args: vec!["run".into(), "it's here.js".into(), "".into()],
            env: vec![("STATS".into(), "p(50),avg".into())],
        };
        assert_eq!(
            invocation.to_string(),
            r"STATS='p(50),avg' /usr/bin/k6 run 'it'\''s here.js' ''"
        );
    }
}
