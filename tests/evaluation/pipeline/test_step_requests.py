"""What each step asks of the store and writes into its run; nothing is trained or predicted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from evaluation.pipeline import (
    ablate,
    coverage,
    descriptor_association,
    evaluate,
    machine_names,
    sufficiency,
)
from evaluation.queries.observations import to_observations
from support.array_patches import no_progress
from support.recorded_runs import RecordedRun, record_runs

STUDY = Path("study")
TABLE = pd.DataFrame({"a": [1, 2]})


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RecordedRun:
    return record_runs(monkeypatch, tmp_path)


def answered(run: RecordedRun, step: Any, *arguments: Any) -> None:
    """Check that a step returns the new run, and an existing one without filling it."""
    result = step(*arguments)
    assert (result.run, result.created) == ("step-1", True)
    run.exists, kept = True, dict(run.tables)
    result = step(*arguments)
    assert (result.run, result.created) == ("step-1", False) and run.tables == kept
    run.exists = False


def labels_of(monkeypatch: pytest.MonkeyPatch, module: Any, units: list[int]) -> None:
    monkeypatch.setattr(module, "load_order_of_experts", lambda study: ("A2", "A1"))

    def unit_labels(con: Any, dissected: str, order: tuple[str, ...]) -> dict[int, None]:
        assert con.study == STUDY and order == ("A2", "A1")
        assert dissected in ("dissect-1", "newest dissect of study")
        return dict.fromkeys(units)

    monkeypatch.setattr(module.label_states, "unit_labels", unit_labels)


def test_coverage_step(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(coverage, "coverage_table", lambda *given: given)
    answered(run, coverage.run_coverage, STUDY, lambda *step: reports.append(step), "dissect-1")
    assert run.request == (STUDY, "coverage", 2, {}, ["dissect-1"], "")
    assert run.tables == {"coverage": (STUDY, "dissect-1")} and reports == [(1, 1, "tables")]


def test_ablation_step(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    labels_of(monkeypatch, ablate, [9, 4])
    asked: list[Any] = []

    def ablate_units(*given: Any) -> Any:
        asked.append(given)
        return SimpleNamespace(inference={"form": "x"})

    monkeypatch.setattr(ablate, "ablate_units", ablate_units)
    monkeypatch.setattr(ablate, "ablation_table", lambda results: TABLE)
    answered(run, ablate.run_ablation, STUDY, no_progress, "dissect-1")
    assert run.request == (
        STUDY,
        "ablate",
        2,
        {"labelled": [4, 9], "draws": ablate.EXACT_DRAWS},
        ["dissect-1"],
        "",
    )
    assert asked == [(STUDY, "dissect-1", {4, 9}, no_progress)]
    assert run.tables == {"ablations": TABLE}
    assert run.manifest == {"labelled": [4, 9], "inference": {"form": "x"}}
    ablate.run_ablation(STUDY, no_progress)
    assert run.request[4] == ["newest dissect of study"]


def test_sufficiency_step(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    labels_of(monkeypatch, sufficiency, [9, 4])
    monkeypatch.setattr(sufficiency.unit_table, "selected_unit_ids", lambda con, name: [7, 3, 4])
    asked: list[Any] = []

    def keep_units(*given: Any) -> Any:
        asked.append(given)
        return SimpleNamespace(
            labels=np.zeros(6),
            patients=list("aabbcd"),
            living=11,
            holdout_patches=13,
            inference={"form": "x"},
        )

    monkeypatch.setattr(sufficiency, "keep_units", keep_units)
    monkeypatch.setattr(sufficiency, "sufficiency_table", lambda results: TABLE)
    answered(run, sufficiency.run_sufficiency, STUDY, no_progress, "dissect-1")
    settings = {"named": [4, 9], "random_sets": sufficiency.EXACT_SETS}
    assert run.request == (STUDY, "sufficiency", 1, settings, ["dissect-1"], "")
    sets = {"named": [4, 9], "selected": [7, 3, 4]}
    assert asked == [(STUDY, "dissect-1", sets, no_progress, [4, 9])]
    assert run.tables == {"ablations": TABLE}
    assert run.manifest == {
        "patches": 6,
        "patients": 4,
        "living_units": 11,
        "holdout_patches": 13,
        "inference": {"form": "x"},
    }
    monkeypatch.setattr(sufficiency.unit_table, "selected_unit_ids", lambda con, name: [])
    with pytest.raises(UserError, match="newest dissect of study has no selected units"):
        sufficiency.run_sufficiency(STUDY, no_progress)


def test_descriptor_step(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = SimpleNamespace(patients=list("aab"), descriptors=["x", "y"], inference={"form": "x"})
    asked: list[Any] = []
    monkeypatch.setattr(
        descriptor_association, "measure_sample", lambda *given: asked.append(given) or sample
    )
    monkeypatch.setattr(descriptor_association, "association_table", lambda given: TABLE)
    step = descriptor_association.run_descriptor_association
    answered(run, step, STUDY, no_progress, "dissect-1")
    module = descriptor_association
    settings = {"touching": module.MAX_TOUCHING, "others": module.MAX_OTHERS}
    assert run.request == (STUDY, "descriptor_association", 1, settings, ["dissect-1"], "")
    assert asked == [(STUDY, "dissect-1", no_progress)]
    assert run.tables == {"descriptor_associations": TABLE}
    expected = {"patches": 3, "descriptors": ["x", "y"], "inference": {"form": "x"}}
    assert run.manifest == expected


# Three patches of the dissected splits and one of another; the third unit is not selected.
PATCH_IDS = np.array([5, 2, 9, 7])
TOP_PATCHES = pd.DataFrame({"unit": [1, 1, 4, 4], "patch_id": [9, 5, 2, 9]})


@pytest.fixture
def embeddings(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stand-ins for the two files and the study of machine names."""
    patches = SimpleNamespace(
        patches_run="patches of dissect-1",
        patch_ids=PATCH_IDS,
        vectors=np.array([[1.0, 2], [3, 4], [5, 6], [7, 8]]),
        digest="d1",
    )
    words = SimpleNamespace(
        vectors=np.array([[1.0, 0], [0, 1], [1, 1]]), words=["a", "b", "c"], digest="d2"
    )
    given: list[Any] = []

    def name_units(*arguments: Any) -> list[SimpleNamespace]:
        given.append(arguments)
        return [
            SimpleNamespace(word=word, score=score, p_adjusted=score / 10, named=score > 0.4)
            for word, score in (("b", 0.25), ("c", 0.5))
        ]

    def load_top_patches(con: Any, *arguments: Any) -> pd.DataFrame:
        assert arguments == ("dissect-1", "patches of dissect-1", [4, 1], 32)
        return TOP_PATCHES

    np.save(run.folder / "patch_ids.npy", [2, 5, 9])
    module = machine_names
    monkeypatch.setattr(module.runs, "run_folder", lambda study, name: run.folder)
    monkeypatch.setattr(module, "read_patch_embeddings", lambda file: patches)
    monkeypatch.setattr(module, "read_word_embeddings", lambda file: words)
    monkeypatch.setattr(module, "name_units", name_units)
    monkeypatch.setattr(module.unit_table, "selected_unit_ids", lambda con, name: [4, 1])
    monkeypatch.setattr(module.unit_table, "load_top_patches", load_top_patches)
    table = pd.DataFrame({"patch_id": [9, 7, 5, 2], "patient_id": ["p9", "p7", "p5", "p2"]})
    monkeypatch.setattr(module, "load_patch_table", lambda study, name: table)
    return SimpleNamespace(patches=patches, words=words, given=given)


def test_machine_name_step(run: RecordedRun, embeddings: SimpleNamespace) -> None:
    reports: list[Any] = []
    files = Path("patches.npz"), Path("words.npz")
    answered(
        run,
        machine_names.run_machine_names,
        STUDY,
        *files,
        lambda *step: reports.append(step),
        "dissect-1",
    )
    settings = {"images": "d1", "words": "d2"}
    assert run.request == (STUDY, "machine_names", 1, settings, ["dissect-1"], "")
    [(similarity, patients, top, words)] = embeddings.given
    assert similarity.tolist() == [[1, 2, 3], [3, 4, 7], [5, 6, 11]]
    assert patients.tolist() == ["p5", "p2", "p9"] and words == ["a", "b", "c"]
    # Rows of the used embeddings: patch 5 is row 0, patch 2 row 1, patch 9 row 2.
    assert top.tolist() == [[2, 0], [1, 2]] and reports == [(2, 2, "units")]
    assert run.manifest == {
        "words": 3,
        "patches": 3,
        "names": [
            {"unit": 1, "word": "b", "score": 0.25, "p_adjusted": 0.025, "named": False},
            {"unit": 4, "word": "c", "score": 0.5, "p_adjusted": 0.05, "named": True},
        ],
    }


def test_machine_names_refuse_files_of_other_models(embeddings: SimpleNamespace) -> None:
    files = Path("patches.npz"), Path("words.npz")

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            machine_names.run_machine_names(STUDY, *files, no_progress, "dissect-1")

    embeddings.words.vectors = np.eye(3)
    refused(r"of patches\.npz have 2 numbers and those of words\.npz 3")
    embeddings.patches.patches_run = "patches-7"
    refused("patches of patches-7, but dissect-1 was made from patches of dissect-1")


def split_predictions(attention: int = 0) -> SimpleNamespace:
    """Predictions of two splits; the patients, labels and scores of each differ."""
    patches = pd.DataFrame(
        {
            "patch_id": range(9),
            "patient_id": list("aabbccdde"),
            "split": ["holdout"] * 4 + ["test"] * 5,
            "label": [2, 0, 1, 0, 2, 0, 1, 0, 2],
            "p_normal": [0.1, 0.8, 0.3, 0.6, 0.2, 0.7, 0.5, 0.4, 0.25],
            "p_benign": [0.2, 0.1, 0.5, 0.3, 0.1, 0.2, 0.3, 0.35, 0.7],
            "p_malignant": [0.7, 0.1, 0.2, 0.1, 0.7, 0.1, 0.2, 0.25, 0.05],
        }
    )
    mammograms = pd.DataFrame(
        {
            "mammogram_id": [f"m{i}" for i in range(8)],
            "patient_id": list("aabccdde"),
            "split": ["holdout"] * 3 + ["test"] * 5,
            "truth": [2, 0, 1, 2, np.nan, 1, 0, 2],
            "s_normal": [0.1, 0.9, 0.6, 0.3, 0.2, 0.8, 0.7, 0.15],
            "s_benign": [0.3, 0.2, 0.5, 0.1, 0.6, 0.4, 0.05, 0.45],
            "s_malignant": [0.6, 0.35, 0.4, 0.8, 0.1, 0.2, 0.3, 0.55],
        }
    )
    return SimpleNamespace(
        classes=MAMMOGRAPHY,
        patches=patches,
        mammograms=mammograms,
        attention=pd.DataFrame({"x": range(attention)}),
        inference={"form": "x"},
    )


def test_evaluation_step(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ensured, measured = [], [], []
    monkeypatch.setattr(evaluate, "predict_splits", lambda *given: asked.append(given) or "P")
    monkeypatch.setattr(evaluate, "_measure", lambda *given: measured.append(given))
    monkeypatch.setattr(
        evaluate.performance_cache, "ensure_summaries", lambda *given: ensured.append(given)
    )
    answered(run, evaluate.run_evaluation, STUDY, no_progress, "train-1")
    parents = ["train-1", "patches of train-1"]
    assert run.request == (STUDY, "evaluate", 2, {"splits": ["holdout", "test"]}, parents, "")
    assert asked == [(STUDY, *parents, ["holdout", "test"], no_progress)]
    assert measured == [(STUDY, run, "patches of train-1", "P")]
    # Results that an earlier release did not store are added to an existing run.
    assert ensured == [(STUDY, "step-1")]
    run.exists = True
    monkeypatch.setattr(evaluate.distributed, "is_rank_zero", lambda: False)
    evaluate.run_evaluation(STUDY, no_progress)
    assert ensured == [(STUDY, "step-1")] and run.request[4][0] == "newest train of study"


@pytest.mark.parametrize("attention", [0, 3])
def test_tables_of_an_evaluation(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch, attention: int
) -> None:
    predictions = split_predictions(attention)
    stored: list[Any] = []
    monkeypatch.setattr(evaluate, "_store_summaries", lambda *given: stored.append(given))
    monkeypatch.setattr(evaluate.lineage, "has_image_level_labels", lambda study: True)
    monkeypatch.setattr(evaluate.lineage, "truth_statements", lambda study: ["by report"])
    evaluate._measure(STUDY, run, "patches-1", predictions)  # type: ignore[arg-type]
    assert run.tables.keys() == {"predictions", "image_scores", "metrics"} | (
        {"attention"} if attention else set()
    )
    names = ["patch_id", "p_normal", "p_benign", "p_malignant"]
    assert run.tables["predictions"].equals(predictions.patches[names])
    # Hold-out: a normal mammogram at .9, others at .1 and .6. Youden's index is largest at .9.
    assert run.manifest == {
        "normal_threshold": 0.9,
        "inference": {"form": "x"},
        "classes": 3,
        "image_labels": True,
        "truth": ["by report"],
    }
    scores = run.tables["image_scores"]
    assert list(scores) == [
        *("mammogram_id", "split", "truth", "s_normal", "s_benign", "s_malignant", "predicted")
    ]
    # Below the threshold the larger score of the two lesions decides.
    assert scores["predicted"].tolist() == [2, 0, 1, 2, 1, 1, 2, 2]
    metrics = run.tables["metrics"]
    assert metrics["split"].drop_duplicates().tolist() == ["holdout", "test"]
    [(study, given_run, patches_run, given, mammograms)] = stored
    assert (study, given_run, patches_run, given) == (STUDY, run, "patches-1", predictions)
    assert mammograms["predicted"].tolist() == scores["predicted"].tolist()
    assert mammograms["patient_id"].tolist() == list("aabccdde")


def test_summaries_of_an_evaluation(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = split_predictions()
    mammograms = predictions.mammograms.assign(predicted=[2, 0, 1, 2, 1, 1, 2, 2])
    described = pd.DataFrame(
        {
            "mammogram_id": [f"m{i}" for i in range(8)],
            "view": [f"v{i}" for i in range(8)],
            "scanner": [f"s{i}" for i in range(8)],
            "more": 1,
        }
    )
    patients = pd.DataFrame({"patient_id": list("abcde"), "density": range(5), "age": 50})
    for name, table in (("mammograms", described), ("patients", patients), ("findings", TABLE)):
        monkeypatch.setattr(evaluate.dataset_table, f"load_{name}", lambda con, table=table: table)
    groups, written = [], []
    monkeypatch.setattr(
        evaluate.performance,
        "compute_subgroups",
        lambda *given: groups.append(given) or f"groups {len(groups)}",
    )
    module = evaluate.performance_cache
    monkeypatch.setattr(module, "earlier_evaluations", lambda *given: {"earlier": given})
    monkeypatch.setattr(module, "write_summaries", lambda *given: written.append(given))
    run.manifest["normal_threshold"] = 0.625
    evaluate._store_summaries(STUDY, run, "patches-1", predictions, mammograms)  # type: ignore[arg-type]
    [(folder, load, threshold, subgroups, others)] = written
    assert (folder, threshold) == (run.folder, 0.625)
    assert subgroups == {"holdout": "groups 1", "test": "groups 2"}
    assert others == {"earlier": (STUDY, "patches-1")}
    single = mammograms.astype({f"s_{name}": np.float32 for name in MAMMOGRAPHY.names})
    for split, (table, people, findings, classes) in zip(("holdout", "test"), groups, strict=True):
        assert table.drop(columns=["view", "scanner"]).equals(
            single[single["split"] == split].reset_index(drop=True)
            if split == "holdout"
            else single[single["split"] == split]
        )
        assert table["view"].tolist() == [f"v{name[1:]}" for name in table["mammogram_id"]]
        assert people.equals(patients[["patient_id", "density"]])
        assert (findings is TABLE, classes) == (True, MAMMOGRAPHY)
        for level, source in (
            ("patch", predictions.patches),
            ("image", single),
            ("case", single),
        ):
            expected = to_observations(source[source["split"] == split], level, MAMMOGRAPHY)
            observed = load(split, level)
            assert np.array_equal(observed.truth, expected.truth)
            assert np.array_equal(observed.scores, expected.scores)
            assert np.array_equal(observed.patient, expected.patient)
