"""Cells of a manifest row: patient, files, outline, breast density, split and features.

Also rows of one patient that contradict each other.

Reading of images and the order of rows belong in `core.sources.manifest`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from core.errors import UserError
from core.sources.conventions import normalize_pathology, parse_laterality, parse_view
from core.sources.csv_table import CsvRow
from core.sources.outlines.mask_files import MaskReference, parse_mask_reference
from core.sources.outlines.notations import NOTATIONS, is_outline_text, parse_outline
from core.sources.outlines.records import Outline
from core.sources.records import Problem

_SPLITS = {
    "train": "train",
    "holdout": "holdout",
    "val": "holdout",
    "validation": "holdout",
    "test": "test",
}
_DENSITY_LETTERS = {"a": 1, "b": 2, "c": 3, "d": 4}
OPTIONAL_COLUMNS = (
    *("laterality", "view", "outline", "lesion_type", "assessment", "subtlety", "report"),
    *("age", "density", "split"),
)
# What programs write into empty cells, and what people write who do not know a name.
_EMPTY_MARKS = {"na", "n/a", "#n/a", "nan", "null"}
_NO_NAMES = {*_EMPTY_MARKS, "none", "unknown", "-", "?", "#ref!", "#value!", "#name?"}
_SHORTENED_NUMBER = re.compile(r"\d+([.,]\d+)?e\+\d+", re.IGNORECASE)


def patient_id(row: CsvRow) -> str:
    """Return the patient's name in one spelling.

    Letters with accents can be encoded in two ways that look the same. UserError for what is no
    name: images of several patients would become those of one.
    """
    name = unicodedata.normalize("NFC", row.get("patient"))
    if not name or name.lower() in _NO_NAMES:
        raise row.error(
            f"the patient is missing ({name})" if name else "the patient is missing",
            "every row needs one",
        )
    if _SHORTENED_NUMBER.fullmatch(name):
        raise row.error(
            f"the patient {name} is a number that a spreadsheet has shortened",
            "format the column as text and export it again",
        )
    return name


def stated_text(row: CsvRow, column: str) -> str:
    """Return a cell of free text, "" for the marks that programs write into empty cells."""
    text = row.get(column)
    return "" if text.lower() in _EMPTY_MARKS else text


def image_path(row: CsvRow) -> Path:
    """Return the path of the row's image."""
    return _cell_path(row, row.get("image"))


def mask_path(row: CsvRow) -> Path:
    """Return the path of the row's mask, for an outline that names one."""
    return _cell_path(row, mask_reference(row).name)


def mask_reference(row: CsvRow) -> MaskReference:
    """Return the mask of the row's outline, with its chosen value.

    A file that exists under the whole text of the cell has no further words.
    """
    text = row.get("outline")
    return MaskReference(text) if is_file(_cell_path(row, text)) else parse_mask_reference(text)


def _cell_path(row: CsvRow, name: str) -> Path:
    """Return the file that a cell names, relative to the folder of the table.

    Separators of Windows are replaced if no file has exactly that name.
    """
    path = row.table.parent / name
    # Outside Windows a backslash is a valid character of a file name.
    if "\\" not in path.name or is_file(path):
        return path
    return row.table.parent / name.replace("\\", "/")


def is_file(path: Path) -> bool:
    """Return whether a path is an existing file."""
    try:
        return path.is_file()
    except OSError:  # the operating system rejects names that are too long
        return False


def names_mask(text: str) -> bool:
    """Return whether the cell of an outline names a mask file.

    Examples
    --------
    >>> names_mask("mask.png"), names_mask("box 1 1 20 30"), names_mask("1e3 5, 7 9, 8 8")
    (True, False, False)
    """
    return bool(text) and not is_outline_text(text)


def row_outline(row: CsvRow) -> Outline:
    """Return the outline of the row in one of the notations without a file.

    Raises
    ------
    UserError
        If the text is in no known notation, or encloses nothing.

    Examples
    --------
    >>> row = CsvRow(Path("table.csv"), 2, {"outline": "box 1 2 5 6"})
    >>> row_outline(row).polygons
    (((1.0, 2.0), (5.0, 2.0), (5.0, 6.0), (1.0, 6.0)),)
    """
    text = row.get("outline")
    try:
        return parse_outline(text)
    except UserError as error:
        raise row.error(f"the outline {text[:40]!r}: {error}", NOTATIONS) from None


def breast_density(row: CsvRow) -> int | None:
    """Return the BI-RADS density 1 to 4 of a cell with a number or a letter A to D."""
    letter = _DENSITY_LETTERS.get(row.get("density").lower())
    return letter or row.whole_number("density", 1, 4)


def published_split(rows: Sequence[CsvRow]) -> str | None:
    """Return the published split of a patient's rows; UserError if they disagree."""
    cells = {row.get("split").lower(): row for row in rows if row.get("split")}
    for text, row in cells.items():
        if text not in _SPLITS:
            raise row.error(f"unknown split {text!r}", "use train, holdout or test")
    splits = {_SPLITS[text] for text in cells}
    # Images of one patient in training and test would inflate the test result.
    if len(splits) > 1:
        raise rows[-1].error(
            f"patient {rows[0].get('patient')} is in several splits",
            "all rows of a patient share one",
        )
    return splits.pop() if splits else None


def patient_features(rows: Sequence[CsvRow]) -> dict[str, float | str]:
    """Return the auxiliary features of a patient: the columns feature_<name> that are not empty."""
    values = {
        column.removeprefix("feature_"): _feature_value(rows, column)
        for column in rows[0].cells
        if column.startswith("feature_")
    }
    return {name: value for name, value in values.items() if value != ""}


def _feature_value(rows: Sequence[CsvRow], column: str) -> float | str:
    """Return the first non-empty cell of a column, as a number if it is one.

    UserError for an infinite number.
    """
    for row in rows:
        text = stated_text(row, column)
        if not text:
            continue
        try:
            number = float(text)
        except ValueError:
            return text
        if not math.isfinite(number):
            raise row.error(
                f"{column} is {text!r}", "write a finite number or leave the cell empty"
            )
        return number
    return ""


def unused_columns(row: CsvRow, known: Collection[str]) -> list[Problem]:
    """Return the problem that names the columns without a meaning, such as misspelt ones."""
    unused = [
        repr(column)
        for column in row.cells
        if column and column not in known and not column.startswith("feature_")
    ]
    cause = f"columns that are not used: {', '.join(unused)}"
    return [Problem(row.table.name, cause, "imported without them")] if unused else []


def check_images(rows: Sequence[CsvRow]) -> None:
    """Raise UserError if rows of one patient say different things of one image."""
    by_image: dict[Path, list[CsvRow]] = {}
    for row in rows:
        by_image.setdefault(image_path(row), []).append(row)
    for own in by_image.values():
        _check_same_view(own)
        _check_same_findings(own)


def _check_same_view(rows: Sequence[CsvRow]) -> None:
    """Raise UserError if rows of one image name different sides or views."""
    for column, parse in (("laterality", parse_laterality), ("view", parse_view)):
        stated: dict[str | None, CsvRow] = {}
        for row in rows:
            if row.get(column):
                stated.setdefault(parse(row.get(column)), row)
        if len(stated) > 1:
            first, second = list(stated.values())[:2]
            raise second.error(
                f"the {column} of {second.get('image')} is {second.get(column)}, but"
                f" {first.get(column)} in row {first.line}",
                "an image has one",
            )


def _check_same_findings(rows: Sequence[CsvRow]) -> None:
    """Raise UserError if rows of one image outline a finding and nothing, or one finding twice."""
    outlined: dict[str, CsvRow] = {}
    for row in rows:
        if row.get("outline"):
            outlined.setdefault(row.get("outline"), row)
    for row in rows if outlined else ():
        first = outlined.get(row.get("outline"))
        # Without its outline a finding would become normal tissue.
        if first is None:
            other = next(iter(outlined.values()))
            raise row.error(
                f"it outlines nothing in {row.get('image')}, where row {other.line} outlines a"
                " finding",
                "outline this finding as well, or remove one of the rows",
            )
        if normalize_pathology(row.get("pathology")) != normalize_pathology(first.get("pathology")):
            raise row.error(
                f"it outlines the finding of row {first.line}, but its pathology is another",
                "a finding has one pathology",
            )


def contradicting_values(rows: Sequence[CsvRow]) -> list[str]:
    """Return what the rows of a patient say differently of the patient, in words."""
    texts = {
        "age": [str(row.whole_number("age", 0, 120) or "") for row in rows],
        "density": [str(breast_density(row) or "") for row in rows],
    }
    for column in rows[0].cells:
        if column.startswith("feature_"):
            texts[column] = [stated_text(row, column) for row in rows]
    distinct = {name: list(dict.fromkeys(filter(None, own))) for name, own in texts.items()}
    return [
        f"its rows have several values of {name}: {', '.join(own)}"
        for name, own in distinct.items()
        if len(own) > 1
    ]
