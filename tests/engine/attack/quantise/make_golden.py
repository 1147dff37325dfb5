#!/usr/bin/env python3
"""Writes quantise.json: a small matrix rounded to symmetric grids, by numpy alone.

  tests/engine/attack/quantise/make_golden.py      needs numpy; not part of the build

Fields  weight: rows of integers; the matrix is 2^-10 times them. cases: bits, group (0: the whole
        row), codes, scales (of each row's groups, fp32). A value is its code times its scale.
"""
import json
from pathlib import Path

import numpy as np


def rounded(weight, bits, group):
    most = np.float32(2 ** (bits - 1) - 1)
    group = group or weight.shape[1]
    codes, scales = np.zeros(weight.shape, np.int8), []
    for row, values in enumerate(weight):
        scales.append([])
        for begin in range(0, len(values), group):
            w = values[begin:begin + group]
            scale = np.float32(np.abs(w).max()) / most
            scales[-1].append(float(scale))
            if scale > 0:
                codes[row, begin:begin + group] = np.clip(np.rint(w / scale), -most, most)
    return codes.tolist(), scales


rng = np.random.default_rng(4)
COLUMNS = 140  # a whole group of 128 and a short one
numbers = np.rint(rng.standard_normal((4, COLUMNS)) * [[3], [300], [1], [1]]).astype(int)
numbers[0, 128:] = 0                           # a group of zeros
numbers[2] = rng.integers(-14, 15, COLUMNS)    # a grid of 4 bits at every other number: halves,
numbers[2, 0] = numbers[2, 130] = 14           # which go to the even code
numbers[3] = 0
weight = (numbers / 1024).astype(np.float32)
out = {"made_by": "tests/engine/attack/quantise/make_golden.py", "weight": numbers.tolist(), "cases": []}
for bits in (8, 4):
    for group in (0, 128):
        codes, scales = rounded(weight, bits, group)
        out["cases"].append({"bits": bits, "group": group, "codes": codes, "scales": scales})
(Path(__file__).resolve().parent / "quantise.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
