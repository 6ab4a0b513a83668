#!/usr/bin/env python3
"""Writes harness/tests/fixtures/welch.json: what SciPy makes of two groups of values, for
the tests of harness/src/stats/welch.rs.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install scipy==1.16.3
    /tmp/reference/bin/python scripts/welch_reference.py

The Rust tests read the file and never run this program.
"""

import json
import math
import pathlib

import scipy
from scipy import stats

GROUPS = [
    ([1, 2, 3], [3, 5, 7]),
    ([1, 2, 3, 4, 10], [2, 2.5, 3, 3.5]),
    ([0.01, 0.012, 0.009, 0.011, 0.010, 0.013], [0.018, 0.022, 0.016, 0.021, 0.019, 0.020]),
    # Twenty blocks against two, one of them much noisier.
    ([math.sin(n) / 100 for n in range(20)], [0.03, 0.07]),
    ([5.0, 5.0, 5.0], [5.0, 5.1, 4.9]),
    # Far apart: the chance is tiny and must not become nought.
    ([0.0, 1e-4, -1e-4, 5e-5], [0.5, 0.5001, 0.4999, 0.50005]),
    ([math.log(x) for x in (1.47e-4, 1.49e-4, 1.48e-4)], [math.log(x) for x in (1.53e-4, 1.5e-4, 1.57e-4, 1.52e-4)]),
]


def case(first, second, confidence):
    test = stats.ttest_ind(second, first, equal_var=False)
    interval = test.confidence_interval(confidence)
    return {
        "first": first,
        "second": second,
        "confidence": confidence,
        "difference": sum(second) / len(second) - sum(first) / len(first),
        "low": float(interval.low),
        "high": float(interval.high),
        "p_value": float(test.pvalue),
        "freedom": float(test.df),
    }


reference = {
    "made_by": f"scripts/welch_reference.py, SciPy {scipy.__version__}",
    "cases": [case(a, b, confidence) for a, b in GROUPS for confidence in (0.9, 0.95)],
}
path = pathlib.Path(__file__).parent.parent / "harness/tests/fixtures/welch.json"
path.write_text(json.dumps(reference, indent=1) + "\n")
