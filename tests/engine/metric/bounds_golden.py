#!/usr/bin/env python3
"""Prints the golden values of bounds_test.cc, by scipy (1.17 was used): pip install scipy, then run. Not part of the build."""
import numpy as np
from scipy import optimize, special, stats

print("betainc")
for a, b, x in [(0.5, 0.5, 0.3), (1, 128, 0.01), (4, 125, 0.05), (30, 2, 0.9), (500, 700, 0.4), (2, 3, 0.999)]:
    print(f"    {{{a}, {b}, {x}, {special.betainc(a, b, x):.16g}}},")
print("clopper-pearson upper")
for hits, draws, alpha in [(0, 128, 0.01), (1, 128, 0.01), (3, 32, 0.05), (31, 32, 0.01), (500, 1000, 0.001)]:
    print(f"    {{{hits}, {draws}, {alpha}, {stats.beta.ppf(1 - alpha, hits + 1, draws - hits):.16g}}},")
print("owens_t")
for h, a in [(0, 1), (0.5, 0.3), (1, 1), (1.5, 4), (-2, 3), (0.1, 50), (3, -0.7), (6, 2), (0, 8)]:
    print(f"    {{{h}, {a}, {special.owens_t(h, a):.16g}}},")
print("skewnorm.cdf (location, scale, shape, x)")
for loc, scale, shape, x in [(0, 1, 0, -1), (20, 5, 3, 18), (20, 5, 3, 16), (20, 5, -4, 10), (1, 2, 8, 4), (0, 1, -2, -5)]:
    print(f"    {{{loc}, {scale}, {shape}, {x}, {stats.skewnorm.cdf(x, shape, loc, scale):.16g}}},")
print("moments of skewnorm -> parameters")
values = [3.1, 4.7, 5.0, 5.2, 6.9, 7.3, 9.9, 12.4]
mean, var, skew = np.mean(values), np.var(values), stats.skew(values)


def gap(p):
    m, v, s = stats.skewnorm.stats(p[2], loc=p[0], scale=p[1], moments="mvs")
    return [m - mean, v - var, s - skew]


print("   ", optimize.fsolve(gap, [4, 4, 3], xtol=1e-13).tolist(), "of", values)
print("DKW by integration on a grid")
x = np.array([0.1, 0.1, 0.4, 0.8, 1.0, 0.0, 0.25, 0.3])
eps = np.sqrt(np.log(1 / 0.05) / (2 * len(x)))
grid = (np.arange(2_000_000) + 0.5) / 2_000_000
print("   ", "%.10g" % np.mean(1 - np.maximum(0, np.searchsorted(np.sort(x), grid, side="right") / len(x) - eps)))
