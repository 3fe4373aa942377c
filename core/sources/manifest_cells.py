"""Cells of a manifest row: patient, files, outline, breast density, split and features.

Reading of images and the order of rows belong in `core.sources.manifest`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.sources.csv_table import CsvRow

_SPLITS = {
    "train": "train",
    "holdout": "holdout",
    "val": "holdout",
    "validation": "holdout",
    "test": "test",
}
_DENSITY_LETTERS = {"a": 1, "b": 2, "c": 3, "d": 4}
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_OUTLINE_REMEDY = 'write "x y, x y, x y", "box left top right bottom" or the name of a mask file'


def patient_id(row: CsvRow) -> str:
    """Return the patient's name in one spelling.

    Letters with accents can be encoded in two ways that look the same.
    """
    return unicodedata.normalize("NFC", row.get("patient"))


def image_path(row: CsvRow) -> Path:
    """Return the path of the row's image."""
    return _cell_path(row, "image")


def mask_path(row: CsvRow) -> Path:
    """Return the path of the row's mask, for an outline that names one."""
    return _cell_path(row, "outline")


def _cell_path(row: CsvRow, column: str) -> Path:
    """Return the file that a cell names, relative to the folder of the table.

    Separators of Windows are replaced if no file has exactly that name.
    """
    path = row.table.parent / row.get(column)
    # Outside Windows a backslash is a valid character of a file name.
    if "\\" not in path.name or is_file(path):
        return path
    return row.table.parent / row.get(column).replace("\\", "/")


def is_file(path: Path) -> bool:
    """Return whether a path is an existing file."""
    try:
        return path.is_file()
    except OSError:  # the operating system rejects names that are too long
        return False


def names_mask(text: str) -> bool:
    """Return whether the cell of an outline names a mask file.

    It does if it holds a letter that belongs neither to "box" nor to a number such as 1e3.

    Examples
    --------
    >>> names_mask("mask.png"), names_mask("box 1 1 20 30"), names_mask("1e3 5, 7 9, 8 8")
    (True, False, False)
    """
    return bool(re.search(r"[A-Za-z]", _without_numbers(text)))


def _without_numbers(text: str) -> str:
    """Return the text of an outline without numbers and the word "box"."""
    return re.sub(_NUMBER, "", re.sub(r"^box\b", "", text, flags=re.IGNORECASE))


def parse_polygons(row: CsvRow) -> tuple[np.ndarray, ...]:
    """Return the polygons of the row's outline, each float [n, 2] of (x, y) in pixels.

    Raises
    ------
    UserError
        If the text is not an outline, or encloses nothing.

    Examples
    --------
    >>> row = CsvRow(Path("table.csv"), 2, {"outline": "box 1 2 5 6"})
    >>> parse_polygons(row)[0].tolist()
    [[1.0, 2.0], [5.0, 2.0], [5.0, 6.0], [1.0, 6.0]]
    """
    text = row.get("outline")
    if _without_numbers(text).strip(" \t,;|()[]"):
        raise row.error(f"the outline {text[:40]!r} cannot be interpreted", _OUTLINE_REMEDY)
    if text.lower().startswith("box"):
        numbers = [float(number) for number in re.findall(_NUMBER, text)]
        if len(numbers) != 4 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
            raise row.error(f"the box {text[:40]!r} is not valid", _OUTLINE_REMEDY)
        left, top, right, bottom = numbers
        return (np.array([[left, top], [right, top], [right, bottom], [left, bottom]]),)
    return tuple(_parse_polygon(row, part) for part in text.split("|"))


def _parse_polygon(row: CsvRow, text: str) -> np.ndarray:
    """Return one part of an outline as float [n, 2]."""
    numbers = [float(number) for number in re.findall(_NUMBER, text)]
    if len(numbers) < 6 or len(numbers) % 2:
        raise row.error(
            f"the outline {text[:40]!r} has {len(numbers)} numbers where at least three pairs are"
            " needed",
            _OUTLINE_REMEDY,
        )
    points = np.array(numbers).reshape(-1, 2)
    # Decimal commas read as separators put all points on one line.
    if np.isfinite(points).all() and np.linalg.matrix_rank(points - points[0]) < 2:
        raise row.error(f"the outline {text[:40]!r} encloses nothing", _OUTLINE_REMEDY)
    return points


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

    "nan" counts as empty. UserError for an infinite number.
    """
    for row in rows:
        text = row.get(column)
        if not text or text.lower() == "nan":
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
