"""A patches run and a train run on three strips: every row and every entry of the manifests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import distributed, runs, store
from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.pipeline import patches, train
from core.pipeline.labelling import mammogram_patches
from core.pipeline.patches import _Exclusions
from core.settings import Settings, TrainingSettings
from core.store import dataset_table, run_table
from support.array_patches import no_progress
from support.strip_study import create_strip_study

TRAINING = {
    "architecture": "small", "weights": "none", "units": 8, "epochs": 1, "batch": 2,
    "sampling": "all", "augment": False,
}  # fmt: skip


@pytest.fixture
def strips(tmp_path: Path) -> tuple[Path, Settings]:
    path = tmp_path / "study"
    return path, create_strip_study(path).with_changes("training", **TRAINING)


def manifest_of(study: Path, run: str) -> dict[str, Any]:
    with store.read(study) as con:
        return run_table.load_run(con, run)["manifest"]


def test_rows_and_manifest_of_patches(strips: tuple[Path, Settings]) -> None:
    """Of 256 x 64 pixels 122 columns are tissue; the findings are 29 and 21 columns wide."""
    study, settings = strips
    calls: list[tuple[int, int, str]] = []
    result = patches.run_patch_extraction(study, settings, lambda *c: calls.append(c))
    assert result.created and calls == [(3, 3, "mammograms")]
    assert not patches.run_patch_extraction(study, settings, no_progress).created
    with store.read(study) as con:
        row = run_table.load_run(con, result.run)
        table = dataset_table.load_patches(con, result.run)
        splits = dataset_table.load_splits(con, result.run)
        assert dataset_table.load_classes(con) == MAMMOGRAPHY
    assert splits.to_numpy().tolist() == [["P0", "train"], ["P1", "holdout"], ["P2", "test"]]
    keys = ["patch_id", "mammogram_id", "y", "x", "side", "label", "split"]
    assert table[keys].to_numpy().tolist() == [
        [3 * n + k, f"P{n}.LEFT_CC", 0, 32 * k, 64, label, split]
        for n, split in enumerate(("train", "holdout", "test"))
        for k, label in enumerate((2, 0, 1))
    ]
    assert table["tissue"].tolist() == [1.0, 1.0, (122 - 64) / 64] * 3
    assert table["malignant_cover"].tolist() == [29 / 64, 0, 0] * 3
    assert table["malignant_part"].tolist() == [1, 0, 0] * 3
    assert table["benign_cover"].tolist() == [0, 0, 21 / 64] * 3
    assert table["benign_part"].tolist() == [0, 0, 1] * 3
    nothing = ("unproven", "ambiguous", "films_without_tissue", "undecided_films")
    stated = {
        "patches": 9,
        "dropped": dict.fromkeys((*nothing, "magnification_views", "left_out"), 0),
        "classes": 3,
        "class_definition": MAMMOGRAPHY.to_dict(),
        "labels": "own",
        "left_out": [],
    }
    assert {key: row["manifest"].get(key) for key in stated} == stated
    assert not {"ingested_side", "listed_films_absent"} & set(row["manifest"])
    assert row["settings"] == {
        "patches": settings.patches.model_dump(),
        "splits": settings.splits.model_dump(),
        "seed": settings.study.seed,
        "input_side": 64,
    }
    other = patches.run_patch_extraction(study, settings, no_progress, input_side=32)
    resized = manifest_of(study, other.run)
    assert (resized["ingested_side"], resized["settings"]["input_side"]) == (64, 32)


def test_counts_of_what_is_dropped(
    strips: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, settings = strips
    label = mammogram_patches.label_mammogram
    counts = iter([(1, 4), (2, 6)])

    def counted(*given: Any) -> Any:
        unproven, ambiguous = next(counts)
        result, unreached = label(*given)
        dropped = {"dropped_unproven": unproven, "dropped_ambiguous": ambiguous}
        return dataclasses.replace(result, **dropped), unreached

    def count(**excluded: str) -> tuple[int, dict[str, int]]:
        sets = [
            frozenset(excluded.get(name, "").split())
            for name in ("undecided", "magnification_views", "left_out")
        ]
        exclusions = _Exclusions(sets[0], frozenset(), *sets[1:])
        splits = {"P0": "train", "P1": "holdout", "P2": "test"}
        given = (study, settings, splits, no_progress, exclusions)
        rows, dropped, problems = patches._label_mammograms(*given)
        assert problems == [] and rows["patch_id"].tolist() == list(range(len(rows)))
        return len(rows), {name: number for name, number in dropped.items() if number}

    monkeypatch.setattr(mammogram_patches, "label_mammogram", counted)
    expected = {"unproven": 3, "ambiguous": 10, "left_out": 1}
    assert count(left_out="P1.LEFT_CC") == (6, expected)
    found = count(
        undecided="P0.LEFT_CC P1.LEFT_CC", magnification_views="P2.LEFT_CC", left_out="P1.LEFT_CC"
    )
    assert found == (0, {"undecided_films": 1, "magnification_views": 1, "left_out": 1})


def test_what_is_excluded_enters_the_name() -> None:
    none = frozenset[str]()
    empty = _Exclusions(none, frozenset(), none, none)
    assert empty.request == {} and empty.unused == none
    some = _Exclusions(
        frozenset({"b", "a"}), frozenset({("c", 2), ("c", 1)}), frozenset({"d"}), frozenset({"e"})
    )
    assert some.unused == {"d", "e"}
    assert some.request == {
        "exclusions": {
            "undecided": ["a", "b"],
            "accepted": [["c", 1], ["c", 2]],
            "magnification_views": ["d"],
            "left_out": ["e"],
        }
    }
    one = _Exclusions(frozenset({"a"}), frozenset(), none, none).request["exclusions"]
    assert "left_out" not in one and one["magnification_views"] == []


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        ({"undecided_films": 4, "left_out": 2}, "findings of 4 mammograms are doubtful"),
        ({"left_out": 2, "magnification_views": 3}, "5 mammograms are left out by a decision"),
        ({}, "No patch of any mammogram has 50% breast tissue"),
    ],
)
def test_why_no_patch_remains(dropped: dict[str, int], words: str) -> None:
    counts = dict.fromkeys(("undecided_films", "left_out", "magnification_views"), 0) | dropped
    assert words in str(patches._no_patch_error(counts, Settings()))


def test_films_of_another_width(strips: tuple[Path, Settings]) -> None:
    with store.read(strips[0]) as con:
        mammograms = dataset_table.load_mammograms(con)
    patches._check_width(mammograms, 64)
    mammograms.loc[1, "width"] = 260
    message = r"images\.input_side is 64, but P1\.LEFT_CC was ingested 260 px wide, for 65; set"
    with pytest.raises(UserError, match=message):
        patches._check_width(mammograms, 64)


def test_manifest_of_a_training(
    strips: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, settings = strips
    run_of_patches = patches.run_patch_extraction(study, settings, no_progress).run
    given: dict[str, Any] = {}
    fit = train.train_classifier

    def record(network: Any, training: Any, holdout: Any, *rest: Any) -> Any:
        given.update(network=network, train=training, holdout=holdout, seed=torch.initial_seed())
        return fit(network, training, holdout, *rest)

    monkeypatch.setattr(train, "train_classifier", record)
    result = train.run_training(study, settings, no_progress)
    with store.read(study) as con:
        row = run_table.load_run(con, result.run)
        history = run_table.load_training_history(con, result.run)
    assert row["parents"] == [run_of_patches] and row["manifest"]["inputs"] == ""
    assert row["settings"] == {
        "training": train.run_name_settings(settings.training),
        "classes": 3,
        "input_side": 64,
        **train.breast_rule(settings.images),
    }
    weights = runs.run_folder(study, result.run) / f"{settings.training.keep}.pt"
    stated = {
        "weights": weights.name, "architecture": "small", "best_epoch": 0,
        "checkpoint": runs.file_hash(weights), "processes": 1, "auxiliary": [], "left_out": [],
        "train_patches": 3, "holdout_patches": 3,
        "settings_from": settings.training_origins(),
    }  # fmt: skip
    assert {key: row["manifest"][key] for key in stated} == stated
    assert history["part"].tolist() == ["train", "holdout"]
    assert given["seed"] == settings.training.seed
    assert (given["network"].input_side, given["network"].precision) == (64, "float32")
    for part in ("train", "holdout"):
        assert given[part].labels.tolist() == [2, 0, 1] and given[part].columns is None
        assert given[part].classes == MAMMOGRAPHY
    images = given["train"].reader.batch(np.array([1]))[0, 0]
    assert np.array_equal(images[:, :64], np.load(study / "images" / "f0.npy")[:, 32:96])
    other = given["holdout"].reader.batch(np.array([1]))[0, 0]
    assert np.array_equal(other, np.load(study / "images" / "f1.npy")[:, 32:96])
    assert not train.run_training(study, settings, no_progress).created


def test_settings_added_later_are_named_when_used() -> None:
    plain = train.run_name_settings(TrainingSettings(architecture="small"))
    assert not {"rotation", "precision", "auxiliary"} & set(plain) and plain["seed"] == 1
    used = TrainingSettings(architecture="small", rotation=3.0, auxiliary=["age"])
    named = train.run_name_settings(used)
    assert (named["rotation"], named["auxiliary"]) == (3.0, ["age"]) and "precision" not in named


def test_hash_of_weights(tmp_path: Path) -> None:
    assert train._weights_hash("imagenet") == train._weights_hash("none") == ""
    (tmp_path / "w.pt").write_bytes(b"weights")
    assert train._weights_hash(str(tmp_path / "w.pt")) == runs.file_hash(tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"no weights file .*x\.pt"):
        train._weights_hash(str(tmp_path / "x.pt"))


def test_other_ranks_receive_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = TrainingSettings(
        architecture="small", weights="/none/w.pt", units=8, precision="bfloat16"
    )
    monkeypatch.setattr(distributed, "is_rank_zero", lambda: False)
    request = {"input_side": 64, "channels": 3}
    network, left_out = train.create_network(chosen, request, 2, train.AuxiliaryColumns())
    assert (network.classes, network.input_side, network.precision) == (2, 64, "bfloat16")
    assert left_out == [] and network.channels == 3
    monkeypatch.setattr(distributed, "is_rank_zero", lambda: True)
    with pytest.raises(UserError, match=r"/none/w\.pt"):
        train.create_network(chosen, request, 2, train.AuxiliaryColumns())
