"""What the Data page renders, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from support.page_transcript import (
    Stopped,
    Transcript,
    expected_lines,
    load_page,
    render_page,
)

PATCHES = "patches-1"

MAMMOGRAMS = pd.DataFrame(
    [
        ("C1.LEFT_CC", "P1", "LEFT", "CC", "f1", 200, 400, 2000, 4100, "scanner A", 0.456, True),
        ("C1.RIGHT_CC", "P1", "RIGHT", "CC", "f2", 201, 401, 2001, 4101, "scanner B", 0.5, False),
        ("C1.RIGHT_CC2", "P1", "RIGHT", "CC", "f3", 202, 402, 2002, 4102, "scanner B", 0.6, False),
        ("C2.LEFT_MLO", "P2", "LEFT", "MLO", "f4", 203, 403, 2003, 4103, "scanner C", 0.7, False),
        ("C3.LEFT_MLO", "P3", "LEFT", "MLO", "f5", 204, 404, 2004, 4104, "", 0.8, False),
    ],
    columns=[
        *("mammogram_id", "patient_id", "laterality", "view", "file", "width", "height"),
        *("source_width", "source_height", "scanner", "tissue", "inverted"),
    ],
).assign(pixel_hash=["a", "b", "b", "c", "d"])

FINDINGS = pd.DataFrame(
    [
        ("C1.LEFT_CC", 1, "MALIGNANT", "MASS", 4, 3, "A report"),
        ("C1.LEFT_CC", 2, "BENIGN_WITHOUT_CALLBACK", "CALCIFICATION", 2, 5, ""),
        ("C2.LEFT_MLO", 1, "BENIGN", "MASS", 3, 2, ""),
    ],
    columns=[
        *("mammogram_id", "number", "pathology", "lesion_type", "assessment", "subtlety"),
        "report",
    ],
).assign(
    outline=[[np.array([[1, 2]]), np.array([[2, 2]])], [np.array([[3, 4]])], []],
    nested=[[np.array([[9, 9]])], [], []],
)

PATIENTS = pd.DataFrame(
    {"patient_id": ["P1", "P2", "P3"], "age": [51, None, 63], "density": [2, 3, None]}
)

PROBLEMS = pd.DataFrame(
    {"item": ["P2, finding 1", "x"], "resolution": [None, "accepted"], "problem_id": ["1", "2"]}
)


def data_queries() -> dict[Any, Any]:
    patches = pd.DataFrame(
        [
            (40, 100, 50, 2, 0.0, 0.0, 0.356, 0.5),
            (0, 0, 50, 0, 0.0, 0.0, 0.0, 0.0),
            (20, 40, 60, 1, 0.311, 0.999, 0.1, 0.02),
        ],
        columns=[
            *("x", "y", "side", "label", "benign_cover", "benign_part"),
            *("malignant_cover", "malignant_part"),
        ],
    )
    run = {
        "settings": {"patches": {"min_overlap": 0.3}},
        "manifest": {
            "classes": 3,
            "dropped": {
                "unproven": 3,
                "ambiguous": 4,
                "films_without_tissue": 5,
                "undecided_films": 6,
                "left_out": 7,
            },
        },
    }
    return {
        ("dataset_counts",): {"mammograms": 5, "patients": 3, "findings": 1},
        ("load_mammograms",): MAMMOGRAMS,
        ("load_findings",): FINDINGS,
        ("load_patients",): PATIENTS,
        ("patients_with_problems",): ["P2"],
        ("latest_run", "patches"): PATCHES,
        ("load_splits", PATCHES): pd.DataFrame(
            {"patient_id": ["P1", "P2", "P3"], "split": ["train", "holdout", "train"]}
        ),
        ("list_problems",): PROBLEMS,
        ("has_simulated_images",): True,
        ("load_image_truth",): pd.DataFrame(
            {"patient_id": ["P1", "P1", "P2", "P3"], "truth": [0, 2, 1, None]}
        ),
        ("load_classes",): MAMMOGRAPHY,
        ("load_mammogram_patches", PATCHES, "C1.LEFT_CC"): patches,
        ("load_run", PATCHES): run,
        ("load_patch_counts", PATCHES): pd.DataFrame(
            [("holdout", 0, 11, 3, 2), ("test", 2, 7, 5, 4)],
            columns=["split", "label", "patches", "mammograms", "patients"],
        ),
    }


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> tuple[Transcript, Any, Any]:
    module, run = load_page(monkeypatch, "data")
    page = render_page(monkeypatch, module, "show_mammograms", "show_flash", "render_problems")
    page.queries |= data_queries()
    selection = SimpleNamespace(selection=SimpleNamespace(rows=[]))
    page.replace(module.elements, "data_table", result=selection)
    return page, module, run


def test_data_page(data: tuple[Transcript, Any, Any]) -> None:
    page, _, run = data
    run()
    lines = [line for line in page.take() if not line.startswith("render_problems")]
    assert lines == expected_lines("data", "page")


def test_case_of_another_view(data: tuple[Transcript, Any, Any]) -> None:
    page, module, run = data
    run()
    page.take()
    page.answers["View"] = "right CC 2"
    page.queries["load_mammogram_patches", PATCHES, "C1.RIGHT_CC2"] = pd.DataFrame(
        {"x": [], "y": [], "side": [], "label": []}
    )
    module._render_case("P1")
    assert page.take() == expected_lines("data", "another view")
    four = pd.concat([MAMMOGRAMS, MAMMOGRAMS.iloc[:1].assign(laterality="LEFT", view="MLO")])
    module._mammograms = four
    module._render_case("P1")
    small = [line for line in page.take() if "data_small" in line]
    assert len(small) == 2 and small[1].count("Panel") == 2 and "left MLO" in small[1]


def test_filters_of_cases(data: tuple[Transcript, Any, Any]) -> None:
    page, module, run = data
    run()
    page.take()
    table = module._case_table()
    page.answers = {"Lesion": "mass", "Only cases with a problem": False}
    assert module._filter_cases(table)["Case"].tolist() == ["P2"]
    page.answers = {"Only cases with a problem": True}
    assert module._filter_cases(table)["Case"].tolist() == ["P2"]
    page.answers = {"Pathology": "malignant"}
    assert module._filter_cases(table)["Case"].tolist() == ["P1"]
    # A filter is offered only where several values are left.
    page.answers = {"Split": "hold-out", "Pathology": "malignant"}
    assert module._filter_cases(table)["Case"].tolist() == ["P2"]
    module._filter_cases = lambda _: table.iloc[:0]
    page.take()
    module._render_cases()
    assert page.take()[-2] == "info: 'No case matches these filters; widen them.'"


def test_selected_case(data: tuple[Transcript, Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    page, module, run = data
    run()
    shown: list[str] = []
    module._render_case = shown.append
    # A selection can outlive its row.
    for rows in ([1], [7], [7, 2]):
        selection = SimpleNamespace(selection=SimpleNamespace(rows=rows))
        page.replace(module.elements, "data_table", result=selection)
        module._render_cases()
    assert shown == ["P2", "P1", "P3"]


def test_data_of_other_images(data: tuple[Transcript, Any, Any]) -> None:
    page, module, run = data
    module.shows_breasts = lambda: False
    page.queries |= {
        ("latest_run", "patches"): None,
        ("load_classes",): ClassDefinition(("tile", "crack", "brick"), "brick", "tile"),
    }
    with pytest.raises(Stopped):
        run()
    lines = [line for line in page.take() if "data_table" in line or "View" in line]
    lines += [module._case_table().to_csv()]
    assert lines[:2] + lines[-1].splitlines() == expected_lines("data", "other images")


def test_duplicates_and_shared_patients(data: tuple[Transcript, Any, Any]) -> None:
    page, module, run = data
    page.queries["load_splits", PATCHES] = pd.DataFrame(
        {
            "patient_id": ["P1", "P1", "P2", "P2", "P3"],
            "split": ["train", "test", "test", "test", "holdout"],
        }
    )
    run()
    page.take()
    module._render_splits()
    assert page.take() == expected_lines("data", "splits")


def test_empty_data_page(data: tuple[Transcript, Any, Any]) -> None:
    page, _, run = data
    page.queries["dataset_counts",] = {"mammograms": 0}
    with pytest.raises(Stopped):
        run()
    assert page.take() == expected_lines("data", "empty")
