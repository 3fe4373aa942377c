"""Timing of the product against a reference on a machine that may run other work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow:
    """One row of the results.

    `value` is the product's figure and `reference` the figure it is compared with, or the goal
    time; both are in `unit`. A larger `ratio` is better, and `goal` is the smallest acceptable one.
    `note` states sizes and what was extrapolated.
    """

    name: str
    value: float
    reference: float
    ratio: float
    goal: float
    unit: str
    note: str = ""


def wall_time(work: Callable[[], object]) -> float:
    """Return the wall time of one call in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternating_times(
    product: Callable[[], object], reference: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Return the shortest seconds of product and reference, measured alternately after a warm-up.

    Other work on the machine only adds time, so the shortest time is the best estimate.
    """
    product(), reference()
    pairs = [(wall_time(product), wall_time(reference)) for _ in range(rounds)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def throughput_row(
    name: str,
    units: float,
    product_s: float,
    reference_s: float,
    goal: float,
    unit: str,
    note: str = "",
) -> BenchmarkRow:
    """Return a row of throughputs from the seconds for the same number of units."""
    return BenchmarkRow(
        name=name,
        value=units / product_s,
        reference=units / reference_s,
        ratio=reference_s / product_s,
        goal=goal,
        unit=unit,
        note=note,
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
    )


def speedup_row(
    name: str, product_s: float, reference_s: float, goal: float, note: str = ""
) -> BenchmarkRow:
    """Return a row of the seconds that product and reference need for the same work."""
    return BenchmarkRow(
        name=name,
        value=product_s,
        reference=reference_s,
        ratio=reference_s / product_s,
        goal=goal,
        unit="s",
        note=note,
    )
