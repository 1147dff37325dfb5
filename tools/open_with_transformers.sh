#!/usr/bin/env bash
# Opens saved model folders with Hugging Face transformers, and compares them. Not part of the
# tests: it makes a Python environment of its own (some 5 GB) in .deps/transformers.
#
#   open_with_transformers.sh FOLDER         loads without a missing or unexpected tensor; prints
#                                            what it is; logits must be those of its
#                                            golden.safetensors, where it has one
#   open_with_transformers.sh FOLDER OTHER   also: equal logits, dtype and tokenizer in both
#   open_with_transformers.sh --changed A B  also: logits differ somewhere (B: A after unlearning)
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# -lt 1 || "$1" == --help ]]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0"
  exit 2
fi

python=$(tools/transformers_env.sh)
exec "$python" - "$@" <<'PYTHON'
import json, sys
from pathlib import Path
import torch, transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(2)
TOLERANCE = 1e-5  # float32 on one machine: the same weights give the same logits
TEXT = "Once upon a time, there was a little girl named Lily."

def fail(message):
    sys.exit(f"FAILED: {message}")

def open_folder(folder):
    stored = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").dtype
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                       output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[what]: fail(f"{folder}: {what} {sorted(info[what])}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lineage = Path(folder, "lethe.json")
    print(f"{folder}: {type(model).__name__}, {sum(p.numel() for p in model.parameters())} parameters, stored as {stored}, "
          f"tokenizer of {len(tokenizer)}" + (f", lethe.json {json.loads(lineage.read_text())}" if lineage.exists() else ""))
    return model.eval(), tokenizer, stored

@torch.no_grad()
def logits(model, ids):
    return model(torch.tensor([ids])).logits[0]

def check_golden(folder, model):
    golden = Path(folder, "golden.safetensors")
    if not golden.exists(): return
    ids = json.loads(Path(folder, "golden.json").read_text())["plain"]["input_ids"]
    gap = max((logits(model, row) - want).abs().max().item()
              for row, want in zip(ids, load_file(golden)["plain.logits"]))
    print(f"{folder}: largest distance from golden logits {gap:.3g}")
    if not gap <= 1e-4: fail("these are not the golden logits")

changed = sys.argv[1] == "--changed"
folders = sys.argv[1 + changed:]
opened = [open_folder(folder) for folder in folders]
for folder, (model, _, _) in zip(folders, opened):
    check_golden(folder, model)
if len(opened) == 2:
    (a, tokenizer_a, stored_a), (b, tokenizer_b, stored_b) = opened
    if stored_a != stored_b: fail("the dtypes differ")
    ids = tokenizer_a(TEXT).input_ids[:a.config.max_position_embeddings]
    if ids != tokenizer_b(TEXT).input_ids[:len(ids)]: fail("the tokenizers differ")
    gap = (logits(a, ids) - logits(b, ids)).abs().max().item()
    print(f"largest distance of the logits of {len(ids)} tokens: {gap:.3g}")
    if changed and not gap > TOLERANCE: fail("nothing has changed")
    if not changed and not gap <= TOLERANCE: fail("the logits differ")
print("OK")
PYTHON
