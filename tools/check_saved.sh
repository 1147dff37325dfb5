#!/usr/bin/env bash
# Opens what lethe saves with Hugging Face transformers and compares what both compute. Not part of
# the tests: it makes a Python environment of its own (tools/transformers_env.sh) and takes minutes.
#
#   check_saved.sh [FOLDER...]   each model folder; without any, those of LETHE_TESTDATA/models, one
#                                for each variant of tests/engine/families, and the one that
#                                LETHE_SMOLLM2 names
#
# lethe-engine (LETHE_ENGINE, or the release build's) saves each twice: after a step of 1e-8, and
# after one of 1e-2. For both, transformers must load the folder without a missing tensor and no more
# unexpected ones than the source has, in its dtype, split into the same files, and give the
# log-probability of every token within 1e-4 of `lethe-engine score`; its logits must stay those of the
# source after the first, and leave them after the second. A line a folder; status 1 where one fails.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "${1:-}" == --help ]]; then
  sed -n '2,15s/^# \{0,1\}//p' "$0"
  exit 2
fi
engine=${LETHE_ENGINE:-build/release/bin/lethe-engine}
[[ -x $engine ]] || { echo "no lethe-engine at $engine: ./dev build lethe-engine" >&2; exit 2; }
folders=("$@")
if [[ $# -eq 0 ]]; then
  folders=(--families)
  data=${LETHE_TESTDATA:-../shared/data}
  [[ -d $data/models ]] || { echo "no model folders at $data/models: set LETHE_TESTDATA" >&2; exit 2; }
  folders+=("$data"/models/*)
  [[ -z ${LETHE_SMOLLM2:-} ]] || folders+=("$LETHE_SMOLLM2")
fi

python=$(tools/transformers_env.sh)
exec "$python" - "$engine" "${folders[@]}" <<'PYTHON'
import json, random, subprocess, sys, tempfile
from pathlib import Path
import torch, transformers
from transformers import AutoConfig, AutoModelForCausalLM

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
HARDLY, FAR = 1e-8, 1e-2  # learning rates: a step of Adam moves a weight by as much
TOLERANCE = 1e-4          # fp32 in another order of sums

class Wrong(Exception): pass

def lethe(*arguments):
    run = subprocess.run([engine, *map(str, arguments)], capture_output=True, text=True)
    if run.returncode: raise Wrong(f"lethe-engine {arguments[0]}: {run.stderr.strip()}")
    return [json.loads(line) for line in run.stdout.splitlines()]

def load(folder):
    """The model, and the tensors that its class does not know: files of the first uploads hold stale buffers."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    for what in ("missing_keys", "mismatched_keys"):
        if info[what]: raise Wrong(f"{what} {sorted(info[what])}")
    return model.eval(), set(info["unexpected_keys"])

@torch.no_grad()
def logits_of(model, rows): return [model(torch.tensor([row])).logits[0] for row in rows]

def log_probs(logits, row):
    return logits[:-1].log_softmax(-1).gather(1, torch.tensor(row[1:]).unsqueeze(1)).squeeze(1)

def gap(a, b): return max((x - y).abs().max().item() for x, y in zip(a, b))

def stored_dtype(folder): return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").dtype

def shards(folder): return sorted(p.name for p in folder.glob("model*.safetensors"))

def check(source, scratch):
    vocabulary = AutoConfig.from_pretrained(source).vocab_size
    rng = random.Random(5)
    rows = [[rng.randrange(vocabulary) for _ in range(n)] for n in (24, 17, 9, 2)]
    ids = scratch / "ids.json"
    ids.write_text(json.dumps(rows))
    model, stale = load(source)
    before = logits_of(model, rows)
    said = []
    for rate in (HARDLY, FAR):
        out = scratch / f"rate-{rate}"
        lethe("unlearn", "--model", source, "--ids", ids, "--method", "gradient_ascent", "--preset", "paper", "--set", "max_steps=1",
              "--set", f"learning_rate={rate}", "--out", out, "--output", "json")
        if shards(out) != shards(source): raise Wrong(f"files {shards(out)}, source {shards(source)}")
        if stored_dtype(out) != stored_dtype(source): raise Wrong(f"dtype {stored_dtype(out)}, source {stored_dtype(source)}")
        model, unknown = load(out)
        if unknown != stale: raise Wrong(f"unexpected tensors {sorted(unknown ^ stale)}")
        after = logits_of(model, rows)
        scored = [torch.tensor(s["log_probs"]) for s in lethe("score", "--model", out, "--ids", ids, "--output", "json")]
        difference, moved = gap([log_probs(l, r) for l, r in zip(after, rows)], scored), gap(before, after)
        if not difference <= TOLERANCE: raise Wrong(f"log-probabilities differ by {difference:.3g} after a step of {rate}")
        if rate == HARDLY and not moved <= 1e-2: raise Wrong(f"logits moved by {moved:.3g}")
        if rate == FAR and not moved > 0.1: raise Wrong("logits did not move")
        said.append(f"{difference:.1e}")
    return f"{len(shards(source))} file(s), {stored_dtype(source)}, log-probabilities within {said[0]}, and {said[1]} after a large step"

def passes(folder):
    with tempfile.TemporaryDirectory() as scratch:
        try: print(f"{folder.name:28} OK      {check(folder, Path(scratch))}", flush=True)
        except Wrong as wrong:
            print(f"{folder.name:28} FAILED  {wrong}", flush=True)
            return False
    return True

def families_pass():
    sys.path.insert(0, "tests/engine/families")
    from make_golden import VARIANTS, stored_model
    with tempfile.TemporaryDirectory() as made:
        for name, spec in VARIANTS.items():
            Path(made, name).mkdir()
            stored_model(name, spec, Path(made, name))
        return all([passes(folder) for folder in sorted(Path(made).iterdir())])

engine, *folders = sys.argv[1:]
sys.exit(not all([families_pass() if folder == "--families" else passes(Path(folder)) for folder in folders]))
PYTHON
