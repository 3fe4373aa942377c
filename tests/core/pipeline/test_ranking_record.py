"""The number format of a dissection's ranking: the run's name, its record and its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.interpretation import ranking_format
from core.interpretation.dissection import TopPatches
from core.pipeline import dissect
from core.pipeline.inputs import named_settings
from core.settings import DissectionSettings, Settings, load_settings
from core.store import run_table
from support.array_patches import no_progress


def test_the_default_does_not_enter_the_name() -> None:
    """Dissections made before the setting keep their names; what is set enters them."""
    later = dissect._SETTINGS_ADDED_LATER
    default = DissectionSettings()
    assert {**named_settings(default, later), "ranking_format": "auto"} == default.model_dump()
    assert "ranking_format" not in named_settings(default, later)
    named = named_settings(DissectionSettings(ranking_format="float32", top=3), later)
    assert (named["ranking_format"], named["top"]) == ("float32", 3)


def load_tables(study: Path, run: str) -> dict[str, pd.DataFrame]:
    orders = {
        "units": "unit",
        "top_patches": "unit, rank",
        "influences": "mammogram_id, class, rank",
        "selected": "class, rank",
    }
    with store.read(study) as con:
        return {
            name: con.execute(
                f"SELECT * EXCLUDE (run) FROM {name} WHERE run = ? ORDER BY {order}", [run]
            ).df()
            for name, order in orders.items()
        }


def test_record_and_tables(own_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(own_study)
    assert not dissect.run_dissection(own_study, settings, no_progress).created
    settings = settings.with_changes("dissection", splits=["holdout"])
    records: list[dict[str, Any]] = []
    tables: list[dict[str, pd.DataFrame]] = []
    units: list[str] = []
    for changes in ({}, {"threshold": 0.3}):
        chosen = settings.with_changes("dissection", **changes)
        result = dissect.run_dissection(own_study, chosen, lambda *report: units.append(report[2]))
        assert result.created
        with store.read(own_study) as con:
            manifest = run_table.load_run(con, result.run)["manifest"]
        records.append(manifest["ranking"])
        tables.append(load_tables(own_study, result.run))
        # Later steps use the network in its own format.
        assert manifest["inference"]["difference"] < 1e-5
        assert not list((own_study / "runs" / result.run).glob("resume*"))
        # The second dissection takes this small study for a large one.
        monkeypatch.setattr(ranking_format, "LEAST_PATCHES", 100)
        monkeypatch.setattr(ranking_format, "SAMPLE_PATCHES", 200)
        monkeypatch.setattr(ranking_format, "LARGEST_AUC_DIFFERENCE", 0.01)
        monkeypatch.setattr(ranking_format, "computes_bfloat16", lambda device: True)
    small, compared = records
    assert (small["format"], small["comparison"], small["candidates"]) == ("float32", None, None)
    assert "fewer than 16,384" in small["reason"] and small["inference"]["form"] == "fused"
    assert (compared["format"], compared["candidates"]) == ("bfloat16", 128)
    assert compared["comparison"]["patches"] == 200
    assert compared["comparison"]["shared_top"] == 1 and compared["comparison"]["same_selection"]
    assert compared["inference"]["difference"] > 1e-4
    assert 64 <= compared["candidates_needed"] < 128
    assert {"patches compared in float32", "patches compared in bfloat16"} < set(units)
    # What float32 alone gives.
    for name, expected in tables[0].items():
        pd.testing.assert_frame_equal(tables[1][name], expected, rtol=1e-5, atol=1e-6)


def test_what_the_rules_take_from_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = pd.DataFrame(
        {"label": [0, 2, 2, 1], "split": ["train", "holdout", "holdout", "train"]}
    )
    activations = np.array([[1.0, 0], [2, 1], [3, 5], [0, 2]])
    top = TopPatches(np.array([[2, 1], [2, 3]]), np.array([[3.0, 2], [5, 2]]))
    asked: list[tuple] = []

    def choose(rows: pd.DataFrame, alive: set[int], **named: int) -> list[int]:
        asked.append((rows.to_numpy().tolist(), alive, named))
        return [1]

    monkeypatch.setattr(dissect, "select_spie_units", choose)
    monkeypatch.setattr(dissect, "group_units", lambda *given: [given])

    def take(rule: str) -> Any:
        settings = Settings().with_changes("dissection", rule=rule).with_changes("study", seed=5)
        return dissect._taken_from_patches(settings, 2, patches, activations, top)

    assert take("influence") == ()
    assert take("spie") == [1]
    assert asked == [([[0, 2], [0, 2], [1, 2], [1, 1]], {0, 1}, {"seed": 5, "positive": 2})]
    [(similar, rows, count)] = take("groups")
    # Groups are formed by hold-out patches.
    assert similar.tolist() == [[2, 1], [3, 5]] and rows is top.rows and count == 4
    patches["split"] = "train"
    assert take("groups")[0][0] is activations
