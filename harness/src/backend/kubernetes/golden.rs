//! Objects held against files in `harness/tests/golden/kubernetes/`.
//!
//! `FLORA_BENCH_BLESS=1 cargo test` writes them anew; the difference is then
//! for whoever commits it to judge.

use std::path::Path;

use kube::core::DynamicObject;

/// Holds objects against the file of that name.
pub fn check(name: &str, objects: &[DynamicObject]) {
    let text = serde_json::to_string_pretty(objects).unwrap() + "\n";
    // The script has a test of its own, and its every change is not the objects'.
    let script = serde_json::Value::from(crate::load::k6::SCRIPT).to_string();
    let text = text.replace(&script, "\"<k6/fixed-rate.js>\"");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/kubernetes")
        .join(format!("{name}.json"));
    if std::env::var_os("FLORA_BENCH_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{} differs from:\n{text}\nFLORA_BENCH_BLESS=1 writes it anew",
        path.display()
    );
}
