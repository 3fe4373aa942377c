"""Tables as hospitals export them: what could be misread is refused with its row, or listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.sources import manifest

HEADER = "image,patient,laterality,view,pathology,outline,report\n"
BOX = '"box 5 20 15 30"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (60, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "table.csv"
    path.write_text(header + "".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "name", ["NA", "#N/A", "nan", "NULL", "None", "-", "?", "#REF!", "1.23457E+12", "1,2E+05"]
)
def test_patients_without_a_name(folder: Path, name: str) -> None:
    """They would all become one patient, and its images be in one split."""
    table = write(folder, f'a.png,"{name}",L,CC,NORMAL,,', "b.png,P2,L,CC,NORMAL,,")
    with pytest.raises(UserError, match="row 2: the patient .*(missing|shortened)"):
        manifest.list_tasks(table, skip_bad=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [("P1", "p1"), ("007", "7"), ("7", "7.0"), ("P 1", "P\N{NO-BREAK SPACE}1"), ("P1", "P１")],
)
def test_one_patient_in_two_spellings(folder: Path, one: str, other: str) -> None:
    """Images of one patient could be in the training and in the test split."""
    rows = [f"a.png,{one},L,CC,NORMAL,,", f"b.png,{other},L,MLO,NORMAL,,", "c.png,X,L,CC,NORMAL,,"]
    with pytest.raises(UserError, match="row 2: the patients .* differ only in spelling"):
        manifest.list_tasks(write(folder, *rows))
    (task,), problems = manifest.list_tasks(write(folder, *rows), skip_bad=True)
    assert task.patient == "X" and {p.item for p in problems if p.skipped} == {one, other}


def test_names_that_are_not_alike(folder: Path) -> None:
    rows = ["a.png,P1,L,CC,NORMAL,,", "b.png,P01,L,CC,NORMAL,,", "c.png,P-1,L,CC,NORMAL,,"]
    assert len(manifest.list_tasks(write(folder, *rows))[0]) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [f"a.png,P,L,CC,BENIGN,{BOX},", "a.png,P,R,CC,BENIGN,box 5 20 15 31,"],
            "row 3: the laterality of a.png is R, but L in row 2",
        ),
        (
            [f"a.png,P,L,CC,BENIGN,{BOX},", "a.png,P,L,MLO,BENIGN,box 5 20 15 31,"],
            "row 3: the view of a.png is MLO, but CC in row 2",
        ),
        (
            [f"a.png,P,L,CC,MALIGNANT,{BOX},", "a.png,P,L,CC,NORMAL,,"],
            "row 3: it outlines nothing in a.png, where row 2 outlines a finding",
        ),
        (
            ["./a.png,P,L,CC,NORMAL,,", f"a.png,P,L,CC,MALIGNANT,{BOX},"],
            "row 2: it outlines nothing in ./a.png, where row 3 outlines a finding",
        ),
        (
            [f"a.png,P,L,CC,MALIGNANT,{BOX},", f"a.png,P,L,CC,BENIGN,{BOX},"],
            "row 3: it outlines the finding of row 2, but its pathology is another",
        ),
    ],
)
def test_rows_of_one_image_that_contradict_each_other(
    folder: Path, rows: list[str], message: str
) -> None:
    table = write(folder, *rows, "b.png,X,L,CC,NORMAL,,")
    with pytest.raises(UserError, match=message):
        manifest.list_tasks(table)
    (task,), _ = manifest.list_tasks(table, skip_bad=True)
    assert task.patient == "X"


def test_cancer_without_an_outline_beside_an_outlined_finding(folder: Path) -> None:
    """With weak labels, too: the outline of the other finding would make the cancer vanish."""
    rows = [f"a.png,P,L,CC,BENIGN,{BOX},", "a.png,P,L,CC,MALIGNANT,,"]
    with pytest.raises(UserError, match="row 3: it outlines nothing"):
        manifest.list_tasks(write(folder, *rows), image_labels=True)
    # Without any outline the worst row of an image is its label.
    rows = ["a.png,P,L,CC,BENIGN,,", "a.png,P,L,CC,MALIGNANT,,"]
    (task,), _ = manifest.list_tasks(write(folder, *rows), image_labels=True)
    (film,) = manifest.read_patient(task).mammograms
    assert film.image_label == "MALIGNANT"


@pytest.mark.parametrize(
    ("report", "row"), [('"mass', 2), ('"mass"es', 2), ("mass\nb.png,P2,L,CC,NORMAL,,x\n", 4)]
)
def test_quotation_marks_do_not_swallow_rows(folder: Path, report: str, row: int) -> None:
    table = write(folder, f"a.png,P1,L,CC,NORMAL,,{report}", "b.png,P2,L,CC,NORMAL,,")
    if row == 4:
        # The last row has a quotation mark that is never closed.
        table.write_text(HEADER + f"a.png,P1,L,CC,NORMAL,,{report}" + 'c.png,P3,L,CC,NORMAL,,"y\n')
    with pytest.raises(UserError, match=f"row {row}: not a CSV row"):
        manifest.list_tasks(table)


def test_quotation_marks_within_cells(folder: Path) -> None:
    table = write(
        folder, f'a.png,P1,L,CC,BENIGN,{BOX},5" mass', f'b.png,P2,L,CC,BENIGN,{BOX},"a ""b"""'
    )
    patients = [manifest.read_patient(task) for task in manifest.list_tasks(table)[0]]
    texts = [patient.mammograms[0].findings[0].report for patient in patients]
    assert texts == ['5" mass', 'a "b"']


def test_marks_of_empty_cells_are_no_text(folder: Path) -> None:
    header = HEADER.replace("report", "report,lesion_type,feature_size")
    rows = [f"a.png,P1,L,CC,BENIGN,{BOX},NA,NaN,#N/A", f"b.png,P1,L,MLO,BENIGN,{BOX},NULL,n/a,3"]
    (task,), _ = manifest.list_tasks(write(folder, *rows, header=header))
    patient = manifest.read_patient(task)
    findings = [finding for film in patient.mammograms for finding in film.findings]
    assert {(finding.report, finding.lesion_type) for finding in findings} == {("", "")}
    assert patient.features == {"size": 3.0} and patient.problems == ()


def test_columns_without_a_meaning_are_listed(folder: Path) -> None:
    header = HEADER.replace("report", "report,assesment,Set")
    table = write(folder, "a.png,P1,L,CC,NORMAL,,,4,test", header=header)
    _, (problem,) = manifest.list_tasks(table)
    assert problem.cause == "columns that are not used: 'assesment', 'set'"
    # Columns without a name come from separators at the ends of the lines.
    table = write(folder, "a.png,P1,L,CC,NORMAL,,,", header=HEADER.replace("report", "report,"))
    assert manifest.list_tasks(table)[1] == []


def test_side_in_another_column(folder: Path) -> None:
    """With weak labels the column is not required, but read under both of its names."""
    table = write(folder, "a.png,P1,R,MALIGNANT", header="image,patient,side,pathology\n")
    (task,), problems = manifest.list_tasks(table, image_labels=True)
    assert problems == []
    assert manifest.read_patient(task).mammograms[0].laterality == "RIGHT"


def test_several_values_of_a_patient_are_listed(folder: Path) -> None:
    header = HEADER.replace("report", "age,density,feature_hormones")
    rows = ["a.png,P1,L,CC,NORMAL,,50,a,yes", "b.png,P1,L,MLO,NORMAL,,61,D,no"]
    (task,), _ = manifest.list_tasks(write(folder, *rows, header=header))
    patient = manifest.read_patient(task)
    assert [problem.cause for problem in patient.problems] == [
        "its rows have several values of age: 50, 61",
        "its rows have several values of density: 1, 4",
        "its rows have several values of feature_hormones: yes, no",
    ]
    assert (patient.age, patient.density, patient.features) == (50, 1, {"hormones": "yes"})


def test_file_of_several_pages(folder: Path) -> None:
    pages = [Image.open(folder / f"{name}.png") for name in "ab"]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    (task,), _ = manifest.list_tasks(write(folder, "pages.tif,P1,L,CC,NORMAL,,"))
    with pytest.raises(UserError, match=r"row 2: .*pages\.tif holds 2 images"):
        manifest.read_patient(task)
    pages[0].save(folder / "page.tif")
    (task,), _ = manifest.list_tasks(write(folder, "page.tif,P1,L,CC,NORMAL,,"))
    assert manifest.read_patient(task).mammograms[0].pixels.shape == (60, 40)
