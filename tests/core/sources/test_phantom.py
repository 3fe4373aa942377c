from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from core.errors import UserError
from core.images.polygons import fill
from core.sources import phantom
from core.sources.birads import read_lesion_words
from core.sources.phantom.concepts import CONCEPT_WORDS, FINDING_CONCEPTS, Concept
from core.sources.phantom.findings import LOOKS
from core.sources.records import PATHOLOGIES, Patient


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    tasks, problems = phantom.tasks(patients=30, width=192, seed=2)
    assert problems == []
    return [phantom.read(task) for task in tasks]


def test_two_views_per_patient_with_all_fields(patients: list[Patient]) -> None:
    assert phantom.simulated
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


def test_findings_carry_words_outlines_and_reports(patients: list[Patient]) -> None:
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
        mask = fill(finding.outline, mammogram.pixels.shape)
        bits = int(np.bitwise_or.reduce(mammogram.concepts[mask])) & int(sum(FINDING_CONCEPTS))
        assert bits, "an outline lies on its concept"
        seen |= bits
        inside, around = mammogram.pixels[mask].mean(), mammogram.pixels.mean()
        assert inside > around, "a finding lies in tissue"
    assert seen.bit_count() >= 8


def test_classes_and_strata_follow_the_rule(patients: list[Patient]) -> None:
    tasks, _ = phantom.tasks(patients=120, width=64, seed=9)
    kinds, odd, number = Counter(), 0, 0
    for task in tasks:
        patient = phantom.read(task)
        pathologies = {f.pathology for f in patient.mammograms[0].findings}
        kind = "malignant" if "MALIGNANT" in pathologies else "benign" if pathologies else "normal"
        assert patient.stratum and patient.stratum.startswith(kind)
        kinds[kind] += 1
        odd += "looks like" in patient.stratum
        number += bool(pathologies)
    assert abs(kinds["normal"] - 30) < 15 and abs(kinds["malignant"] - 48) < 16
    assert 0.07 < odd / number < 0.28


def test_a_seed_is_a_study_and_another_seed_another(patients: list[Patient]) -> None:
    (again, *_), _ = phantom.tasks(patients=5, width=192, seed=2)
    other = phantom.tasks(patients=1, width=192, seed=3)[0][0]
    assert (phantom.read(again).mammograms[0].pixels == patients[0].mammograms[0].pixels).all()
    assert (phantom.read(other).mammograms[0].pixels != patients[0].mammograms[0].pixels).any()


def test_a_wider_film_shows_the_same_breast(patients: list[Patient]) -> None:
    wide = (
        phantom.read(phantom.tasks(patients=1, width=384, seed=2)[0][0])
        .mammograms[0]
        .pixels[::2, ::2]
    )
    rows = min(len(wide), len(patients[0].mammograms[0].pixels))
    assert (
        np.corrcoef(wide[:rows].ravel(), patients[0].mammograms[0].pixels[:rows].ravel())[0, 1]
        > 0.95
    )


def test_no_swap_gives_every_finding_its_own_look() -> None:
    tasks, _ = phantom.tasks(patients=25, width=64, seed=4, swap=0.0)
    benign = sum(int(look.concept) for look in LOOKS if not look.malignant)
    for task in tasks:
        patient = phantom.read(task)
        assert "looks like" not in (patient.stratum or "")
        bits = int(np.bitwise_or.reduce(patient.mammograms[0].concepts, axis=None)) & int(
            sum(FINDING_CONCEPTS)
        )
        if patient.stratum == "benign":
            assert bits and not bits & ~benign


def test_both_sides_on_request() -> None:
    patient = phantom.read(phantom.tasks(patients=1, width=64, seed=1, sides=2)[0][0])
    assert {(m.laterality, m.view) for m in patient.mammograms} == {
        (s, v) for s in ("LEFT", "RIGHT") for v in ("CC", "MLO")
    }


def test_every_concept_has_words() -> None:
    assert set(CONCEPT_WORDS) == set(Concept) and len(
        {words.label for words in CONCEPT_WORDS.values()}
    ) == len(Concept)
    for look in LOOKS:
        assert CONCEPT_WORDS[look.concept].association == (
            "suspicious" if look.malignant else "benign"
        )
        for line in look.words:
            kind, descriptors = read_lesion_words(line)
            assert kind in ("MASS", "CALCIFICATION") and "other" not in descriptors


def test_mistakes_are_said(tmp_path: object) -> None:
    for wrong in ({"patients": 0}, {"width": 8}, {"sides": 3}, {"normal": 0.8, "malignant": 0.4}):
        with pytest.raises(UserError):
            phantom.tasks(**wrong)
    with pytest.raises(UserError, match="takes no path"):
        phantom.tasks(tmp_path)
