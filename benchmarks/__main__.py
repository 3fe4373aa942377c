"""`python -m benchmarks [NAME ...]`: measures and writes results.json and RESULTS.md beside this
file.
"""

from __future__ import annotations

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
from benchmarks.timing import Row

SUBJECTS: dict[str, Callable[[], Iterable[Row]]] = {
    "performance_page": synthetic_store.measure,  # first: a server has not computed anything before
    "statistics": statistics.measure,
    "ingestion": ingestion.measure,
    "paper_scale": paper_scale.measure,
    "networks": networks.measure,
}
HERE = Path(__file__).parent
FIELDS = ("name", "value", "reference", "ratio", "goal", "unit")


def number(value: float) -> str:
    """Three significant digits, thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: list[Row], took: float) -> str:
    """The results as Markdown."""
    head = [
        "# Benchmarks",
        "",
        (
            "Made by `make bench`. A larger ratio is better; `goal` is the least one wanted."
            " Product and reference are measured in turns in the same run, the shortest time of"
            " each counts. Where the goal is a time, the reference column holds it."
        ),
        "",
        (
            f"{date.today():%d %B %Y}, {platform.machine()}, {torch.get_num_threads()} threads,"
            f" torch {torch.__version__}; {took:.0f} s in all."
        ),
        "",
        "| What | Product | Reference | Ratio | Goal | Unit | Note |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    lines = [
        f"| {r.name} | {number(r.value)} | {number(r.reference)} |"
        f" {'**' if r.ratio < r.goal else ''}{r.ratio:.3g}{'**' if r.ratio < r.goal else ''} |"
        f" {r.goal:g} | {r.unit} | {r.note} |"
        for r in rows
    ]
    return "\n".join([*head, *lines, "", "Ratios below their goal are bold.", ""])


def main() -> int:
    """Measure everything, or the named subjects only (then nothing is written)."""
    chosen = sys.argv[1:] or list(SUBJECTS)
    rows: list[Row] = []
    started = time.perf_counter()
    for name in chosen:
        for row in SUBJECTS[name]():
            rows.append(row)
            print(
                f"{'ok  ' if row.ratio >= row.goal else 'LOW '} {row.name}: {number(row.value)}"
                f" against {number(row.reference)} {row.unit}, ratio {row.ratio:.3g} (goal"
                f" {row.goal:g})",
                flush=True,
            )
        print(f"     {name}: {time.perf_counter() - started:.0f} s so far", file=sys.stderr)
        if not sys.argv[1:]:  # after every subject: a stopped run leaves what it has measured
            write(rows, time.perf_counter() - started)
    return 0


def write(rows: list[Row], took: float) -> None:
    """Both files."""
    plain = [{field: asdict(row)[field] for field in FIELDS} for row in rows]
    (HERE / "results.json").write_text(json.dumps(plain, indent=1) + "\n")
    (HERE / "RESULTS.md").write_text(table(rows, took))


if __name__ == "__main__":
    sys.exit(main())
