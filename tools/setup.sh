# What ./dev needs: packages of the machine, and third-party parts in
# $deps. Sourced by ./dev, not run by itself.
#
# Every function does nothing, quickly, when its part is already there. A part is unpacked beside
# its place and renamed into it together with its pin (a hash of what was asked for), so an
# interrupted set-up is never taken for a finished one, and a changed version is noticed. Nothing is
# written outside the checkout but packages.

packages_build=(
  g++ cmake ninja-build ccache mold pkg-config unzip ca-certificates
  libgrpc++-dev libgrpc-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libabsl-dev
  librocksdb-dev prometheus-cpp-dev civetweb libssl-dev libspdlog-dev libcli11-dev libtomlplusplus-dev
  nlohmann-json3-dev libgtest-dev libgmock-dev libbenchmark-dev libjemalloc-dev libnghttp2-dev zlib1g-dev
)
cargo_at_least=1.85  # the highest rust-version in text/ffi/Cargo.lock

# --- packages of the machine ----------------------------------------------------------------------

can_be_root() { ((EUID == 0)) || command -v sudo >/dev/null; }

as_root() {
  local sudo=()
  ((EUID == 0)) || sudo=(sudo)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive "$@"
}

# missing_packages NAME...: those that are not installed.
missing_packages() {
  local installed
  installed=" $(dpkg-query -W -f='${db:Status-Status}=${Package} ' "$@" 2>/dev/null || true)"
  local name
  for name in "$@"; do [[ $installed == *" installed=$name "* ]] || echo "$name"; done
}

# apt ...: apt-get with its own progress on a terminal;
# elsewhere into a log that is shown when it fails.
apt() {
  local log=$deps/apt.log
  echo "  $ apt-get $*"
  if [[ -t 1 ]]; then as_root apt-get -q "$@"; return; fi
  as_root apt-get -q -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 || { tail -30 "$log"; return 1; }
}

apt_lists_fresh=
apt_refresh() {
  [[ $apt_lists_fresh ]] && return
  apt update || note "apt-get update failed; going on with the package lists that are there"
  apt_lists_fresh=1
}

# need_packages NAME...: installs what is missing of them, in one call.
need_packages() {
  if ! command -v apt-get >/dev/null; then
    [[ ${told_no_apt:-} ]] || note "no apt-get here: install the equivalents of these yourself: $*"
    told_no_apt=1
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  say "packages of the machine, to install: ${missing[*]}"
  can_be_root || die "neither root nor sudo is at hand; as root, run: apt-get update && apt-get install ${missing[*]}"
  apt_refresh
  apt install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"
}

version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -1) == "$2" ]]; }

# The newest cargo of the machine, first on PATH; false when none is new enough.
find_cargo() {
  local dir version
  for dir in "" $(printf '%s\n' /usr/lib/rust-*/bin | sort -rV); do
    [[ $dir && ! -x $dir/cargo ]] && continue
    version=$(PATH="${dir:+$dir:}$PATH" cargo --version 2>/dev/null | awk '{print $2}') || continue
    [[ $version ]] && version_at_least "$version" "$cargo_at_least" || continue
    [[ $dir ]] && export PATH="$dir:$PATH"
    return 0
  done
  return 1
}

candidate() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2}'; }

# Which packages bring a cargo that is new enough: rustc-web (Debian 12), plain cargo (newer
# releases) or the newest versioned pair (Ubuntu).
cargo_packages() {
  local plain versioned
  if [[ $(candidate cargo-web) ]]; then echo rustc-web cargo-web; return; fi
  plain=$(candidate cargo)
  if [[ $plain ]] && version_at_least "${plain#*:}" "$cargo_at_least"; then echo rustc cargo; return; fi
  versioned=$(apt-cache pkgnames cargo-1. 2>/dev/null | grep -E '^cargo-1\.[0-9]+$' | sort -V | tail -1)
  [[ $versioned ]] || return 1
  echo "rustc-${versioned#cargo-}" "$versioned"
}

need_cargo() {
  find_cargo && return
  command -v apt-get >/dev/null || die "cargo $cargo_at_least or newer is needed (https://rust-lang.org/tools/install)"
  can_be_root || die "cargo $cargo_at_least or newer is needed: install Rust by rustup, or run ./dev setup as root"
  apt_refresh
  local packages
  packages=$(cargo_packages) || die "no package here brings cargo $cargo_at_least or newer; install Rust by rustup, then again"
  # shellcheck disable=SC2086
  need_packages $packages
  find_cargo || die "cargo $cargo_at_least or newer is still not found after installing $packages"
}

# python: the first interpreter that is new enough for tools/*.py (tomllib: 3.11).
find_python() {
  local p
  for p in python3 /usr/bin/python3; do
    "$p" -c 'import sys, tomllib' 2>/dev/null && { python=$p; return 0; }
  done
  return 1
}
need_python() {
  find_python && return
  need_packages python3
  find_python || die "Python 3.11 or newer is needed by tools/*.py"
}

find_pip() {
  local p
  for p in python3 /usr/bin/python3; do
    "$p" -m pip --version >/dev/null 2>&1 && { pip=("$p" -m pip); return 0; }
  done
  return 1
}
need_pip() {
  find_pip && return
  need_packages python3 python3-pip
  find_pip || die "pip is still not found after installing python3-pip"
}

# --- third-party parts in $deps -------------------------------------------------------------------

# pinned FOLDER PIN: is FOLDER there, made for this PIN?
pinned() { [[ -f $1/.pin && $(<"$1/.pin") == "$2" ]]; }

# publish TEMP FOLDER PIN: TEMP becomes FOLDER in one rename.
publish() {
  echo "$3" >"$1/.pin"
  rm -rf "$2.old"
  [[ ! -e $2 ]] || mv -T "$2" "$2.old"
  mv -T "$1" "$2"
  rm -rf "$2.old"
}

# download_wheels FOLDER REGEX: the lines of third_party.txt that match, checked by hash. The tags
# name the wheel we want whatever Python this machine runs.
download_wheels() {
  need_pip
  grep -E "^($2)==" tools/third_party.txt >"$1/requirements.txt"
  local platform platforms=()
  for platform in manylinux_2_28 manylinux_2_25 manylinux_2_17 manylinux2014; do
    platforms+=(--platform "${platform}_x86_64")
  done
  run env TMPDIR="$1" "${pip[@]}" download --disable-pip-version-check --no-cache-dir --no-deps \
    --only-binary=:all: --require-hashes -r "$1/requirements.txt" -d "$1/wheels" \
    --implementation cp --python-version 3.11 --abi cp311 "${platforms[@]}"
}

pin_of() { (grep -E "^($1)==" tools/third_party.txt; echo "layout $2") | sha256sum | cut -d' ' -f1; }

setup_libtorch() {
  local names='torch|nvidia-.*' pin tmp
  pin=$(pin_of "$names" 1)
  pinned "$deps/libtorch" "$pin" && return
  say "LibTorch: 545 MB to download, 1.1 GB unpacked"
  [[ $(uname -m) == x86_64 ]] || die "the pinned LibTorch is for x86_64; on $(uname -m) set LETHE_TORCH_DIR to a torch of your own"
  tmp=$(fresh_folder libtorch)
  download_wheels "$tmp" "$names"
  mkdir "$tmp/out"
  # libtorch_python wants a Python, libtorch_cuda_linalg is not used by this program.
  run unzip -q -d "$tmp/out" "$tmp"/wheels/torch-*.whl 'torch/include/*' 'torch/lib/*' '*.dist-info/*' \
    -x torch/lib/libtorch_python.so torch/lib/libtorch_cuda_linalg.so
  local wheel
  for wheel in "$tmp"/wheels/nvidia_*.whl; do run unzip -q -d "$tmp/out" "$wheel"; done
  publish "$tmp/out" "$deps/libtorch" "$pin"
  rm -rf "$tmp"
}

setup_googleapis() {
  local names='googleapis-.*' pin tmp
  pin=$(pin_of "$names" 1)
  pinned "$deps/googleapis" "$pin" && return
  say "google/rpc protos"
  tmp=$(fresh_folder googleapis)
  download_wheels "$tmp" "$names"
  run unzip -q -d "$tmp/out" "$tmp"/wheels/googleapis_*.whl 'google/rpc/*.proto' 'google/api/*.proto'
  publish "$tmp/out" "$deps/googleapis" "$pin"
  rm -rf "$tmp"
}

# The sources of the tokenizers crate; building them is CMake's
# (cmake/Tokenizers.cmake). Cargo.lock pins by hash.
setup_crates() {
  local pin
  pin=$(sha256sum <text/ffi/Cargo.lock | cut -d' ' -f1)-${CARGO_HOME:-home}
  pinned "$deps/crates" "$pin" && return
  say "sources of the tokenizers crate"
  run cargo fetch --locked --manifest-path text/ffi/Cargo.toml --target x86_64-unknown-linux-gnu
  local tmp
  tmp=$(fresh_folder crates)
  publish "$tmp" "$deps/crates" "$pin"
}

setup_buf() {
  local pin tmp
  pin=$(sha256sum <tools/buf/package-lock.json | cut -d' ' -f1)
  pinned "$deps/buf" "$pin" && return
  say "buf, the linter of the protos"
  command -v npm >/dev/null || need_packages npm
  tmp=$(fresh_folder buf)
  cp tools/buf/package.json tools/buf/package-lock.json "$tmp/"
  (cd "$tmp" && run npm ci --ignore-scripts --no-audit --no-fund --cache "$tmp/cache")
  rm -rf "$tmp/cache"
  publish "$tmp" "$deps/buf" "$pin"
}

fresh_folder() { rm -rf "$deps/$1.new" && mkdir -p "$deps/$1.new" && echo "$deps/$1.new"; }

# --- what the commands call -----------------------------------------------------------------------

# with_setup_lock FUNCTION...: two ./dev at once set up one after the other.
with_setup_lock() {
  mkdir -p "$deps"
  exec 9>"$deps/setup.lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "waiting for another ./dev that is setting up"
    flock 9
  fi
  local step
  for step in "$@"; do "$step"; done
  exec 9>&-
}

setup_build_parts() {
  local packages=("${packages_build[@]}")
  find_pip || packages+=(python3 python3-pip)
  need_packages "${packages[@]}"
  need_cargo
  setup_googleapis
  setup_libtorch
  setup_crates
}
setup_for_build() { with_setup_lock setup_build_parts; }

setup_lint_parts() {
  command -v clang-format-14 >/dev/null || need_packages clang-format-14
  need_python
  setup_googleapis
  setup_buf
}
setup_for_lint() { with_setup_lock setup_lint_parts; }
