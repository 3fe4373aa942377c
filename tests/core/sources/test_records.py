"""What every source states about its truth, and how it treats rows that it cannot read."""

from __future__ import annotations

import inspect

import pytest

from core.pipeline.ingestion.request import SOURCE_MODULES, source_module
from core.sources.records import TRUTH_BASES, WEAK_TRUTH_BASES

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
