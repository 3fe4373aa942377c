"""Cells of the tables of patients and classifiers, written down for differing numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.queries.provenance import MissingInput
from evaluation.reporting.tables import classifier
from support.score_parts import bounds
from support.table_parts import formats, headings, replace_inputs

STUDY = Path("study")


@pytest.fixture
def cohort(monkeypatch: pytest.MonkeyPatch) -> dict[str, pd.DataFrame]:
    """Five patients: three for training, one on hold-out and one for the test."""
    tables = {
        "patients": pd.DataFrame(
            {
                "patient_id": list("abcdef"),
                "age": [40.0, 50.0, 63.0, 70.0, np.nan, 99],
                "density": [1, 2, 2, 4, 2, 3],
            }
        ),
        "splits": pd.DataFrame(
            {"patient_id": list("abcde"), "split": ["train"] * 3 + ["holdout", "test"]}
        ),
        "mammograms": pd.DataFrame(
            {"patient_id": list("aabcddef"), "mammogram_id": [f"m{i}" for i in range(8)]}
        ),
        "findings": pd.DataFrame(
            {
                "mammogram_id": ["m0", "m0", "m3", "m4", "m6", "m7"],
                "pathology": [
                    *("MALIGNANT", "BENIGN", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT"),
                    "BENIGN",
                ],
            }
        ),
        "patch_counts": pd.DataFrame(
            [("train", 0, 1500), ("train", 1, 300), ("train", 2, 200), ("test", 2, 7)],
            columns=["split", "label", "patches"],
        ),
    }
    replace_inputs(monkeypatch, classifier)
    for name, table in tables.items():
        monkeypatch.setattr(
            classifier.dataset_table,
            f"load_{name}",
            lambda con, *given, table=table: table if given in ((), ("patches-1",)) else None,
        )
    return tables


def test_cohort(cohort: dict[str, pd.DataFrame]) -> None:
    table = classifier.build_cohort_table(STUDY)
    # Standard deviation of 40, 50 and 63 by hand: 11.53; of 40, 50, 63 and 70: 13.38.
    assert table.rows == [
        ("Patients", "3", "1", "1", "5"),
        ("Mammograms", "4", "2", "1", "7"),
        ("Age, mean (SD)", "51.0 (11.5)", "70.0 (nan)", "nan (nan)", "55.8 (13.4)"),
        ("Density 1, patients", "1 (33.3 %)", "0 (0.0 %)", "0 (0.0 %)", "1 (20.0 %)"),
        ("Density 2, patients", "2 (66.7 %)", "0 (0.0 %)", "1 (100.0 %)", "3 (60.0 %)"),
        ("Density 4, patients", "0 (0.0 %)", "1 (100.0 %)", "0 (0.0 %)", "1 (20.0 %)"),
        ("Findings benign", "2", "0", "0", "2"),
        ("Findings benign without callback", "0", "1", "0", "1"),
        ("Findings malignant", "1", "0", "1", "2"),
        ("Patches normal", "1,500 (75.0 %)", "0", "0 (0.0 %)", "1,500 (74.7 %)"),
        ("Patches benign", "300 (15.0 %)", "0", "0 (0.0 %)", "300 (14.9 %)"),
        ("Patches malignant", "200 (10.0 %)", "0", "7 (100.0 %)", "207 (10.3 %)"),
    ]
    assert headings(table) == ["Characteristic*", "Training", "Hold-out", "Test", "All"]
    assert table.counts == {"patients": 5, "mammograms": 7, "findings": 5}
    assert table.note == (
        "Patients were assigned to splits: all images of a patient are in one split. Patches were"
        " assigned to classes by the overlap rule of the settings."
    )
    cohort["patients"][["age", "density"]] = np.nan
    names = [row[0] for row in classifier.build_cohort_table(STUDY).rows]
    assert names[1:3] == ["Mammograms", "Findings benign"]


def class_result(name: str, k: int) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        auc=SimpleNamespace(**vars(bounds(k)) | {"method": "obuchowski"}),
        partial=SimpleNamespace(
            raw=k + 0.1, fraction=k + 0.2, mcclish=k + 0.3, deepminer_2021=k + 0.4
        ),
        partial_interval=bounds(k + 1, "few"),
        specificity=SimpleNamespace(interpolated=k + 0.5),
        specificity_interval=bounds(k + 2),
    )


def test_classifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"patch": (11, 1500, 9), "image": (31, 40, 8), "case": (51, 20, 7)}
    replace_inputs(
        monkeypatch,
        classifier,
        load_observations=lambda study, run, split, level: SimpleNamespace(
            truth=range(numbers[level][1]), patients=numbers[level][2]
        ),
    )

    def load(study: Path, run: str, split: str, level: str) -> list[SimpleNamespace]:
        assert (study, run, split) == (STUDY, "evaluate-1", "test")
        return [class_result(n, numbers[level][0] + 5 * i) for i, n in enumerate(("benign", "x"))]

    monkeypatch.setattr(classifier.performance, "load_class_results", load)
    table = classifier.build_classifier_table(STUDY)
    expected = []
    for level, (k, n, patients) in numbers.items():
        for name, place in (("x", k + 5), ("benign", k)):
            r = class_result(name, place)
            area, part, specificity = (
                (v.estimate, v.low, v.high)
                for v in (r.auc, r.partial_interval, r.specificity_interval)
            )
            expected.append(
                (
                    *(level, name, n, patients, *area, place + 0.1, *part[1:], place + 0.2),
                    *(place + 0.3, place + 0.4, place + 0.5, *specificity[1:], "few"),
                )
            )
    assert table.rows == expected
    assert headings(table) == [
        *("Level", "Class", "n", "Patients", "AUC±", "pAUC raw±", "pAUC / 0.2", "pAUC McClish"),
        *("DeepMiner 2021 formula", "Specificity at .8±", "Remark*"),
    ]
    assert formats(table) == [*["0.125"] * 4, *[".125"] * 6, "0.125"]
    assert table.counts == {"patches": 1500, "mammograms": 40, "patients": 20}
    assert table.note == (
        "Test split, a class against the rest. Partial AUC (pAUC) over sensitivity .8 to 1 (maximum"
        " .2, chance .02); the DeepMiner 2021 formula has chance .036."
    )
    assert table.method == (
        f"{classifier.auc_method_sentence([class_result('x', 1).auc])} Those of the partial AUC and"
        " of the specificity at sensitivity .8 are percentiles of the Bayesian bootstrap of"
        " patients."
    )


def test_operating_points(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_inputs(monkeypatch, classifier)

    def point(k: int) -> SimpleNamespace:
        table = SimpleNamespace(
            sensitivity=bounds(k), specificity=bounds(k + 1), tp=k, fn=2, fp=k * 10, tn=3
        )
        return SimpleNamespace(threshold=k / 1000, table=table)

    points: dict[str, Any] = {
        "patch": {"sensitivity .8": point(11), "Youden": point(21)},
        "image": {},
        "case": {"Youden": point(31)},
    }
    monkeypatch.setattr(
        classifier.performance,
        "load_operating_points",
        lambda *given: points[given[3]] if given[:3] == (STUDY, "evaluate-1", "test") else None,
    )
    table = classifier.build_operating_point_table(STUDY)
    expected = []
    for level, rule, k in (
        ("patch", "sensitivity .8", 11),
        ("patch", "Youden", 21),
        ("case", "Youden", 31),
    ):
        first, second = bounds(k), bounds(k + 1)
        expected.append(
            (
                *(level, rule, k / 1000, first.estimate, first.low, first.high, k + 2),
                *(second.estimate, second.low, second.high, k * 10 + 3),
            )
        )
    assert table.rows == expected
    assert headings(table) == [
        *("Level", "Fixed on hold-out at*", "Threshold", "Sensitivity±", "Malignant"),
        *("Specificity±", "Others"),
    ]
    assert formats(table, 0.12346) == [
        *("0.12346", "0.12346", ".1235"),
        *(".123", "0.12346", ".123", "0.12346"),
    ]
    assert table.note == (
        "Malignant against the rest, test split, at thresholds fixed on hold-out. Intervals"
        " clustered by patient (Korn and Graubard)."
    )
    assert (table.counts, table.method) == ({}, "Thresholds were fixed on the hold-out split.")
    points.update(patch={}, case={})
    with pytest.raises(MissingInput) as error:
        classifier.build_operating_point_table(STUDY)
    assert (error.value.step, error.value.command) == ("Evaluation", "deepminer ingest")


def test_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks of this study, and the published ones that it lacks."""
    replace_inputs(monkeypatch, classifier)

    def auc(k: int) -> SimpleNamespace:
        return SimpleNamespace(**vars(bounds(k)) | {"method": "obuchowski"})

    networks = [
        SimpleNamespace(
            architecture="vgg16",
            weights="imagenet",
            epochs=None,
            n=100,
            patients=22,
            auc={"malignant": auc(11), "normal": auc(12)},
            published={"malignant": 0.8929},
            source="SPIE",
            run="evaluate-1",
        ),
        SimpleNamespace(
            architecture="own",
            weights="none",
            epochs=3,
            n=90,
            patients=33,
            auc={"benign": SimpleNamespace(**vars(auc(13)) | {"low": float("nan")})},
            published={"malignant (two classes)": 0.5},
            source="",
            run="evaluate-2",
        ),
    ]
    found = [networks]
    monkeypatch.setattr(
        classifier.architectures,
        "load_architectures",
        lambda *given: found[-1] if given == (STUDY, "test", "patch") else None,
    )
    table = classifier.build_architecture_table(STUDY)
    none = (None, None, None)
    published = classifier.architectures.PUBLISHED_ARCHITECTURES
    assert table.rows[:2] == [
        (
            *("vgg16", "imagenet", None, 100, 22, 0.115, 0.111, 0.119, *none),
            *(0.125, 0.121, 0.129, 0.8929, None, "SPIE", "evaluate-1"),
        ),
        (
            *("own", "none", 3, 90, 33, *none, 0.135, None, 0.139, *none),
            *(None, 0.5, "", "evaluate-2"),
        ),
    ]
    assert table.rows[2:] == [
        (
            *(name, "", *[None] * 12, published[name][0]["malignant"]),
            *(published[name][0].get("malignant (two classes)"), published[name][1]),
            "published only",
        )
        for name in ("alexnet", "inception_v3", "resnet152")
    ]
    assert headings(table) == [
        *("Network", "Weights*", "Epochs", "n patches", "Patients"),
        *("AUC malignant*±", "AUC benign*±", "AUC normal*±"),
        *("Published malignant", "Published, two classes", "Published in*", "Run*"),
    ]
    assert formats(table, 0.5)[5:10] == [".500", ".500", ".500", ".5000", ".5000"]
    assert table.counts == {"patches": 100, "patients": 33}
    assert table.note == (
        "Patches of the test split. Published values were measured on other data and are not"
        " comparable."
    )
    assert table.method == classifier.auc_method_sentence([auc(1)])
    found.append([])
    assert classifier.build_architecture_table(STUDY).counts == {"patches": 0, "patients": 0}
