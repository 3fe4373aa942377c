"""What a simulation is, how its cells are run, and where their counts are kept."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 100  # data sets that are simulated, and kept, together
CLOSED_FORM_CHUNKS, RESAMPLED_CHUNKS = 20, 5

Cell = dict[str, Any]
# Name of an interval or test -> whether it covered the truth or rejected; None where there is none.
Outcome = dict[str, bool | None]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A group of intervals and tests that are evaluated on the same data sets.

    Attributes
    ----------
    name : str
        Short name, used on the command line.
    title : str
        Heading of its section.
    model : str
        How the data sets are drawn, and what the true value is.
    cells : sequence of Cell
        Settings of every cell; the values are written into the table.
    evaluate : callable
        Draws one data set of a cell with a generator and returns its outcome.
    tests : frozenset of str
        Names in the outcomes that are rejections at level .05; all others are intervals of level
        .95.
    rows, columns : str
        Settings that make rows and columns of the table. An entry is the range over the others.
    resampled : bool
        Whether an evaluation resamples: 500 data sets a cell instead of 2,000.
    """

    name: str
    title: str
    model: str
    cells: Sequence[Cell]
    evaluate: Callable[[Cell, np.random.Generator], Outcome]
    tests: frozenset[str] = frozenset()
    rows: str = "patients"
    columns: str
    resampled: bool = False

    @property
    def chunks(self) -> int:
        """Return how many chunks of data sets a finished cell has."""
        return RESAMPLED_CHUNKS if self.resampled else CLOSED_FORM_CHUNKS


@dataclass(frozen=True)
class CellResult:
    """Outcomes of the data sets of one cell so far.

    Attributes
    ----------
    chunks : int
        Number of finished chunks.
    counts : dict of str to (int, int)
        By name of an interval or test: hits, and data sets in which it existed.
    """

    chunks: int
    counts: dict[str, tuple[int, int]]

    @property
    def datasets(self) -> int:
        """Return the number of data sets."""
        return self.chunks * CHUNK

    def plus(self, counts: dict[str, tuple[int, int]]) -> CellResult:
        """Return the result with one more chunk."""
        both = {
            name: (self.counts.get(name, (0, 0))[0] + hits, self.counts.get(name, (0, 0))[1] + n)
            for name, (hits, n) in counts.items()
        }
        # A name may be missing in a chunk only if it never occurred there.
        return CellResult(self.chunks + 1, self.counts | both)


def grid(**levels: Sequence[Any]) -> list[Cell]:
    """Return every combination of the levels of the settings.

    >>> grid(patients=[20, 40], auc=[0.8])
    [{'patients': 20, 'auc': 0.8}, {'patients': 40, 'auc': 0.8}]
    """
    return [dict(zip(levels, values)) for values in itertools.product(*levels.values())]


def cell_key(simulation: str, cell: Cell) -> str:
    """Return the text that identifies a cell of a simulation."""
    return f"{simulation} {json.dumps(cell, sort_keys=True)}"


def run_chunk(simulation: Simulation, cell: Cell, chunk: int) -> dict[str, tuple[int, int]]:
    """Return hits and existing outcomes by name over one chunk of data sets of a cell.

    The random stream depends on the simulation's name, the cell and the chunk alone.
    """
    seed = zlib.crc32(cell_key(simulation.name, cell).encode())
    generator = np.random.default_rng([seed, chunk])
    counts: dict[str, tuple[int, int]] = {}
    for _ in range(CHUNK):
        for name, outcome in simulation.evaluate(cell, generator).items():
            hits, defined = counts.get(name, (0, 0))
            counts[name] = (hits + bool(outcome), defined + (outcome is not None))
    return counts


def pending_chunks(
    simulations: Sequence[Simulation], results: dict[str, CellResult]
) -> Iterator[tuple[Simulation, Cell, int]]:
    """Yield what is left to run: the first chunk of every cell, then the second, and so on."""
    # Closed forms first, because they are fast.
    ordered = sorted(simulations, key=lambda simulation: simulation.resampled)
    for chunk in range(CLOSED_FORM_CHUNKS):
        for simulation in ordered:
            for cell in simulation.cells if chunk < simulation.chunks else ():
                done = results.get(cell_key(simulation.name, cell))
                if done is None or done.chunks <= chunk:
                    yield simulation, cell, chunk


class ResultFile:
    """Results of the cells as JSON lines, of which the last one of a cell counts.

    Parameters
    ----------
    path : Path
        Created with the first result. A line that was cut off by an interruption is ignored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: dict[str, CellResult] = {}
        self._lines: dict[str, str] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            key = cell_key(record["simulation"], record["cell"])
            counts = {name: (hits, n) for name, (hits, n) in record["counts"].items()}
            self.cells[key] = CellResult(record["chunks"], counts)
            self._lines[key] = line

    def add(self, simulation: str, cell: Cell, counts: dict[str, tuple[int, int]]) -> None:
        """Add one chunk of a cell, and write the cell's line."""
        key = cell_key(simulation, cell)
        self.cells[key] = result = self.cells.get(key, CellResult(0, {})).plus(counts)
        self._lines[key] = json.dumps(
            {
                "simulation": simulation,
                "cell": cell,
                "chunks": result.chunks,
                "counts": result.counts,
            }
        )
        with self.path.open("a") as file:
            file.write(self._lines[key] + "\n")

    def compact(self) -> None:
        """Rewrite the file with one line a cell."""
        if self._lines:
            temporary = self.path.with_suffix(".partial")
            temporary.write_text("".join(line + "\n" for line in self._lines.values()))
            temporary.replace(self.path)
