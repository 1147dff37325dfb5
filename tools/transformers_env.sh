#!/usr/bin/env bash
# Makes a Python environment with Hugging Face transformers in .deps/transformers (some 5 GB, once)
# and prints its interpreter. Nothing of the product uses it: it is the peer that benchmarks and
# open_with_transformers.sh compare with.
set -euo pipefail
cd "$(dirname "$0")/.."

env="${LETHE_DEPS:-.deps}/transformers"
if ! "$env/bin/python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
  echo "Making a Python environment in $env (minutes, once)" >&2
  python3 -m venv "$env"
  "$env/bin/pip" install --quiet torch transformers safetensors
fi
echo "$env/bin/python"
