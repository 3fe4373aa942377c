"""Tables in the encodings and sizes that users have."""

from __future__ import annotations

import os
from pathlib import Path

import openpyxl
import pytest

from core.errors import UserError
from core.sources.csv_table import read_table, stream_table

TEXT = "image;patient;note\nf1.png;Müller;a\nf2.png;Öz;b\n"
COLUMNS: dict[str, tuple[str, ...]] = {"image": ("file",), "patient": ()}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    path = tmp_path / "t.csv"
    path.write_bytes(marks.get(encoding, b"") + TEXT.encode(encoding))
    assert [row.cells["patient"] for row in read_table(path, COLUMNS)] == ["Müller", "Öz"]


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode("cp1252"),
        TEXT.encode().replace("Öz".encode(), "Öz".encode("cp1252")),
    ],
    ids=["windows-1252", "mixed"],
)
def test_other_encodings_name_the_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    line = 2 if b"M\xfcller" in data else 3
    with pytest.raises(UserError, match=rf"not text in UTF-8 \(line {line}, near .*(ü|Ö)"):
        read_table(path, COLUMNS)


def test_spreadsheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (
        ("File", "Patient", "age"),
        ("f1.png", 12.0, 40),
        (None, None, None),
        ("x", 1, 2.5),
    ):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    rows = read_table(tmp_path / "t.xlsx", COLUMNS)
    assert [(row.line, row.cells) for row in rows] == [
        (2, {"image": "f1.png", "patient": "12", "age": "40"}),
        (4, {"image": "x", "patient": "1", "age": "2.5"}),
    ]
    (tmp_path / "broken.xlsx").write_bytes(b"PK\x03\x04 no")
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    for name, message in (("broken.xlsx", "is not an XLSX file"), ("old.xls", "old spreadsheet")):
        with pytest.raises(UserError, match=message):
            read_table(tmp_path / name, COLUMNS)


@pytest.mark.parametrize("name", ["t.csv", "t.xlsx"])
def test_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"empty \(0 bytes\)"):
        read_table(tmp_path / name, COLUMNS)


def test_large_tables_are_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TEXT)
    # A sparse file: two gigabytes that take no room on the disk.
    os.truncate(path, 2_000_000_000)
    with pytest.raises(UserError, match="has 2,000 MB, more than the 256 MB"):
        read_table(path, COLUMNS)


def test_streaming_carries_the_chosen_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("patient,file,a,b\n" + "".join(f"p{k},{k}.png,1,2\n" for k in range(5)))
    rows = stream_table(path, COLUMNS, optional=("b",))
    assert next(rows).cells == {"patient": "p0", "image": "0.png", "b": "2"}
    assert sum(1 for _ in rows) == 4


@pytest.mark.parametrize(
    ("cell", "code"), [("P\x081", "0008"), ("P\u202e1", "202E"), ("P\u200b1", "200B")]
)
def test_control_characters(tmp_path: Path, cell: str, code: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"image,patient\na.png,P1\nb.png,{cell}\n", encoding="utf-8")
    first, second = read_table(path, COLUMNS)
    assert first.get("patient") == "P1" and second.get("image") == "b.png"
    with pytest.raises(UserError, match=rf"row 3: the cell of 'patient' .* U\+{code}; remove it"):
        second.get("patient")


def test_tabs_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('image\tpatient\tnote\na.png\tP1\t"two\nlines"\nb.png\tP2\t\n')
    first, second = read_table(path, COLUMNS)
    assert (first.cells["note"], first.line, second.line) == ("two\nlines", 2, 4)


def test_equal_cells_share_their_text(tmp_path: Path) -> None:
    """A million rows would otherwise hold a million copies of the same few words."""
    lines = [f"{k}.png,P{k % 2},MALIGNANT" for k in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["image,patient,pathology", *lines]))
    rows = read_table(tmp_path / "t.csv", {"image": (), "patient": ()})
    assert rows[0].cells["pathology"] is rows[3].cells["pathology"]
    assert rows[1].cells["patient"] is rows[3].cells["patient"]


def test_place_of_a_foreign_character(tmp_path: Path) -> None:
    """Eight characters before it and eight with it are shown, of the first such line."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"image,note\na,b\n0123456789\xe4bcdefghijk,1\n\xe4,2\n")
    with pytest.raises(UserError, match=r"\(line 3, near '23456789äbcdefgh' if it is Windows-1252"):
        read_table(path, {})
    path.write_bytes(b"image,note\nab\x81\xe4,2\n")
    with pytest.raises(UserError, match="line 2, near 'ab\ufffdä,2' if"):
        read_table(path, {})


def test_tables_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    for content, message in (
        (b"", r"is empty \(0 bytes\): export or copy it again"),
        (b"\xd0\xcf\x11\xe0rest", "is an old spreadsheet"),
        (b"\xff\xfea\x00\x00\xd8", "is not text in UTF-16"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_table(path, {})
    with pytest.raises(UserError, match="is a folder: give the CSV file inside it"):
        read_table(tmp_path, {})
    path.write_bytes(b"a\n1\n")
    for error, message in (
        (PermissionError(13, "Permission denied"), r"cannot be read \(Permission denied\): check"),
        (FileNotFoundError(), "does not exist: check the path"),
    ):

        def fail(*_: object, error: OSError = error, **__: object) -> None:
            raise error

        with monkeypatch.context() as patch, pytest.raises(UserError, match=message):
            patch.setattr(Path, "open", fail)
            read_table(path, {})


def test_columns_that_rows_carry(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("File\tb\tc; d\n1\t2\t 3 \n\t \t\n4\t5\t6\n")
    required = {"image": ("x", "file")}

    def cells(optional: tuple[str, ...] | None) -> list[dict[str, str]]:
        return [row.cells for row in stream_table(path, required, optional)]

    assert cells(None)[0] == {"image": "1", "b": "2", "c; d": "3"}
    assert cells(()) == [{"image": "1"}, {"image": "4"}]
    assert cells(("c; d", "z"))[1] == {"image": "4", "c; d": "6"}
    assert [row.line for row in read_table(path, required)] == [2, 4]
