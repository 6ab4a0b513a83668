#!/usr/bin/env python3
"""Prints the figures that README and docs state about flora-bench itself.

    scripts/figures.py cold              clone to first report, nothing cached
    scripts/figures.py warm [RUNS]       a warm `scenario baseline`: time, spread, cost of sampling
    scripts/figures.py driver [RATE…]    CPU per request: built-in driver against k6
    scripts/figures.py rate [RATE…]      how exactly the built-in driver holds its rate
    scripts/figures.py latency           medians: built-in driver against wrk at a low rate

Needs a machine that does nothing else. `driver` needs k6, `latency` needs wrk.
"""

import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/flora-bench"
TARGET = ROOT / "target/release/target-app"


def build():
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)


def measure(*arguments):
    """Runs a scenario, gives its report and how long it took."""
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        done = subprocess.run(
            [PROGRAM, "scenario", "baseline", "--out", out, *arguments],
            cwd=ROOT, capture_output=True, text=True,
        )
        took = time.monotonic() - began
        if done.returncode not in (0, 4):
            sys.exit(done.stderr)
        report = json.loads((pathlib.Path(out) / "latest/report.json").read_text())
    if report["scenarios"][0]["status"] != "ok":
        sys.exit(f"not valid: {report['scenarios'][0]['reason']}")
    return report, took


def statistic(report, metric, subject):
    found = [
        s for s in report["scenarios"][0]["statistics"]
        if s["metric"] == metric and s["subject"] == subject and "quantile" not in s
    ]
    return found[0]


def micros(statistic):
    return "{:.1f} µs ({:.1f}–{:.1f})".format(
        *(statistic[key] * 1e6 for key in ("estimate", "low", "high")))


def cold():
    with tempfile.TemporaryDirectory() as home:
        clone = pathlib.Path(home) / "flora-bench"
        environment = {**os.environ, "CARGO_HOME": f"{home}/cargo"}
        environment.pop("CARGO_TARGET_DIR", None)
        began = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        done = subprocess.run(
            ["cargo", "run", "--release", "--", "scenario", "baseline"],
            cwd=clone, env=environment, capture_output=True, text=True,
        )
        took = time.monotonic() - began
        if done.returncode != 0:
            sys.exit(done.stderr)
        report = json.loads((clone / "results/latest/report.json").read_text())
        measuring = max(t["phases"][-1]["end"] for t in report["trials"])
        print(f"clone to first report, cold: {took:.0f} s, of which measuring {measuring:.0f} s")


def warm(runs="2"):
    build()
    for _ in range(int(runs)):
        report, took = measure()
        cost = statistic(report, "cpu_seconds_per_request", "target")
        ledger = report["scenarios"][0]["ledger"]
        window = report["measure_seconds"] * report["scenarios"][0]["trials"]
        harness = next(r["cpu_seconds"] for r in ledger["rows"] if r["subject"] == "harness")
        print(
            f"warm: {took:.1f} s; {report['request_rate']:.0f} requests/s; target {micros(cost)}; "
            f"coefficient of variation {cost['coefficient_of_variation'] * 100:.1f} % over "
            f"{report['scenarios'][0]['trials']} trials; harness {harness / window * 100:.3f} % of a core; "
            f"remainder {ledger['remainder_ratio'] * 100:.1f} % of busy time, "
            f"other tasks {ledger['other_tasks_seconds'] / ledger['node_busy_seconds'] * 100:.1f} %"
        )


def driver(*rates):
    build()
    for rate in rates or ("500", "2000"):
        costs = {}
        for name in ("builtin", "k6"):
            report, _ = measure("--load", name, "--rate", rate, "--blocks", "5")
            costs[name] = statistic(report, "cpu_seconds_per_request", "load")
        ratio = costs["k6"]["estimate"] / costs["builtin"]["estimate"]
        print(
            f"load driver at {rate}/s, CPU per request: built-in {micros(costs['builtin'])}, "
            f"k6 {micros(costs['k6'])}: 1/{ratio:.1f}"
        )


def rate(*rates):
    build()
    for asked in rates or ("500", "1000", "2000"):
        report, _ = measure("--rate", asked, "--blocks", "5")
        reached = statistic(report, "requests_per_second", "target")["estimate"]
        print(f"rate: {asked}/s asked, {reached:.2f}/s answered ({(reached / float(asked) - 1) * 100:+.3f} %)")


def latency():
    """Both send on one connection with 5 ms between requests, in turn."""
    build()
    port = 18099
    target = subprocess.Popen(
        ["taskset", "-c", "1", TARGET, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write("function delay() return 5 end\n")
            script.flush()
            pairs = [(builtin_median(port), wrk_median(port, script.name)) for _ in range(8)]
    finally:
        target.terminate()
        target.wait()
    logs = [math.log(ours / theirs) for (ours, _), theirs in pairs]
    mean, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    t = 2.365  # 97.5 % quantile of Student's t with 7 degrees of freedom
    for (ours, lag), theirs in pairs:
        print(f"  median since the send: built-in {ours:.0f} µs (sent {lag:.0f} µs late), wrk {theirs:.0f} µs")
    print(
        f"latency: built-in ÷ wrk − 1 = {math.expm1(mean) * 100:+.1f} % "
        f"({math.expm1(mean - t * error) * 100:+.1f} to {math.expm1(mean + t * error) * 100:+.1f} %, 95 %, 8 pairs)"
    )


def builtin_median(port):
    spec = {
        "url": f"http://127.0.0.1:{port}/objects", "gzip": False, "connections": 1, "rate": 180.0,
        "warmup_seconds": 0.5, "measure_seconds": 3.0, "timeout_seconds": 10.0,
    }
    driver = subprocess.Popen(
        ["taskset", "-c", "0", PROGRAM, "load-driver"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(command):
        driver.stdin.write(json.dumps(command) + "\n")
        driver.stdin.flush()

    tell({"prepare": [spec, "open"]})
    driver.stdout.readline()
    tell({"start": time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 20_000_000})
    result = json.loads(driver.stdout.readline())["result"]
    buckets, lag = result["buckets"], dict(map(tuple, result["send_lag"]))[0.5]
    driver.stdin.close()
    driver.wait()
    half, seen = sum(count for _, count in buckets) / 2, 0
    for bound, count in buckets:
        seen += count
        if seen >= half:
            # wrk counts from the actual send, ours from when the request was due.
            return (bound - lag) * 1e6, lag * 1e6


def wrk_median(port, script):
    done = subprocess.run(
        ["taskset", "-c", "0", "wrk", "-t1", "-c1", "-d3s", "--latency", "-s", script,
         f"http://127.0.0.1:{port}/objects"],
        capture_output=True, text=True, check=True)
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms)", done.stdout).groups()
    return float(value) * (1000 if unit == "ms" else 1)


if __name__ == "__main__":
    commands = {"cold": cold, "warm": warm, "driver": driver, "rate": rate, "latency": latency}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
