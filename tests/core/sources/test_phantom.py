from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources import phantom
from core.sources.conventions import parse_lesion_type
from core.sources.phantom.concepts import CONCEPT_DESCRIPTIONS, FINDING_CONCEPTS, Concept
from core.sources.phantom.findings import APPEARANCES
from core.sources.records import PATHOLOGIES, Patient


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    tasks, problems = phantom.list_tasks(patients=30, width=192, seed=2)
    assert problems == []
    return [phantom.read_patient(task) for task in tasks]


def test_two_complete_views_per_patient(patients: list[Patient]) -> None:
    assert phantom.SIMULATED
    assert [p.id for p in patients[:2]] == ["S_0001_1", "S_0002_1"] and len(
        {m.id for p in patients for m in p.mammograms}
    ) == 60
    for patient in patients:
        cc, mlo = patient.mammograms
        assert (
            (cc.view, mlo.view) == ("CC", "MLO")
            and cc.laterality == mlo.laterality
            and cc.id == f"{patient.id}.{cc.laterality}_CC"
        )
        assert (
            cc.pixels.shape == (307, 192)
            and cc.pixels.dtype == np.uint8
            and cc.concepts.dtype == np.uint32
            and cc.maximum == 255
        )
        assert (
            patient.age
            and 35 <= patient.age <= 88
            and patient.density in (1, 2, 3, 4)
            and isinstance(patient.features["risk"], float)
        )
        assert len(cc.file_hash) == 64 and cc.file_hash != mlo.file_hash
        for mammogram in patient.mammograms:
            assert (
                mammogram.concepts & int(Concept.VIEW_LABEL)
            ).any() and mammogram.pixels.max() > 150


def test_findings_have_descriptors_outlines_and_reports(patients: list[Patient]) -> None:
    findings = [(m, f) for p in patients for m in p.mammograms for f in m.findings]
    assert len(findings) > 30
    seen = 0
    for mammogram, finding in findings:
        assert (
            finding.pathology in PATHOLOGIES
            and finding.lesion_type in ("MASS", "CALCIFICATION")
            and finding.descriptors
        )
        assert f"PATHOLOGY {finding.pathology}" in finding.report and finding.report.startswith(
            f"LESION_TYPE {finding.lesion_type}"
        )
        mask = fill_polygons(finding.outline, mammogram.pixels.shape)
        bits = int(np.bitwise_or.reduce(mammogram.concepts[mask])) & int(sum(FINDING_CONCEPTS))
        assert bits, "an outline covers its concept"
        seen |= bits
        inside, around = mammogram.pixels[mask].mean(), mammogram.pixels.mean()
        assert inside > around, "a finding lies in tissue"
    assert seen.bit_count() >= 8


def test_class_and_stratum_frequencies(patients: list[Patient]) -> None:
    tasks, _ = phantom.list_tasks(patients=120, width=64, seed=9)
    kinds, swapped, abnormal = Counter(), 0, 0
    for task in tasks:
        patient = phantom.read_patient(task)
        pathologies = {f.pathology for f in patient.mammograms[0].findings}
        kind = "malignant" if "MALIGNANT" in pathologies else "benign" if pathologies else "normal"
        assert patient.stratum and patient.stratum.startswith(kind)
        kinds[kind] += 1
        swapped += "looks like" in patient.stratum
        abnormal += bool(pathologies)
    assert abs(kinds["normal"] - 30) < 15 and abs(kinds["malignant"] - 48) < 16
    assert 0.07 < swapped / abnormal < 0.28


def test_seed_determines_study(patients: list[Patient]) -> None:
    (again, *_), _ = phantom.list_tasks(patients=5, width=192, seed=2)
    other = phantom.list_tasks(patients=1, width=192, seed=3)[0][0]
    assert (
        phantom.read_patient(again).mammograms[0].pixels == patients[0].mammograms[0].pixels
    ).all()
    assert (
        phantom.read_patient(other).mammograms[0].pixels != patients[0].mammograms[0].pixels
    ).any()


def test_width_keeps_anatomy(patients: list[Patient]) -> None:
    wide = (
        phantom.read_patient(phantom.list_tasks(patients=1, width=384, seed=2)[0][0])
        .mammograms[0]
        .pixels[::2, ::2]
    )
    rows = min(len(wide), len(patients[0].mammograms[0].pixels))
    assert (
        np.corrcoef(wide[:rows].ravel(), patients[0].mammograms[0].pixels[:rows].ravel())[0, 1]
        > 0.95
    )


def test_wide_mammograms_keep_anatomy() -> None:
    """Anatomy of wide mammograms is drawn at half their size."""
    task = phantom.list_tasks(patients=1, width=516, seed=2)[0][0]
    small = phantom.list_tasks(patients=1, width=258, seed=2)[0][0]
    wide, narrow = (phantom.read_patient(t).mammograms[1] for t in (task, small))
    assert wide.pixels.shape == wide.concepts.shape == (826, 516)
    rows = narrow.pixels.shape[0]
    halved = wide.pixels[: 2 * rows].reshape(rows, 2, 258, 2).mean((1, 3))
    assert np.corrcoef(halved.ravel(), narrow.pixels.ravel())[0, 1] > 0.98
    both = (wide.concepts[::2, ::2][:rows] & Concept.PECTORAL_MUSCLE) > 0
    muscle = (narrow.concepts & Concept.PECTORAL_MUSCLE) > 0
    assert (both & muscle).sum() > 0.9 * (both | muscle).sum() > 0


def test_skin_markers_lie_beside_malignant_findings() -> None:
    def patients(share: float) -> list[Patient]:
        tasks, _ = phantom.list_tasks(patients=14, width=64, seed=5, marker=share)
        return [phantom.read_patient(task) for task in tasks]

    marked = 0
    for plain, other in zip(patients(0.0), patients(1.0), strict=True):
        for a, b in zip(plain.mammograms, other.mammograms, strict=True):
            ring = (b.concepts & Concept.SKIN_MARKER) > 0
            assert not (a.concepts & Concept.SKIN_MARKER).any()
            assert (a.pixels == b.pixels)[~ring].mean() > 0.99, "the rest is the same mammogram"
            malignant = any(f.pathology == "MALIGNANT" for f in b.findings)
            assert ring.any() >= malignant
            marked += ring.any()
            if malignant:
                assert b.pixels[ring].mean() > a.pixels[ring].mean() + 10
    assert 4 <= marked < 24


def test_without_swap_appearance_matches_pathology() -> None:
    tasks, _ = phantom.list_tasks(patients=25, width=64, seed=4, swap=0.0)
    benign = sum(int(appearance.concept) for appearance in APPEARANCES if not appearance.malignant)
    for task in tasks:
        patient = phantom.read_patient(task)
        assert "looks like" not in (patient.stratum or "")
        bits = int(np.bitwise_or.reduce(patient.mammograms[0].concepts, axis=None)) & int(
            sum(FINDING_CONCEPTS)
        )
        if patient.stratum == "benign":
            assert bits and not bits & ~benign


def test_two_sides() -> None:
    patient = phantom.read_patient(phantom.list_tasks(patients=1, width=64, seed=1, sides=2)[0][0])
    assert {(m.laterality, m.view) for m in patient.mammograms} == {
        (s, v) for s in ("LEFT", "RIGHT") for v in ("CC", "MLO")
    }


def test_concept_descriptions() -> None:
    assert set(CONCEPT_DESCRIPTIONS) == set(Concept) and len(
        {description.label for description in CONCEPT_DESCRIPTIONS.values()}
    ) == len(Concept)
    for appearance in APPEARANCES:
        assert CONCEPT_DESCRIPTIONS[appearance.concept].association == (
            "suspicious" if appearance.malignant else "benign"
        )
        for line in appearance.descriptions:
            kind, descriptors = parse_lesion_type(line)
            assert kind in ("MASS", "CALCIFICATION") and "other" not in descriptors


def test_invalid_input(tmp_path: object) -> None:
    for invalid in (
        {"patients": 0},
        {"width": 8},
        {"sides": 3},
        {"normal": 0.8, "malignant": 0.4},
        {"marker": 1.5},
    ):
        with pytest.raises(UserError):
            phantom.list_tasks(**invalid)
    with pytest.raises(UserError, match="takes no path"):
        phantom.list_tasks(tmp_path)
