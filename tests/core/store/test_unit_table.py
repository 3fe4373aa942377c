"""Rows of the tables of units, with values that all differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.store import unit_table
from support.synthetic_study import DISSECT, PATCHES


@pytest.fixture
def numbered(study: Path) -> Path:
    """Return a study whose unit 3 and its top patches have values of their own."""
    with store.write(study) as con:
        con.execute(
            "UPDATE units SET layer = 'layer4', largest = 7.5 WHERE run = ? AND unit = 3", [DISSECT]
        )
        con.execute(
            "UPDATE top_patches SET layer = 'layer4', y = rank + 1, x = rank + 100"
            " WHERE run = ? AND unit = 3",
            [DISSECT],
        )
        con.execute(
            "INSERT INTO top_patches BY NAME SELECT * REPLACE (64 AS rank) FROM top_patches"
            " WHERE run = ? AND unit = 3 AND rank = 0",
            [DISSECT],
        )
        con.execute("UPDATE patches SET y = patch_id + 1000, x = patch_id + 2000, side = 63")
        con.execute("UPDATE mammograms SET width = 255, height = 321, file = 'f' || mammogram_id")
    return study


def test_layer_and_largest_activation(numbered: Path) -> None:
    with store.read(numbered) as con:
        assert unit_table.unit_layer(con, DISSECT, 3) == "layer4"
        assert unit_table.unit_layer(con, DISSECT, 4) == "last"
        assert unit_table.unit_layer(con, DISSECT, 40) == ""
        assert unit_table.unit_layer(con, "dissect-other", 3) == ""
        assert unit_table.largest_activation(con, DISSECT, 3) == 7.5
        assert unit_table.largest_activation(con, DISSECT, 40) == 0
        assert unit_table.unit_count(con, DISSECT) == 40
        assert unit_table.unit_count(con, "dissect-other") == 0


def test_top_patches_have_every_column(numbered: Path) -> None:
    with store.read(numbered) as con:
        rows = unit_table.load_top_patches(con, DISSECT, PATCHES, [3])
        stored = con.execute(
            "SELECT rank, patch_id, activation FROM top_patches WHERE run = ? AND unit = 3"
            " ORDER BY rank",
            [DISSECT],
        ).fetchall()
        labels = dict(con.execute("SELECT patch_id, label FROM patches").fetchall())
        everything = unit_table.load_top_patches(con, DISSECT, PATCHES)
        few = unit_table.load_top_patches(con, DISSECT, PATCHES, [2, 3], most=5)
    # 65 patches are stored, and 64 are top patches.
    assert len(stored) == 65 and len(rows) == 64
    for row, (rank, patch_id, activation) in zip(rows.itertuples(), stored):
        mammogram = f"ZQXCASE{patch_id // 20:03d}"
        assert (row.layer, row.unit, row.rank, row.activation) == ("layer4", 3, rank, activation)
        assert (row.peak_y, row.peak_x) == (rank + 1, rank + 100)
        assert (row.patch_id, row.label) == (patch_id, labels[patch_id])
        assert (row.y, row.x, row.side) == (patch_id + 1000, patch_id + 2000, 63)
        assert (row.split, row.mammogram_id, row.file) == ("train", mammogram, f"f{mammogram}")
        assert row.patient_id == f"ZQXPATIENT{patch_id // 40:03d}"
        assert (row.width, row.height) == (255, 321)
    assert everything["unit"].tolist() == [unit for unit in range(40) for _ in range(64)]
    assert few[["unit", "rank"]].values.tolist() == [[u, r] for u in (2, 3) for r in range(5)]


def test_tiles_are_the_strongest_patches(numbered: Path) -> None:
    with store.read(numbered) as con:
        tiles = unit_table.load_tiles(con, DISSECT, 3)
        rows = unit_table.load_top_patches(con, DISSECT, PATCHES, [3], most=32)
    for tile, row in zip(tiles, rows.itertuples(), strict=True):
        assert (tile.rank, tile.patch_id, tile.label) == (row.rank, row.patch_id, row.label)
        assert (tile.mammogram_id, tile.file) == (row.mammogram_id, row.file)
        assert (tile.width, tile.height) == (row.width, row.height)
        assert (tile.y, tile.x, tile.side) == (row.y, row.x, row.side)


def test_practice_units_are_living_and_not_selected(numbered: Path) -> None:
    with store.write(numbered) as con:
        con.execute("UPDATE units SET dead = TRUE WHERE unit IN (37, 38)")
        con.execute("DELETE FROM top_patches WHERE unit = 39")
        selected = set(unit_table.selected_unit_ids(con, DISSECT))
        practice = unit_table.practice_unit_ids(con, DISSECT, 100)
        assert set(practice) == set(range(37)) - selected and len(practice) == len(set(practice))
        assert unit_table.practice_unit_ids(con, DISSECT, 4) == practice[:4]
        assert practice != sorted(practice)
        assert unit_table.selection_slot_count(con, DISSECT) == 24
