"""What every source states about its truth, and how it treats rows that it cannot read."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

from core.pipeline.ingestion.request import SOURCE_MODULES, source_module
from core.sources.records import (
    PATHOLOGIES,
    TRUTH_BASES,
    WEAK_TRUTH_BASES,
    Finding,
    Mammogram,
    Patient,
    Problem,
)

BIOPSY = "Truth from biopsy or surgery, negatives from follow-up."
BIRADS = "Truth from BI-RADS assessment, not biopsy."
PROJECT = "Truth from the labels of an annotation project, not biopsy."
TABLE = "Truth as stated in the user's table; its origin is not recorded."
STATEMENTS = {
    "phantom": "Truth by construction: synthetic images.",
    "manifest": TABLE,
    "dicom": TABLE,
    "ddsm": BIOPSY,
    "cbis-ddsm": BIOPSY,
    "release": BIOPSY,
    "cmmd": BIOPSY,
    "rsna": BIOPSY,
    "vindr": BIRADS,
    "inbreast": BIRADS,
    "embed": "Truth from biopsy or surgery, and from BI-RADS assessment where there was no biopsy.",
    "mini-mias": "Truth from the marks of radiologists, not biopsy of each finding.",
    "coco": PROJECT,
    "cvat": PROJECT,
    "label-studio": PROJECT,
    "yolo": PROJECT,
}


def test_every_source_has_a_statement() -> None:
    assert set(STATEMENTS) == set(SOURCE_MODULES)
    assert set(STATEMENTS.values()) == set(TRUTH_BASES.values())


@pytest.mark.parametrize("kind", STATEMENTS)
def test_truth_and_defaults_of_a_source(kind: str) -> None:
    module = source_module(kind)
    assert TRUTH_BASES[module.TRUTH_BASIS] == STATEMENTS[kind]
    is_weak = module.TRUTH_BASIS in WEAK_TRUTH_BASES
    assert is_weak == (STATEMENTS[kind] not in (BIOPSY, TABLE, STATEMENTS["phantom"]))
    assert module.SIMULATED is (kind == "phantom")
    # A row that cannot be read ends the import, unless the user asks to leave it out.
    parameters = inspect.signature(module.list_tasks).parameters
    assert parameters["skip_bad"].default is False
    assert all(p.default is False for p in parameters.values() if isinstance(p.default, bool))


def test_fields_that_a_source_leaves_out() -> None:
    """A source that says nothing claims nothing: no finding, no label, nothing inverted."""

    def stated(record: object) -> dict[str, object]:
        fields = dataclasses.fields(record)  # type: ignore[arg-type]
        values = {field.name: getattr(record, field.name) for field in fields}
        return {name: value for name, value in values.items() if value}

    pixels = np.ones((2, 3), np.uint8)
    film = Mammogram(id="m", laterality="LEFT", view="CC", pixels=pixels[:1, :1], maximum=255)
    assert set(stated(film)) == {"id", "laterality", "view", "pixels", "maximum"}
    assert (film.image_label, film.pixel_mm, film.concepts) == (None, None, None)
    assert stated(Finding(number=1, pathology="BENIGN")) == {"number": 1, "pathology": "BENIGN"}
    assert stated(Patient(id="P", mammograms=())) == {"id": "P"}
    assert Patient(id="P", mammograms=()).age is Finding(number=1, pathology="B").assessment is None
    assert stated(Problem("a", "b", "c")) == {"item": "a", "cause": "b", "action": "c"}


def test_pathologies_from_the_worst() -> None:
    ranks = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "UNPROVEN", "NORMAL")
    assert ranks == PATHOLOGIES
    assert WEAK_TRUTH_BASES == ("birads", "pathology_or_birads", "radiologists", "annotators")
