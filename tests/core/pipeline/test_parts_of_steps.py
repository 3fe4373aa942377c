"""Parts of steps on made-up tables and networks: choices, defaults and limits."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.pipeline import ablate, descriptor_overlap, explain, inputs, predict, sufficiency, train
from core.settings import ImageSettings, Settings

STUDY = Path("study")


def test_sample_for_descriptors_and_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptor_overlap, "MAX_TOUCHING", 3)
    monkeypatch.setattr(descriptor_overlap, "MAX_OTHERS", 2)
    covers = np.array([0, 0.1, 0, 0, 0.2, 0, 0.3, 0, 0, 0.4, 0.5])
    table = pd.DataFrame(
        {"benign_cover": np.where(covers > 0.25, covers, 0), "other": 1.0,
         "malignant_cover": np.where(covers > 0.25, 0, covers)}
    )  # fmt: skip
    rows, weights = descriptor_overlap.sample_patches(table, 1)
    touching = covers[rows] > 0
    assert rows.tolist() == sorted(rows) and (touching.sum(), (~touching).sum()) == (3, 2)
    assert weights.tolist() == np.where(touching, 5 / 3, 6 / 2).tolist()
    # Exactly as many as may be drawn are all drawn, each for itself.
    few = table.iloc[[1, 4, 6, 0, 2]].reset_index(drop=True)
    rows, weights = descriptor_overlap.sample_patches(few, 1)
    assert rows.tolist() == [0, 1, 2, 3, 4] and weights.tolist() == [1] * 5
    rows, weights = descriptor_overlap.sample_patches(few.iloc[:3], 1)
    assert rows.tolist() == [0, 1, 2] and weights.tolist() == [1] * 3
    first, second = (descriptor_overlap.sample_patches(table, seed)[0] for seed in (1, 2))
    assert first.tolist() != second.tolist()


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """All patches but 4 were dissected. Tests may change the table."""
    np.save(tmp_path / "patch_ids.npy", np.array([3, 5, 8, 9, 11, 12]))
    np.save(tmp_path / "activations.npy", np.arange(18.0).reshape(6, 3))
    table = pd.DataFrame(
        {
            "patch_id": [3, 4, 5, 8, 9, 11, 12],
            "split": ["holdout", "train", "train", "holdout", "train", "train", "train"],
            "label": [2, 1, 1, 0, 2, 0, 1],
        }
    )
    known = {
        (STUDY, "d"): tmp_path,
        (STUDY, "d", "patches"): "p",
        (STUDY, "p", ("train", "holdout")): table,
    }
    monkeypatch.setattr(sufficiency.runs, "run_folder", lambda *given: known[given])
    monkeypatch.setattr(sufficiency.lineage, "ancestor_run", lambda *given: known[given])
    monkeypatch.setattr(
        sufficiency, "load_patch_table", lambda *given: known[*given[:2], tuple(given[2])]
    )
    return table


def test_activations_for_a_bottleneck(
    stored: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = np.arange(9.0).reshape(3, 3)

    def load(units: list[int]) -> Any:
        return sufficiency._bottleneck_data(STUDY, "d", MAMMOGRAPHY, units, test)

    data = load([2, 0])
    assert data.train.tolist() == [[5, 3], [11, 9], [14, 12], [17, 15]]
    assert data.train_labels.tolist() == [1, 2, 0, 1]
    assert data.holdout.tolist() == [[2, 0], [8, 6]] and data.holdout_labels.tolist() == [2, 0]
    assert data.test.tolist() == [[2, 0], [5, 3], [8, 6]] and data.train.dtype == np.float32
    # Exactly as many as are allowed stay in their order.
    monkeypatch.setattr(sufficiency, "BOTTLENECK_PATCHES", 4)
    assert load([1]).train.tolist() == [[4], [10], [13], [16]]
    monkeypatch.setattr(sufficiency, "BOTTLENECK_PATCHES", 3)
    sample = load([1])
    assert sample.train.shape == (3, 1) and len(set(sample.train.ravel())) == 3
    labels = {4: 1, 10: 2, 13: 0, 16: 1}
    assert sample.train_labels.tolist() == [labels[int(value)] for value in sample.train.ravel()]
    assert sample.holdout.shape == (2, 1)
    assert load([]) is None
    for split in ("train", "holdout"):
        kept = stored["split"].copy()
        stored["split"] = split
        assert load([1]) is None
        stored["split"] = kept


def test_numbers_of_random_sets() -> None:
    sets = (sufficiency.EXACT_SETS, sufficiency.FORWARD_SETS, sufficiency.BOTTLENECK_PATCHES)
    assert sets == (200, 10, 10_000)
    assert (descriptor_overlap.MAX_TOUCHING, descriptor_overlap.MAX_OTHERS) == (4_000, 1_000)
    assert (ablate.EXACT_DRAWS, ablate.EXACT_ORDERS) == (40, 20)
    assert (ablate.FORWARD_DRAWS, ablate.FORWARD_PATCHES) == (3, 400)
    steps = [0, *(2**k for k in range(12))]
    assert steps == list(ablate.DELETION_STEPS)
    columns = ["class", "patient_id", "mass", "peak", "area", "chance"]
    assert columns == ablate.LOCALIZATION_COLUMNS


def test_tables_that_steps_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are in the order of their ids and numbered anew; what is left out is left out."""
    mammograms = pd.DataFrame(
        {
            "mammogram_id": ["m3", "m1", "m2", "m4"], "file": ["f3", "f1", "f2", "f4"],
            "has_concepts": [False, True, False, False], "other": 1,
        }
    )  # fmt: skip
    truth = pd.DataFrame(
        {
            "mammogram_id": ["m1", "m2", "m3", "m4"], "patient_id": ["p1", "p2", "p3", "p1"],
            "truth": [2, np.nan, 0, 1],
        }
    )  # fmt: skip
    splits = pd.DataFrame({"patient_id": ["p3", "p1", "p2"], "split": ["test", "holdout", "test"]})
    patches = pd.DataFrame({"patch_id": [7, 5, 6], "mammogram_id": ["m1", "m9", "m3"]})
    run: dict[str, Any] = {"manifest": {}, "settings": {"outside_breast": "rule"}}
    hashes: dict[str, str | None] = {"data_hash": "h"}
    asked: list[Any] = []
    table = inputs.dataset_table
    monkeypatch.setattr(inputs.store, "read", nullcontext)
    monkeypatch.setattr(table, "load_mammograms", lambda con: mammograms)
    monkeypatch.setattr(table, "load_image_truth", lambda con: truth)
    monkeypatch.setattr(table, "get_meta", lambda con, key: hashes[key])
    monkeypatch.setattr(table, "load_splits", lambda *given: {(STUDY, "p"): splits}[given])
    monkeypatch.setattr(table, "load_patches", lambda *given: asked.append(given) or patches)
    monkeypatch.setattr(inputs.run_table, "load_run", lambda *given: {(STUDY, "p"): run}[given])
    found = inputs.load_mammogram_table(STUDY, "p", ["test", "holdout"])
    assert list(found.index) == [0, 1, 2, 3]
    columns = ["mammogram_id", "file", "has_concepts", "patient_id", "truth", "split"]
    assert found[columns].astype(object).where(found.notna(), None).to_numpy().tolist() == [
        ["m1", "f1", True, "p1", 2, "holdout"],
        ["m2", "f2", False, "p2", None, "test"],
        ["m3", "f3", False, "p3", 0, "test"],
        ["m4", "f4", False, "p1", 1, "holdout"],
    ]
    assert set(found) == set(columns)
    run["manifest"]["left_out"] = ["m2"]
    found = inputs.load_mammogram_table(STUDY, "p", ["test"])
    assert found["mammogram_id"].tolist() == ["m3"] and list(found.index) == [0]
    found = inputs.load_patch_table(STUDY, "p", ["train"])
    assert found["patch_id"].tolist() == [5, 6, 7] and list(found.index) == [0, 1, 2]
    assert found["file"].fillna("").tolist() == ["", "f3", "f1"] and set(found) == {
        *("patch_id", "mammogram_id", "file"),
    }
    inputs.load_patch_table(STUDY, "p")
    assert asked == [(STUDY, "p", ["train"]), (STUDY, "p", None)]
    assert inputs.load_run_settings(STUDY, "p") == run["settings"]
    assert inputs.load_breast_rule(STUDY, "p") == "rule"
    assert inputs.load_data_hash(STUDY) == "h"
    hashes["data_hash"] = None
    with pytest.raises(UserError, match="The study study holds no mammograms yet"):
        inputs.load_data_hash(STUDY)


def test_values_of_attended_columns() -> None:
    text = predict._value_text
    assert [text(v) for v in (61.0, 61.25, 7, np.float32(0.5), np.int64(3), "LUMISYS")] == [
        *("61", "61.25", "7", "0.5", "3", "LUMISYS")
    ]


def test_parameters_of_an_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = {"rule": "groups"}
    rows = {
        "d": {"manifest": {"layer": "layer4"}, "settings": {"dissection": rule}},
        "e": {"manifest": {"normal_threshold": 0.3}},
    }
    monkeypatch.setattr(explain.store, "read", nullcontext)
    monkeypatch.setattr(explain.run_table, "load_run", lambda con, run: rows[run])
    assert explain._load_parameters(STUDY, "d", "e") == ("layer4", 0.3, 32)
    for other in ("hdsr", "spie"):
        rule["rule"] = other
        assert explain._load_parameters(STUDY, "d", "e") == ("layer4", 0.3, 8)


def test_margins_around_the_breast(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of unknown pixel size counts as 240 mm wide."""
    table = pd.DataFrame(
        {
            "file": ["a", "b"], "pixel_mm": [0.05, np.nan], "source_width": [4000, 3000],
            "width": [400, 480],
        }
    )  # fmt: skip
    monkeypatch.setattr(inputs.store, "read", nullcontext)
    monkeypatch.setattr(inputs.dataset_table, "load_mammograms", lambda con: table)
    margins = inputs.load_breast_margins
    assert margins(STUDY, {"margin": 5, "unit": "mm"}) == pytest.approx({"a": 10.0, "b": 10.0})
    assert margins(STUDY, {"margin": 7, "unit": "pixels"}) == {"a": 7.0, "b": 7.0}
    default = ImageSettings()
    assert default.breast_margin_unit == "mm"
    assert margins(STUDY)["a"] == pytest.approx(default.breast_margin * 400 / 200)
    assert inputs.breast_rule(default.model_copy(update={"outside_breast": "keep"})) == {}
    masked = default.model_copy(update={"outside_breast": "mask", "breast_margin": 3.5})
    assert inputs.breast_rule(masked) == {"outside_breast": {"margin": 3.5, "unit": "mm"}}


def test_images_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(inputs, "WorkingImages", lambda *given: given)
    monkeypatch.setattr(
        inputs, "load_breast_margins", lambda *given: asked.append(given) or {"a": 1.0}
    )
    assert inputs.open_images(STUDY, {}) == (STUDY, None, None) and asked == []
    rule = {"margin": 5, "unit": "mm"}
    found = inputs.open_images(STUDY, {"outside_breast": rule, "input_side": 32})
    assert found == (STUDY, {"a": 1.0}, 32) and asked == [(STUDY, rule)]


@pytest.mark.parametrize(
    ("kind", "tiled", "side", "fits"),
    [
        ("grid", False, 224, True), ("grid", False, 225, False), ("cnn", True, 223, False),
        ("cnn", True, 224, True), ("cnn", False, 99, True),
    ],
)  # fmt: skip
def test_networks_of_fixed_input(kind: str, tiled: bool, side: int, fits: bool) -> None:
    network: Any = SimpleNamespace(
        family=SimpleNamespace(kind=kind, tiled=tiled), input_side=224, arch="vit"
    )
    if fits:
        train.check_input_side(network, side)
    else:
        message = f"vit takes patches of 224 px, not of {side}; run `deepminer patches --input-side"
        with pytest.raises(UserError, match=message):
            train.check_input_side(network, side)


def test_request_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    monkeypatch.setattr(train, "load_run_settings", lambda *given: {"input_side": 48})
    assert train.network_request(STUDY, settings, "small", "p") == {
        "input_side": 48, **train.breast_rule(settings.images),
    }  # fmt: skip
    half = train.network_request(STUDY, settings, "inception_v3", "p")
    assert half["half_normalization"] is True and "channels" not in half
    monkeypatch.setattr(train, "load_run_settings", lambda *given: {})
    colour = settings.model_copy(
        update={"images": settings.images.model_copy(update={"colour": True})}
    )
    request = train.network_request(STUDY, colour, "small", "p")
    assert (request["channels"], request["input_side"]) == (3, settings.images.input_side)
    with pytest.raises(UserError):
        train.network_request(STUDY, settings, "none such", "p")


def test_patches_for_the_published_side(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    other: dict[str, str | None] = {"run": "patches-299"}
    monkeypatch.setattr(train.lineage, "resolve_run", lambda study, kind, run: run or "patches-1")
    monkeypatch.setattr(train.store, "read", nullcontext)
    monkeypatch.setattr(
        train.run_table, "patches_at_side", lambda *given: asked.append(given) or other["run"]
    )
    choose = train.patches_of_architecture
    assert choose(STUDY, "inception_v3") == "patches-299"
    assert asked == [(STUDY, "patches-1", 299)]
    other["run"] = None
    assert choose(STUDY, "inception_v3") == "patches-1"
    assert choose(STUDY, "inception_v3", "patches-7") == "patches-7"
    assert choose(STUDY, "small") == "patches-1" and len(asked) == 2
