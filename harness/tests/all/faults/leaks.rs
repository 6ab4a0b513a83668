//! What comes and goes again and again adds up to nothing.

use std::fs;
use std::time::Duration;

use crate::support::{flora_bench, leftovers, measuring};

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
