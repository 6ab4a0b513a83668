#!/usr/bin/env python3
"""How noisy are two identical targets, and what helps?

An experiment outside the harness, for what the harness does not offer: a control
variate (a fixed CPU spin measured beside each slice) and other CPU layouts. Identical
targets take turns under load; printed is the spread of their log-ratio per block.

    cargo build --release && scripts/noise.py --layout apart --slices 8 --slice 0.2

One slice of the whole window (--slices 1) is the ordinary trial after trial.
"""

import argparse
import collections
import json
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

RELEASE = pathlib.Path(__file__).resolve().parent.parent / "target" / "release"
PORT = 19000
SPIN = """
import hashlib, sys, time
block = b"x" * 65536
for _ in sys.stdin:
    start = time.thread_time_ns()
    for _ in range(40): hashlib.sha256(block).digest()
    print(time.thread_time_ns() - start, flush=True)
"""
# CPUs of the target and of the load driver on a machine with two.
LAYOUTS = {"apart": ("1", "0"), "shared": ("1", "1"), "free": ("0,1", "0,1")}


def child(cpus, command, **more):
    return subprocess.Popen(["taskset", "-c", cpus, *command], text=True, **more)


def cpu_ns(pid):
    """CPU time of every thread: the first figure of schedstat, in nanoseconds."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


class Load:
    """The harness's own load driver, for one stretch of time."""

    def __init__(self, cpus, port, rate, seconds):
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process = child(cpus, [str(RELEASE / "flora-bench"), "load-driver"], **pipes)
        spec = dict(url=f"http://127.0.0.1:{port}/objects", gzip=False, connections=32, rate=rate,
                    warmup_seconds=0.0, measure_seconds=seconds, timeout_seconds=10.0)
        self.say({"prepare": [spec, "open"]})

    def say(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def run(self):
        self.say({"start": time.monotonic_ns() + 5_000_000})
        return self.hear()["result"]["answered_total"]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def block(arguments, spin):
    """(target, CPU ns, requests, spin ns) of each slice of one block."""
    target_cpus, load_cpus = LAYOUTS[arguments.layout]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    targets = [
        child(target_cpus, [str(RELEASE / "target-app"), "--listen", f"127.0.0.1:{PORT + n}"], **quiet)
        for n in range(arguments.targets)
    ]
    time.sleep(0.3)
    order = list(range(arguments.targets))
    random.shuffle(order)
    turns = []
    if arguments.slices == 1:
        for n in order:
            turns += [(n, arguments.warmup, False), (n, arguments.slice, True)]
    else:
        turns += [(n, arguments.warmup, False) for n in order]
        for round_ in range(arguments.slices):
            order.reverse() if round_ % 2 else random.shuffle(order)
            turns += [(n, arguments.slice, True) for n in order]
    loads = (Load(load_cpus, PORT + n, arguments.rate, seconds) for n, seconds, _ in turns)
    try:
        for (n, _, measured), load in zip(turns, loads):
            assert load.hear() == "ready"
            if measured:
                spin.stdin.write("\n")
                spin.stdin.flush()
            spun = int(spin.stdout.readline()) if measured else 0
            before = cpu_ns(targets[n].pid)
            requests = load.run()
            used = cpu_ns(targets[n].pid) - before
            load.end()
            if measured:
                yield n, used, requests, spun
    finally:
        for target in targets:
            target.kill()
            target.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=LAYOUTS, default="apart")
    parser.add_argument("--slice", type=float, default=0.2, metavar="SECONDS")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--warmup", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--rate", type=float, default=5000.0)
    arguments = parser.parse_args()
    random.seed(1)
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    spin = child(LAYOUTS[arguments.layout][0], [sys.executable, "-c", SPIN], **pipes)
    plain, adjusted = [], []
    for _ in range(arguments.blocks):
        sums = collections.defaultdict(lambda: [0, 0, 0])
        for n, used, requests, spun in block(arguments, spin):
            for place, value in enumerate((used, requests, spun)):
                sums[n][place] += value
        logs = {n: math.log(used / requests) for n, (used, requests, _) in sums.items()}
        spins = {n: math.log(spun) for n, (_, _, spun) in sums.items()}
        for a in logs:
            for b in logs:
                if a < b:
                    plain.append(logs[a] - logs[b])
                    adjusted.append(plain[-1] - (spins[a] - spins[b]))
    spin.stdin.close()
    spread = lambda values: math.sqrt(statistics.fmean(v * v for v in values)) * 100
    print(f"{arguments.layout}, {arguments.slices} × {arguments.slice} s, {arguments.blocks} blocks at {arguments.rate:.0f}/s: "
          f"spread of a block's log-ratio {spread(plain):.2f} %, after the spin {spread(adjusted):.2f} %")


if __name__ == "__main__":
    main()
