"""Your own mammograms: a CSV table with a row per finding, or per image without one.

Columns: image (or file), patient (or patient_id), pathology; laterality and view (needed without
image_labels; guessed from DICOM tags or the file's name where a cell is empty); outline: a polygon
"10 20, 30 20, 30 40" of x y in pixels (several parts separated by |), a box "box 10 20 30 40"
(left, top, right, bottom), the name of a mask file, or nothing. Optional: lesion_type, assessment
(0-5), subtlety (1-5), report, age, density (1-4 or A-D), split, and feature_<name> for auxiliary
features. Paths are relative to the table's folder.
"""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.images.decoding import Film, positive, read_film, read_mask
from core.images.polygons import trace
from core.sources.csv_table import Row, read_table
from core.sources.records import PATHOLOGIES, Finding, Mammogram, Patient, Problem
from core.sources.views import UNKNOWN, guess_from_name, laterality_of, view_of

simulated = False
NEEDED = {"image": ("file", "image_path"), "patient": ("patient_id",), "pathology": ()}
PLACE = {"laterality": ("side",), "view": ()}
SPLIT_NAMES = {
    "train": "train",
    "holdout": "holdout",
    "val": "holdout",
    "validation": "holdout",
    "test": "test",
}
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class ManifestTask:
    """One patient's rows. image_labels: an image without outlines takes its pathology as the label
    of the whole image.
    """

    patient: str
    rows: tuple[Row, ...]
    image_labels: bool


def tasks(
    path: Path | None, image_labels: bool = False, skip_bad: bool = False
) -> tuple[list[ManifestTask], list[Problem]]:
    """A task per patient, in the order of the table.

    Everything that needs no pixels is checked here: columns, pathologies, files, outlines' syntax.
    UserError for the first fault; with skip_bad patients with a fault are left out and listed (left
    out whole: a row less could turn a finding into normal tissue).
    """
    if path is None:
        raise UserError(
            "The manifest source needs the path of a CSV table: give it after `manifest`."
        )
    rows = read_table(Path(path), NEEDED)
    if (
        not image_labels
        and not any(row.get("outline") for row in rows)
        and any(_pathology(row) in PATHOLOGIES[:-1] for row in rows)
    ):
        raise UserError(
            f"The table {path} outlines no finding: fill a column 'outline', or ask for weak labels"
            " of whole images with --image-labels."
        )
    if not image_labels:
        rows = read_table(Path(path), NEEDED | PLACE)
    patients: dict[str, list[Row]] = {}
    for row in rows:
        if not row.get("patient"):
            raise row.wrong("the patient is missing", "every row needs one")
        patients.setdefault(_patient(row), []).append(row)
    owners = _Owners()
    found, problems = [], []
    for patient, rows in patients.items():
        try:
            for row in rows:
                _check(row, image_labels)
                owners.add(row)
            _splits(rows)
        except UserError as error:
            if not skip_bad:
                raise
            problems.append(Problem(patient, str(error), "patient left out", skipped=True))
        else:
            once, repeats = _once(rows)
            problems += [
                Problem(patient, f"row {row.line} repeats an earlier row", "taken once")
                for row in repeats
            ]
            found.append(ManifestTask(patient, tuple(once), image_labels))
    return found, problems


def _once(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Rows without those that say all of an earlier one again, and those: a finding written twice
    is one finding.
    """
    seen: dict[tuple[tuple[str, str], ...], Row] = {}
    for row in rows:
        seen.setdefault(tuple(sorted(row.cells.items())), row)
    once = list(seen.values())
    return once, [row for row in rows if row not in once]


def files(task: ManifestTask) -> list[Path]:
    """The patient's images and masks."""
    return sorted(
        {_image_path(row) for row in task.rows}
        | {_mask_path(row) for row in task.rows if _is_mask(row.get("outline"))}
    )


def read(task: ManifestTask) -> Patient:
    """Read one patient's images and outlines.

    UserError naming the row for an unreadable image and for an outline outside its image.
    """
    by_image: dict[Path, list[Row]] = {}
    for row in task.rows:
        by_image.setdefault(_image_path(row), []).append(row)
    ids: set[str] = set()
    mammograms = tuple(_mammogram(task, path, rows, ids) for path, rows in by_image.items())
    features = {
        name.removeprefix("feature_"): _value(task.rows, name)
        for name in task.rows[0].cells
        if name.startswith("feature_")
    }
    ages = [row.number("age", 0, 120) for row in task.rows]
    densities = [_density(row) for row in task.rows]
    return Patient(
        id=task.patient,
        mammograms=mammograms,
        age=next((age for age in ages if age is not None), None),
        density=next((density for density in densities if density is not None), None),
        features={name: value for name, value in features.items() if value != ""},
        published_split=_splits(task.rows),
    )


class _Owners:
    """Which row an image came in with first.

    Files are compared in full only where length and a piece of the middle agree, so that large
    tables are not read twice; the same picture in two encodings is found when its pixels come in.
    """

    def __init__(self) -> None:
        self._by_piece: dict[tuple[int, bytes], list[Row]] = {}

    def add(self, row: Row) -> None:
        """Note the row; UserError if its image is another patient's."""
        path = _image_path(row)
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(size // 2)
            others = self._by_piece.setdefault(
                (size, hashlib.sha256(file.read(1 << 16)).digest()), []
            )
        for other in others:
            if _patient(other) == _patient(row) or not filecmp.cmp(
                path, _image_path(other), shallow=False
            ):
                continue
            same = "" if other.get("image") == row.get("image") else f" as {other.get('image')}"
            told = f"but row {other.line} gives it{same} to patient {other.get('patient')}"
            raise row.wrong(
                f"the image {row.get('image')} belongs to patient {row.get('patient')}, {told}",
                "an image has one patient, correct a row",
            )
        others.append(row)


def _check(row: Row, image_labels: bool) -> None:
    """UserError for what is wrong in a row, as far as it shows without pixels."""
    if _pathology(row) not in PATHOLOGIES:
        raise row.wrong(
            f"unknown pathology {row.get('pathology')!r}", f"use one of {', '.join(PATHOLOGIES)}"
        )
    if not row.get("image"):
        raise row.wrong("the image is missing", "every row needs a file")
    if not _there(_image_path(row)):
        raise row.wrong(
            f"the image {str(_image_path(row))[:200]} does not exist",
            "correct the path (relative to the table's folder) or leave the row out",
        )
    for column, meaning, allowed in (
        ("laterality", laterality_of, "LEFT, RIGHT"),
        ("view", view_of, "CC, MLO"),
    ):
        if row.get(column) and meaning(row.get(column)) is None:
            raise row.wrong(f"unknown {column} {row.get(column)!r}", f"use {allowed} or UNKNOWN")
    row.number("assessment", 0, 5)
    row.number("subtlety", 1, 5)
    row.number("age", 0, 120)
    _density(row)
    if _is_mask(row.get("outline")):
        if not _there(_mask_path(row)):
            raise row.wrong(
                f"the mask {str(_mask_path(row))[:200]} does not exist",
                "correct the path or give a polygon or a box",
            )
    elif row.get("outline"):
        _polygons(row)
    elif not image_labels and _pathology(row) != "NORMAL":
        raise row.wrong(
            f"{_pathology(row)} without an outline",
            "give a polygon, a box or a mask, or ask for weak labels of whole images with"
            " --image-labels",
        )
    if row.get("outline") and _pathology(row) == "NORMAL":
        raise row.wrong(
            "a NORMAL row has an outline", "give the finding's pathology or take the outline away"
        )


def _mammogram(task: ManifestTask, path: Path, rows: list[Row], ids: set[str]) -> Mammogram:
    """One image with the findings of its rows; ids: those taken in the patient, the new one is
    added.
    """
    try:
        film = positive(read_film(path))
    except UserError as error:
        raise UserError(f"{rows[0].table}, row {rows[0].line}: {error}") from error
    outlined = [row for row in rows if row.get("outline")]
    findings = [_finding(number, row, film) for number, row in enumerate(outlined, start=1)]
    laterality, view = _place(rows, film, task.image_labels)
    name = f"{laterality}_{view}" if UNKNOWN not in (laterality, view) else path.stem
    names = itertools.chain([name, path.stem], (f"{path.stem}_{k}" for k in itertools.count(2)))
    identifier = next(i for i in (f"{task.patient}.{n}" for n in names) if i not in ids)
    ids.add(identifier)
    return Mammogram(
        id=identifier,
        laterality=laterality,
        view=view,
        pixels=film.pixels,
        maximum=film.maximum,
        findings=tuple(findings),
        pixel_mm=film.pixel_mm,
        scanner=film.scanner,
        image_label=_worst(rows) if task.image_labels and not outlined else None,
        inverted=film.inverted,
        file_hash=film.file_hash,
        source_file=rows[0].get("image"),
    )


def _finding(number: int, row: Row, film: Film) -> Finding:
    """The finding of a row; UserError if its outline leaves the image."""
    height, width = film.pixels.shape
    if _is_mask(row.get("outline")):
        try:
            mask = read_mask(_mask_path(row))
        except UserError as error:
            raise UserError(f"{row.table}, row {row.line}: {error}") from error
        if mask.shape != (height, width):
            sizes = f"is {mask.shape[1]} x {mask.shape[0]} pixels, its image {width} x {height}"
            raise row.wrong(
                f"the mask {row.get('outline')} {sizes}", "give a mask of the image's size"
            )
        if not mask.any():
            raise row.wrong(
                f"the mask {row.get('outline')} is empty",
                "give a mask with the finding or leave the cell empty",
            )
        outline = trace(mask)
    else:
        outline = _polygons(row)
        low, high = np.concatenate(outline).min(0), np.concatenate(outline).max(0)
        if (low < 0).any() or high[0] > width or high[1] > height:
            reach = f"x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}"
            raise row.wrong(
                f"the outline ({reach}) leaves its image {row.get('image')} ({width} x {height}"
                " pixels)",
                "correct it",
            )
    kind, assessment, subtlety = (
        row.get("lesion_type").upper(),
        row.number("assessment", 0, 5),
        row.number("subtlety", 1, 5),
    )
    return Finding(
        number=number,
        pathology=_pathology(row),
        lesion_type=kind,
        assessment=assessment,
        subtlety=subtlety,
        outline=outline,
        report=row.get("report"),
    )


def _place(rows: list[Row], film: Film, may_be_unknown: bool) -> tuple[str, str]:
    """Laterality and view: of the rows, else of the DICOM's tags, else of the file's name."""
    row = rows[0]
    side, view = guess_from_name(Path(row.get("image")).name)
    side = laterality_of(row.get("laterality")) or film.laterality or side
    view = view_of(row.get("view")) or film.view or view
    for name, value in (("laterality", side), ("view", view)):
        if value == UNKNOWN and not row.get(name) and not may_be_unknown:
            raise row.wrong(
                f"the {name} is missing and neither tags nor the name of {row.get('image')}"
                " tell it",
                "write it, or UNKNOWN",
            )
    return side, view


def _patient(row: Row) -> str:
    """The patient's name in one spelling: letters with accents can be written in two ways that look
    the same.
    """
    return unicodedata.normalize("NFC", row.get("patient"))


def _image_path(row: Row) -> Path:
    return _path(row, "image")


def _mask_path(row: Row) -> Path:
    return _path(row, "outline")


def _path(row: Row, column: str) -> Path:
    """The file that a cell names, seen from the table's folder; with the separators of Windows
    where there is no file of just that name.
    """
    path = row.table.parent / row.get(column)
    return (
        path
        if "\\" not in path.name or _there(path)
        else row.table.parent / row.get(column).replace("\\", "/")
    )


def _there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long for a name
        return False


def _is_mask(text: str) -> bool:
    """Whether an outline's cell names a file: it holds a letter that neither "box" nor a number
    like 1e3 accounts for.
    """
    return bool(
        re.search(
            r"[A-Za-z]", re.sub(_NUMBER, "", re.sub(r"^box\b", "", text, flags=re.IGNORECASE))
        )
    )


def _polygons(row: Row) -> tuple[np.ndarray, ...]:
    """The polygons that an outline's cell spells, each [n, 2]."""
    text, remedy = (
        row.get("outline"),
        'write "x y, x y, x y", "box left top right bottom" or the name of a mask file',
    )
    if re.sub(_NUMBER, "", re.sub(r"^box\b", "", text, flags=re.IGNORECASE)).strip(" \t,;|()[]"):
        raise row.wrong(f"the outline {text[:40]!r} cannot be understood", remedy)
    if text.lower().startswith("box"):
        numbers = [float(n) for n in re.findall(_NUMBER, text)]
        if len(numbers) != 4 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
            raise row.wrong(f"the box {text[:40]!r} is none", remedy)
        left, top, right, bottom = numbers
        return (np.array([[left, top], [right, top], [right, bottom], [left, bottom]]),)
    polygons = []
    for part in text.split("|"):
        numbers = [float(n) for n in re.findall(_NUMBER, part)]
        if len(numbers) < 6 or len(numbers) % 2:
            raise row.wrong(
                f"the outline {part[:40]!r} has {len(numbers)} numbers where at least three pairs"
                " are needed",
                remedy,
            )
        points = np.array(numbers).reshape(-1, 2)
        if (
            np.isfinite(points).all() and np.linalg.matrix_rank(points - points[0]) < 2
        ):  # all on a line, as with decimal commas, which look like separators
            raise row.wrong(f"the outline {part[:40]!r} encloses nothing", remedy)
        polygons.append(points)
    return tuple(polygons)


def _pathology(row: Row) -> str:
    return row.get("pathology").upper().replace(" ", "_")


def _worst(rows: list[Row]) -> str:
    """The worst pathology of an image's rows."""
    order = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "UNPROVEN", "NORMAL")
    return min((_pathology(row) for row in rows), key=order.index)


def _density(row: Row) -> int | None:
    letters = {"a": 1, "b": 2, "c": 3, "d": 4}
    return letters.get(row.get("density").lower()) or row.number("density", 1, 4)


def _splits(rows: tuple[Row, ...] | list[Row]) -> str | None:
    """The published split of a patient's rows, which must agree."""
    given = {row.get("split").lower(): row for row in rows if row.get("split")}
    for name, row in given.items():
        if name not in SPLIT_NAMES:
            raise row.wrong(f"unknown split {name!r}", "use train, holdout or test")
    names = {SPLIT_NAMES[name] for name in given}
    if len(names) > 1:
        raise rows[-1].wrong(
            f"patient {rows[0].get('patient')} is in several splits",
            "all rows of a patient share one",
        )
    return names.pop() if names else None


def _value(rows: tuple[Row, ...], column: str) -> float | str:
    """The first cell of a column that holds something, as a number where it is one; "nan" is
    nothing. UserError for an infinite number.
    """
    row = next(
        (row for row in rows if row.get(column) and row.get(column).lower() != "nan"), rows[0]
    )
    text = row.get(column) if row.get(column).lower() != "nan" else ""
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise row.wrong(f"{column} is {text!r}", "write a finite number or leave the cell empty")
    return number
