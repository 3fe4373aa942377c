"""Timing two things against each other on a machine that does other work too."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the results. value: the product; reference: what it is measured against, or the
    goal time; ratio: larger is better; goal: least ratio wanted; unit: of value and reference;
    note: sizes, and what was extrapolated.
    """

    name: str
    value: float
    reference: float
    ratio: float
    goal: float
    unit: str
    note: str = ""


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rivals(
    product: Callable[[], object], reference: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Shortest seconds of either, measured in turns after one warm-up of both: other work on the
    machine only ever adds time.
    """
    product(), reference()
    pairs = [(seconds(product), seconds(reference)) for _ in range(rounds)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def rate(
    name: str,
    units: float,
    product_s: float,
    reference_s: float,
    goal: float,
    unit: str,
    note: str = "",
) -> Row:
    """A row of throughputs from seconds for the same number of units."""
    return Row(
        name, units / product_s, units / reference_s, reference_s / product_s, goal, unit, note
    )


def within(name: str, measured_s: float, goal_s: float, note: str = "") -> Row:
    """A row whose goal is a time: ratio = goal time / measured time, goal 1."""
    return Row(name, measured_s, goal_s, goal_s / measured_s, 1.0, "s", note)


def speedup(name: str, product_s: float, reference_s: float, goal: float, note: str = "") -> Row:
    """A row of seconds for the same work."""
    return Row(name, product_s, reference_s, reference_s / product_s, goal, "s", note)
