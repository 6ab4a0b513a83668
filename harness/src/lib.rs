//! flora-bench.
