"""Run the benchmarks and write results.json and RESULTS.md beside this file.

`python -m benchmarks` runs all subjects. `python -m benchmarks NAME ...` runs the named subjects
and writes no file.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch

from benchmarks import ingestion, networks, paper_scale, statistics, synthetic_store
from benchmarks.timing import BenchmarkRow

SUBJECTS: dict[str, Callable[[], Iterable[BenchmarkRow]]] = {
    # The Performance page comes first: its first visit must find a process without caches.
    "performance_page": synthetic_store.measure_performance_page,
    "statistics": statistics.measure_statistics,
    "ingestion": ingestion.measure_ingestion,
    "paper_scale": paper_scale.measure_paper_scale,
    "networks": networks.measure_networks,
}
FOLDER = Path(__file__).parent
JSON_FIELDS = ("name", "value", "reference", "ratio", "goal", "unit")


def format_number(value: float) -> str:
    """Return a number with three significant digits, or without decimals from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def format_markdown(rows: list[BenchmarkRow], total_s: float) -> str:
    """Return the results as a Markdown page."""
    head = [
        "# Benchmarks",
        "",
        (
            "Written by `make bench`. A larger ratio is better; the goal is the smallest acceptable"
            " ratio. Product and reference are measured alternately in the same run, and the"
            " shortest time of each counts. If the goal is a time, the reference column holds it."
        ),
        "",
        (
            f"{date.today():%d %B %Y}, {platform.machine()}, {torch.get_num_threads()} threads,"
            f" torch {torch.__version__}; {total_s:.0f} s in all."
        ),
        "",
        "| Benchmark | Product | Reference | Ratio | Goal | Unit | Note |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    lines = []
    for row in rows:
        emphasis = "**" if row.ratio < row.goal else ""
        lines.append(
            f"| {row.name} | {format_number(row.value)} | {format_number(row.reference)} |"
            f" {emphasis}{row.ratio:.3g}{emphasis} | {row.goal:g} | {row.unit} | {row.note} |"
        )
    return "\n".join([*head, *lines, "", "Ratios below their goal are bold.", ""])


def write_results(rows: list[BenchmarkRow], total_s: float) -> None:
    """Write results.json and RESULTS.md."""
    plain = [{field: asdict(row)[field] for field in JSON_FIELDS} for row in rows]
    (FOLDER / "results.json").write_text(json.dumps(plain, indent=1) + "\n")
    (FOLDER / "RESULTS.md").write_text(format_markdown(rows, total_s))


def main() -> int:
    """Measure the named subjects, or all of them and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUBJECTS))
    names = parser.parse_args().names
    unknown = sorted(set(names) - set(SUBJECTS))
    if unknown:
        parser.error(f"unknown subject {', '.join(unknown)}; choose from {', '.join(SUBJECTS)}")
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
            write_results(rows, time.perf_counter() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main())
