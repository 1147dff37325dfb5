#!/usr/bin/env bash
# Builds what the soak needs and runs it, 50 rounds unless told otherwise (about five minutes):
#
#   tests/fault/soak.sh [--rounds 50] [--seed N] [any option of lethe-soak --help]
#
# CI runs 10 rounds with a fixed seed as the test `soak`: ./dev test '^soak$'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[[ " $* " == *" --rounds"* ]] || set -- --rounds 50 "$@"
./dev build soak
exec build/release/tests/lethe-soak "$@"
