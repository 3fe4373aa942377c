"""Running, resuming and tabulating simulated coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage.__main__ import SIMULATIONS
from benchmarks.coverage.agreement import _population_alpha
from benchmarks.coverage.simulation import (
    CHUNK,
    CellResult,
    ResultFile,
    Simulation,
    cell_key,
    pending_chunks,
    run_chunk,
)
from benchmarks.coverage.table import format_page
from evaluation.agreement import krippendorff_alpha


def coin(share: float) -> Simulation:
    """Return a simulation whose interval covers at random."""
    return Simulation(
        name="coin",
        title="Coins",
        model="Coins.",
        cells=[{"patients": 20, "side": 1}, {"patients": 40, "side": 1}],
        evaluate=lambda cell, generator: {
            "coin (printed)": bool(generator.random() < share),
            "never": None,
        },
        columns="side",
        resampled=True,
    )


@pytest.mark.parametrize("simulation", SIMULATIONS, ids=lambda simulation: simulation.name)
def test_every_simulation_evaluates_its_first_and_its_last_cell(simulation):
    for cell in (simulation.cells[0], simulation.cells[-1]):
        outcome = simulation.evaluate(cell, np.random.default_rng(1))
        assert set(outcome.values()) <= {True, False, None}
        assert {simulation.rows, simulation.columns} <= cell.keys()
        assert any(value is not None for value in outcome.values())


def test_cells_and_names_are_distinct():
    keys = [cell_key(s.name, cell) for s in SIMULATIONS for cell in s.cells]
    assert len(set(keys)) == len(keys)


def test_seeds_depend_on_cell_and_chunk_alone():
    drawn: list[float] = []

    def evaluate(cell, generator):
        drawn.append(generator.random())
        return {"coin (printed)": drawn[-1] < 0.5}

    simulation = replace(coin(0.5), evaluate=evaluate)
    first, second = simulation.cells
    for cell, chunk in ((first, 0), (first, 0), (first, 1), (second, 0)):
        run_chunk(simulation, cell, chunk)
    runs = np.reshape(drawn, (4, CHUNK))
    assert np.array_equal(runs[0], runs[1])
    # No other two data sets share a draw.
    assert len(np.unique(runs[1:])) == 3 * CHUNK


def test_interrupted_run_continues(tmp_path):
    simulation, path = coin(0.9), tmp_path / "results.jsonl"
    whole = ResultFile(tmp_path / "whole.jsonl")
    for _, cell, chunk in pending_chunks([simulation], whole.cells):
        whole.add(simulation.name, cell, run_chunk(simulation, cell, chunk))
    results = ResultFile(path)
    pending = list(pending_chunks([simulation], results.cells))
    assert [chunk for _, _, chunk in pending] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for _, cell, chunk in pending[:3]:
        results.add(simulation.name, cell, run_chunk(simulation, cell, chunk))
    with path.open("a") as file:
        file.write('{"simulation": "coin", "ce')
    path.write_text(path.read_text() + "\n")
    again = ResultFile(path)
    left = list(pending_chunks([simulation], again.cells))
    assert [(cell["patients"], chunk) for _, cell, chunk in left] == [
        (40, 1), (20, 2), (40, 2), (20, 3), (40, 3), (20, 4), (40, 4)
    ]  # fmt: skip
    for _, cell, chunk in left:
        again.add(simulation.name, cell, run_chunk(simulation, cell, chunk))
    again.compact()
    assert ResultFile(path).cells == again.cells == whole.cells
    assert len(path.read_text().splitlines()) == 2
    assert all(result.datasets == 5 * CHUNK for result in again.cells.values())


def test_table_counts_cells_that_miss_the_goal():
    simulation = coin(0.5)
    keys = [cell_key(simulation.name, cell) for cell in simulation.cells]
    results = {
        keys[0]: CellResult(5, {"coin (printed)": (450, 500), "never": (0, 0)}),
        keys[1]: CellResult(5, {"coin (printed)": (360, 375), "never": (0, 0)}),
    }
    page = format_page([simulation], results)
    assert "| coin (printed) | 20 | .900 | 1 below, 0 above of 1 |  |" in page
    assert "| coin (printed) | 40 | .960 | 0 below, 0 above of 1 | .250 |" in page
    assert "| never | 20 |  | 0 below, 0 above of 0 | 1.000 |" in page and "Unfinished" not in page
    test = replace(simulation, tests=frozenset({"coin (printed)"}))
    assert "| coin (printed) | 20 | .900 | 0 below, 1 above of 1 |" in format_page([test], results)
    del results[keys[1]]
    assert "Unfinished: 1 of 2 cells have 500 data sets" in format_page([simulation], results)


def test_population_value_of_alpha():
    """The integral against alpha of many items."""
    rng = np.random.default_rng(2)
    trait = np.sqrt(0.7) * rng.normal(size=60_000)
    ratings = np.searchsorted((0.25, 1.0), trait + np.sqrt(0.3) * rng.normal(size=(2, 60_000)))
    table = np.zeros((3, 3))
    np.add.at(table, (ratings[0], ratings[1]), 1)
    shares = (table + table.T) / (2 * table.sum())
    margin = shares.sum(axis=0)
    nominal = 1 - (1 - np.trace(shares)) / (1 - (margin**2).sum())
    assert _population_alpha(3, 0.7)[0] == pytest.approx(nominal, abs=0.01)
    items = ratings[:, :800]
    assert _population_alpha(3, 0.7)[1] == pytest.approx(
        krippendorff_alpha(items, "ordinal").estimate, abs=0.06
    )
