"""Which of several duplicates is named, and what identifies a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from core.pipeline.ingestion.duplicates import _name_fault, exclude_duplicates
from core.pipeline.ingestion.request import SourceRequest


def record(patient: str, *images: tuple[str, str]) -> dict:
    mammograms = [
        {"mammogram_id": name, "pixel_hash": pixels, "image_label": None} for name, pixels in images
    ]
    return {"patient": {"patient_id": patient}, "mammograms": mammograms, "findings": []}


RECORDS = [
    record("A", ("A.1", "p1"), ("A.2", "p2")),
    # Two images of another patient: the first one is named.
    record("B", ("B.1", "p2"), ("B.2", "p1")),
    record("C", ("C.1", "p3"), ("A.2", "p4"), ("C.1", "p5")),
    # The same image twice in one patient is no leak.
    record("D", ("D.1", "p6"), ("D.2", "p6")),
]


def test_first_duplicate_of_each_patient_is_named(empty: Path) -> None:
    accepted, problems = exclude_duplicates(empty, RECORDS, [], True)
    assert [r["patient"]["patient_id"] for r in accepted] == ["A", "D"]
    assert [(p.item, p.cause, p.skipped) for p in problems] == [
        ("B", "B.1 has the same pixels as A.2 of patient A", True),
        ("C", "A.2 occurs twice", True),
        ("D.1 and D.2", "they have the same pixels", False),
    ]
    with pytest.raises(UserError, match=r"B\.1 has the same pixels as A\.2 of patient A: "):
        exclude_duplicates(empty, RECORDS, [], False)


def test_copies_with_other_findings_are_refused(empty: Path) -> None:
    """The normal copy of a film would make the finding of the other one normal tissue."""
    finding = {"mammogram_id": "D.1", "pathology": "MALIGNANT", "outline": "[[[1, 1], [2, 2]]]"}
    one = RECORDS[3] | {"findings": [finding]}
    both = RECORDS[3] | {"findings": [finding, finding | {"mammogram_id": "D.2"}]}
    with pytest.raises(UserError, match=r"D\.1 and D\.2 have the same pixels, but other findings"):
        exclude_duplicates(empty, [one], [], False)
    accepted, problems = exclude_duplicates(empty, [one, RECORDS[0]], [], True)
    assert [r["patient"]["patient_id"] for r in accepted] == ["A"]
    assert [(p.item, p.skipped) for p in problems] == [("D", True)]
    accepted, problems = exclude_duplicates(empty, [both], [], False)
    assert len(accepted) == 1 and [p.item for p in problems] == ["D.1 and D.2"]
    label = {"image_label": "MALIGNANT"}
    labelled = [RECORDS[3]["mammograms"][0] | label, RECORDS[3]["mammograms"][1]]
    with pytest.raises(UserError, match="other findings"):
        exclude_duplicates(empty, [RECORDS[3] | {"mammograms": labelled}], [], False)


def test_names_that_are_in_the_study() -> None:
    fault = _name_fault("P", {"P", "Q"}, {})
    assert fault is not None and fault.cause == "patient P is in the study already"
    assert fault.remedy == "remove such patients from the source, or skip them with --skip-bad"
    fault = _name_fault("p", {"P", "Q"}, {"p": "P"})
    assert fault is not None and fault.cause == "patient p is in the study already as P"
    assert fault.remedy.startswith("write one name for one patient")
    assert _name_fault("R", {"P", "Q"}, {"p": "P"}) is None


def test_content_of_named_files_identifies_a_source(tmp_path: Path) -> None:
    table, truth, key = (tmp_path / name for name in ("table.csv", "truth.csv", "key"))
    for file in (table, truth, key):
        file.write_text(file.name)

    def request(**options: object) -> SourceRequest:
        return SourceRequest(
            kind="dicom",
            path=tmp_path,
            options={"truth": truth, **options},
            shard=(1, 1),
            input_side=64,
        )

    content = request().table_hash()
    name = request().source_id(content)
    assert len(content) == 64 and name.startswith("dicom-")
    # A folder has no content of its own, nor has a key or a file that is not there.
    assert request(pseudonym_key=key).table_hash() == content
    assert request(other=tmp_path / "absent").table_hash() == content
    both = request(other=table).table_hash()
    assert both.startswith(content) and len(both) == 128
    truth.write_text("changed")
    assert request().table_hash() != content
    assert request().source_id(request().table_hash()) != name == request().source_id(content)
