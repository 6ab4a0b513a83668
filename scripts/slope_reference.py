#!/usr/bin/env python3
"""Writes harness/tests/fixtures/slope.json: what NumPy and SciPy make of costs that grow
with a number of copies, block by block, for the tests of harness/src/stats/slope.rs.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install numpy==2.4.6 scipy==1.17.1
    /tmp/reference/bin/python scripts/slope_reference.py

The data sets are drawn here from a fixed seed. The Rust tests read the file and never
run this program.
"""

import json
import pathlib

import numpy as np
import scipy
from scipy import stats

OUT = pathlib.Path(__file__).resolve().parent.parent / "harness/tests/fixtures/slope.json"
rng = np.random.default_rng(20250301)


def joint(copies, blocks):
    """One least-squares fit of everything: a height for each block, one slope for all."""
    count, per_block = blocks.shape
    design = np.zeros((count * per_block, count + 1))
    for block in range(count):
        design[block * per_block:(block + 1) * per_block, block] = 1
    design[:, -1] = np.tile(copies, count)
    return np.linalg.lstsq(design, blocks.ravel(), rcond=None)[0][-1]


def case(copies, count, slope, noise, confidence):
    copies = np.array(copies, float)
    mood = rng.normal(0, 2e-6, (count, 1))
    blocks = 6e-5 + mood + slope * copies + rng.normal(0, noise, (count, len(copies)))
    fits = [np.polyfit(copies, block, 1) for block in blocks]
    slopes = np.array([fit[0] for fit in fits])
    low, high = stats.t.interval(confidence, count - 1, loc=slopes.mean(), scale=stats.sem(slopes))
    return {"copies": list(copies), "blocks": [list(block) for block in blocks], "confidence": confidence,
            "slopes": list(slopes), "intercepts": [fit[1] for fit in fits], "slope": slopes.mean(),
            "low": low, "high": high, "joint_slope": joint(copies, blocks)}


fixture = {
    "made_by": f"scripts/slope_reference.py, NumPy {np.__version__}, SciPy {scipy.__version__}",
    "cases": [case(copies, count, slope, noise, confidence)
              for copies in ([1, 2], [1, 8, 16], [1, 32, 64])
              for count, slope, noise, confidence in [(2, 5e-7, 1e-7, 0.95), (6, 7e-7, 5e-7, 0.95), (20, 0, 1e-6, 0.9)]],
}
lines = ",\n".join(f"  {json.dumps(case, default=float, allow_nan=False)}" for case in fixture["cases"])
OUT.write_text(f'{{\n "made_by": {json.dumps(fixture["made_by"])},\n "cases": [\n{lines}\n ]\n}}\n')
