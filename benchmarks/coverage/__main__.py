"""Simulate the coverage of intervals and write benchmarks/COVERAGE.md.

Finished data sets are kept in benchmarks/coverage/results.jsonl: a run continues where the last one
ended. Delete that file after a change of a statistic. The same seeds give the same table.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.coverage import agreement, areas, proportions, units
from benchmarks.coverage.simulation import ResultFile, Simulation, pending_chunks, run_chunk
from benchmarks.coverage.table import format_page

# A module with further simulations is added here.
SIMULATIONS: tuple[Simulation, ...] = (
    *areas.SIMULATIONS,
    *proportions.SIMULATIONS,
    *agreement.SIMULATIONS,
    *units.SIMULATIONS,
)
FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "results.jsonl", FOLDER.parent / "COVERAGE.md"


def main() -> int:
    """Run what is left of the simulations, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--minutes", type=float, help="stop after this time (default: when done)")
    parser.add_argument("--only", metavar="NAME", choices=[s.name for s in SIMULATIONS])
    arguments = parser.parse_args()
    chosen = [s for s in SIMULATIONS if arguments.only in (None, s.name)]
    results, started = ResultFile(RESULTS), time.monotonic()
    pending = list(pending_chunks(chosen, results.cells))
    for number, (simulation, cell, chunk) in enumerate(pending, start=1):
        if arguments.minutes and time.monotonic() - started > 60 * arguments.minutes:
            break
        results.add(simulation.name, cell, run_chunk(simulation, cell, chunk))
        if number % 50 == 0:
            minutes = (time.monotonic() - started) / 60
            print(f"{number} of {len(pending)} chunks, {minutes:.0f} min", file=sys.stderr)
            PAGE.write_text(format_page(SIMULATIONS, results.cells))
    results.compact()
    PAGE.write_text(format_page(SIMULATIONS, results.cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
