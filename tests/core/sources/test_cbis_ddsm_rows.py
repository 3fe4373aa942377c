"""Rows of CBIS-DDSM and the files that are located for them, without reading an image."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from core.images.decoding import DecodedImage
from core.sources import cbis_ddsm
from core.sources.csv_table import CsvRow
from core.sources.records import Problem

TABLE = Path("mass_case_description_train_set.csv")
CELLS = {
    "patient_id": "P_00001", "left or right breast": "LEFT", "image view": "CC",
    "abnormality id": "1", "abnormality type": "mass", "assessment": "4", "pathology": "BENIGN",
    "subtlety": "3", "image file path": "image/1/2/0.dcm",
    "cropped image file path": "crop/1/2/0.dcm", "roi mask file path": "mask/1/2/0.dcm",
    "breast density": "2",
}  # fmt: skip


def row(line: int = 2, table: Path = TABLE, **changes: str) -> CsvRow:
    cells = {name.replace("_", " "): value for name, value in changes.items()}
    return CsvRow(table, line, CELLS | cells)


def test_columns_and_kinds_of_files() -> None:
    assert list(cbis_ddsm._COLUMNS) == list(CELLS)
    assert {name: other for name, other in cbis_ddsm._COLUMNS.items() if other} == {
        "breast density": ("breast_density",)
    }
    assert cbis_ddsm._DESCRIPTORS == {
        "mass shape": "shape", "mass margins": "margins", "calc type": "type",
        "calc distribution": "distribution",
    }  # fmt: skip


def test_files_of_a_row() -> None:
    """The mask is looked for where the table names it before it is looked for as the crop."""
    files = {
        "image/1/2/0.dcm": [Path("i0"), Path("i1")],
        "mask/1/2/0.dcm": [Path("m"), Path("c")],
        "crop/1/2/0.dcm": [Path("c"), Path("d")],
    }
    index: Any = SimpleNamespace(root=Path("r"), files=lambda cell: files.get(cell, []))
    located = cbis_ddsm._locate_files(row(), index)
    assert located.image == Path("i0") and located.roi == (Path("m"), Path("c"), Path("d"))
    assert located.laterality_and_view == ("LEFT", "CC")
    task = cbis_ddsm.CbisTask("P", (located, located))
    assert cbis_ddsm.task_files(task) == [Path("c"), Path("d"), Path("i0"), Path("m")]
    del files["mask/1/2/0.dcm"]
    assert cbis_ddsm._locate_files(row(), index).roi == (Path("c"), Path("d"))
    del files["crop/1/2/0.dcm"]
    with pytest.raises(UserError, match=r"row 2: its mask mask/1/2/0\.dcm is not below r"):
        cbis_ddsm._locate_files(row(), index)
    del files["image/1/2/0.dcm"]
    with pytest.raises(UserError, match=r"row 2: its image image/1/2/0\.dcm is not below r"):
        cbis_ddsm._locate_files(row(), index)


@pytest.mark.parametrize("suffix", [".dcm", ".jpg", ".JPEG", ".png", ""])
def test_images_of_a_series(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "case" / "1.2" / "MG_9.12345"
    folder.mkdir(parents=True)
    for name in (f"b{suffix}", f"a{suffix}", "note.txt"):
        (folder / name).touch()
    (folder / "folder").mkdir()
    index = cbis_ddsm.SeriesIndex(tmp_path)
    a, b = folder / f"a{suffix}", folder / f"b{suffix}"
    assert index.files(f"case/1.2/9.12345/b{suffix}") == [b, a]
    assert index.files("case\\1.2\\9.12345\\other") == [a, b]
    assert index.files("case/1.2/9.99999/a") == index.files("9.12345/a") == []


def test_series_with_the_last_digits_of_their_names(tmp_path: Path) -> None:
    for case, digits in (("case", "12345"), ("case", "23456"), ("other", "12345")):
        file = tmp_path / case / "d-54321" / f"s-{digits}" / "1-1.dcm"
        file.parent.mkdir(parents=True)
        file.touch()
    index = cbis_ddsm.SeriesIndex(tmp_path)
    expected = tmp_path / "case" / "d-54321" / "s-12345" / "1-1.dcm"
    assert index.files("case/1.2.3.54321/9.9.9.12345/000000.dcm") == [expected]
    assert index.files("case/1.2.3.54321/9.9.9.02345/000000.dcm") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"assessment": "6"}, "assessment is '6'"), ({"subtlety": "6"}, "subtlety is '6'"),
        ({"breast_density": "5"}, "breast density is '5'"),
        ({"left_or_right_breast": "B"}, "unknown side or view 'B', 'CC'"),
        ({"image_view": "X"}, "unknown side or view 'LEFT', 'X'"),
        ({"pathology": "CYST"}, "unknown pathology 'CYST'"),
    ],
)  # fmt: skip
def test_faults_of_a_row(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=f"row 7: {message}"):
        cbis_ddsm._check_row(row(7, **changes))
    cbis_ddsm._check_row(row(assessment="0", subtlety="0", breast_density="0"))
    cbis_ddsm._check_row(row(assessment="5", subtlety="5", breast_density="4"))


def test_tasks_of_two_tables(tmp_path: Path) -> None:
    def line(patient: str, number: int, view: str = "CC") -> str:
        case = f"Mass-Training_{patient}_LEFT_{view}"
        cells = CELLS | {
            "patient_id": patient, "image view": view, "abnormality id": str(number),
            "image file path": f"{case}/1/2/0.dcm",
            "cropped image file path": f"{case}_{number}/1/2/0.dcm",
            "roi mask file path": f"{case}_{number}/1/2/1.dcm",
        }  # fmt: skip
        return ",".join(cells.values()) + "\n"

    head = ",".join(CELLS) + "\n"
    tables = {
        "a_case_description_test_set.csv": line("P_00002", 2) + line("P_00003", 1),
        "b/mass_case_description_train_set.csv": line("P_00001", 1) + line("P_00002", 1, "MLO"),
    }
    for name, lines in tables.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(head + lines)
    for name in (
        *("P_00001_LEFT_CC.png", "P_00001_LEFT_CC_1_mask.png", "P_00002_LEFT_CC.png"),
        *("P_00002_LEFT_CC_2.png", "P_00002_LEFT_MLO.png", "P_00002_LEFT_MLO_1.png"),
    ):
        (tmp_path / f"Mass-Training_{name}").touch()
    cause = (
        f"{tmp_path / 'a_case_description_test_set.csv'}, row 3: its image"
        f" Mass-Training_P_00003_LEFT_CC/1/2/0.dcm is not below {tmp_path}"
    )
    with pytest.raises(UserError, match="row 3: its image"):
        cbis_ddsm.list_tasks(tmp_path)
    tasks, (problem,) = cbis_ddsm.list_tasks(tmp_path, skip_bad=True)
    assert problem.cause.startswith(cause)
    assert problem == Problem("P_00003", problem.cause, "patient left out", skipped=True)
    assert [(t.patient, [r.row.get("abnormality id") for r in t.rows]) for t in tasks] == [
        *(("P_00001", ["1"]), ("P_00002", ["2", "1"])),
    ]
    assert tasks[0].rows[0].roi == (tmp_path / "Mass-Training_P_00001_LEFT_CC_1_mask.png",)


def test_films_of_a_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two exposures of one view are two mammograms; the test table keeps the patient there."""
    image = DecodedImage(pixels=np.zeros((2, 3), np.uint8), maximum=255, file_hash="")
    test = Path("calc_case_description_Test_set.csv")
    rows = [
        row(2, breast_density="0"),
        row(3, table=test, breast_density="3"),
        row(4, image_view="MLO", breast_density="2"),
        row(5),
    ]
    located = [cbis_ddsm.CbisRow(r, Path(str(r.line)), ()) for r in rows]

    def read_films(view_rows: list) -> list:
        first, *others = view_rows
        return [(image, [first]), *([(image, others)] if others else [])]

    monkeypatch.setattr(cbis_ddsm, "_read_films", read_films)
    monkeypatch.setattr(
        cbis_ddsm, "_read_outline", lambda row, image: ((), [(f"row {row.image}", "done")])
    )
    patient = cbis_ddsm.read_patient(cbis_ddsm.CbisTask("P", tuple(located)))
    films = patient.mammograms
    assert [(f.id, f.view, len(f.findings)) for f in films] == [
        ("P.LEFT_CC", "CC", 1), ("P.LEFT_CC_2", "CC", 2), ("P.LEFT_MLO", "MLO", 1),
    ]  # fmt: skip
    assert {f.source_file for f in films} == {"image/1/2/0.dcm"}
    assert (patient.id, patient.density, patient.published_split) == ("P", 3, "test")
    assert patient.problems[:4] == (
        Problem("P.LEFT_CC, finding 1", "row 2", "done"),
        Problem("P.LEFT_CC_2, finding 1", "row 3", "done"),
        Problem("P.LEFT_CC_2, finding 2", "row 5", "done"),
        Problem("P.LEFT_MLO, finding 1", "row 4", "done"),
    )
    assert [p.action for p in patient.problems[4:]] == ["all are in test"]


def test_difference_of_two_encodings() -> None:
    """A mean difference of exactly .005 of white is another film."""

    def decoded(value: int) -> DecodedImage:
        return DecodedImage(pixels=np.array([[value]]), maximum=1000, file_hash="")

    assert cbis_ddsm._is_same_film(decoded(0), decoded(4))
    assert not cbis_ddsm._is_same_film(decoded(5), decoded(0))
