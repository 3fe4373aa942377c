"""Measure `deepminer reproduce` on a simulated release and write benchmarks/REPRODUCTION.md.

    python -m benchmarks.reproduction --folder FOLDER

writes the release below FOLDER, reproduces the papers from it, and runs the command a second time,
which must not run any step again. It takes about 30 minutes on two cores and 6 GB of disk. Films
are phantoms and weights random: the page shows that every value, table and figure is computed from
files of the published form and size, not that the published values are reached.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.reproduction.simulated_release import LABELLED, write_release
from core.progress import ProgressCallback
from evaluation.intervals import decimal
from evaluation.reproduction import Reproduction, reproduce_papers

PAGE = Path(__file__).parent.parent / "REPRODUCTION.md"


class StepTimes:
    """Measures the wall time of every step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, step: str) -> Iterator[ProgressCallback]:
        """Add the time inside the context to a step."""
        print(step, file=sys.stderr, flush=True)
        started = time.monotonic()
        yield lambda *_: None
        self.seconds[step] = self.seconds.get(step, 0) + time.monotonic() - started


def run_second_time(release: Path, out: Path) -> tuple[float, dict[str, object]]:
    """Run the command on a finished reproduction; return seconds and its JSON result."""
    command = ["deepminer", "reproduce", str(release), "--out", str(out), "--json"]
    started = time.monotonic()
    finished = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        check=True,
        capture_output=True,
        text=True,
    )
    return time.monotonic() - started, json.loads(finished.stdout)["result"]


def list_runs(out: Path) -> list[str]:
    """Return the run folders of all studies."""
    return sorted(str(run.relative_to(out)) for run in (out / "studies").glob("*/runs/*"))


def format_page(
    reproduction: Reproduction, out: Path, times: StepTimes, repeated: float
) -> list[str]:
    """Return the lines of the page."""
    labelled = sum(number for (_, classes), number in LABELLED.items() if classes == 2)
    lines = [
        "# Reproduction of the papers from a simulated release",
        "",
        "Written by `python -m benchmarks.reproduction`. Simulated: 40 phantom films of 20"
        " patients, five checkpoints of the published architectures with random weights,"
        f" {labelled} labelled units of four networks of two classes and 46 of the network of three"
        " classes. Files, names and forms are those of the published repository. No computed value"
        " can agree with a published one, except the numbers of labelled units.",
        "",
        f"{time.strftime('%d %B %Y')}, {platform.machine()}, PyTorch {torch.__version__},"
        f" {torch.get_num_threads()} thread(s). Load at the end, over 15 minutes:"
        f" {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores.",
        "",
        "## Times",
        "",
        "| step | seconds |",
        "|---|---:|",
        *(f"| {step} | {seconds:.0f} |" for step, seconds in times.seconds.items()),
        f"| all | {sum(times.seconds.values()):.0f} |",
        f"| the command again, no step run again | {repeated:.0f} |",
        "",
        "## Values",
        "",
        "| source | quantity | published | computed | reason of the difference |",
        "|---|---|---:|---:|---|",
    ]
    for comparison in reproduction.comparisons:
        published, ours = comparison.published, comparison.computed
        lines.append(
            f"| {published.source} | {published.quantity}"
            f" | {decimal(published.value, published.digits)}"
            f" | {decimal(None if ours is None else ours.value, published.digits)}"
            f" | {comparison.reason()} |"
        )
    lines += ["", "## Missing or unused material", ""]
    lines += [f"- {gap.part}: {gap.effect}" for gap in reproduction.gaps]
    return [*lines, "", "## Files", "", *_file_rows(out)]


def _file_rows(out: Path) -> Sequence[str]:
    """Return a table of the exported files: their formats by folder and name."""
    formats: dict[str, list[str]] = {}
    for file in sorted(out.rglob("*")):
        relative = file.relative_to(out)
        if file.is_file() and relative.parts[0] != "studies":
            formats.setdefault(str(relative).partition(".")[0], []).append(
                f"{file.name.partition('.')[2]} ({file.stat().st_size / 1000:.0f} kB)"
            )
    return [
        "| file | formats |",
        "|---|---|",
        *(f"| {name} | {', '.join(endings)} |" for name, endings in formats.items()),
    ]


def main() -> None:
    """Write the release, reproduce the papers twice and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reproduction", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--folder", type=Path, required=True, help="empty folder for all files")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    release, out = folder / "simulated_release", folder / "reproduction"
    times = StepTimes()
    if not release.exists():
        with times.measure("simulated release"):
            write_release(release)
    reproduction = reproduce_papers(release, out, "simulated", times.measure)
    runs = list_runs(out)
    repeated, result = run_second_time(release, out)
    if list_runs(out) != runs:
        raise SystemExit("The repeated command ran a step again.")
    values = [c.computed and c.computed.value for c in reproduction.comparisons]
    if [row["computed"] for row in result["values"]] != values:  # type: ignore[index]
        raise SystemExit("The repeated command gives other values.")
    PAGE.write_text("\n".join(format_page(reproduction, out, times, repeated)) + "\n")
    print(f"{PAGE} was written.")


if __name__ == "__main__":
    main()
