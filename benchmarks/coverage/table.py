"""The Markdown page of the simulated coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.coverage.simulation import (
    CHUNK,
    CLOSED_FORM_CHUNKS,
    RESAMPLED_CHUNKS,
    Cell,
    CellResult,
    Simulation,
    cell_key,
)

INTERVAL_GOAL, TEST_GOAL = (0.93, 0.97), (0.04, 0.06)
COMPARISON = "(for comparison)"
HEAD = f"""# Coverage

Written by `python -m benchmarks.coverage`. Every interval and test that the product prints is
evaluated by the product's own functions on simulated data sets: {CHUNK * CLOSED_FORM_CHUNKS:,} a
cell for closed forms, {CHUNK * RESAMPLED_CHUNKS} for resampled ones. Wanted: a coverage of the 95 %
intervals from .93 to .97, and a type I error at level .05 from .04 to .06. An entry is the range
over the cells of its row and column. "outside" counts the cells that miss the goal by more than two
Monte Carlo errors, below and above; for intervals, above means that the interval is wider than
needed. Intervals marked "for comparison" are not printed. Where a method gives no interval in some
data sets, they are left out and their share is stated.
"""

# A cell with hits, data sets in which the interval or test existed, and all data sets.
Entry = tuple[Cell, int, int, int]


def format_share(value: float) -> str:
    """Return a share with three decimals and without a leading zero.

    >>> format_share(0.95), format_share(1)
    ('.950', '1.000')
    """
    return f"{value:.3f}".removeprefix("0") if value < 0.9995 else "1.000"


def outside(hits: int, defined: int, goal: tuple[float, float]) -> int:
    """Return -1 or 1 where a share misses a goal by more than two Monte Carlo errors, else 0.

    >>> outside(1800, 2000, (0.93, 0.97)), outside(1900, 2000, (0.93, 0.97))
    (-1, 0)
    """
    low, high = goal
    if hits / defined < low - 2 * math.sqrt(low * (1 - low) / defined):
        return -1
    return int(hits / defined > high + 2 * math.sqrt(high * (1 - high) / defined))


def format_page(simulations: Sequence[Simulation], results: dict[str, CellResult]) -> str:
    """Return the page."""
    lines = [HEAD, *_misses(simulations, results)]
    for simulation in simulations:
        lines += _section(simulation, results)
    return "\n".join(lines).rstrip() + "\n"


def _misses(simulations: Sequence[Simulation], results: dict[str, CellResult]) -> list[str]:
    """Return how many printed cells miss the goal, and each one that promises too much."""
    totals = {True: [0, 0, 0], False: [0, 0, 0]}  # by kind (test, interval): cells, below, above
    rows = []
    for simulation in simulations:
        for cell in simulation.cells:
            result = results.get(cell_key(simulation.name, cell), CellResult(0, {}))
            for name, (hits, defined) in result.counts.items():
                if COMPARISON in name or not defined:
                    continue
                is_test = name in simulation.tests
                side = outside(hits, defined, TEST_GOAL if is_test else INTERVAL_GOAL)
                total = totals[is_test]
                total[0], total[1], total[2] = (
                    total[0] + 1,
                    total[1] + (side < 0),
                    total[2] + (side > 0),
                )
                if side == (1 if is_test else -1):
                    settings = ", ".join(f"{key} {value}" for key, value in cell.items())
                    rows.append(f"| {name} | {settings} | {format_share(hits / defined)} |")
    tests, intervals = totals[True], totals[False]
    return [
        "## Where the goal is missed",
        "",
        f"Of {intervals[0]:,} cells of printed intervals, {intervals[1]} cover less often than"
        f" wanted and {intervals[2]} more often (wider than needed, nearly all at 20 and 40"
        f" patients or at proportions and areas near 1). Of {tests[0]} cells of printed tests,"
        f" {tests[2]} reject more often than wanted and {tests[1]} less often (discrete and"
        " small-sample tests). In the cells of this table the printed number promises more than it"
        " holds:",
        "",
        "| | cell | coverage or type I error |",
        "|---|---|---:|",
        *rows,
        "",
    ]


def _section(simulation: Simulation, results: dict[str, CellResult]) -> list[str]:
    known = [
        (cell, results[key])
        for cell in simulation.cells
        if (key := cell_key(simulation.name, cell)) in results
    ]
    lines = [f"## {simulation.title}", "", simulation.model, "", _levels(simulation), ""]
    done = sum(result.chunks >= simulation.chunks for _, result in known)
    if done < len(simulation.cells):
        least = min((result.datasets for _, result in known), default=0)
        lines += [
            f"Unfinished: {done} of {len(simulation.cells)} cells have"
            f" {simulation.chunks * CHUNK:,} data sets; {len(known) - done} have fewer, at least"
            f" {least:,}.",
            "",
        ]
    names = dict.fromkeys(name for _, result in known for name in result.counts)
    if not names:
        return lines
    columns = list(dict.fromkeys(cell[simulation.columns] for cell in simulation.cells))
    lines += [
        f"| | {simulation.rows} |"
        + "".join(f" {simulation.columns} {value} |" for value in columns)
        + " outside | no result |",
        "|---|---:|" + "---|" * len(columns) + "---|---|",
    ]
    for name in names:
        entries = [
            (cell, *result.counts[name], result.datasets)
            for cell, result in known
            if name in result.counts
        ]
        lines += _rows(simulation, name, entries, columns)
    return [*lines, ""]


def _levels(simulation: Simulation) -> str:
    """Return the levels of the grid as a sentence."""
    parts = []
    for name in simulation.cells[0]:
        values = sorted({cell[name] for cell in simulation.cells}, key=str)
        if all(isinstance(value, (int, float)) for value in values):
            values.sort()
        parts.append(f"{name} {', '.join(str(value) for value in values)}")
    return f"{len(simulation.cells)} cells: {'; '.join(parts)}."


def _rows(
    simulation: Simulation, name: str, entries: Sequence[Entry], columns: Sequence[object]
) -> list[str]:
    goal = TEST_GOAL if name in simulation.tests else INTERVAL_GOAL
    lines = []
    for row in dict.fromkeys(entry[0][simulation.rows] for entry in entries):
        chosen = [entry for entry in entries if entry[0][simulation.rows] == row]
        texts = []
        for column in columns:
            shares = [
                hits / defined
                for cell, hits, defined, _ in chosen
                if cell[simulation.columns] == column and defined
            ]
            texts.append(_range(shares))
        sides = [outside(hits, defined, goal) for _, hits, defined, _ in chosen if defined]
        missing = 1 - sum(entry[2] for entry in chosen) / sum(entry[3] for entry in chosen)
        lines.append(
            f"| {name} | {row} |"
            + "".join(f" {text} |" for text in texts)
            + f" {sides.count(-1)} below, {sides.count(1)} above of {len(sides)} |"
            + f" {format_share(missing) if missing else ''} |"
        )
    return lines


def _range(shares: Sequence[float]) -> str:
    if not shares:
        return ""
    low, high = format_share(min(shares)), format_share(max(shares))
    return low if low == high else f"{low}-{high}"
