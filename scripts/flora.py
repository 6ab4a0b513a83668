#!/usr/bin/env python3
"""What does Flora cost, for light and heavy requests, and with few and many connections?

    scripts/flora.py run DIR [RUN…] `scenario flora --amplify 8` at 3,000 requests per second, once for
                                    each row of the tables, or for those named; records into DIR
    scripts/flora.py pack DIR       compresses the samples, removes what `report` makes again
    scripts/flora.py summary DIR    what came of them, as Markdown
    scripts/flora.py chart DIR      cost by number of connections: DIR/connections.svg

Takes about 45 minutes on a machine that does nothing else, a part of it the kernel's verifier, which looks at
each copy. results/flora/README.md says how its records were made.
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

from calibration import PROGRAM, ROOT, pack, runs

RATE = "3000"
# With more than 8 copies sockets search for their state: `flora-agent --help`.
AMPLIFY = "8"
# Name of the run: what differs from scenarios/flora.yaml.
RUNS = {
    "light": {"target": {"objects": 0, "work": 0}},
    "middle": {},
    "heavy": {"target": {"work": 6}},
    "connections-10": {"load": {"connections": 10}},
    "connections-1000": {"load": {"connections": 1000}},
    "connections-10000": {"load": {"connections": 10000}},
}


def run(directory):
    text = (ROOT / "scenarios" / "flora.yaml").read_text()
    baseline = (ROOT / "scenarios" / "baseline.yaml").read_text()
    for name in sys.argv[3:] or RUNS:
        changes = RUNS[name]
        with tempfile.TemporaryDirectory() as scenarios:
            for file, content in (("baseline", baseline), ("flora", text)):
                # YAML takes JSON for a value.
                more = "".join(f"\n{key}: {json.dumps(value)}\n" for key, value in changes.items())
                (pathlib.Path(scenarios) / f"{file}.yaml").write_text(content + more)
            command = ["scenario", "flora", "--amplify", AMPLIFY, "--rate", RATE, "--seed", "16"]
            # Long windows: setting an arm up takes far longer than measuring it.
            window = ["--blocks", "6", "--measure", "8s", "--slices", "40"]
            options = ["--victoria-metrics", "off", "--scenarios", scenarios, "--out", directory / name]
            subprocess.run([PROGRAM, *command, *window, *options], cwd=ROOT)


def reports(directory):
    for path in runs(directory):
        yield path.parent.name, json.loads((path / "report.json").read_text())


def micros(estimate, digits=2):
    return "{:.{d}f} ({:.{d}f} to {:.{d}f})".format(
        *(estimate[key] * 1e6 for key in ("estimate", "low", "high")), d=digits)


def slope(report, of):
    return next(s["per_copy"] for s in report["amplification"]["slopes"] if s["of"] == of)


def baseline_cost(report):
    (scenario,) = (s for s in report["scenarios"] if s["name"] == "baseline")
    return next(s for s in scenario["statistics"]
                if (s["metric"], s["subject"]) == ("cpu_seconds_per_request", "target"))


def connections(name):
    return RUNS.get(name, {}).get("load", {}).get("connections", 32)


def most_copies(report):
    return max(report["amplification"]["copies"])


def summary(directory):
    print("| run | copies | connections | one request costs the target, µs | one copy costs everyone, µs (95 %) "
          "| … the target, µs | … of its request | valid trials | yield |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, report in reports(directory):
        base, target = baseline_cost(report), slope(report, "target")
        flora = [s for s in report["scenarios"] if s["name"].startswith("flora")]
        share = "{:.2f} % ({:.2f} to {:.2f})".format(
            *(100 * target[key] / base["estimate"] for key in ("estimate", "low", "high")))
        trials = sum(s["trials"] for s in report["scenarios"])
        yields = {s["telemetry_yield_ratio"] for s in flora}
        print("|", " | ".join([
            name, str(most_copies(report)), str(connections(name)), micros(base, 1),
            micros(slope(report, "everyone")), micros(target), share,
            f"{trials} of {len(report['trials'])}", ", ".join(f"{y:g}" for y in sorted(yields)),
        ]), "|")


def chart(directory):
    """An SVG with a point and an interval for each number of connections."""
    points = [(connections(name), slope(report, "everyone"))
              for name, report in reports(directory)
              if (name == "middle" or "load" in RUNS.get(name, {})) and str(most_copies(report)) == AMPLIFY]
    points.sort(key=lambda point: point[0])
    width, height, left, right, top, bottom = 640, 320, 64, 24, 64, 52
    ceiling = max(0.8, max(p["high"] for _, p in points) * 1e6 * 1.1)
    low, high = math.log10(points[0][0]), math.log10(points[-1][0])

    def x(number):
        return left + 30 + (width - left - right - 60) * (math.log10(number) - low) / (high - low)

    def y(seconds):
        return height - bottom - (height - top - bottom) * seconds * 1e6 / ceiling

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
           f'height="{height}" font-family="DejaVu Sans, sans-serif" font-size="13" fill="#222">',
           f'<rect width="{width}" height="{height}" fill="#fff"/>',
           '<text x="16" y="26" font-size="16" font-weight="bold">What Flora costs a request, by open connections</text>',
           '<text x="16" y="46" fill="#555">CPU time in µs, whoever pays; mean and 95 % interval; 3,000 requests per second</text>']
    step = 0.2 if ceiling < 1.6 else 0.5
    for n in range(int(ceiling / step) + 1):
        at = y(n * step * 1e-6)
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{n * step:.1f}</text>')
    for number, point in points:
        at = x(number)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(point["low"]):.1f}" y2="{y(point["high"]):.1f}" '
                   'stroke="#0072b2" stroke-width="3"/>')
        out.append(f'<circle cx="{at:.1f}" cy="{y(point["estimate"]):.1f}" r="5" fill="#0072b2"/>')
        out.append(f'<text x="{at + 10:.1f}" y="{y(point["estimate"]) + 4:.1f}">{point["estimate"] * 1e6:.2f}</text>')
        out.append(f'<text x="{at:.1f}" y="{height - bottom + 20}" text-anchor="middle">{number:,}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle" fill="#555">'
               'keep-alive connections open to the target</text></svg>')
    (directory / "connections.svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("run" | "pack" | "summary" | "chart") as command, directory, *_]:
            globals()[command](pathlib.Path(directory).resolve())
        case _:
            sys.exit(__doc__)
