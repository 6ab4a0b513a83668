//! Records that are damaged, or can't be written.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use flora_bench::analysis;
use flora_bench::record::{self, Records};
use flora_bench::report::{self, Report};
use flora_bench::sample::Sample;

use super::short;
use crate::support::{RECORDS, leftovers, measuring, run, skip};

/// Everything that `verify` and `report` compute, without the words.
fn read_and_compute(directory: &Path) -> Result<(), record::RecordError> {
    let records = Records::read(directory)?;
    let _: Report = record::read_json(&directory.join("report.json"))?;
    for trial in &records.trials {
        let own = records
            .samples
            .iter()
            .filter(|sample| sample.trial == trial.trial);
        let own: Vec<Sample> = own.cloned().collect();
        analysis::trial(&records.plan, &records.fingerprint, &own);
    }
    report::build::build(&records);
    Ok(())
}

/// Each byte of each file in turn is another, or the last one: never a panic, and what can't be
/// read is told with its file, and its line where there are several.
#[test]
fn records_that_are_damaged_anywhere_are_told_or_read() {
    let guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(&mut short(out.path(), "400ms"));
    drop(guard);
    assert!(matches!(code, 0 | 4), "{stderr}");
    let directory = out.path().join("latest");
    // As many samples as there is patience for.
    let samples = directory.join("samples.jsonl");
    let text = fs::read_to_string(&samples).unwrap();
    let first: Vec<&str> = text.split_inclusive('\n').take(60).collect();
    fs::write(&samples, first.concat()).unwrap();
    let mut panics = Vec::new();
    let mut untold = Vec::new();
    let mut tried = 0;
    for file in RECORDS {
        let path = directory.join(file);
        let whole = fs::read(&path).unwrap();
        let mut damage = |offset: usize, bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            tried += 1;
            let line = whole[..offset]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            match catch_unwind(AssertUnwindSafe(|| read_and_compute(&directory))) {
                Err(_) => panics.push(format!("{file} at {offset}")),
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = error.to_string();
                    let place = format!("{file}:{line}");
                    let told = match file.ends_with('l') {
                        // A line feed that is gone joins a line to the one before.
                        true => {
                            error.contains(&place)
                                || error.contains(&format!("{file}:{}", line + 1))
                        }
                        false => error.contains(file),
                    };
                    if !told {
                        untold.push(format!("{file} at {offset}, line {line}: {error}"));
                    }
                }
            }
        };
        for offset in 0..whole.len() {
            let mut bytes = whole.clone();
            // Now no text, now a digit, which may be valid and mean something else.
            bytes[offset] = if offset % 2 == 0 { b'9' } else { 0xff };
            damage(offset, &bytes);
            if offset % 5 == 0 {
                damage(offset, &whole[..offset]);
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    eprintln!("{tried} damaged runs were read");
    assert_eq!(panics, Vec::<String>::new());
    assert_eq!(untold, Vec::<String>::new());
}

/// A small file system of its own for the records.
#[test]
fn a_disk_that_is_full_ends_the_run_with_a_word() {
    let test = "a_disk_that_is_full_ends_the_run_with_a_word";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root may mount a small file system");
    }
    let _guard = measuring();
    // In a mount namespace that ends with the command, so that nothing stays mounted.
    let place = tempfile::tempdir().unwrap();
    let own = place.path().to_str().unwrap();
    let command = short(&place.path().join("out"), "20s");
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let line = format!(
        "mount -t tmpfs -o size=64k tmpfs '{own}' && exec {}",
        words.join(" ")
    );
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "--propagation", "private", "sh", "-c", &line]);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    let (code, _, stderr) = run(&mut shell);
    assert!(![0, 4, 101].contains(&code), "{code}: {stderr}");
    for part in ["No space left on device", own] {
        assert!(stderr.contains(part), "{part} not in: {stderr}");
    }
    assert_eq!(leftovers(), Vec::<String>::new());
}
