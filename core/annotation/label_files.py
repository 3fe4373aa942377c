"""Unit labels as files: the published JSON forms, and this project's own JSON and CSV.

Reading gives entries; the store is not touched here.

Unit names count from 1 (`unit_0001` = index 0, DEFINITIONS "Units"). Every mistake names the file
and the entry.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import birads_lexicon
from core.errors import UserError

CONSENSUS, LABEL = "consensus", "label"
COLUMNS = (
    "unit",
    "set",
    "label",
    "words",
    "recognisable",
    "phenomena",
    "confidence",
    "seconds",
    "version",
    "annotation_ids",
    "reason",
    "decided_by",
    "simulated",
    "origin",
    "made",
)
# What the published answers write where an expert saw nothing; "nothing" is an answer, not a label.
NOTHING = ("", "n/a", "na", "none", "nothing", "-", "–")
_UNIT = re.compile(r"unit_(\d+)")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One label of one set (an expert's code, or "consensus"). place: where in the file; unit:

    0-based; answer: a structured answer, where the file has one.
    """

    place: str
    set: str
    unit: int
    text: str
    answer: dict[str, Any] | None = None
    reason: str = ""

    @property
    def substantive(self) -> bool:
        """Whether it names something."""
        return (
            birads_lexicon.substantive(self.answer)
            if self.answer is not None
            else self.text.strip().lower() not in NOTHING
        )


def read(file: Path) -> list[Entry]:
    """The entries of a file, in its order.

    Forms: {expert: {unit: text}} (raw answers), {unit: text} (one consensus), {"labels": [rows]} as
    exported, and a CSV with at least the columns unit, set, label. Rows of the set "label" are
    derived and left out.
    """
    text = _text(file)
    if file.suffix.lower() == ".csv":
        entries = _csv(file, text)
    elif file.suffix.lower() == ".json":
        entries = _json(file, text)
    else:
        raise UserError(
            f"{file}: label files end in .json or .csv; rename it or export it in one of these"
            " forms."
        )
    if not entries:
        raise UserError(f"{file} holds no label; give a file with at least one.")
    seen: dict[tuple[str, int], str] = {}
    for entry in entries:
        key = (entry.set, entry.unit)
        if key in seen:
            raise UserError(
                f"{file}, {entry.place}: the unit is there twice for {entry.set!r} (also"
                f" {seen[key]}); keep one of them."
            )
        seen[key] = entry.place
    return entries


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file} is not text in UTF-8 (byte {error.start}); save it as UTF-8."
        ) from error
    except OSError as error:
        raise UserError(
            f"{file}: the file cannot be read ({error.strerror}); give an existing file."
        ) from error


def _json(file: Path, text: str) -> list[Entry]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """A JSON object whose names are all different."""
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            # json would silently keep the last one: the trap of the published dictionary in which
            # one key was typed nine times.
            raise UserError(
                f"{file}, {twice!r}: the name is there {names.count(twice)} times; keep one of"
                " them."
            )
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); correct it there.") from error
    if isinstance(found, dict) and isinstance(found.get("labels"), list):
        return _rows(file, [(f"entry {i}", row) for i, row in enumerate(found["labels"], start=1)])
    if not isinstance(found, dict):
        raise UserError(
            f'{file}: labels are an object {{"expert": {{"unit_0001": "text"}}}} or {{"unit_0001":'
            ' "text"}; this is something else.'
        )
    nested = [name for name, value in found.items() if isinstance(value, dict)]
    if nested and len(nested) < len(found):
        other = next(name for name in found if name not in nested)
        raise UserError(
            f"{file}, {other!r}: experts and units are mixed on one level; give either experts with"
            " their units, or units alone."
        )
    sets = found.items() if nested else [(CONSENSUS, found)]
    return [
        _free(file, str(code), name, value, f"{code}, {name}" if nested else name)
        for code, units in sets
        for name, value in units.items()
    ]


def _free(file: Path, code: str, name: str, value: Any, place: str) -> Entry:
    if not isinstance(value, str):
        raise UserError(
            f"{file}, {place}: a label is a text, this is {type(value).__name__}; write it in"
            " quotes."
        )
    return Entry(
        place=place, set=code, unit=unit_index(file, place, name), text=_fits(file, place, value)
    )


def unit_index(file: Path, place: str, name: object) -> int:
    """0-based index of a published unit name such as unit_0588."""
    found = _UNIT.fullmatch(str(name).strip())
    if not found or int(found[1]) < 1:
        raise UserError(
            f"{file}, {place}: {str(name)[:40]!r} is no unit's name; units are called unit_0001"
            " (the first) and so on."
        )
    return int(found[1]) - 1


def _fits(file: Path, place: str, text: str) -> str:
    if len(text) > birads_lexicon.MOST_CHARACTERS:
        raise UserError(
            f"{file}, {place}: the text has {len(text)} characters; shorten it to"
            f" {birads_lexicon.MOST_CHARACTERS}."
        )
    return text


def _csv(file: Path, text: str) -> list[Entry]:
    try:
        reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
        names = [name.strip() for name in reader.fieldnames or []]
        missing = [name for name in ("unit", "set", "label") if name not in names]
        if missing:
            raise UserError(
                f"{file}, line 1: the column {missing[0]!r} is missing; label files have unit, set,"
                " label (and what an export adds)."
            )
        reader.fieldnames = names
        return _rows(file, [(f"line {reader.line_num}", row) for row in reader])
    except csv.Error as error:
        raise UserError(
            f"{file}: this is not a CSV file ({error}); save it as CSV with commas."
        ) from error


def _rows(file: Path, rows: Iterable[tuple[str, Any]]) -> list[Entry]:
    entries = []
    for place, row in rows:
        if (
            not isinstance(row, Mapping)
            or None in row
            or not all(isinstance(row.get(name), str) for name in ("unit", "set", "label"))
        ):
            raise UserError(
                f"{file}, {place}: every entry needs the texts unit, set and label, and no field"
                " more than the heading names; complete it."
            )
        if row["set"] == LABEL:
            continue
        unit, answer = unit_index(file, place, row["unit"]), _answer(file, place, row)
        text = row["label"] or (
            str(row.get("words") or "") if answer is None and row["set"] != CONSENSUS else ""
        )
        entries.append(
            Entry(
                place=place,
                set=row["set"].strip(),
                unit=unit,
                text=_fits(file, place, text),
                answer=answer,
                reason=str(row.get("reason") or ""),
            )
        )
    return entries


def _answer(file: Path, place: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The structured answer of a row, or None for free text."""
    raw = row.get("phenomena") or None
    try:
        phenomena = json.loads(raw) if isinstance(raw, str) else raw
        if not phenomena and row.get("recognisable") not in ("nothing", "unsure"):
            return None
        confidence = int(row["confidence"]) if row.get("confidence") not in (None, "") else None
        return birads_lexicon.check(
            {
                "recognisable": row.get("recognisable") or "yes",
                "phenomena": phenomena or [],
                "confidence": confidence,
                "words": row.get("words"),
                "label": row["label"],
            }
        )
    except UserError as error:
        raise UserError(f"{file}, {place}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{file}, {place}: phenomena must be JSON and confidence 1, 2 or 3; correct the entry."
        ) from error


def write(file: Path, rows: list[dict[str, Any]], head: Mapping[str, Any]) -> None:
    """Write rows with COLUMNS as JSON ({..head, "labels": rows}) or CSV, by the file's ending."""
    from core.study_folder import write_text

    if file.suffix.lower() == ".json":
        write_text(file, json.dumps({**head, "labels": rows}, indent=1, ensure_ascii=False) + "\n")
    elif file.suffix.lower() == ".csv":
        part = file.with_name(file.name + ".partial")
        with part.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            for row in rows:
                writer.writerow(
                    {
                        k: json.dumps(v, ensure_ascii=False) if isinstance(v, (list, dict)) else v
                        for k, v in row.items()
                    }
                )
        part.replace(file)
    else:
        raise UserError(
            f"{file}: labels are exported to a name that ends in .json or .csv; choose one."
        )
