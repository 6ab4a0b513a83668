#!/usr/bin/env python3
"""Does Flora's agent grow, and does it lose requests, while containers come and go for hours?

    scripts/soak.py run DIR [CHUNKS [MINUTES]]   chunks (1) of so many minutes (20), each an agent of its own under
                                                 load; a file in DIR for each, after those that are there
    scripts/soak.py summary DIR [CONTAINERS]     what came of them, as Markdown; slopes from so many containers (2000) on

The load is flora-agent/tests/all/soak.rs, which fails when a request is neither counted nor counted as lost. It needs
root. A chunk that failed keeps its file, and `summary` counts it like any other.
"""

import csv
import math
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEST = "soak::nothing_adds_up_and_nothing_is_lost_while_containers_come_and_go"
# Until then tables fill up that are bounded, above all that of 1,024 callers, which remember their container.
SETTLED = 2000
# Seconds that follow from one another are taken together before a line is fitted.
TOGETHER = 60


def run(directory, chunks="1", minutes="20"):
    directory.mkdir(parents=True, exist_ok=True)
    for _ in range(int(chunks)):
        path = directory / f"chunk-{len(list(directory.glob('chunk-*.csv'))) + 1:02}.csv"
        environment = {"FLORA_AGENT_SOAK_SECONDS": str(60 * int(minutes)), "FLORA_AGENT_SOAK_FILE": str(path)}
        command = ["cargo", "test", "--release", "--locked", "-p", "flora-agent", "--test", "all", "--",
                   "--exact", TEST, "--nocapture"]
        if subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}).returncode:
            print(f"{path}: this chunk failed", file=sys.stderr)


def seconds(path):
    with path.open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def t_quantile(freedom, p=0.975):
    """Of Student's distribution: its density summed up until there is enough."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    density = lambda x: scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
    at, found, step = 0.0, 0.5, 1e-4
    while found < p:
        found += density(at + step / 2) * step
        at += step
    return at


def slope(rows, key):
    """Least squares through means of a minute: per hour, and half of the 95 % interval."""
    groups = [rows[at:at + TOGETHER] for at in range(0, len(rows) - TOGETHER + 1, TOGETHER)]
    if len(groups) < 3:
        return None
    x = [statistics.fmean(row["seconds"] for row in group) / 3600 for group in groups]
    y = [statistics.fmean(row[key] for row in group) for group in groups]
    line = statistics.linear_regression(x, y)
    rest = sum((b - line.intercept - line.slope * a) ** 2 for a, b in zip(x, y))
    spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
    freedom = len(x) - 2
    return line.slope, t_quantile(freedom) * math.sqrt(rest / freedom / spread)


def interval(estimate):
    if estimate is None:
        return "too short"
    value, half = estimate
    return f"{value:+.1f} ({value - half:+.1f} to {value + half:+.1f})"


def summary(directory, settled_at):
    print("| chunk | minutes | containers | requests | neither seen nor counted as lost | counted as lost "
          "| resident at the end, KiB | resident, KiB per hour (95 %) | maps, bytes | … per hour (95 %) | descriptors |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    slopes, total = [], [0, 0, 0, 0, 0]
    for path in sorted(directory.glob("chunk-*.csv")):
        rows = seconds(path)
        last, settled = rows[-1], [row for row in rows if row["containers"] >= settled_at]
        missing = max(abs(row["served"] - row["seen"] - row["unmatched"]) for row in rows)
        lost = last["unmatched"] + last["lost"]
        grows = slope(settled, "resident_kib")
        slopes += [grows[0]] if grows else []
        for at, value in enumerate((last["seconds"] / 60, last["containers"], last["served"], missing, lost)):
            total[at] += value
        descriptors = sorted({int(row["descriptors"]) for row in settled or rows})
        print("|", " | ".join([
            path.stem, f"{last['seconds'] / 60:.0f}", f"{last['containers']:,.0f}", f"{last['served']:,.0f}",
            f"{missing:,.0f}", f"{lost:,.0f}", f"{last['resident_kib']:,.0f}", interval(grows),
            f"{last['map_bytes']:,.0f}", interval(slope(settled, "map_bytes")),
            "–".join(str(count) for count in sorted({descriptors[0], descriptors[-1]})),
        ]), "|")
    minutes, containers, served, missing, lost = total
    print(f"\n{minutes:.0f} minutes, {containers:,.0f} containers, {served:,.0f} requests: {missing:,.0f} neither seen "
          f"nor counted as lost, {lost:,.0f} counted as lost.")
    if len(slopes) > 1:
        half = t_quantile(len(slopes) - 1) * statistics.stdev(slopes) / math.sqrt(len(slopes))
        print(f"Resident memory over {len(slopes)} chunks: {interval((statistics.fmean(slopes), half))} KiB per hour.")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", directory, *options]:
            run(pathlib.Path(directory).resolve(), *options)
        case ["summary", directory, *options]:
            summary(pathlib.Path(directory).resolve(), int(options[0]) if options else SETTLED)
        case _:
            sys.exit(__doc__)
