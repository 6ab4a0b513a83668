//! flora-bench.
fn main() {}
