"""Simulated experts name what the highlighted regions of a unit's top patches show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.annotation import simulated_experts
from core.annotation.simulated_experts import ConceptShare
from core.sources.phantom.concepts import Concept

SIDE = 32
RNG = np.random.default_rng


class ImagesOfConcepts:
    """Working images that are known by their concepts."""

    def __init__(self, bits: dict[str, np.ndarray]) -> None:
        self.bits = bits

    def concepts(self, file: str) -> np.ndarray:
        return self.bits[file]


def shares(**values: float) -> list[ConceptShare]:
    """Return shares of concepts by lower-case name; all others are 0."""
    return [
        ConceptShare(unit=0, concept=concept, share=values.get(str(concept.name).lower(), 0), iou=0)
        for concept in Concept
    ]


def label(**values: float) -> str:
    answer = simulated_experts.simulate_annotation(shares(**values), RNG(0), careful=True)
    assert (answer["recognisable"] == "yes") == bool(answer["label"])
    return str(answer["label"])


def test_share_counts_patches_whose_region_shows_the_concept() -> None:
    """A concept elsewhere in the patch does not count."""
    bits = np.zeros((SIDE, 3 * SIDE), np.uint32)
    left, right = np.s_[8:24, 4:14], np.s_[8:24, 20:30]
    bits[:, :SIDE][left] = int(Concept.SPICULATED_MASS)
    bits[:, SIDE : 2 * SIDE][right] = int(Concept.SPICULATED_MASS)
    bits[:, 2 * SIDE :][left] = int(Concept.SPICULATED_MASS)
    bits |= np.uint32(Concept.FATTY_TISSUE)
    top = pd.DataFrame(
        {
            "unit": 0,
            "rank": range(3),
            "file": "a",
            "y": 0,
            "x": [0, SIDE, 2 * SIDE],
            "side": SIDE,
        }
    )
    # The unit responds to the left half of each patch.
    maps = np.zeros((1, 3, 2, 2), np.float32)
    maps[..., 0] = 1
    found = simulated_experts.concept_shares(
        ImagesOfConcepts({"a": bits}),  # type: ignore[arg-type]
        top,
        maps,
        {0: 1.0},
        0.2,
    )
    by_concept = {share.concept: share for share in found}
    assert len(found) == len(Concept)
    assert by_concept[Concept.SPICULATED_MASS].share == pytest.approx(2 / 3)
    assert by_concept[Concept.FATTY_TISSUE].share == 1
    assert by_concept[Concept.NIPPLE].share == 0


def test_careful_expert_names_findings_before_anatomy() -> None:
    assert (
        label(fatty_tissue=1.0, nipple=0.9, spiculated_mass=0.6)
        == "Irregular mass with spiculated margin, suspicious"
    )
    assert label(fatty_tissue=1.0, nipple=0.9, spiculated_mass=0.3) == "Nipple, benign"
    assert label(skin_marker=0.6, spiculated_mass=1.0) == "Marker or artefact, benign"


def test_second_finding_is_named_beside_the_first() -> None:
    text = label(round_calcification=0.6, vascular_calcification=0.5, lymph_node=0.45)
    assert text == "Round calcifications, regional distribution, benign; vascular" + (
        " calcifications, benign"
    )
    assert ";" not in label(round_calcification=0.6, vascular_calcification=0.3)


def test_tissue_without_findings_is_normal_and_other_tissue_keeps_its_density() -> None:
    assert label(dense_tissue=0.9, round_calcification=0.1) == "Normal tissue"
    assert label(dense_tissue=0.9, round_calcification=0.3).startswith("Heterogeneously dense")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dense_tissue": 0.6},
        {"spiculated_mass": 0.35, "lymph_node": 0.35, "fatty_tissue": 1.0, "vessel": 0.8},
    ],
)
def test_patches_without_a_common_phenomenon_are_answered_so(values: dict[str, float]) -> None:
    answer = simulated_experts.simulate_annotation(shares(**values), RNG(0), careful=True)
    assert answer["recognisable"] == "nothing" and answer["label"] == ""


def test_second_expert_differs_in_some_units_only() -> None:
    unit = shares(round_calcification=0.7, vascular_calcification=0.5)
    careful = {
        simulated_experts.simulate_annotation(unit, RNG(i), careful=True)["label"]
        for i in range(60)
    }
    answers = [
        simulated_experts.simulate_annotation(unit, RNG(i), careful=False)["label"]
        for i in range(200)
    ]
    (expected,) = careful
    assert 0.6 < answers.count(expected) / 200 < 0.85
    assert answers.count("") and answers.count("Vascular calcifications, benign")


def test_audit_judges_every_phenomenon_of_a_label() -> None:
    bits = np.zeros((16, 16), np.uint32)
    bits[:8] = int(Concept.VASCULAR_CALCIFICATION)
    text = "Lymph node; vascular calcifications"
    answers = [simulated_experts.simulate_audit_judgement(text, bits, RNG(i)) for i in range(50)]
    assert answers.count("yes") > 40
    assert simulated_experts.simulate_audit_judgement("Lymph node", bits, RNG(0)) == "no"
