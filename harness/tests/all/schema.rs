//! The committed JSON Schemas are the ones that the program prints, and every scenario file loads.

use crate::support::{flora_bench, repository, run};

#[test]
fn committed_schemas_are_current() {
    for file in ["scenario", "report", "budgets"] {
        let (code, stdout, stderr) = run(flora_bench().args(["schema", file]));
        assert_eq!(code, 0, "{stderr}");
        let path = repository().join(format!("docs/schema/{file}.json"));
        if std::env::var_os("FLORA_BENCH_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &stdout).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == stdout,
            "{} is not what `flora-bench schema {file}` prints; write it anew with FLORA_BENCH_BLESS=1",
            path.display()
        );
    }
}

#[test]
fn every_scenario_file_is_well_formed() {
    let (code, stdout, stderr) = run(flora_bench().args(["list", "--format", "json"]));
    assert_eq!(code, 0, "{stderr}");
    let entries: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let entries = entries.as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["name"] == "baseline"));
    for entry in entries {
        assert_ne!(entry["question"], "", "{entry}");
    }
}
