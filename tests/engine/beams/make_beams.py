#!/usr/bin/env python3
"""Writes what transformers' beam search says for some models of families/make_golden.py: beams.json, beside this script.

  pip install torch transformers && tests/engine/beams/make_beams.py

Not part of the build. For each model, prompts alone and without padding, num_beams with do_sample=False and early_stopping=False. The end token is one
that the search without any finds in the middle of its best text, so that some beams end early. A case is left out where float64 finds something
else, or where two of its scores are closer than 1e-4.

Fields  variant: families/VARIANT.json has its config. stop: the end token or -1. found: num_return_sequences = num_beams, best first; ids without the
        end token and what stands behind it
"""
import json, re, sys, tempfile
from pathlib import Path
import numpy as np, torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "families"))
from make_golden import VARIANTS, VOCAB, digits, stored_model

CHOSEN = ("llama_yarn", "mistral_sliding_old", "qwen3", "gpt2_scaled_by_layer", "gpt_neo_mixed", "neox_sequential", "opt_norm_after")
NEW = 14

@torch.no_grad()
def search(model, prompt, beams, stop, penalty):
    model.generation_config.eos_token_id = None
    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), num_beams=beams, do_sample=False,
                         early_stopping=False, length_penalty=penalty, max_new_tokens=NEW, num_return_sequences=beams, pad_token_id=0,
                         eos_token_id=None if stop < 0 else stop, return_dict_in_generate=True, output_scores=True)
    found = []
    for row, score in zip(out.sequences.tolist(), out.sequences_scores.tolist()):
        ids = row[len(prompt):]
        found.append({"ids": ids[:ids.index(stop)] if stop in ids else ids, "score": score})
    return found

def cases(name, rng):
    with tempfile.TemporaryDirectory() as folder: config, _, model = stored_model(name, VARIANTS[name], Path(folder))
    precise = type(model)(model.config).eval()
    precise.load_state_dict(model.state_dict())
    precise = precise.double()
    for beams in (2, 4, 7):  # with one, transformers searches greedily
        prompt = rng.integers(4, VOCAB, int(rng.integers(1, 12))).tolist()
        free = search(model, prompt, beams, -1, 1.0)[0]["ids"]
        for stop, penalty in ((-1, 1.0), (free[NEW // 2], 1.0), (free[3], 1.0), (free[NEW // 2], 0.0), (free[NEW // 2], 2.0)):
            found, again = search(model, prompt, beams, stop, penalty), search(precise, prompt, beams, stop, penalty)
            gaps = [a["score"] - b["score"] for a, b in zip(found, found[1:])]
            if [f["ids"] for f in found] != [f["ids"] for f in again] or min(gaps) < 1e-4: continue
            yield {"variant": name, "prompt": prompt, "beams": beams, "max_new_tokens": NEW, "length_penalty": penalty, "stop": stop,
                   "found": digits(found)}

rng = np.random.default_rng(4)
value = [case for name in CHOSEN for case in cases(name, rng)]
text = json.dumps(value, indent=1)
text = re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text)
text = re.sub(r"\{\s+(\"ids\": \[[^\]]*\]),\s+(\"score\": [^\s}]*)\s+\}", r"{\1, \2}", text)
assert json.loads(text) == value
(HERE / "beams.json").write_text(text + "\n")
ended = sum(len(f["ids"]) < NEW for case in value for f in case["found"])
print(f"{len(value)} cases, {ended} of {sum(len(c['found']) for c in value)} texts end early, {len(text) / 1000:.0f} kB")
