#!/usr/bin/env bash
# Builds the kernel programs and puts the object where the agent embeds it:
#   flora-agent-ebpf/build.sh            build and replace
#   flora-agent-ebpf/build.sh --check    build and compare; fails when the repository's object differs
# Needs what flora-agent-ebpf/README.md says.
set -euo pipefail
cd "$(dirname "$0")"

toolchain=${FLORA_BPF_TOOLCHAIN:-nightly}
object=../flora-agent/src/flora.bpf.o
compiler="$(rustc "+$toolchain" --version 2>/dev/null), $(bpf-linker --version 2>/dev/null)"
need() {
  echo "build.sh: $1 is missing; see flora-agent-ebpf/README.md" >&2
  exit 3
}
cargo "+$toolchain" --version >/dev/null 2>&1 || need "the Rust toolchain $toolchain"
sysroot=$(rustc "+$toolchain" --print sysroot)
[ -e "$sysroot/lib/rustlib/src/rust/library/core/Cargo.toml" ] || need "rust-src of $toolchain"
command -v bpf-linker >/dev/null || need bpf-linker
strip=$(compgen -G "$sysroot/lib/rustlib/*/bin/rust-objcopy" || command -v llvm-objcopy || compgen -c llvm-objcopy- | head -n 1) ||
  need "llvm-objcopy"

# No path of this machine is in the object, so that it is the same wherever it is built.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
remap="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$sysroot=/rust --remap-path-prefix=$(cd .. && pwd)=/flora"
# Added to what .cargo/config.toml says.
export CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS="$remap"
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
CARGO_TARGET_DIR="${FLORA_BPF_TARGET_DIR:-target}" cargo "+$toolchain" build --release --locked --quiet
built="${FLORA_BPF_TARGET_DIR:-target}/bpfel-unknown-none/release/flora"
# DWARF goes; BTF, which the kernel reads, stays.
LD_LIBRARY_PATH="$sysroot/lib" "$strip" --strip-debug "$built" "$target/flora.bpf.o"

if [ "${1-}" = --check ]; then
  if ! cmp "$target/flora.bpf.o" "$object"; then
    echo "build.sh: $object is not what its source gives; run flora-agent-ebpf/build.sh and commit it" >&2
    if [ "$compiler" != "$(cat toolchain.txt)" ]; then
      echo "(this is $compiler; the repository's object was built with $(cat toolchain.txt), which may be why)" >&2
    fi
    exit 1
  fi
  echo "flora.bpf.o matches its source"
else
  cp "$target/flora.bpf.o" "$object"
  echo "$compiler" >toolchain.txt
  echo "wrote $object, $(stat -c %s "$object") bytes"
fi
