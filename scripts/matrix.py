#!/usr/bin/env python3
"""What do the contenders cost, with light and heavy requests, on the target in Go and in Rust?

    scripts/matrix.py run DIR [LEVEL[:ARM,ARM…]…]
                                        measures all arms, for each amount of work or for those named; records into DIR
    scripts/matrix.py pack DIR          compresses the samples, removes what `report` makes again
    scripts/matrix.py summary DIR       every figure, as Markdown (on standard output)
    scripts/matrix.py chart DIR         DIR/overhead.svg
    scripts/matrix.py readme DIR        puts the short table into README.md, every figure into DIR/README.md
    scripts/matrix.py check DIR         fails when that is not what the two have

`run` takes half an hour for each amount of work on two cores, once `flora-bench setup` has built everything. The records
in results/matrix are from `run` and `pack`.
"""

import json
import pathlib
import subprocess
import sys

from calibration import PROGRAM, ROOT, pack, runs

# A slice of half a second is then a whole number of the batches of 512 spans in which OpenTelemetry's SDKs send:
# nothing is left over that would leave in another arm's slice.
RATE = "2048"
BLOCKS = "8"
# How much work a request is: what differs from the scenario files.
LEVELS = {
    "light": ["--objects", "0", "--work", "0", "--measure", "2s", "--slices", "4"],
    "middle": [],
    "heavy": ["--work", "6", "--measure", "2s", "--slices", "4"],
}
# In the order of the tables; `baseline-twin` says what is noise.
ARMS = {
    "go-1.19": "none, built by Go 1.19",
    "flora-go": "Flora",
    "opentelemetry": "OpenTelemetry SDK, Collector",
    "opentelemetry-ebpf": "OpenTelemetry eBPF (uprobes)",
    "datadog": "Datadog, as it comes",
    "datadog-full": "Datadog, every trace",
    "datadog-everything": "Datadog, and profiler",
    "flora": "Flora",
    "opentelemetry-rust": "OpenTelemetry SDK, Collector",
    "datadog-rust": "Datadog, as it comes",
}
RUST = ["flora", "opentelemetry-rust", "datadog-rust"]
GO = [name for name in ARMS if name not in RUST]
# What Go's version and the profiler change is asked at one level only.
AT_ONE_LEVEL = {"go-1.19", "datadog-everything"}
BEGIN, END = "<!-- made by: scripts/matrix.py readme results/matrix -->", "<!-- end -->"
README = ROOT / "README.md"


def run(directory):
    for cell in sys.argv[3:] or LEVELS:
        level, _, wanted = cell.partition(":")
        options = [*LEVELS[level], "--rate", RATE, "--blocks", BLOCKS, "--seed", "6", "--victoria-metrics", "off"]
        for names in (GO, RUST):
            usual = [name for name in names if level == "middle" or name not in AT_ONE_LEVEL]
            names = [name for name in names if name in wanted.split(",")] if wanted else usual
            if not names:
                continue
            subprocess.run([PROGRAM, "scenario", *names, *options, "--out", directory / level], cwd=ROOT)


def cells(directory):
    """Level, language, report of each run."""
    for level in LEVELS:
        for path in runs(directory / level):
            report = json.loads((path / "report.json").read_text())
            target = json.loads((path / "plan.json").read_text())["arms"][0]["target"]["program"]
            yield level, "Go" if target.endswith("-go") else "Rust", report


def change(report, arm, metric, subject):
    rows = [c for c in report["comparisons"]
            if (c["scenario"], c["metric"], c["subject"]) == (arm, metric, subject)]
    return rows[0] if rows else None


def statistic(report, arm, metric, subject):
    (scenario,) = (s for s in report["scenarios"] if s["name"] == arm)
    rows = [s for s in scenario["statistics"] if (s["metric"], s["subject"]) == (metric, subject)]
    return rows[0]["estimate"] if rows else None


def scenarios(report):
    by_name = {s["name"]: s for s in report["scenarios"]}
    return [(name, by_name[name]) for name in ARMS if name in by_name]


def micros(row, digits=1):
    keys = ("overhead", "overhead_low", "overhead_high")
    return "{:+.{d}f} ({:+.{d}f} to {:+.{d}f})".format(*(row[key] * 1e6 for key in keys), d=digits)


def percent(row):
    keys = ("overhead_ratio", "low", "high")
    return "{:+.1f} % ({:+.1f} to {:+.1f})".format(*(row[key] * 100 for key in keys))


def mebibytes(value):
    return "–" if value is None else f"{value / 2**20:.1f}"


def reported(scenario):
    ratio = scenario["telemetry_yield_ratio"]
    return "–" if ratio is None else f"{ratio * 100:.4g} %"


def base(report):
    return statistic(report, "baseline", "cpu_seconds_per_request", "target")


def summary(directory):
    print(figures(directory))


def figures(directory):
    lines = []
    for level, language, report in cells(directory):
        (floor,) = (f for f in report["noise_floor"]
                    if (f["metric"], f["subject"]) == ("cpu_seconds_per_request", "target"))
        lines += [f"### {level}, {language}: {base(report) * 1e6:.1f} µs a request", "",
                  f"The baseline's twin: {percent(floor)}.", "",
                  "| arm | target CPU a request, µs | of the baseline's | agent's own, µs | all of it, µs | verdict "
                  "| target's memory, MiB | agent's, MiB | requests reported | valid trials |",
                  "|---|---|---|---|---|---|---|---|---|---|"]
        for name, scenario in scenarios(report):
            target = change(report, name, "cpu_seconds_per_request", "target")
            total = change(report, name, "cpu_seconds_per_request", "total")
            memory = change(report, name, "memory_working_set_bytes", "target")
            own = statistic(report, name, "cpu_seconds_per_request", "agent")
            trials = f"{scenario['trials']} of {scenario['planned_trials']}"
            if target is None:
                lines.append("| " + " | ".join([f"`{name}`", *["–"] * 7, reported(scenario), trials]) + " |")
                continue
            lines.append("| " + " | ".join([
                f"`{name}`", micros(target), percent(target), "–" if own is None else f"{own * 1e6:.2f}",
                micros(total) if total else "–", target["verdict"].replace("_", " "),
                f"{memory['overhead'] / 2**20:+.1f}" if memory else "–",
                mebibytes(statistic(report, name, "memory_working_set_bytes", "agent")), reported(scenario), trials,
            ]) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()


def block(directory):
    """The short table: one row an arm, one column an amount of work."""
    found = {}
    costs = {}
    for level, language, report in cells(directory):
        costs[language, level] = base(report)
        for name, scenario in scenarios(report):
            found[name, level] = (report, scenario)
    lines = []
    for language in ("Go", "Rust"):
        names = [n for n in (GO if language == "Go" else RUST) if (n, "middle") in found]
        if not names:
            continue
        heads = [f"{level}, {costs[language, level] * 1e6:.0f} µs" for level in LEVELS if (language, level) in costs]
        lines += [f"| target in {language} | " + " | ".join(heads)
                  + " | agent's own, µs | memory, MiB: target, agent | requests reported |",
                  "|---|" + "---|" * (len(heads) + 3)]
        for name in names:
            row = [ARMS[name] + f" (`{name}`)"]
            for level in LEVELS:
                if (language, level) not in costs:
                    continue
                cell = change(found[name, level][0], name, "cpu_seconds_per_request", "target") \
                    if (name, level) in found else None
                row.append("–" if cell is None else
                           f"{cell['overhead'] * 1e6:+.1f} µs, {percent(cell)}")
            report, scenario = found[name, "middle"]
            own = statistic(report, name, "cpu_seconds_per_request", "agent")
            memory = change(report, name, "memory_working_set_bytes", "target")
            row.append("–" if own is None else f"{own * 1e6:.1f}")
            row.append((f"{memory['overhead'] / 2**20:+.1f}" if memory else "–") + ", "
                       + mebibytes(statistic(report, name, "memory_working_set_bytes", "agent")))
            row.append(reported(scenario))
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()


def pages(directory):
    """Each page with its tables, as it is to be."""
    for page, tables in ((README, block(directory)), (directory / "README.md", figures(directory))):
        before, rest = page.read_text().split(BEGIN)
        _, after = rest.split(END, 1)
        yield page, f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def readme(directory):
    for page, text in pages(directory):
        page.write_text(text)


def check(directory):
    for page, text in pages(directory):
        if text != page.read_text():
            sys.exit(f"{page}: its tables are not what the records give; run scripts/matrix.py readme results/matrix")


def chart(directory):
    """What one request costs on top, in CPU time: the target's part and the agent's own, arm by arm."""
    panels = [(level, language, report) for level, language, report in cells(directory)]
    rows = [(language, name) for language in ("Go", "Rust") for name in ARMS
            if ("Go" if name in GO else "Rust") == language
            and any(lang == language and name in dict(scenarios(r)) for _, lang, r in panels)]
    levels = [level for level in LEVELS if any(l == level for l, _, _ in panels)]
    left, top, width, height, gap = 275, 96, 230, 30, 26
    totals = [t for _, _, r in panels for n, _ in scenarios(r)
              if (t := change(r, n, "cpu_seconds_per_request", "total"))]
    ceiling = max(t["overhead_high"] for t in totals) * 1e6 * 1.05
    full_width = left + len(levels) * (width + gap) + 30
    full_height = top + (len(rows) + 1) * height + 60
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full_width} {full_height}" width="{full_width}" '
           f'height="{full_height}" font-family="DejaVu Sans, sans-serif" font-size="13" fill="#222">',
           f'<rect width="{full_width}" height="{full_height}" fill="#fff"/>',
           '<text x="16" y="28" font-size="17" font-weight="bold">What one request costs on top, in µs of CPU time</text>',
           f'<text x="16" y="48" fill="#555">{RATE} requests per second; whiskers: 95 % interval of the sum</text>',
           '<rect x="16" y="60" width="12" height="12" fill="#d55e00"/><text x="34" y="71">in the target</text>',
           '<rect x="140" y="60" width="12" height="12" fill="#0072b2"/><text x="158" y="71">in the agent\'s own processes</text>']
    for column, level in enumerate(levels):
        x0 = left + column * (width + gap)
        cost = {language: base(r) * 1e6 for l, language, r in panels if l == level}
        words = ", ".join(f"{language} {value:.0f} µs" for language, value in cost.items())
        out.append(f'<text x="{x0}" y="{top - 4}" font-weight="bold">{level}</text>'
                   f'<text x="{x0 + width}" y="{top - 4}" fill="#555" text-anchor="end">{words}</text>')
        step = next(s for s in (5, 10, 20, 50, 100, 200, 500) if ceiling / s <= 5)
        for n in range(int(ceiling / step) + 1):
            x = x0 + width * n * step / ceiling
            bottom = top + len(rows) * height + height
            out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + 4}" y2="{bottom}" stroke="#ddd"/>'
                       f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{n * step}</text>')
    y = top
    last = None
    for language, name in rows:
        if last and last != language:
            y += height
        y += height
        label = f"{ARMS[name]}"
        out.append(f'<text x="16" y="{y - 8}">{label}</text>'
                   f'<text x="{left - 12}" y="{y - 8}" text-anchor="end" fill="#555">{language}</text>')
        for column, level in enumerate(levels):
            report = next((r for l, lang, r in panels if (l, lang) == (level, language)), None)
            target = report and change(report, name, "cpu_seconds_per_request", "target")
            # Without an agent, the target is all there is.
            total = report and (change(report, name, "cpu_seconds_per_request", "total") or target)
            x0 = left + column * (width + gap)
            if not total or not target:
                measured = report and name in dict(scenarios(report))
                words = "no valid result" if measured else "not measured"
                out.append(f'<text x="{x0 + 4}" y="{y - 8}" fill="#888">{words}</text>')
                continue
            scale = width / ceiling * 1e6
            part = max(target["overhead"], 0) * scale
            whole = max(total["overhead"], 0) * scale
            out.append(f'<rect x="{x0}" y="{y - 20}" width="{part:.1f}" height="15" fill="#d55e00"/>')
            if whole > part:
                out.append(f'<rect x="{x0 + part:.1f}" y="{y - 20}" width="{whole - part:.1f}" height="15" fill="#0072b2"/>')
            low, high = (x0 + max(total[k], 0) * scale for k in ("overhead_low", "overhead_high"))
            out.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y - 12.5}" y2="{y - 12.5}" stroke="#222"/>')
            words = f"{total['overhead'] * 1e6:.1f}"
            at = high + 6
            anchor, ink = "start", "#222"
            if at > x0 + width - 24:
                at, anchor, ink = low - 6, "end", "#fff"
            out.append(f'<text x="{at:.1f}" y="{y - 8}" text-anchor="{anchor}" fill="{ink}">{words}</text>')
        last = language
    out.append("</svg>")
    (directory / "overhead.svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("run" | "pack" | "summary" | "chart" | "readme" | "check") as command, directory, *_]:
            globals()[command](pathlib.Path(directory).resolve())
        case _:
            sys.exit(__doc__)
