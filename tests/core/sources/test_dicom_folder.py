"""A folder of DICOM files with a truth table: keys, pseudonyms, and nothing that identifies."""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.sources import dicom_folder
from core.sources.dicom_folder.pseudonyms import check_key_location, load_key, pseudonym
from core.sources.records import Patient, Problem
from support.breast_films import breast_film, write_mammogram

FILES = (
    # name, patient, accession, study, instance, side, view
    ("a/Doe_Jane.dcm", "MRN 77", "AC1", "1.2.1", "1.2.1.1", "L", "CC"),
    ("a/IM2", "MRN 77", "AC1", "1.2.1", "1.2.1.2", "R", "CC"),
    ("b/IM3", "MRN 88", "AC2", "1.2.2", "1.2.2.1", "L", "MLO"),
    ("b/IM4", "MRN 88", "AC2", "1.2.2", "1.2.2.2", "L", "MLO"),
    ("c/IM5", "MRN 99", "AC3", "1.2.3", "1.2.3.1", "L", "CC"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for k, (name, patient, accession, study, instance, side, view) in enumerate(FILES):
        write_mammogram(
            tmp_path / "export" / name,
            breast_film(k, right=side == "R"),
            PatientID=patient,
            AccessionNumber=accession,
            StudyInstanceUID=study,
            SOPInstanceUID=instance,
            ImageLaterality=side,
            ViewPosition=view,
            PatientAge="057Y",
        )
    (tmp_path / "export" / "notes.txt").write_text("not DICOM")
    (tmp_path / "export" / "c" / "IM6").touch()
    return tmp_path


def read_all(root: Path, table: str, **options: bool) -> tuple[list[Patient], list[Problem]]:
    (root / "truth.csv").write_text(table)
    tasks, problems = dicom_folder.list_tasks(
        root / "export", truth=root / "truth.csv", pseudonym_key=root / "key", **options
    )
    return [dicom_folder.read_patient(task) for task in tasks], problems


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("accession", ("AC1", "AC1", "AC2")),
        ("AccessionNumber", ("AC1", "AC1", "AC2")),
        ("study", ("1.2.1", "1.2.1", "1.2.2")),
        ("Study_Instance_UID", ("1.2.1", "1.2.1", "1.2.2")),
    ],
)
def test_examinations(root: Path, column: str, values: tuple[str, ...]) -> None:
    one, two, three = values
    table = (
        f"{column},laterality,pathology,density\n{one},L,MALIGNANT,B\n{two},R,NORMAL,\n"
        f"{three},,BENIGN,\n"
    )
    (first, second), problems = read_all(root, table)
    assert [(f.laterality, f.view, f.image_label) for f in first.mammograms] == [
        ("LEFT", "CC", "MALIGNANT"),
        ("RIGHT", "CC", "NORMAL"),
    ]
    assert (first.age, first.density) == (57, 2)
    assert [f.image_label for f in second.mammograms] == ["BENIGN", "BENIGN"]
    assert len({f.id for f in second.mammograms}) == 2
    assert [p.cause.split(" ", 1) for p in problems] == [
        ["1", "images of the folder have no row"],
        ["1", "files hold no readable image (reports, damaged or empty files)"],
    ]


def test_a_side_without_a_row_is_unproven(root: Path) -> None:
    (patient,), _ = read_all(root, "accession,laterality,pathology\nAC1,L,BENIGN\n")
    assert [f.image_label for f in patient.mammograms] == ["BENIGN", "UNPROVEN"]


def test_instances_with_outlines(root: Path) -> None:
    table = (
        "sop_instance,pathology,outline,lesion_type\n"
        "1.2.1.1,MALIGNANT,box 20 60 45 90,mass\n1.2.1.1,BENIGN,circle 60 100 12,\n"
        "1.2.1.2,NORMAL,,\n1.2.2.1,BENIGN,,\n9.9,BENIGN,,\n"
    )
    (first, second), problems = read_all(root, table)
    left, right = first.mammograms
    assert [(f.pathology, f.lesion_type) for f in left.findings] == [
        ("MALIGNANT", "MASS"),
        ("BENIGN", ""),
    ]
    assert np.concatenate(left.findings[0].outline).max(0).tolist() == [45, 90]
    assert right.findings == () and not right.unlocated and right.image_label is None
    (film,) = second.mammograms
    assert film.unlocated and film.findings[0].pathology == "BENIGN"
    assert ("row 6", "no image of the folder belongs to it") in [
        (p.item, p.cause) for p in problems
    ]


def test_pseudonyms(root: Path) -> None:
    (first, _), _ = read_all(root, "accession,pathology\nAC1,BENIGN\nAC2,BENIGN\n")
    key = (root / "key").read_bytes().strip()
    expected = hmac.new(key, b"MRN 77", hashlib.sha256).hexdigest()[:16]
    assert first.id == f"P-{expected}" and len(key) == 64
    assert stat.S_IMODE((root / "key").stat().st_mode) == 0o600
    (again, _), _ = read_all(root, "accession,pathology\nAC1,BENIGN\nAC2,BENIGN\n")
    assert again.id == first.id
    (root / "key").unlink()
    (other, _), _ = read_all(root, "accession,pathology\nAC1,BENIGN\nAC2,BENIGN\n")
    assert other.id != first.id


def test_records_hold_no_identifier(root: Path) -> None:
    (root / "export" / "a" / "Doe_Jane.dcm").write_bytes(
        (root / "export" / "a" / "Doe_Jane.dcm").read_bytes()[:-20_000]
    )
    (root / "truth.csv").write_text("accession,pathology\nAC1,BENIGN\nAC2,BENIGN\n")
    tasks, _ = dicom_folder.list_tasks(
        root / "export", truth=root / "truth.csv", pseudonym_key=root / "key"
    )
    with pytest.raises(UserError, match="truth.csv, row 2: .* of film 1 ") as caught:
        dicom_folder.read_patient(tasks[0])
    patient = dicom_folder.read_patient(tasks[1])
    text = f"{caught.value} {patient}"
    assert not any(word in text for word in ("Doe", "MRN", "AC1", "AC2", "1.2.2.1", "IM3"))


def test_key_file(tmp_path: Path) -> None:
    key = load_key(tmp_path / "new" / "key")
    assert key == load_key(tmp_path / "new" / "key")
    assert pseudonym("7", key) != pseudonym("8", key)
    (tmp_path / "short").write_text("secret")
    with pytest.raises(UserError, match="less than 32"):
        load_key(tmp_path / "short")
    check_key_location(tmp_path / "key", tmp_path / "study")
    with pytest.raises(UserError, match="lies in the study folder"):
        check_key_location(tmp_path / "study" / "sub" / "key", tmp_path / "study")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("patient,pathology\nP1,BENIGN\n", "exactly one of the columns .* has none of them"),
        ("accession,study,pathology\nAC1,1,BENIGN\n", "has study, accession"),
        ("accession,pathology\n,BENIGN\n", "row 2: accession is empty"),
        ("accession,pathology\nAC1,BENINE\n", "row 2: unknown pathology"),
        ("accession,pathology,outline\nAC1,BENIGN,box 1 2 30 40\n", "belongs to one image"),
        ("sop_instance,pathology,outline\n1.2.1.1,NORMAL,box 1 2 30 40\n", "NORMAL row has an"),
        ("sop_instance,pathology,outline\n1.2.1.1,BENIGN,m.png\n", "in manifests only"),
        ("accession,pathology,view\nAC1,BENIGN,XX\n", "unknown view 'XX'"),
    ],
)
def test_faults_of_the_table(root: Path, table: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_all(root, table)


def test_no_truth_table(root: Path) -> None:
    with pytest.raises(UserError, match="--truth"):
        dicom_folder.list_tasks(root / "export")


def test_rows_and_columns_that_are_not_used_are_listed(root: Path) -> None:
    """A cancer of a side that has no image is not lost without a word."""
    table = (
        "accession,laterality,view,pathology,birads\nAC1,L,,NORMAL,1\nAC2,R,,MALIGNANT,5\n"
        "AC2,L,,BENIGN,2\nAC3,L,MLO,BENIGN,2\nAC4,,,NORMAL,1\n"
    )
    (_, second, third), problems = read_all(root, table)
    assert {film.image_label for film in second.mammograms} == {"BENIGN"}
    assert third.mammograms[0].image_label == "UNPROVEN"
    listed = [(p.item, p.cause) for p in problems if p.item != "folder"]
    other_view = "no image of its examination has its side and view"
    assert listed == [
        ("truth.csv", "columns that are not used: 'birads'"),
        ("row 3", other_view),
        ("row 5", other_view),
        ("row 6", "no image of the folder belongs to it"),
    ]


def test_one_patient_in_two_spellings(root: Path) -> None:
    write_mammogram(
        root / "export" / "d", breast_film(9), PatientID="mrn 88", AccessionNumber="AC9"
    )
    table = "accession,pathology\nAC1,NORMAL\nAC2,NORMAL\nAC9,NORMAL\n"
    with pytest.raises(UserError, match=r"row \d: the PatientID .* only in spelling") as caught:
        read_all(root, table)
    assert "88" not in str(caught.value).replace(str(root), "")
    (patient,), problems = read_all(root, table, skip_bad=True)
    assert len(patient.mammograms) == 2 and sum(p.skipped for p in problems) == 2


def test_two_files_of_one_instance(root: Path) -> None:
    write_mammogram(
        root / "export" / "d", breast_film(9), PatientID="MRN 77", SOPInstanceUID="1.2.1.1"
    )
    table = "sop_instance,laterality,view,pathology\n1.2.1.1,L,CC,NORMAL\n1.2.3.1,L,CC,NORMAL\n"
    with pytest.raises(UserError, match="row 2: 2 files of the folder are its image"):
        read_all(root, table)
    (patient,), _ = read_all(root, table, skip_bad=True)
    assert len(patient.mammograms) == 1
    # A row about an examination takes all of its files.
    patients, _ = read_all(root, "study,pathology\n1.2.1,NORMAL\n")
    assert len(patients[0].mammograms) == 2
