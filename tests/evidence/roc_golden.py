#!/usr/bin/env python3
"""Golden values of roc_test.cc, by scipy 1.17 and scikit-learn 1.9. Not part of the build.

    pip install scipy scikit-learn && python3 roc_golden.py
"""
import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

SETS = {
    "overlap": ([0.9, 0.4, 0.7, 0.65, 0.2], [0.1, 0.5, 0.3, 0.65, 0.05, 0.6, 0.45, 0.2]),
    "ties": ([1, 1, 2, 3], [1, 2, 2, 0, 0, 3]),
    "wide": ([(i * 37 % 101) / 100 + 0.25 for i in range(40)], [(i * 53 % 97) / 96 for i in range(120)]),
}
MASK = (1 << 64) - 1


def split_mix(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        yield z ^ (z >> 31)


def labelled(f, c):
    return np.r_[np.ones(len(f)), np.zeros(len(c))], np.r_[f, c]


def bootstrap(f, c):
    random, aucs, f, c = split_mix(20250101), [], sorted(f), sorted(c)
    for _ in range(2000):
        ff = [f[next(random) % len(f)] for _ in f]
        cc = [c[next(random) % len(c)] for _ in c]
        aucs.append(roc_auc_score(*labelled(ff, cc)))
    return np.quantile(aucs, 0.025), np.quantile(aucs, 0.975)


for name, (f, c) in SETS.items():
    fpr, tpr, _ = roc_curve(*labelled(f, c), drop_intermediate=False)
    at = [max(t for x, t in zip(fpr, tpr) if x <= limit) for limit in (0.01, 0.2)]
    ks = stats.ks_2samp(f, c, method="exact")
    print(name, "auc", roc_auc_score(*labelled(f, c)), "tpr", *at)
    print("   interval", *("%.15g" % x for x in bootstrap(f, c)))
    print("   ks %.16g %.15g" % (ks.statistic, ks.pvalue))
    if len(fpr) < 12: print("   curve", [(round(x, 6), round(t, 6)) for x, t in zip(fpr, tpr)])
