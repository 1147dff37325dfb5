#!/usr/bin/env python3
"""Writes soft_loss.json beside itself: losses and gradients by PyTorch's autograd in float64 (2.11 was used).

Needs torch; not part of the build. Each case has hidden (N,D), weight (V,D), the kept entries of N distributions, the slope of
each loss, and what they give. `mode` "all" keeps the whole vocabulary, "some" a few entries and the rest mass, "one" one token.
"""
import json
import pathlib

import torch

torch.manual_seed(5)
N, D, V = 4, 3, 9


def case(mode, k):
    hidden = (2 * torch.randn(N, D, dtype=torch.float64)).float().double().requires_grad_()
    weight = torch.randn(V, D, dtype=torch.float64).float().double().requires_grad_()
    slope = torch.randn(N, dtype=torch.float64).float().double()
    q = torch.softmax(3 * torch.randn(N, V, dtype=torch.float64), 1).float().double()
    ids = torch.stack([torch.randperm(V)[:k] for _ in range(N)])
    log_p = torch.log_softmax(hidden @ weight.T, 1)
    if mode == "all":
        kept, rest = q, torch.zeros(N, dtype=torch.float64)
        loss = torch.nn.functional.cross_entropy(hidden @ weight.T, q, reduction="none")
    else:
        kept = torch.ones(N, 1, dtype=torch.float64) if mode == "one" else q.gather(1, ids)
        rest = (1 - kept.sum(1)).float().double()
        outside = torch.ones(N, V, dtype=torch.bool).scatter(1, ids, False)
        p_rest = (log_p.exp() * outside).sum(1)
        loss = -(kept * log_p.gather(1, ids)).sum(1) - rest * p_rest.log()
    (loss * slope).sum().backward()
    return {"mode": mode, "hidden": hidden.tolist(), "weight": weight.tolist(), "slope": slope.tolist(),
            "ids": [] if mode == "all" else ids.tolist(), "probabilities": kept.tolist(), "rest": rest.tolist(),
            "loss": loss.tolist(), "hidden_grad": hidden.grad.tolist(), "weight_grad": weight.grad.tolist()}


cases = [case("all", V), case("some", 3), case("some", 1), case("one", 1)]
out = {"made_by": "soft_loss_golden.py, torch " + torch.__version__, "cases": cases}
lines = json.dumps(out).replace('{"mode"', '\n{"mode"')
pathlib.Path(__file__).with_name("soft_loss.json").write_text(lines + "\n")
