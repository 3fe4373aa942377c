"""Timing of the product against references on a machine that may run other work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

BUSY_SHARE = 0.15  # of all processors, from which on a machine counts as busy
SAMPLE_S = 3.0


@dataclass(frozen=True)
class Timing:
    """Wall time, and processor time of all threads of this process, in seconds."""

    wall_s: float
    processor_s: float


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow:
    """One row of the results.

    `value` is the product's figure and `reference` the figure of the best reference, or the goal
    time; both are in `unit`. A larger `ratio` is better, and `goal` is the smallest acceptable one.
    `processor_ratio` is the same ratio of processor times, where both were taken. `compared_with`
    names the reference. `note` states sizes and what was extrapolated.
    """

    name: str
    value: float
    reference: float
    ratio: float
    goal: float
    unit: str
    note: str = ""
    compared_with: str = ""
    processor_ratio: float | None = None


def wall_time(work: Callable[[], object]) -> float:
    """Return the wall time of one call in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_call(work: Callable[[], object]) -> Timing:
    """Return wall and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Timing(time.perf_counter() - wall, time.process_time() - processor)


def alternating_times(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Return the shortest times of each work, measured in turn after a warm-up.

    Other work on the machine only adds time, so the shortest time is the best estimate.
    """
    for work in works.values():
        work()
    timings: dict[str, list[Timing]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            timings[name].append(time_call(work))
    return {name: shortest(taken) for name, taken in timings.items()}


def shortest(timings: list[Timing]) -> Timing:
    """Return the shortest wall time and the shortest processor time of several calls."""
    return Timing(min(t.wall_s for t in timings), min(t.processor_s for t in timings))


def fastest(timings: Mapping[str, Timing]) -> str:
    """Return the name of the work with the shortest wall time."""
    return min(timings, key=lambda name: timings[name].wall_s)


def throughput_row(
    name: str,
    units: float,
    product: Timing,
    references: Mapping[str, Timing],
    goal: float,
    unit: str,
    note: str = "",
) -> BenchmarkRow:
    """Return a row of throughputs from the times that product and references need for the same.

    The ratio is that to the fastest reference; the note lists the ratios to the others.
    """
    best = fastest(references)
    reference = references[best]
    others = [
        f"{other}: {timing.wall_s / product.wall_s:.2f}"
        for other, timing in references.items()
        if other != best
    ]
    return BenchmarkRow(
        name=name,
        value=units / product.wall_s,
        reference=units / reference.wall_s,
        ratio=reference.wall_s / product.wall_s,
        goal=goal,
        unit=unit,
        note="; ".join(part for part in (note, ", ".join(others)) if part),
        compared_with=best,
        processor_ratio=reference.processor_s / product.processor_s,
    )


def time_limit_row(name: str, measured_s: float, limit_s: float, note: str = "") -> BenchmarkRow:
    """Return a row whose ratio is the time limit over the measured time; the goal is 1."""
    return BenchmarkRow(
        name=name,
        value=measured_s,
        reference=limit_s,
        ratio=limit_s / measured_s,
        goal=1.0,
        unit="s",
        note=note,
        compared_with="time limit",
    )


def speedup_row(
    name: str,
    product: Timing,
    references: Mapping[str, Timing],
    goal: float,
    note: str = "",
) -> BenchmarkRow:
    """Return a row of the seconds that the product and the fastest reference need for the same."""
    row = throughput_row(name, 1.0, product, references, goal, "s", note)
    return BenchmarkRow(
        **{**vars(row), "value": product.wall_s, "reference": references[row.compared_with].wall_s}
    )


def busy_share(seconds: float = SAMPLE_S) -> float:
    """Return the share of all processors that other work uses, sampled while this process waits.

    Where the system gives no such counts, the load average per processor.
    """
    counts = Path("/proc/stat")
    if not counts.exists():
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    before = _processor_ticks(counts)
    time.sleep(seconds)
    after = _processor_ticks(counts)
    total, idle = (after[i] - before[i] for i in range(2))
    return 1 - idle / max(total, 1)


def _processor_ticks(counts: Path) -> tuple[int, int]:
    """Return the ticks of all processors so far, and how many of them were idle."""
    ticks = [int(field) for field in counts.read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]
