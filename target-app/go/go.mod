module flora-bench.invalid/target-app

// The oldest Go that Debian 12 has. Nothing is required, so that any Go since then builds it.
go 1.19
