#!/usr/bin/env python3
"""Writes harness/tests/fixtures/stats.json: what SciPy, NumPy and statsmodels make
of some data sets, for the tests of harness/src/stats.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0
    /tmp/reference/bin/python scripts/stats_reference.py

The data sets are drawn here from a fixed seed. The Rust tests read the file and never
run this program.
"""

import itertools
import json
import pathlib
import platform

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.multitest import multipletests

OUT = pathlib.Path(__file__).resolve().parent.parent / "harness/tests/fixtures/stats.json"
CONFIDENCE = 0.95
rng = np.random.default_rng(20240229)


def statistic(value, others, axis=-1):
    """Distance from zero of the mean log-ratio; others has one row per reference."""
    return np.abs(np.mean(np.log(value) - np.mean(np.log(others), axis=0), axis=axis))


def brute_force(values, references):
    """Share of all labellings, each written out, at least as far from zero."""
    costs = np.vstack([values, references])
    blocks = range(len(values))
    distances = []
    for labels in itertools.product(range(len(costs)), repeat=len(values)):
        arm = costs[labels, blocks]
        others = np.array([np.delete(costs[:, b], labels[b]) for b in blocks]).T
        distances.append(statistic(arm, others))
    return float(np.mean(np.array(distances) >= distances[0] * (1 - 1e-9)))


def halves(values, references):
    """The same where the labellings are too many: sums of one half of the blocks,
    sorted, are counted against each sum of the other half."""
    logs = np.log(np.vstack([values, references]))
    ratios = logs - (logs.sum(axis=0) - logs) / len(references)
    sums = []
    for half in np.array_split(ratios.T, 2):
        totals = np.zeros(1)
        for block in half:
            totals = np.add.outer(totals, block).ravel()
        sums.append(np.sort(totals))
    least = abs(ratios[0].sum()) * (1 - 1e-9)
    above = len(sums[1]) - np.searchsorted(sums[1], least - sums[0], side="left")
    below = np.searchsorted(sums[1], -least - sums[0], side="right")
    return float((above + below).sum() / (len(sums[0]) * len(sums[1])))


def permutation(values, references):
    labellings = (len(references) + 1) ** len(values)
    p = halves(values, references)
    if labellings <= 20_000:
        assert np.isclose(p, brute_force(values, references), rtol=1e-12)
    if len(references) == 1 and labellings <= 100_000:
        scipys = stats.permutation_test(
            (values, references[0]), lambda x, y, axis: statistic(x, y[None], axis), vectorized=True,
            permutation_type="samples", n_resamples=np.inf, alternative="greater").pvalue
        assert np.isclose(p, scipys, rtol=1e-12)
        p = float(scipys)
    return p


def effect(blocks, twins, true_ratio, noise):
    mood = rng.normal(0, 0.1, blocks)
    cost = lambda ratio: 1e-4 * (1 + ratio) * np.exp(mood + rng.normal(0, noise, blocks))
    values, references = cost(true_ratio), np.array([cost(0) for _ in range(twins)])
    logs = np.log(values) - np.log(references).mean(axis=0)
    low, high = stats.t.interval(CONFIDENCE, blocks - 1, loc=logs.mean(), scale=stats.sem(logs))
    return {
        "name": f"{blocks} blocks, {twins} reference(s), {true_ratio:+.0%}, noise {noise:.1%}",
        "pairs": [[list(r), v] for r, v in zip(references.T, values)],
        "confidence": CONFIDENCE,
        "ratio": np.expm1(logs.mean()),
        "interval": [np.expm1(low), np.expm1(high)],
        "deviation": logs.std(ddof=1),
        "exact": (twins + 1) ** blocks <= 100_000,
        "p": permutation(values, references),
        "t_test_p": stats.ttest_1samp(logs, 0).pvalue,
    }


def holm(p):
    return {"p": list(p), "adjusted": list(multipletests(p, method="holm")[1])}


def t_quantile(p, freedom):
    return {"p": p, "freedom": freedom, "value": stats.t.ppf(p, freedom)}


def power(deviation, ratio, confidence, wanted):
    """The fewest blocks by trying each; real_power is what they have by the noncentral t."""
    t = lambda p, blocks: stats.t.ppf(p, blocks - 1)
    least = lambda n: np.expm1((t(0.5 + confidence / 2, n) + t(wanted, n)) * deviation / np.sqrt(n))
    blocks = next(n for n in itertools.count(2) if least(n) <= ratio)
    critical = t(0.5 + confidence / 2, blocks)
    shift = np.log1p(ratio) * np.sqrt(blocks) / deviation
    real = stats.nct.sf(critical, blocks - 1, shift) + stats.nct.cdf(-critical, blocks - 1, shift)
    return {"deviation": deviation, "ratio": ratio, "confidence": confidence, "power": wanted,
            "blocks": blocks, "detectable_ratio": least(blocks),
            # Some with few blocks and a far effect are beyond what SciPy computes.
            "real_power": None if np.isnan(real) else real}


def drift(points, per_hour, noise):
    times = np.sort(rng.uniform(0, 5400, points))
    values = 1e-4 * np.exp(np.log1p(per_hour) * times / 3600 + rng.normal(0, noise, points))
    fit = stats.linregress(times, np.log(values))
    return {"points": list(zip(times, values)), "per_hour_ratio": np.expm1(fit.slope * 3600),
            "p_value": fit.pvalue}


def quantile(q, buckets):
    bounds, counts = np.arange(1, buckets + 1) / 1000, rng.integers(0, 9, buckets)
    return {"buckets": [[b, int(c)] for b, c in zip(bounds, counts)], "quantile": q,
            "value": np.quantile(np.repeat(bounds, counts), q, method="inverted_cdf")}


fixture = {
    "made_by": "scripts/stats_reference.py",
    "versions": {"python": platform.python_version(), "numpy": np.__version__,
                 "scipy": scipy.__version__, "statsmodels": statsmodels.__version__},
    "effects": [effect(blocks, twins, *of) for blocks in (2, 5, 8, 10, 16, 20) for twins in (1, 2)
                for of in [(0, 0.03), (0.02, 0.03), (-0.04, 0.01)]],
    "holm": [holm(rng.uniform(0, 1, n) ** 4) for n in (1, 2, 5, 12)] + [holm([0.04, 0.01, 0.04, 0.9, 0.01])],
    "t_quantiles": [t_quantile(p, f) for f in (1, 2, 3, 4, 7, 19, 99, 1000, 1001, 9999, 10**6, 10**9)
                    for p in (1e-6, 0.025, 0.2, 0.499, 0.5, 0.8, 0.975, 0.995, 0.999999)],
    "power": [power(s, ratio, confidence, wanted)
              for s in (0.01, 0.03, 0.06) for ratio in (0.01, 0.02, 0.05)
              for confidence, wanted in [(0.95, 0.8), (0.99, 0.9), (0.9, 0.8)]],
    "drift": [drift(*of) for of in [(4, 0, 0.03), (5, 0.1, 0.01), (18, 0.02, 0.03), (60, -0.02, 0.01), (60, 0, 0.03)]],
    "quantiles": [quantile(q, n) for q in (0, 0.01, 0.5, 0.95, 0.99, 0.999, 1) for n in (3, 40)],
}
OUT.parent.mkdir(exist_ok=True)
# One case a line, and no NaN in any.
line = lambda value: json.dumps(value, default=float, allow_nan=False)
section = lambda of: "[\n  " + ",\n  ".join(map(line, of)) + "\n ]" if isinstance(of, list) else line(of)
OUT.write_text("{\n" + ",\n".join(f' "{name}": {section(of)}' for name, of in fixture.items()) + "\n}\n")
