"""Run the benchmarks and write results.json and RESULTS.md beside this file.

`python -m benchmarks` runs all subjects. It refuses to on a machine that does other work, because
the times would mean little; `--busy` runs them nevertheless, and the page says so.
`python -m benchmarks NAME ...` runs the named subjects and writes no file. Times of the pages in a
browser are measured by `python -m benchmarks.page_times`, growth by `python -m benchmarks.growth`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch

from benchmarks import ingestion, networks, paper_scale, peers, statistics, synthetic_store
from benchmarks.timing import BUSY_SHARE, BenchmarkRow, busy_share

SUBJECTS: dict[str, Callable[[], Iterable[BenchmarkRow]]] = {
    # The Performance page comes first: its first visit must find a process without caches.
    "performance_page": synthetic_store.measure_performance_page,
    "statistics": statistics.measure_statistics,
    "ingestion": ingestion.measure_ingestion,
    "paper_scale": paper_scale.measure_paper_scale,
    "networks": networks.measure_networks,
    "peers": peers.measure_peers,
}
FOLDER = Path(__file__).parent
JSON_FIELDS = (
    "name",
    "value",
    "reference",
    "compared_with",
    "ratio",
    "processor_ratio",
    "goal",
    "unit",
)


def format_number(value: float) -> str:
    """Return a number with three significant digits, or without decimals from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def format_markdown(rows: list[BenchmarkRow], total_s: float, other_work: float) -> str:
    """Return the results as a Markdown page.

    other_work: share of the processors that other work used before the first subject.
    """
    head = [
        "# Benchmarks",
        "",
        (
            "Written by `make bench`. A larger ratio is better; the goal is the smallest acceptable"
            " ratio. Product and references are measured in turn in the same run, and the shortest"
            " time of each counts. The reference is the fastest of those that are installed; the"
            " note gives the ratios to the others. If the goal is a time, the reference column"
            " holds it. The column CPU has the ratio of processor times."
        ),
        "",
        (
            f"{date.today():%d %B %Y}, {platform.machine()}, {os.cpu_count()} processors,"
            f" {torch.get_num_threads()} threads, torch {torch.__version__}; other work used"
            f" {other_work:.0%} of the processors before the start; {total_s:.0f} s in all."
        ),
        "",
        "| Benchmark | Product | Reference | Compared with | Ratio | CPU | Goal | Unit | Note |",
        "|---|---:|---:|---|---:|---:|---:|---|---|",
    ]
    lines = []
    for row in rows:
        emphasis = "**" if row.ratio < row.goal else ""
        processor = "" if row.processor_ratio is None else f"{row.processor_ratio:.3g}"
        lines.append(
            f"| {row.name} | {format_number(row.value)} | {format_number(row.reference)} |"
            f" {row.compared_with} | {emphasis}{row.ratio:.3g}{emphasis} | {processor} |"
            f" {row.goal:g} | {row.unit} | {row.note} |"
        )
    return "\n".join([*head, *lines, "", "Ratios below their goal are bold.", ""])


def write_results(rows: list[BenchmarkRow], total_s: float, other_work: float) -> None:
    """Write results.json and RESULTS.md."""
    plain = [{field: asdict(row)[field] for field in JSON_FIELDS} for row in rows]
    (FOLDER / "results.json").write_text(json.dumps(plain, indent=1) + "\n")
    (FOLDER / "RESULTS.md").write_text(format_markdown(rows, total_s, other_work))


def main() -> int:
    """Measure the named subjects, or all of them and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--busy", action="store_true", help="measure beside other work")
    arguments = parser.parse_args()
    names = arguments.names
    unknown = sorted(set(names) - set(SUBJECTS))
    if unknown:
        parser.error(f"unknown subject {', '.join(unknown)}; choose from {', '.join(SUBJECTS)}")
    other_work = busy_share()
    if not names and not arguments.busy and other_work > BUSY_SHARE:
        parser.error(
            f"other work uses {other_work:.0%} of the processors (at most {BUSY_SHARE:.0%}):"
            " end it, or measure nevertheless with --busy"
        )
    rows: list[BenchmarkRow] = []
    started = time.perf_counter()
    for name in names or SUBJECTS:
        for row in SUBJECTS[name]():
            rows.append(row)
            print(
                f"{'ok  ' if row.ratio >= row.goal else 'LOW '} {row.name}:"
                f" {format_number(row.value)} against {format_number(row.reference)} {row.unit},"
                f" ratio {row.ratio:.3g} (goal {row.goal:g})",
                flush=True,
            )
        print(f"     {name}: {time.perf_counter() - started:.0f} s so far", file=sys.stderr)
        if not names:  # after every subject, so that an interrupted run keeps its results
            write_results(rows, time.perf_counter() - started, other_work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
