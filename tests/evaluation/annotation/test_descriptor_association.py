"""Descriptor associations against direct computation, and label checks on artificial units."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core.interpretation.concept_masks import (
    answer_descriptors,
    comparison_group,
    finding_descriptors,
)
from core.pipeline.descriptor_overlap import sample_patches
from evaluation.annotation import descriptor_association
from evaluation.roc import auc_interval

SPICULATED = {"phenomena": [{"category": "mass", "terms": {"margin": "spiculated"}}]}
ROUND = {"phenomena": [{"category": "calcification", "terms": {"type": "round"}}]}


@pytest.fixture(scope="module")
def units() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return activations [4, n], positives [n] and patients [n].

    Unit 0 responds to the descriptor, 1 to its absence, 2 is noise and 3 is constant.
    """
    rng = np.random.default_rng(5)
    patients, positive = np.repeat(np.arange(60), 5), rng.uniform(size=300) < 0.4
    noise = rng.normal(size=(4, 300))
    noise[0] += 2 * positive
    noise[1] -= 2 * positive
    noise[3] = 0
    return noise, positive, patients


def test_descriptor_aucs(
    units: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    a, positive, patients = units
    aucs = descriptor_association.descriptor_aucs(a, positive, patients)
    for unit in range(3):
        alone = auc_interval(positive, a[unit], patients, "obuchowski")
        assert aucs["auc"][unit] == pytest.approx(alone.estimate) and aucs["low"][
            unit
        ] == pytest.approx(alone.low)
        assert aucs["high"][unit] == pytest.approx(alone.high)
        by_pairs = np.mean(
            [(x > y) + 0.5 * (x == y) for x in a[unit][positive] for y in a[unit][~positive]]
        )
        assert aucs["auc"][unit] == pytest.approx(by_pairs)
    assert aucs["auc"][3] == 0.5 and np.isnan(aucs["p"][3])


def test_too_few_patients(units: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    a, _, patients = units
    assert descriptor_association.descriptor_aucs(a, patients < 2, patients).isna().all().all()


def associations(units: tuple[np.ndarray, np.ndarray, np.ndarray]) -> pd.DataFrame:
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
    return frame.assign(p_adjusted=descriptor_association.adjusted_p_values(frame))


def test_label_checks(
    units: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    table = associations(units)

    def verdicts(unit: int, label: str, answer: dict) -> list[tuple[str | None, str]]:
        checks = descriptor_association.check_label(table, unit, label, answer)
        return [(check.descriptor, check.verdict) for check in checks]

    spiculated, rounded = "mass margin: spiculated", "calcification type: round"
    # Every descriptor of the label is tested, and the category that no report has is listed.
    assert verdicts(0, "Spiculated mass", SPICULATED) == [
        (spiculated, "holds"),
        ("mass", "not checked"),
    ]
    assert verdicts(0, "Round calcifications", ROUND)[0] == (rounded, "contradicted")
    assert verdicts(1, "Spiculated mass", SPICULATED)[0] == (spiculated, "contradicted")
    assert verdicts(2, "Spiculated mass", SPICULATED)[0] == (spiculated, "not shown")
    # One descriptor that holds does not hide another that is contradicted.
    both = {"phenomena": [*SPICULATED["phenomena"], *ROUND["phenomena"]]}
    assert dict(verdicts(0, "Both", both)) == {
        spiculated: "holds",
        rounded: "contradicted",
        "mass": "not checked",
        "calcification": "not checked",
    }
    pectoral = {"phenomena": [{"category": "other", "terms": {"structure": "pectoral muscle"}}]}
    unknown = descriptor_association.check_label(table, 0, "Pectoral muscle", pectoral)
    assert {check.verdict for check in unknown} == {"not checked"}
    assert all("cannot be checked" in check.sentence() for check in unknown)
    (free,) = descriptor_association.check_label(table, 0, "Blurred", {"phenomena": []})
    assert free.descriptor is None and "no descriptor" in free.sentence()


def test_finding_descriptors() -> None:
    finding = SimpleNamespace(
        lesion_type="MASS",
        descriptors={"shape": "IRREGULAR-ROUND", "margins": "SPICULATED", "density": "N/A"},
        pathology="MALIGNANT",
    )
    assert finding_descriptors(finding) == {
        "finding",
        "mass",
        "mass shape: irregular",
        "mass shape: round",
        "mass margin: spiculated",
        "pathology: malignant",
    }
    assert answer_descriptors(SPICULATED) == ["mass margin: spiculated", "mass"]
    assert (
        comparison_group("mass margin: spiculated") == "other findings"
        and comparison_group("view: CC") == "all other patches"
    )
    assert (
        comparison_group("phantom: spiculated mass") == "other findings"
        and comparison_group("phantom: nipple") == "all other patches"
    )


def test_patch_sample() -> None:
    patches = pd.DataFrame(
        {"benign_cover": [0.0] * 5000, "malignant_cover": [0.4] * 30 + [0.0] * 4970}
    )
    rows, weights = sample_patches(patches, 1)
    assert set(range(30)) <= set(rows.tolist()) and (np.diff(rows) > 0).all()
    assert weights[:30].tolist() == [1.0] * 30 and weights.sum() == pytest.approx(5000)
