#!/usr/bin/env python3
"""Does a true +2 % of CPU per request show, and is nothing seen where nothing is?

    scripts/calibration.py run DIR        10 runs with 2 % injected, 10 of the baseline and its twin
                                          alone, two minutes each; records into DIR
    scripts/calibration.py pack DIR       compresses the samples, removes what `report` makes again
    scripts/calibration.py summary DIR    what came of them, as Markdown
    scripts/calibration.py noise DIR      how the A/A pairs differed, as the fixture that tests draw noise from

The records in results/calibration are from `run` and `pack`.
"""

import json
import math
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "release" / "flora-bench"
MADE_AGAIN = ["charts", "report.html", "report.md", "report.csv", "junit.xml"]
CALLS = ("higher", "lower")


def run(directory):
    for n in range(1, 11):
        injected = ["calibrate", "--inject", "cpu=0.02", "--seed", str(100 + n), "--out", directory / "two-percent"]
        same = ["scenario", "baseline", "--seed", str(200 + n), "--out", directory / "same"]
        for command in (injected, same):
            subprocess.run([PROGRAM, *command, "--time", "2m"], cwd=ROOT)


def runs(directory):
    return sorted(plan.parent for plan in directory.rglob("plan.json") if not plan.parent.is_symlink())


def pack(directory):
    for link in directory.rglob("latest"):
        link.unlink()
    for path in runs(directory):
        samples = path / "samples.jsonl"
        if samples.exists():
            subprocess.run(["zstd", "--quiet", "--rm", "-19", "--long", samples], check=True)
        for name in MADE_AGAIN:
            made = path / name
            shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)


def percent(row):
    low, high = (f"{row[key] * 100:+.2f}" for key in ("low", "high"))
    return f"{row['overhead_ratio'] * 100:+.2f} % ({low} to {high})"


def is_target_cpu(row):
    return (row["metric"], row["subject"]) == ("cpu_seconds_per_request", "target")


def summary(directory):
    print("| run | blocks | injected | found (95 %) | verdict | A/A pair (95 %) | called |")
    print("|---|---|---|---|---|---|---|")
    found = pairs = false_calls = injections = 0
    for path in runs(directory):
        report = json.loads((path / "report.json").read_text())
        (floor,) = filter(is_target_cpu, report["noise_floor"])
        called = floor["verdict"] in CALLS
        pairs, false_calls = pairs + 1, false_calls + called
        cells = ["", "", ""]
        for row in filter(is_target_cpu, report["comparisons"]):
            base = row["overhead"] / row["overhead_ratio"]
            cells = [f"{row['injected'] / base * 100:+.2f} %", percent(row), row["verdict"]]
            injections, found = injections + 1, found + (row["verdict"] == "higher")
        called = floor["verdict"] if called else "no"
        print("|", " | ".join([report["run"], str(floor["blocks"]), *cells, percent(floor), called]), "|")
    print(f"\n{found} of {injections} injections were called higher; {false_calls} of {pairs} A/A pairs were called.")


def noise(directory):
    # A difference of two equals is spread by √2 more than either of them.
    ratios = [
        math.log1p(block["ratio"]) / math.sqrt(2)
        for path in runs(directory)
        for floor in filter(is_target_cpu, json.loads((path / "report.json").read_text())["noise_floor"])
        for block in floor["block_ratios"]
    ]
    print(json.dumps({"made_by": "scripts/calibration.py noise results/calibration: ln(baseline-twin ÷ baseline) ÷ √2 of each "
                                 "block, recorded on a 2-core virtual machine",
                      "log_deviations": [round(ratio, 6) for ratio in ratios]}, ensure_ascii=False))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("run" | "pack" | "summary" | "noise") as command, directory]:
            globals()[command](pathlib.Path(directory).resolve())
        case _:
            sys.exit(__doc__)
