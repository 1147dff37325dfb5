#!/usr/bin/env python3
"""Writes attacks.json beside this script: figures of the attacks by torch, transformers, tokenizers, zlib and numpy.

  pip install torch transformers && LETHE_TESTDATA=… tests/engine/attack/golden/make_attack_golden.py

Not part of the build. For some model folders of the test data and the sequences of their golden.json:

  nll         mean nats of tokens 1..T-1                    zlib_bytes   length of zlib.compress(the decoded text)
  min_k_pp    mean of the lowest max(1, int(.2 N)) of (log p - mu) / sqrt(max(var, 1e-6)), mu and var of log p under p
  log_q       sum over the last half of log q: "all" T = 1; "top_k" k = 40; "top_p" p = .9, renormalised
  grad_norm   mean over the parameters of the L2 norm of d(nll)/d(parameter)
  lens        for each layer, final norm and output layer on its output: how many logits exceed the true token's, for tokens 1..T-1
"""
import json, os, zlib
from pathlib import Path
import numpy as np, torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
MODELS = Path(os.environ["LETHE_TESTDATA"]) / "models"


def parts(model):
    """(layers, what comes between them and the output layer)"""
    if hasattr(model, "transformer"):
        return model.transformer.h, [model.transformer.ln_f]
    if hasattr(model, "gpt_neox"):
        return model.gpt_neox.layers, [model.gpt_neox.final_layer_norm]
    if hasattr(model.model, "decoder"):
        d = model.model.decoder
        return d.layers, [m for m in (d.final_layer_norm, d.project_out) if m is not None]
    return model.model.layers, [model.model.norm]


def log_q(logits, targets, k=0, p=1.0):
    """By sorting, in float64."""
    q = torch.softmax(logits.double(), -1).numpy()
    out = []
    for row, t in zip(q, targets):
        order = np.argsort(-row, kind="stable")
        keep = len(row) if not k else k
        if p < 1:
            keep = int(np.searchsorted(np.cumsum(row[order]), p) + 1)
        kept = order[:keep]
        out.append(np.log(row[t] / row[kept].sum()) if t in kept else -np.inf)
    return float(np.sum(out))


def figures(model, tokenizer, ids):
    outputs, hooks = [], []
    layers, ends = parts(model)
    for layer in layers:
        hooks.append(layer.register_forward_hook(lambda m, i, o: outputs.append(o[0] if isinstance(o, tuple) else o)))
    x = torch.tensor([ids])
    model.zero_grad()
    logits = model(x).logits[0]
    for h in hooks:
        h.remove()
    log_p = torch.log_softmax(logits[:-1], -1)
    targets = x[0, 1:]
    token = log_p.gather(1, targets[:, None])[:, 0]
    (-token.mean()).backward()
    grad_norm = float(np.mean([float(p.grad.norm()) for p in model.parameters() if p.grad is not None]))
    with torch.no_grad():
        d = log_p.double()
        mu = (d.exp() * d).sum(1)
        var = (d.exp() * d * d).sum(1) - mu * mu
        z = ((token.double() - mu) / var.clamp_min(1e-6).sqrt()).sort()[0]
        lens = []
        for out in outputs:
            h = out.reshape(1, len(ids), -1)[0]
            for m in ends:
                h = m(h)
            l = model.get_output_embeddings()(h)[:-1]
            lens.append((l > l.gather(1, targets[:, None])).sum(1).tolist())
        assert torch.allclose(l, logits[:-1], atol=1e-5)
        half = len(ids) // 2
        suffix = logits[half - 1:-1]
        return {
            "ids": ids, "nll": float(-token.mean()),
            "zlib_bytes": len(zlib.compress(tokenizer.decode(ids, skip_special_tokens=True).encode())),
            "min_k_pp": float(z[: max(1, int(0.2 * len(z)))].mean()),
            "log_q": {"all": log_q(suffix, ids[half:]), "top_k": log_q(suffix, ids[half:], k=40), "top_p": log_q(suffix, ids[half:], p=0.9)},
            "grad_norm": grad_norm, "lens": lens,
        }


golden = {"made_by": "make_attack_golden.py", "models": {}}
for name in ["stories260k", "tiny_gpt2", "tiny_gpt_neox", "tiny_opt"]:
    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(str(MODELS / name / "tokenizer.json"))
    data = json.load(open(MODELS / name / "golden.json"))
    golden["models"][name] = [figures(model, tokenizer, ids) for ids in data["plain"]["input_ids"]]
text = json.dumps(golden).replace("-Infinity", '"never"').replace('{"ids"', '\n{"ids"')
(HERE / "attacks.json").write_text(text + "\n")
