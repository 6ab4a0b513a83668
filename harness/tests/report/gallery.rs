//! The fixtures as files, for a person to look at.

use std::path::Path;

use flora_bench::report::render;

use crate::fixtures;

/// `cargo test --test report gallery -- --ignored` writes to `target/tmp/gallery`.
#[test]
#[ignore = "writes files for a person to look at"]
fn gallery() {
    for (report, samples) in [
        fixtures::baseline(),
        fixtures::agents(),
        fixtures::many(),
        fixtures::turns(),
        fixtures::amplified(),
        fixtures::cpu_limit(),
        fixtures::saturation(),
        fixtures::memory_limit(),
        fixtures::single(),
    ] {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("gallery")
            .join(&report.run);
        std::fs::create_dir_all(&directory).unwrap();
        render(&report, &samples, &directory).unwrap();
        println!("{}", directory.display());
    }
}
