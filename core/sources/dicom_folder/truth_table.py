"""The truth table of a folder of DICOM files.

One column names what a row is about: sop_instance (one image; a row per finding), study or
accession (all images of an examination, or those of the row's laterality and view). pathology is
required. outline is allowed with sop_instance only. Optional columns as in a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.sources.conventions import UNKNOWN, parse_laterality, parse_view, row_pathology
from core.sources.csv_table import CsvRow, read_table
from core.sources.manifest_cells import (
    OPTIONAL_COLUMNS,
    breast_density,
    names_mask,
    patient_features,
    published_split,
    row_outline,
    stated_text,
    unused_columns,
)
from core.sources.plans.headers import FileHeader
from core.sources.plans.records import FilmPlan, FindingPlan
from core.sources.records import PATHOLOGIES, Problem

SOP_INSTANCE, STUDY, ACCESSION = "sop_instance", "study", "accession"
_KEY_NAMES = {
    SOP_INSTANCE: ("sop_instance_uid", "sopinstanceuid", "sop"),
    STUDY: ("study_instance_uid", "studyinstanceuid", "study_uid"),
    ACCESSION: ("accession_number", "accessionnumber"),
}


@dataclass(frozen=True)
class TruthTable:
    """The rows by what they are about.

    kind: SOP_INSTANCE, STUDY or ACCESSION. problems: columns without a meaning.
    """

    kind: str
    rows: dict[str, list[CsvRow]]
    has_outlines: bool
    problems: list[Problem]

    def keys_of(self, header: FileHeader) -> list[str]:
        """Return the key of a file in the table, [] if the table does not have it."""
        key = {
            SOP_INSTANCE: header.sop_instance,
            STUDY: header.study,
            ACCESSION: header.accession,
        }[self.kind]
        return [key] if key in self.rows else []

    def rows_of(self, header: FileHeader) -> list[CsvRow]:
        """Return the rows about the image or the examination of a file."""
        return [row for key in self.keys_of(header) for row in self.rows[key]]

    def film_plan(self, header: FileHeader, name: str) -> FilmPlan:
        """Return the plan of an image; UserError that names the row for an invalid cell."""
        rows = self.rows_of(header)
        origin = f"{rows[0].table}, row {rows[0].line}"
        laterality, view = header.laterality, header.view
        if self.kind == SOP_INSTANCE:
            # The row states side and view of its image; a contradiction is listed on import.
            laterality = parse_laterality(rows[0].get("laterality")) or laterality
            view = parse_view(rows[0].get("view")) or view
        findings: tuple[FindingPlan, ...] = ()
        label = None
        if self.has_outlines:
            findings = tuple(
                _finding(row)
                for row in rows
                if row_pathology(row) != "NORMAL" or row.get("outline")
            )
        else:
            label = self._label(rows, header)
        return FilmPlan(
            image=header.path,
            laterality=laterality,
            view=view,
            findings=findings,
            image_label=label,
            name=name,
            origin=origin,
        )

    def _label(self, rows: list[CsvRow], header: FileHeader) -> str:
        """Return the worst pathology of the rows about this side and view.

        A side that the examination's rows do not mention is not known to be normal.
        """
        labels = [row_pathology(row) for row in rows if self._is_about(row, header)]
        return min(labels, key=PATHOLOGIES.index, default="UNPROVEN")

    def _is_about(self, row: CsvRow, header: FileHeader) -> bool:
        """Return whether a row of the image or examination of a file is about its side and view."""
        side, view = parse_laterality(row.get("laterality")), parse_view(row.get("view"))
        return self.kind == SOP_INSTANCE or (
            side in (None, UNKNOWN, header.laterality) and view in (None, UNKNOWN, header.view)
        )

    def unused_rows(self, headers: Sequence[FileHeader]) -> list[Problem]:
        """Return the problems of rows that are about none of the images."""
        of_key: dict[str, list[FileHeader]] = {}
        for header in headers:
            for key in self.keys_of(header):
                of_key.setdefault(key, []).append(header)
        problems = []
        for key, rows in self.rows.items():
            cause = (
                "no image of its examination has its side and view"
                if key in of_key
                else "no image of the folder belongs to it"
            )
            problems += [
                Problem(f"row {row.line}", cause, "row not used")
                for row in rows
                if not any(self._is_about(row, header) for header in of_key.get(key, ()))
            ]
        return problems

    def check_single(self, headers: Sequence[FileHeader], counts: Mapping[str, int]) -> None:
        """Raise UserError if several files claim to be the image of a row.

        counts: number of files of each SOP instance in the folder.
        """
        for header in headers:
            if self.kind == SOP_INSTANCE and counts[header.sop_instance] > 1:
                raise self.rows_of(header)[0].error(
                    f"{counts[header.sop_instance]} files of the folder are its image",
                    "keep the one that the row is about",
                )

    def age(self, rows: list[CsvRow]) -> int | None:
        """Return the age that the rows state."""
        ages = (row.whole_number("age", 0, 120) for row in rows)
        return next((age for age in ages if age is not None), None)

    def density(self, rows: list[CsvRow]) -> int | None:
        """Return the breast density that the rows state."""
        return next((density for density in map(breast_density, rows) if density), None)

    def features(self, rows: list[CsvRow]) -> dict[str, float | str]:
        """Return the columns feature_<name>."""
        return patient_features(rows)

    def split(self, rows: list[CsvRow]) -> str | None:
        """Return the published split; UserError without an identifier if the rows disagree."""
        try:
            return published_split(rows)
        except UserError:
            raise rows[0].error(
                "the rows of its patient state an unknown split, or several",
                "use one of train, holdout and test",
            ) from None


def read_truth_table(path: Path) -> TruthTable:
    """Return the truth table.

    UserError for a table without exactly one key column, and for the first invalid row.
    """
    rows = read_table(path, {"pathology": ()})
    present = [
        (kind, name)
        for kind, names in _KEY_NAMES.items()
        for name in (kind, *names)
        if name in rows[0].cells
    ]
    if len(present) != 1:
        state = ", ".join(name for _, name in present) or "none of them"
        raise UserError(
            f"The table {path} must have exactly one of the columns {', '.join(_KEY_NAMES)}, but"
            f" has {state}: keep the one that its rows are about."
        )
    [(kind, column)] = present
    by_key: dict[str, list[CsvRow]] = {}
    for row in rows:
        if not row.get(column):
            raise row.error(f"{column} is empty", "every row needs it")
        _check_row(row, kind)
        by_key.setdefault(row.get(column), []).append(row)
    known = ("pathology", column, *OPTIONAL_COLUMNS)
    return TruthTable(
        kind,
        by_key,
        has_outlines=any(row.get("outline") for row in rows),
        problems=unused_columns(rows[0], known),
    )


def _check_row(row: CsvRow, kind: str) -> None:
    pathology, outline = row_pathology(row), row.get("outline")
    for column, parse in (("laterality", parse_laterality), ("view", parse_view)):
        if row.get(column) and parse(row.get(column)) is None:
            raise row.error(f"unknown {column} {row.get(column)!r}", "correct it or write UNKNOWN")
    row.whole_number("age", 0, 120)
    row.whole_number("assessment", 0, 6)
    breast_density(row)
    if not outline:
        return
    if kind != SOP_INSTANCE:
        raise row.error(
            "an outline belongs to one image", "name the image in a column sop_instance"
        )
    if pathology == "NORMAL":
        raise row.error(
            "a NORMAL row has an outline", "give the pathology of the finding or remove the outline"
        )
    if names_mask(outline):
        raise row.error("masks are read in manifests only", "give a polygon, box or circle")
    row_outline(row)


def _finding(row: CsvRow) -> FindingPlan:
    return FindingPlan(
        pathology=row_pathology(row),
        lesion_type=stated_text(row, "lesion_type").upper(),
        assessment=row.whole_number("assessment", 0, 6),
        outline=row_outline(row) if row.get("outline") else None,
        report=stated_text(row, "report"),
        origin=f"{row.table}, row {row.line}",
    )
