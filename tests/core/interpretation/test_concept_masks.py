"""Known content of patches: descriptors and masks by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.interpretation import concept_masks
from core.interpretation.concept_masks import (
    answer_descriptors,
    comparison_group,
    descriptor_text,
    finding_descriptors,
    patch_truths,
)
from core.interpretation.explanation import reading_texts
from core.interpretation.influence import select_frequent_units, select_spie_units
from core.sources.phantom.concepts import Concept


class Images:
    """Images of 40 x 60 pixels with concepts, by name."""

    def __init__(self, concepts: dict[str, np.ndarray]) -> None:
        self._concepts = concepts

    def __getitem__(self, file: str) -> np.ndarray:
        return np.zeros((40, 60), np.uint8)

    def concepts(self, file: str) -> np.ndarray:
        return self._concepts[file]


def finding(**changes: Any) -> SimpleNamespace:
    base = {"lesion_type": "MASS", "descriptors": {}, "pathology": "BENIGN"}
    return SimpleNamespace(**(base | changes))


def test_texts_of_descriptors() -> None:
    assert descriptor_text("mass") == "mass" and descriptor_text("mass", "margin") == "mass margin"
    assert descriptor_text("mass", "margin", "round") == "mass margin: round"
    answer = {
        "phenomena": [
            {"category": "mass", "terms": {"margin": "spiculated", "shape": "oval"}},
            {"category": "normal", "terms": {}},
        ]
    }
    assert answer_descriptors(answer) == [
        *("mass margin: spiculated", "mass shape: oval", "mass", "normal")
    ]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"mass", "pathology: benign"}),
        ({"pathology": "BENIGN_WITHOUT_CALLBACK"}, {"mass", "pathology: benign"}),
        ({"pathology": "UNPROVEN", "lesion_type": ""}, set()),
        ({"pathology": "NORMAL", "lesion_type": "Calcification+x"}, {"calcification"}),
        ({"pathology": "MALIGNANT", "lesion_type": "OTHER"}, {"other", "pathology: malignant"}),
        (
            {"descriptors": {"shape": "ROUND-LYMPH_NODE", "margins": "FUZZY"}},
            {
                *("mass", "pathology: benign", "mass shape: round", "other"),
                "other structure: lymph node",
            },
        ),
    ],
)
def test_descriptors_of_a_finding(changes: dict[str, Any], names: set[str]) -> None:
    assert finding_descriptors(finding(**changes)) == names | {"finding"}


def test_comparison_groups() -> None:
    others, rest = "other findings", "all other patches"
    groups = {
        "mass": others, "pathology: benign": others, "finding": rest, "density: 3": rest,
        "view: CC": rest, "phantom: spiculated mass": others, "phantom: nipple": rest,
    }  # fmt: skip
    assert {name: comparison_group(name) for name in groups} == groups


def square(left: int, top: int, side: int) -> list[np.ndarray]:
    """Return the outline of a square whose border pixels count."""
    right, bottom = left + side - 1, top + side - 1
    return [np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)]


def truths(rule: str, min_overlap: float = 0.25) -> list[concept_masks.PatchTruth]:
    findings = pd.DataFrame(
        {
            "mammogram_id": ["m1", "m1", "m1", "m2"],
            "lesion_type": ["MASS", "MASS", "CALCIFICATION", "MASS"],
            "descriptors": [{}] * 4,
            "pathology": ["BENIGN", "MALIGNANT", "BENIGN", "BENIGN"],
            # 64 and 16 pixels of the first patch of 16 x 16, 24 of the second; m2 has no outline.
            "outline": [square(0, 0, 8), square(2, 2, 4), square(14, 0, 12), []],
        }
    )
    patches = pd.DataFrame(
        {
            "mammogram_id": ["m1", "m1", "m2"],
            "file": ["f1", "f1", "f2"],
            "y": [0, 16, 8],
            "x": [0, 0, 4],
            "side": 16,
            "view": ["CC", "CC", "MLO"],
            "density": [3.0, 3.0, np.nan],
            "has_concepts": [False, False, True],
        }
    )
    bits = np.zeros((40, 60), np.uint32)
    bits[8, 4:17] = int(Concept.NIPPLE)
    bits[9, 4:16] = int(Concept.VESSEL)
    return list(patch_truths(Images({"f2": bits}), patches, findings, min_overlap, rule))  # type: ignore[arg-type]


def test_content_of_patches() -> None:
    first, second, third = truths("or")
    base = {"view: CC", "density: 3"}
    # 64 of 256 pixels are a quarter of the patch; the second mass lies in the patch as a whole;
    # of the calcification 24 of 144 pixels do, a sixth.
    masses = {"finding", "mass", "pathology: benign", "pathology: malignant"}
    assert first.descriptors == base | masses
    assert second.descriptors == base and second.masks == {}
    assert set(first.masks) == {"finding", "mass", "pathology: benign", "pathology: malignant",
                                "calcification"}  # fmt: skip
    assert first.masks["pathology: malignant"].sum() == 16
    assert first.masks["mass"].sum() == 64 and first.masks["calcification"].sum() == 24
    # The benign mass and the benign calcification together.
    assert first.masks["pathology: benign"].sum() == 88 and first.masks["finding"].sum() == 88
    # More than 12 pixels show a concept: 13 of the nipple, 12 of the vessel.
    assert third.descriptors == {"view: MLO", "phantom: nipple"}
    assert third.masks["phantom: nipple"].sum() == 13 and list(third.masks) == ["phantom: nipple"]
    assert third.masks["phantom: nipple"][0, :13].all()


def test_both_shares_can_be_asked_for() -> None:
    first, *_ = truths("and")
    assert first.descriptors == {
        *("view: CC", "density: 3", "finding", "mass", "pathology: benign")
    }
    # Exactly a quarter of the patch counts, a little more does not.
    first, *_ = truths("and", 0.2501)
    assert first.descriptors == {"view: CC", "density: 3"}
    first, *_ = truths("or", 1 / 6)
    assert "calcification" in first.descriptors


def test_texts_of_a_reading_study() -> None:
    order, labels = [5, 1, 7, 2, 9], {1: "a", 2: "b", 9: "c", 5: "d"}
    assert reading_texts(order, labels) == ["d", "a", "b"]
    assert reading_texts(order, labels, 5) == ["d", "a", "b", "c"]
    assert reading_texts(order, labels, 5, depth=3) == ["d", "a"]
    assert reading_texts(list(range(70)), {63: "in", 64: "out"}) == ["in"]


def test_frequent_units() -> None:
    top = np.array([[2, 0], [2, 1], [1, 2]])
    assert select_frequent_units(top, 6, 9).units.tolist() == [2, 1, 0]
    assert select_frequent_units(top, 6, 9).counts.tolist() == [3, 2, 1]


def test_units_of_spie_by_hand() -> None:
    """Shares of class 1 among two patches: units 0 and 3 all, 1 half, 2 and 4 none, 5 is dead."""
    rows = [(0, 1), (0, 1), (1, 1), (1, 0), (2, 0), (2, 2), (3, 1), (3, 1), (4, 0), (4, 0),
            (5, 1), (5, 1)]  # fmt: skip
    top = pd.DataFrame(rows, columns=["unit", "label"])
    alive = {0, 1, 2, 3, 4}

    def select(number: int, seed: int = 1) -> list[int]:
        return select_spie_units(top, alive, number, seed, positive=1)

    for seed in (1, 2, 3):
        order = np.random.default_rng([seed, 31]).permutation(np.array([1, 2, 4])).tolist()
        # A fifth of three is one at random beside both units of the class.
        assert select(3, seed) == sorted([0, 3, order[0]])
        assert select(4, seed) == sorted([0, 3, *order[:2]])
    assert select(9) == [0, 1, 2, 3, 4] and select(2) == [0, 3]
    # Of more units of the class than there is room for, those with the largest share.
    assert select(1) == [0]
    assert select_spie_units(top, alive, 2) != select(2)
