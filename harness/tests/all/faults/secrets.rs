//! What is secret stands nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::short;
use crate::support::measuring;

const SECRET: &str = "planted-1c9e6f0d";

/// How many files were looked at below a directory, and none had it. What goes away meanwhile is let go.
fn secret_free(directory: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files += secret_free(&path),
            Ok(kind) if kind.is_file() => {
                let bytes = fs::read(&path).unwrap_or_default();
                let mut parts = bytes.windows(SECRET.len());
                let found = parts.any(|part| part == SECRET.as_bytes());
                assert!(!found, "{}", path.display());
                files += 1;
            }
            _ => {}
        }
    }
    files
}

/// What stands in the environment beside a run is in none of its records, reports, logs and
/// command lines, and no target gets it.
#[test]
fn a_secret_of_the_environment_is_nowhere() {
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
    let owner = format!("FLORA_BENCH_OWNER={}-", child.id());
    let mut children = BTreeSet::new();
    while child.try_wait().unwrap().is_none() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let text = |file: &str| {
                let bytes = fs::read(process.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let line = text("cmdline");
            assert!(!line.contains(SECRET), "{line}");
            let environment = text("environ");
            if environment.contains(&owner) {
                let own = line.contains("/arms/");
                assert!(!own || !environment.contains(SECRET), "{line}");
                children.insert(line);
            }
        }
        // What children write while they run.
        for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with("flora-bench-")
            {
                secret_free(&entry.path());
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let said = |word: &str| children.iter().any(|line| line.contains(word));
    assert!(said("target-app") && said("load-driver"), "{children:?}");
    let code = child.wait().unwrap().code();
    assert!(
        matches!(code, Some(0 | 4)),
        "{}",
        fs::read_to_string(&errors).unwrap()
    );
    let files = secret_free(out.path());
    assert!(files > 8, "{files} files were looked at");
}
