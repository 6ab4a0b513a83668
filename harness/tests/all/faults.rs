//! What breaks around a run or in its records: nothing is lost without a word, nothing is left
//! behind, and nothing that was secret stands anywhere.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flora_bench::analysis;
use flora_bench::record::{self, Records};
use flora_bench::report::{self, Report};
use flora_bench::sample::Sample;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lifecycle::wait_until_measuring;
use crate::support::{flora_bench, leftovers, measuring, run, skip};

fn short(out: &Path, measure: &str) -> Command {
    let mut command = flora_bench();
    command
        .args(["scenario", "baseline", "--rate", "100", "--blocks", "1"])
        .args(["--warmup", "100ms", "--measure", measure, "--slices", "1"])
        .args(["--victoria-metrics", "off", "--out"])
        .arg(out);
    command
}

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
    for file in [
        "plan.json",
        "fingerprint.json",
        "trials.jsonl",
        "samples.jsonl",
        "report.json",
    ] {
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

/// What stands in the environment beside a run is in none of its records, reports, logs and
/// command lines.
#[test]
fn a_secret_of_the_environment_is_nowhere() {
    const SECRET: &str = "planted-1c9e6f0d";
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let errors = out.path().join("stderr");
    let output = out.path().join("stdout");
    let mut child = short(out.path(), "2s")
        .arg("-vv")
        .env("DD_API_KEY", SECRET)
        .env("FLORA_BENCH_TEST_SECRET", SECRET)
        .stdout(fs::File::create(&output).unwrap())
        .stderr(fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            assert!(!line.contains(SECRET), "{line}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let code = child.wait().unwrap().code();
    assert!(
        matches!(code, Some(0 | 4)),
        "{}",
        fs::read_to_string(&errors).unwrap()
    );
    let mut directories = vec![out.path().to_owned()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => directories.push(entry.path()),
                kind if kind.is_file() => {
                    let bytes = fs::read(entry.path()).unwrap();
                    let found = bytes
                        .windows(SECRET.len())
                        .any(|part| part == SECRET.as_bytes());
                    assert!(!found, "{}", entry.path().display());
                    files += 1;
                }
                _ => {}
            }
        }
    }
    assert!(files > 8, "{files} files were looked at");
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

/// A harness that is stopped for a while in the middle of a window says so, or measured on.
#[test]
fn a_harness_that_is_suspended_ends_as_it_should() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let mut child = short(out.path(), "4s").spawn().unwrap();
    wait_until_measuring(out.path(), &mut child);
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(6));
    kill(pid, Signal::SIGCONT).unwrap();
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 4)), "{code:?}");
    let trials = fs::read_to_string(out.path().join("latest/trials.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(trials.lines().next().unwrap()).unwrap();
    // The window's closing edge was read six seconds late: that trial does not count.
    assert_ne!(first["status"], "valid", "{first}");
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// Targets, drivers, groups and ports come and go a hundred times, and nothing adds up.
#[test]
fn nothing_leaks_over_many_trials() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let mut child = flora_bench()
        .args(["scenario", "baseline", "--rate", "50", "--blocks", "100"])
        .args(["--warmup", "20ms", "--measure", "60ms", "--slices", "1"])
        .args(["--victoria-metrics", "off", "--out"])
        .arg(out.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let descriptors = format!("/proc/{}/fd", child.id());
    let trials = out.path().join("latest/trials.jsonl");
    let mut counts = Vec::new();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let done = fs::read_to_string(&trials).map_or(0, |text| text.lines().count());
        let open = fs::read_dir(&descriptors).map_or(0, Iterator::count);
        if open > 0 {
            counts.push((done, open));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(matches!(status.code(), Some(0 | 4)), "{status}");
    let most = |from: usize, to: usize| {
        let own = counts.iter().filter(|(done, _)| (from..to).contains(done));
        own.map(|(_, open)| *open).max().unwrap()
    };
    let (early, late) = (most(10, 60), most(140, 200));
    assert!(late <= early + 2, "{early} descriptors, then {late}");
    assert_eq!(leftovers(), Vec::<String>::new());
}
