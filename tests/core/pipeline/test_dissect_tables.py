"""Tables and manifests of dissections and explanations, by hand and from stored arrays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core import runs, store
from core.images.tissue_segmentation import with_margin
from core.interpretation import inference
from core.interpretation.dissection import TopPatches
from core.interpretation.feature_maps import FeatureProbe, tissue_positions
from core.interpretation.localization import cell_coverage
from core.networks import to_fully_convolutional
from core.pipeline import dissect, explain
from core.pipeline.inputs import (
    load_breast_margins,
    load_mammogram_table,
    load_patch_table,
    open_training_images,
)
from core.settings import DissectionSettings, Settings
from core.store import run_table
from support.array_patches import no_progress

# Influence of 5 units on 2 classes in 3 mammograms.
INFLUENCE = np.array(
    [
        [[5, 4, 3, 2, 1], [0, 1, 9, 8, 2]],
        [[5, 1, 4, 0, 9], [3, 2, 7, 1, 0]],
        [[2, 6, 8, 1, 0], [1, 9, 0, 8, 2]],
    ],
    float,
)
TOP = TopPatches(
    rows=np.array([[2, 0], [1, 2], [0, 1]]), values=np.array([[9.0, 4.0], [8.0, 7.0], [0.0, 0.0]])
)


def test_influence_rows_by_hand() -> None:
    rows = dissect.influence_table(INFLUENCE[:2], np.array(["m1", "m2"]), (0, 2), depth=2)
    assert list(rows.columns) == ["mammogram_id", "class", "rank", "unit", "influence"]
    assert rows.to_numpy().tolist() == [
        ["m1", 0, 1, 0, 5.0],
        ["m1", 0, 2, 1, 4.0],
        ["m1", 2, 1, 2, 9.0],
        ["m1", 2, 2, 3, 8.0],
        ["m2", 0, 1, 4, 9.0],
        ["m2", 0, 2, 0, 5.0],
        ["m2", 2, 1, 2, 7.0],
        ["m2", 2, 2, 0, 3.0],
    ]


def test_selection_by_influence_by_hand() -> None:
    """The two most influential: 0, 1; 4, 0; 2, 1 of class 0 and 2, 3; 2, 0; 1, 3 of class 2."""
    settings = DissectionSettings(top=2, select=2)
    rows = dissect._select_by_influence(INFLUENCE, (0, 2), settings)
    assert list(rows.columns) == ["class", "rank", "unit", "count"]
    assert rows.to_numpy().tolist() == [[0, 1, 0, 2], [0, 2, 1, 2], [2, 1, 2, 2], [2, 2, 3, 2]]


def test_selection_by_groups_by_hand() -> None:
    settings = DissectionSettings(top=2, select=1)
    rows = dissect._select_by_groups(INFLUENCE, (0, 2), [[0], [1, 4], [2, 3]], settings)
    # Class 0: the group of 1 and 4 is among the first in all three; class 2: 2 and 3 in all.
    assert set(rows[rows["class"] == 0]["unit"]) <= {1, 4}
    assert set(rows[rows["class"] == 2]["unit"]) <= {2, 3}
    assert rows["rank"].min() == 1


def test_selection_by_patches_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def choose(top: pd.DataFrame, alive: set[int], *, seed: int, positive: int) -> list[int]:
        asked.update(top=top, alive=alive, seed=seed, positive=positive)
        return [4, 1, 0]

    monkeypatch.setattr(dissect, "select_spie_units", choose)
    monkeypatch.setattr(dissect, "SPIE_TOP_PATCHES", 2)
    top = TopPatches(
        rows=np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1], [2, 0, 1]]),
        values=np.array([[3.0], [2.0], [0.0], [1.0], [4.0]]),
    )
    settings = Settings().with_changes("dissection", top=2).with_changes("study", seed=7)
    rows = dissect._select_by_patches(INFLUENCE, (0, 2), 2, top, np.array([0, 1, 2]), settings)
    assert asked["alive"] == {0, 1, 3, 4} and (asked["seed"], asked["positive"]) == (7, 2)
    assert asked["top"].to_numpy().tolist() == [
        *([0, 0], [0, 1], [1, 1], [1, 0], [2, 2], [2, 1], [3, 0], [3, 2], [4, 2], [4, 0])
    ]
    # Counts among the two most influential of class 0: units 0, 1 twice, 4 once.
    assert rows.to_numpy().tolist() == [
        *([0, 1, 1, 2], [0, 2, 0, 2], [0, 3, 4, 1]),
        *([2, 1, 1, 1], [2, 2, 0, 1], [2, 3, 4, 0]),
    ]


def test_unit_and_top_patch_rows_by_hand() -> None:
    units = dissect._unit_table(
        "last",
        TOP.values,
        np.array([0.5, 0.25, 0.0]),
        np.array([["p", "q"], ["p", "p"], ["q"] * 2]),
    )
    assert list(units.columns) == ["layer", "unit", "largest", "quantile", "dead", "top_patients"]
    assert units.to_numpy().tolist() == [
        ["last", 0, 9.0, 0.5, False, 2],
        ["last", 1, 8.0, 0.25, False, 1],
        ["last", 2, 0.0, 0.0, True, 1],
    ]
    # 33 different patients, of whom the first 32 patches count.
    many = np.array([[f"p{i}" for i in range(33)]])
    assert dissect._unit_table("a", np.ones((1, 33)), np.ones(1), many)["top_patients"][0] == 32
    maps = np.zeros((3, 2, 2, 3))
    maps[0, 0, 1, 2] = maps[1, 1, 0, 1] = maps[2, 0, 1, 0] = 1
    rows = dissect._top_patch_table("last", TOP, maps, np.array([70, 80, 90]))
    assert rows.to_numpy().tolist() == [
        ["last", 0, 0, 90, 9.0, 1, 2],
        ["last", 0, 1, 70, 4.0, 0, 0],
        ["last", 1, 0, 80, 8.0, 0, 0],
        ["last", 1, 1, 90, 7.0, 0, 1],
        ["last", 2, 0, 70, 0.0, 1, 0],
        ["last", 2, 1, 80, 0.0, 0, 0],
    ]
    assert list(rows.columns) == ["layer", "unit", "rank", "patch_id", "activation", "y", "x"]


def latest(study: Path, kind: str) -> dict[str, Any]:
    with store.read(study) as con:
        return run_table.load_run(con, str(run_table.latest_run(con, kind)))


def test_stored_dissection(demonstration: Path) -> None:
    run = latest(demonstration, "dissect")
    patches_run = latest(demonstration, "patches")["run"]
    patches = load_patch_table(demonstration, patches_run, ["train", "holdout"])
    mammograms = load_mammogram_table(demonstration, patches_run, ["holdout"])
    folder = demonstration / "runs" / run["run"]
    activations = np.load(folder / "activations.npy").astype(np.float32)
    maps, influence = np.load(folder / "top_maps.npy"), np.load(folder / "influence.npy")
    manifest = run["manifest"]
    assert manifest["patches"] == len(patches) == len(activations)
    assert manifest["mammograms"] == list(mammograms["mammogram_id"])
    assert (manifest["units"], manifest["layer"], manifest["map_side"]) == (64, "last", 8)
    assert manifest["influence"] == "activation x weight"
    # Six convolutions of 3 x 3 with three poolings between them.
    assert manifest["receptive_field"] == 55 and manifest["dead_units"] == []
    assert manifest["inference"]["form"] == "fused"
    assert np.load(folder / "patch_ids.npy").tolist() == patches["patch_id"].tolist()
    assert influence.shape == (len(mammograms), 3, 64)
    with store.read(demonstration) as con:
        top = con.execute(
            "SELECT unit, rank, patch_id, activation, y, x FROM top_patches WHERE run = ?"
            " ORDER BY unit, rank",
            [run["run"]],
        ).df()
        units = con.execute("SELECT * FROM units WHERE run = ? ORDER BY unit", [run["run"]]).df()
    ids = patches["patch_id"].to_numpy()
    k = maps.shape[1]
    for unit in (0, 31, 63):
        own = top[top["unit"] == unit]
        best = np.sort(activations[:, unit])[::-1][:k]
        assert own["rank"].tolist() == list(range(k))
        assert own["activation"].to_numpy() == pytest.approx(best, rel=1e-3)
        rows = np.searchsorted(ids, own["patch_id"])
        assert activations[rows, unit] == pytest.approx(best, rel=1e-3)
        flat = maps[unit].reshape(k, -1)
        peaks = [np.unravel_index(peak, (8, 8)) for peak in flat.argmax(1)]
        assert list(zip(own["y"], own["x"])) == [tuple(map(int, peak)) for peak in peaks]
        assert units["largest"][unit] == pytest.approx(best[0], rel=1e-3)
        patients = patches["patient_id"].to_numpy()[rows[:32]]
        assert units["top_patients"][unit] == len(set(patients))
    assert not units["dead"].any() and units["outside"].between(0, 1).all()


@pytest.fixture(scope="module")
def parts(demonstration: Path) -> SimpleNamespace:
    """The demonstration's network, images and first hold-out mammograms."""
    train, patches = latest(demonstration, "train")["run"], latest(demonstration, "patches")["run"]
    network = inference.load_network(demonstration, train)
    return SimpleNamespace(
        study=demonstration,
        network=network,
        full=to_fully_convolutional(network),
        images=open_training_images(demonstration, train),
        rows=list(load_mammogram_table(demonstration, patches, ["holdout"]).itertuples()),
        classes=explain.lineage.run_classes(demonstration, train),
    )


def plain_maps(parts: SimpleNamespace, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Return maps [units, h, w] and probabilities [classes, h, w] of a plain forward pass."""
    pixels = torch.from_numpy(np.array(parts.images[file]))[None, None]
    head = parts.network.last_linear()
    with torch.inference_mode():
        maps = parts.network.feature_maps(pixels)[0]
        logits = torch.einsum("uhw,cu->chw", maps, head.weight) + head.bias[:, None, None]
    return maps.numpy(), logits.softmax(0).numpy()


@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_an_explanation_by_hand(parts: SimpleNamespace, tmp_path: Path, threshold: float) -> None:
    row = parts.rows[1]
    maps, p = plain_maps(parts, row.file)
    found = explain.explain_mammogram(
        parts.network,
        parts.classes,
        parts.full,
        FeatureProbe(parts.network, "last"),
        parts.images,
        row,
        threshold,
        tmp_path,
        margin=4.0,
        stored=10,
    )
    weights = parts.network.last_linear().weight.numpy()
    influence = maps.max((1, 2)) * weights
    assert found.influence == pytest.approx(influence, abs=1e-3)
    tissue = parts.images.tissue(row.file)
    inside = tissue_positions(tissue, p.shape[1:])
    scores = {
        "p_normal": 1 - p[1:, inside].sum(0).max(),
        "p_benign": p[1, inside].max(),
        "p_malignant": p[2, inside].max(),
    }
    lesion = 2 if scores["p_malignant"] >= scores["p_benign"] else 1
    decision = 0 if threshold == 0 else lesion
    order = np.argsort(-influence[decision], kind="stable")[:10]
    contributions = maps[order] * weights[decision, order][:, None, None]
    positive = np.maximum(contributions[:8], 0)
    breast = cell_coverage(with_margin(tissue, 4.0), p.shape[1:])
    expected = {
        "mammogram_id": row.mammogram_id,
        "split": "holdout",
        "predicted": decision,
        "truth": row.truth,
        "lesion_class": lesion,
        **scores,
        "file": f"maps/{row.file}.npz",
        "outside": (positive * (1 - breast)).sum() / positive.sum(),
    }
    assert list(found.row) == list(expected)
    for name, value in expected.items():
        assert found.row[name] == (
            pytest.approx(value, abs=1e-4) if isinstance(value, (float, np.floating)) else value
        ), name
    assert found.largest_contribution == pytest.approx(contributions.max(), abs=1e-3)
    assert found.largest_probability == pytest.approx(p[2].max(), abs=1e-4)
    with np.load(tmp_path / f"{row.file}.npz") as arrays:
        assert arrays["units"].tolist() == order.tolist()
        assert arrays["probability"] == pytest.approx(p, abs=2e-3)
        assert arrays["probability"].dtype == arrays["maps"].dtype == np.float16
        assert arrays["maps"] == pytest.approx(contributions, abs=5e-3)


def test_a_mammogram_without_tissue(parts: SimpleNamespace, tmp_path: Path) -> None:
    images = SimpleNamespace(tissue=lambda file: parts.images.tissue(file) & False)

    class Untissued:
        tissue = staticmethod(images.tissue)

        def __getitem__(self, file: str) -> np.ndarray:
            return parts.images[file]

    row = parts.rows[0]
    arguments = (parts.network, parts.classes, parts.full, FeatureProbe(parts.network, "last"))
    found = explain.explain_mammogram(*arguments, Untissued(), row, 0.5, tmp_path, margin=0.0)
    assert (found.row["predicted"], found.row["lesion_class"]) == (-1, 2)
    assert all(np.isnan(found.row[f"p_{name}"]) for name in parts.classes.names)
    with np.load(tmp_path / f"{row.file}.npz") as arrays:
        # The first eight units of the positive class.
        best = np.argsort(-found.influence[2], kind="stable")[:8]
        assert arrays["units"].tolist() == best.tolist()
    assert found.row["outside"] == 1.0


def test_units_of_an_inner_layer_have_no_weights(parts: SimpleNamespace, tmp_path: Path) -> None:
    row, probe = parts.rows[0], FeatureProbe(parts.network, "features.6")
    arguments = (parts.network, parts.classes, parts.full, probe, parts.images, row, 0.0, tmp_path)
    found = explain.explain_mammogram(*arguments, margin=0.0, stored=4)
    pixels = parts.images[row.file]
    expected = explain.gradient_influence(parts.full, probe, pixels)
    assert found.influence == pytest.approx(expected, rel=1e-3, abs=1e-6)
    maps = explain.forward_mammogram(parts.full, probe, pixels).units.numpy()
    with np.load(tmp_path / f"{row.file}.npz") as arrays:
        assert len(arrays["units"]) == 4
        assert arrays["maps"] == pytest.approx(maps[arrays["units"]], rel=2e-3, abs=1e-3)


def test_half_precision() -> None:
    below = np.array([65503.0, -1.5])
    assert explain.to_half_precision(below).dtype == np.float16
    assert explain.to_half_precision(np.array([65504.0])).dtype == np.float64
    assert explain.to_half_precision(np.array([-7e4])).tolist() == [-7e4]
    assert explain.to_half_precision(np.zeros(0)).dtype == np.float16


def test_a_run_of_named_mammograms(
    own_study: Path, parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [parts.rows[3].mammogram_id, parts.rows[0].mammogram_id]
    given: list[tuple[Any, ...]] = []
    explain_one = explain.explain_mammogram

    def record(*arguments: Any, **named: Any) -> explain.MammogramExplanation:
        given.append((*arguments, *named.values()))
        return explain_one(*arguments, **named)

    monkeypatch.setattr(explain, "explain_mammogram", record)
    calls: list[tuple[int, int, str]] = []
    settings = Settings().with_changes("explanation", splits=["holdout", "test"])
    created = explain.run_explanation(
        own_study, settings, lambda *c: calls.append(c), mammograms=ids
    )
    assert created.created and calls == [(1, 2, "mammograms"), (2, 2, "mammograms")]
    assert not explain.run_explanation(
        own_study, settings, no_progress, mammograms=ids[::-1]
    ).created
    with store.read(own_study) as con:
        run = run_table.load_run(con, created.run)
    assert run["settings"] == {"splits": ["holdout", "test"], "mammograms": sorted(ids)}
    kinds = ("dissect", "evaluate", "train")
    assert run["parents"] == [latest(own_study, kind)["run"] for kind in kinds]
    # No label set is named: the request has the form of earlier versions.
    assert run["manifest"]["label_set"] == "default"
    threshold = latest(own_study, "evaluate")["manifest"]["normal_threshold"]
    margins = load_breast_margins(own_study, {"margin": 3.0, "unit": "mm"})
    files = [parts.rows[0].file, parts.rows[3].file]
    assert [(a[5].file, a[6], a[8], a[9], a[10]) for a in given] == [
        (file, threshold, None, margins[file], 8) for file in files
    ]
    # The run's folder has another name now.
    folder = runs.run_folder(own_study, created.run) / "maps"
    found = [explain_one(*one[:7], folder, one[8], margin=one[9], stored=one[10]) for one in given]
    manifest = run["manifest"]
    assert manifest["threshold"] == threshold
    for name in ("largest_contribution", "largest_probability"):
        stored = manifest[
            name.replace("contribution", "unit_contribution").replace(
                "largest_probability", "largest_class_probability"
            )
        ]
        assert stored == pytest.approx(max(getattr(one, name) for one in found))
    with store.read(own_study) as con:
        rows = con.execute(
            "SELECT * FROM explanations WHERE run = ? ORDER BY mammogram_id", [created.run]
        ).df()
        influences = con.execute(
            "SELECT * FROM influences WHERE run = ? ORDER BY mammogram_id, class, rank",
            [created.run],
        ).df()
    for stored_row, one in zip(rows.to_dict("records"), found, strict=True):
        for name, value in one.row.items():
            is_number = isinstance(value, (float, int, np.integer))
            assert stored_row[name] == (pytest.approx(value) if is_number else value), name
    ordered = dissect.influence_table(
        np.stack([one.influence for one in found]), np.array(sorted(ids)), (0, 1, 2)
    )
    pd.testing.assert_frame_equal(influences[ordered.columns], ordered, check_dtype=False)
    assert runs.run_folder(own_study, created.run).joinpath("maps").is_dir()


def test_units_by_groups_store_more_maps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = {
        "d": {
            "settings": {"dissection": {"rule": "influence"}},
            "manifest": {"layer": "features.6"},
        },
        "e": {"manifest": {"normal_threshold": 0.125}},
    }
    monkeypatch.setattr(explain.store, "read", lambda _: NoConnection())
    monkeypatch.setattr(explain.run_table, "load_run", lambda _, run: rows[run])
    assert explain._load_parameters(tmp_path, "d", "e") == ("features.6", 0.125, 8)
    rows["d"]["settings"]["dissection"]["rule"] = "groups"
    assert explain._load_parameters(tmp_path, "d", "e") == ("features.6", 0.125, 32)


class NoConnection:
    """A connection that nothing is read from."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
