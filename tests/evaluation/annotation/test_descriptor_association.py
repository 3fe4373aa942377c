"""Descriptors of units and the check of a name, against literal versions and on made-up units."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core.interpretation.concept_masks import contrast, of_answer, of_finding
from evaluation.annotation import descriptor_association
from evaluation.pipeline.descriptor_association import sample
from evaluation.roc import auc_interval

SPICULATED = {"phenomena": [{"category": "mass", "terms": {"margin": "spiculated"}}]}
ROUND = {"phenomena": [{"category": "calcification", "terms": {"type": "round"}}]}


@pytest.fixture(scope="module")
def units() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations [4, n] (unit 0 knows the descriptor, 1 the opposite, 2 nothing, 3 is dead),
    positives [n], patients [n].
    """
    rng = np.random.default_rng(5)
    patients, positive = np.repeat(np.arange(60), 5), rng.uniform(size=300) < 0.4
    noise = rng.normal(size=(4, 300))
    noise[0] += 2 * positive
    noise[1] -= 2 * positive
    noise[3] = 0
    return noise, positive, patients


def test_each_units_auc_and_interval_are_those_of_one_score_alone(
    units: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    a, positive, patients = units
    found = descriptor_association.descriptor_aucs(a, positive, patients)
    for unit in range(3):
        alone = auc_interval(positive, a[unit], patients, "obuchowski")
        assert found["auc"][unit] == pytest.approx(alone.estimate) and found["low"][
            unit
        ] == pytest.approx(alone.low)
        assert found["high"][unit] == pytest.approx(alone.high)
        by_pairs = np.mean(
            [(x > y) + 0.5 * (x == y) for x in a[unit][positive] for y in a[unit][~positive]]
        )
        assert found["auc"][unit] == pytest.approx(by_pairs)
    assert found["auc"][3] == 0.5 and np.isnan(found["p"][3])


def test_too_few_patients_give_no_number(units: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    a, _, patients = units
    assert descriptor_association.descriptor_aucs(a, patients < 2, patients).isna().all().all()


def table(units: tuple[np.ndarray, np.ndarray, np.ndarray]) -> pd.DataFrame:
    a, positive, patients = units
    frames = [
        descriptor_association.descriptor_aucs(a, y, patients).assign(
            descriptor=d, unit=range(4), iou=0.1
        )
        for d, y in (
            ("mass margin: spiculated", positive),
            ("calcification type: round", ~positive),
        )
    ]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(p_adjusted=descriptor_association.adjusted(frame))


def test_the_label_check_accepts_a_true_name_and_rejects_a_swapped_one(
    units: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    found = table(units)
    assert (
        descriptor_association.check_label(found, 0, "Spiculated mass", SPICULATED).verdict
        == "holds"
    )
    assert (
        descriptor_association.check_label(found, 0, "Round calcifications", ROUND).verdict
        == "contradicted"
    )
    assert (
        descriptor_association.check_label(found, 1, "Spiculated mass", SPICULATED).verdict
        == "contradicted"
    )
    assert (
        descriptor_association.check_label(found, 2, "Spiculated mass", SPICULATED).verdict
        == "not shown"
    )
    pectoral = {"phenomena": [{"category": "other", "terms": {"structure": "pectoral muscle"}}]}
    unknown = descriptor_association.check_label(found, 0, "Pectoral muscle", pectoral)
    assert unknown.verdict == "no word to check" and "cannot be checked" in unknown.sentence()


def test_findings_speak_the_lexicons_words() -> None:
    finding = SimpleNamespace(
        lesion_type="MASS",
        descriptors={"shape": "IRREGULAR-ROUND", "margins": "SPICULATED", "density": "N/A"},
        pathology="MALIGNANT",
    )
    assert of_finding(finding) == {
        "finding", "mass", "mass shape: irregular", "mass shape: round", "mass margin: spiculated", "pathology: malignant",
    }  # fmt: skip
    assert of_answer(SPICULATED) == ["mass margin: spiculated", "mass"]
    assert (
        contrast("mass margin: spiculated") == "other findings"
        and contrast("view: CC") == "all other patches"
    )
    assert (
        contrast("phantom: spiculated mass") == "other findings"
        and contrast("phantom: nipple") == "all other patches"
    )


def test_the_sample_holds_every_finding_and_weighs_the_rest() -> None:
    patches = pd.DataFrame(
        {"benign_cover": [0.0] * 5000, "malignant_cover": [0.4] * 30 + [0.0] * 4970}
    )
    rows, weights = sample(patches, 1)
    assert set(range(30)) <= set(rows.tolist()) and (np.diff(rows) > 0).all()
    assert weights[:30].tolist() == [1.0] * 30 and weights.sum() == pytest.approx(5000)
