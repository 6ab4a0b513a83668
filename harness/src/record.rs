//! A run directory: written as things happen, read back for every analysis.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::trial::TrialRecord;

/// Version of the records' form.
pub const SCHEMA_VERSION: u32 = 1;

const PLAN: &str = "plan.json";
const FINGERPRINT: &str = "fingerprint.json";
const TRIALS: &str = "trials.jsonl";
const SAMPLES: &str = "samples.jsonl";
/// What somebody made of it with `zstd --rm`, to keep it.
const SAMPLES_COMPRESSED: &str = "samples.jsonl.zst";
const RESUMPTIONS: &str = "resumptions.jsonl";
const LATEST: &str = "latest";

/// Records that can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The run's directory can't be made.
    #[error("cannot make the run directory {}: {source}; choose another place with --out DIR", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be read.
    #[error("cannot read {}: {source}{}", path.display(), hint(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not of its form.
    #[error("{}:{line}: {message}; the file was cut short or edited", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file whose last line was not finished.
    #[error("{}:{line}: the last line was not finished, so the run was cut short; go on with: flora-bench resume {}", path.display(), parent(path))]
    CutShort {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Records that are not those of their plan.
    #[error("{}:{line}: {message}; the file was edited", path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Samples that were compressed, to which nothing can be added.
    #[error("{} is compressed, so nothing can be added to it; unpack it first: zstd -d --rm {}", path.display(), path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
    },
    /// A file of another version.
    #[error("{} has schema version {found}; this flora-bench reads version {SCHEMA_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

fn hint(path: &Path) -> &'static str {
    if path.file_name().is_some_and(|name| name == PLAN) {
        "; a run directory holds plan.json, fingerprint.json, trials.jsonl and samples.jsonl"
    } else {
        ""
    }
}

fn parent(path: &Path) -> String {
    let parent = path.parent().unwrap_or(path);
    parent.display().to_string()
}

/// A line of `resumptions.jsonl`: the run was cut short and went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resumption {
    /// When it went on (RFC 3339, UTC).
    pub resumed: String,
    /// How many trials were finished by then.
    pub finished: u32,
    /// Trials that were under way and are lost.
    pub lost: Vec<u32>,
}

/// Writes a run's records.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    samples: BufWriter<File>,
    trials: BufWriter<File>,
}

impl Recorder {
    /// Makes the run's directory with its plan and fingerprint.
    ///
    /// # Errors
    /// When the directory can't be made or written to.
    pub fn create(out: &Path, plan: &Plan, fingerprint: &Fingerprint) -> Result<Self, RecordError> {
        let directory = out.join(&plan.run);
        fs::create_dir_all(out)
            .and_then(|()| fs::create_dir(&directory))
            .map_err(|source| RecordError::Directory {
                path: directory.clone(),
                source,
            })?;
        // The plan last: where it is, the rest of a run is too.
        write_json(&directory.join(FINGERPRINT), fingerprint)?;
        write_json(&directory.join(PLAN), plan)?;
        let recorder = Recorder {
            samples: append(&directory.join(SAMPLES))?,
            trials: append(&directory.join(TRIALS))?,
            directory,
        };
        link_latest(out, &plan.run);
        Ok(recorder)
    }

    /// Goes on with a run that was cut short: drops the line that was being
    /// written, and says what there is.
    ///
    /// # Errors
    /// When a file is missing, edited beyond its form, or can't be written.
    pub fn resume(directory: &Path) -> Result<(Self, Records), RecordError> {
        // What is no run directory must not be written to.
        require_run(directory)?;
        let compressed = directory.join(SAMPLES_COMPRESSED);
        if compressed.exists() {
            return Err(RecordError::Compressed { path: compressed });
        }
        for name in [TRIALS, SAMPLES, RESUMPTIONS] {
            drop_unfinished(&directory.join(name))?;
        }
        let recorder = Recorder {
            samples: append(&directory.join(SAMPLES))?,
            trials: append(&directory.join(TRIALS))?,
            directory: directory.to_owned(),
        };
        let records = Records::read(directory)?;
        for (n, (planned, trial)) in records.plan.trials.iter().zip(&records.trials).enumerate() {
            if (planned.trial, &planned.arm) != (trial.trial, &trial.arm) {
                return Err(RecordError::Order {
                    path: directory.join(TRIALS),
                    line: n + 1,
                    message: format!(
                        "trial {} of {} stands where the plan has trial {} of {}",
                        trial.trial, trial.arm, planned.trial, planned.arm
                    ),
                });
            }
        }
        Ok((recorder, records))
    }

    /// Notes down that the run goes on.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn resumed(&mut self, resumption: &Resumption) -> Result<(), RecordError> {
        let path = self.directory.join(RESUMPTIONS);
        let mut file = append(&path)?;
        write_lines(&mut file, std::slice::from_ref(resumption))
            .map_err(|source| RecordError::Write { path, source })
    }

    /// The run's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Appends readings; they are with the kernel when this returns.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn samples(&mut self, samples: &[Sample]) -> Result<(), RecordError> {
        write_lines(&mut self.samples, samples).map_err(|source| RecordError::Write {
            path: self.directory.join(SAMPLES),
            source,
        })
    }

    /// Appends a finished trial.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn trial(&mut self, record: &TrialRecord) -> Result<(), RecordError> {
        write_lines(&mut self.trials, std::slice::from_ref(record)).map_err(|source| {
            RecordError::Write {
                path: self.directory.join(TRIALS),
                source,
            }
        })
    }
}

/// Whether this is a run's directory: whether it holds a plan.
///
/// # Errors
/// When the plan is missing or not of its form.
pub fn require_run(directory: &Path) -> Result<(), RecordError> {
    read_versioned::<Plan>(&directory.join(PLAN)).map(|_| ())
}

/// Cuts off what follows the last line break.
fn drop_unfinished(path: &Path) -> Result<(), RecordError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(RecordError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    if whole == bytes.len() {
        return Ok(());
    }
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(whole as u64))
        .map_err(|source| RecordError::Write {
            path: path.to_owned(),
            source,
        })
}

fn append(path: &Path) -> Result<BufWriter<File>, RecordError> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map(BufWriter::new)
        .map_err(|source| RecordError::Write {
            path: path.to_owned(),
            source,
        })
}

fn write_lines<T: Serialize>(file: &mut impl Write, lines: &[T]) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Writes a run's trials anew, all of them or none.
///
/// # Errors
/// When they can't be written.
pub fn rewrite_trials(directory: &Path, trials: &[TrialRecord]) -> Result<(), RecordError> {
    let path = directory.join(TRIALS);
    let mut bytes = Vec::new();
    match write_lines(&mut bytes, trials) {
        Ok(()) => write_file(&path, &bytes),
        Err(source) => Err(RecordError::Write { path, source }),
    }
}

/// Writes a value as indented JSON: whole or not at all.
///
/// # Errors
/// When it can't be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| RecordError::Write {
        path: path.to_owned(),
        source: error.into(),
    })?;
    text.push(b'\n');
    write_file(path, &text)
}

/// Writes a file: whole or not at all.
///
/// # Errors
/// When it can't be written.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|source| {
            let _ = fs::remove_file(&partial);
            RecordError::Write {
                path: path.to_owned(),
                source,
            }
        })
}

/// Points `latest` at the newest run; a place that has no links goes without.
fn link_latest(out: &Path, run: &str) {
    let link = out.join(LATEST);
    let temporary = out.join(format!(".{LATEST}-{}", std::process::id()));
    let linked =
        std::os::unix::fs::symlink(run, &temporary).and_then(|()| fs::rename(&temporary, &link));
    if let Err(error) = linked {
        log::warn!("cannot link {}: {error}", link.display());
        let _ = fs::remove_file(&temporary);
    }
}

/// The directory that a user's `RUN` means: a path, a name in `out`, or `latest`.
pub fn resolve(run: &str, out: &Path) -> PathBuf {
    let path = PathBuf::from(run);
    if path.is_dir() && run != LATEST {
        return path;
    }
    let named = out.join(run);
    // Shown and recorded by its own name, not by the link's.
    if run == LATEST
        && let Ok(target) = fs::read_link(&named)
    {
        return out.join(target);
    }
    if named.is_dir() { named } else { path }
}

/// A run, read back.
#[derive(Clone, Debug)]
pub struct Records {
    /// What was to be done.
    pub plan: Plan,
    /// Where and with what.
    pub fingerprint: Fingerprint,
    /// What the trials came to.
    pub trials: Vec<TrialRecord>,
    /// Every reading.
    pub samples: Vec<Sample>,
    /// When the run was cut short and went on.
    pub resumptions: Vec<Resumption>,
}

impl Records {
    /// Reads a run's directory.
    ///
    /// # Errors
    /// When a file is missing, cut short, edited beyond its form, or of another version.
    pub fn read(directory: &Path) -> Result<Self, RecordError> {
        Ok(Records {
            samples: match directory.join(SAMPLES_COMPRESSED) {
                path if path.exists() => read_lines(&path)?,
                _ => read_lines(&directory.join(SAMPLES))?,
            },
            ..Self::read_without_samples(directory)?
        })
    }

    /// Reads a run's directory, but for the raw samples, which are by far the
    /// largest part and needed only to compute trials anew.
    ///
    /// # Errors
    /// When a file is missing, cut short, edited beyond its form, or of another version.
    pub fn read_without_samples(directory: &Path) -> Result<Self, RecordError> {
        Ok(Records {
            plan: read_versioned(&directory.join(PLAN))?,
            fingerprint: read_json(&directory.join(FINGERPRINT))?,
            trials: read_lines(&directory.join(TRIALS))?,
            samples: Vec::new(),
            resumptions: match directory.join(RESUMPTIONS) {
                path if path.exists() => read_lines(&path)?,
                _ => Vec::new(),
            },
        })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, RecordError> {
    fs::read(path).map_err(|source| RecordError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file that holds one JSON value.
///
/// # Errors
/// When it can't be read or is not of its form.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    serde_json::from_slice(&read_file(path)?).map_err(|error| RecordError::Form {
        path: path.to_owned(),
        line: error.line(),
        message: error.to_string(),
    })
}

/// Looks at the version first, so that another one isn't reported as an unknown key.
fn read_versioned<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let value: serde_json::Value = read_json(path)?;
    if let Some(found) = value.get("schema_version").and_then(|v| v.as_u64())
        && found != u64::from(SCHEMA_VERSION)
    {
        return Err(RecordError::Version {
            path: path.to_owned(),
            found,
        });
    }
    read_json(path)
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let failed = |source| RecordError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut values = Vec::new();
    let mut reader: Box<dyn BufRead> = if path.extension().is_some_and(|end| end == "zst") {
        let decoder = ruzstd::decoding::StreamingDecoder::new(file)
            .map_err(|error| failed(io::Error::other(error.to_string())))?;
        Box::new(BufReader::new(decoder))
    } else {
        Box::new(BufReader::new(file))
    };
    // Bytes: what is no text is to be told with its line, too.
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(value) => values.push(value),
            // A writer that was killed leaves a line without its end.
            Err(_) if !line.ends_with(b"\n") => {
                return Err(RecordError::CutShort {
                    path: path.to_owned(),
                    line: number,
                });
            }
            Err(error) => {
                return Err(RecordError::Form {
                    path: path.to_owned(),
                    line: number,
                    message: error.to_string(),
                });
            }
        }
    }
    Ok(values)
}
