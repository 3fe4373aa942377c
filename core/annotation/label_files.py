"""Files of unit labels: the published forms as joblib or JSON, and the JSON and CSV of an export.

The study database is not used here; import and export belong in `core.annotation.label_exchange`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.annotation.spreadsheet_cells import neutral_text, restored_text
from core.atomic_files import atomic_write, write_text
from core.errors import UserError
from core.lexicon import annotation_answers
from core.lexicon.lexicon import Lexicon
from core.sources.release_metadata.restricted_pickle import PICKLE_SUFFIXES, read_plain_values

CONSENSUS, LABEL = "consensus", "label"
LABEL_SUFFIXES = (".json", ".csv", *PICKLE_SUFFIXES)
LABEL_COLUMNS = (
    "unit",
    "set",
    "label",
    "state",
    "words",
    "recognisable",
    "phenomena",
    "categories",
    "category_state",
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
# The published answers write one of these if an expert recognised nothing in a unit.
_EMPTY_TEXTS = ("", "n/a", "na", "none", "nothing", "-", "–")
_UNIT = re.compile(r"unit_(\d+)")


@dataclass(frozen=True, kw_only=True)
class LabelEntry:
    """One label of one set.

    position: of the entry in the file, for messages. set: code of the expert, or "consensus". unit:
    0-based index. text: the label. answer: the label in the stored form of an answer.
    """

    position: str
    set: str
    unit: int
    text: str
    answer: dict[str, Any]
    reason: str = ""


def read_label_file(file: Path, lexicon: Lexicon) -> list[LabelEntry]:
    """Return the entries of a label file, in the order of the file.

    Rows of the set "label" are derived from the other sets and are skipped.

    Parameters
    ----------
    file : Path
        JSON of the form {expert: {unit: text}} (raw answers), {unit: text} (one consensus) or
        {"labels": [rows]} (an export); a joblib or pickle file of the first two forms, as published
        (.jbl, .joblib, .pkl); or CSV with at least the columns unit, set and label. Unit names
        count from 1.
    lexicon : Lexicon
        The lexicon of the study, to which answers with phenomena must belong.

    Returns
    -------
    list of LabelEntry
        At least one entry; a unit occurs once per set.

    Raises
    ------
    UserError
        If any entry is invalid; the message names the file and the entry. If a joblib file holds
        anything but plain values; nothing of it is executed.

    Examples
    --------
    >>> import tempfile
    >>> from core.lexicon.birads_categories import BIRADS
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = Path(folder.name) / "labels.csv"
    >>> _ = file.write_text("unit,set,label\\nunit_0012,E1,Spiculated mass\\n")
    >>> [entry] = read_label_file(file, BIRADS)
    >>> entry.position, entry.set, entry.unit, entry.text
    ('line 2', 'E1', 11, 'Spiculated mass')
    >>> folder.cleanup()
    """
    suffix = file.suffix.lower()
    if suffix not in LABEL_SUFFIXES:
        raise UserError(
            f"{file}: label files end in {', '.join(LABEL_SUFFIXES)}; rename it or export it in one"
            " of these forms."
        )
    if suffix in PICKLE_SUFFIXES:
        entries = _parse_names(file, read_plain_values(file), lexicon)
    elif suffix == ".csv":
        entries = _parse_csv(file, _read_text(file), lexicon)
    else:
        entries = _parse_json(file, _read_text(file), lexicon)
    if not entries:
        raise UserError(f"{file} holds no label; give a file with at least one.")
    # Two texts for one unit would make the order of the file decide.
    positions: dict[tuple[str, int], str] = {}
    for entry in entries:
        key = (entry.set, entry.unit)
        if key in positions:
            raise UserError(
                f"{file}, {entry.position}: the unit occurs twice for {entry.set!r} (also"
                f" {positions[key]}); keep one of them."
            )
        positions[key] = entry.position
    return entries


def _read_text(file: Path) -> str:
    try:
        # utf-8-sig: spreadsheet programs write a byte order mark.
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file} is not text in UTF-8 (byte {error.start}); save it as UTF-8."
        ) from error
    except OSError as error:
        raise UserError(
            f"{file}: the file cannot be read ({error.strerror}); give an existing file."
        ) from error


def _parse_json(file: Path, text: str, lexicon: Lexicon) -> list[LabelEntry]:
    def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return a JSON object; UserError if a name is repeated."""
        names = [name for name, _ in pairs]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            # json keeps the last value silently; in the published dictionary one key occurs nine
            # times.
            raise UserError(
                f"{file}, {repeated!r}: the name occurs {names.count(repeated)} times; keep one of"
                " them."
            )
        return dict(pairs)

    try:
        content = json.loads(text, object_pairs_hook=unique_names)
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); correct it there.") from error
    return _parse_names(file, content, lexicon)


def _parse_names(file: Path, content: object, lexicon: Lexicon) -> list[LabelEntry]:
    """Return the entries of an export, or of units by name, with or without experts above them."""
    if isinstance(content, dict) and isinstance(content.get("labels"), list):
        rows = [(f"entry {i}", row) for i, row in enumerate(content["labels"], start=1)]
        return _parse_rows(file, rows, lexicon)
    if not isinstance(content, dict):
        raise UserError(
            f'{file}: labels are an object {{"expert": {{"unit_0001": "text"}}}} or {{"unit_0001":'
            ' "text"}; this is something else.'
        )
    nested = [name for name, value in content.items() if isinstance(value, dict)]
    # A guess would assign the units of an expert to the consensus, or the reverse.
    if nested and len(nested) < len(content):
        other = next(name for name in content if name not in nested)
        raise UserError(
            f"{file}, {other!r}: experts and units are mixed on one level; give either experts with"
            " their units, or units alone."
        )
    sets = content.items() if nested else [(CONSENSUS, content)]
    return [
        _parse_free_text(file, str(code), name, value, f"{code}, {name}" if nested else name)
        for code, units in sets
        for name, value in units.items()
    ]


def _parse_free_text(file: Path, code: str, name: str, value: Any, position: str) -> LabelEntry:
    if not isinstance(value, str):
        raise UserError(
            f"{file}, {position}: a label is a text, this is {type(value).__name__}; write it in"
            " quotes."
        )
    text = _check_length(file, position, value)
    return LabelEntry(
        position=position,
        set=code,
        unit=_parse_unit(file, position, name),
        text=text,
        answer=_free_text_answer(text),
    )


def _free_text_answer(text: str) -> dict[str, Any]:
    """Return free text as an answer; a text such as "n/a" becomes the answer "nothing"."""
    if text.strip().lower() in _EMPTY_TEXTS:
        return {**annotation_answers.empty_answer(), "words": text.strip()}
    return annotation_answers.free_answer(text)


def _parse_unit(file: Path, position: str, name: object) -> int:
    """Return the 0-based index of a published unit name such as unit_0588."""
    match = _UNIT.fullmatch(str(name).strip())
    if not match or int(match[1]) < 1:
        raise UserError(
            f"{file}, {position}: {str(name)[:40]!r} is not a unit name; units are called unit_0001"
            " (the first) and so on."
        )
    return int(match[1]) - 1


def _check_length(file: Path, position: str, text: str) -> str:
    if len(text) > annotation_answers.MAX_CHARACTERS:
        raise UserError(
            f"{file}, {position}: the text has {len(text)} characters; shorten it to"
            f" {annotation_answers.MAX_CHARACTERS}."
        )
    return text


def _parse_csv(file: Path, text: str, lexicon: Lexicon) -> list[LabelEntry]:
    try:
        # keepends: a quoted cell keeps its line breaks.
        reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
        names = [name.strip() for name in reader.fieldnames or []]
        missing = [name for name in ("unit", "set", "label") if name not in names]
        if missing:
            raise UserError(
                f"{file}, line 1: the column {missing[0]!r} is missing; label files have unit, set,"
                " label (and what an export adds)."
            )
        reader.fieldnames = names
        rows = [(f"line {reader.line_num}", _restored(row)) for row in reader]
        return _parse_rows(file, rows, lexicon)
    except csv.Error as error:
        raise UserError(
            f"{file}: this is not a CSV file ({error}); save it as CSV with commas."
        ) from error


def _restored(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the texts that were exported, without apostrophes against formulas."""
    return {
        name: restored_text(cell) if isinstance(cell, str) else cell for name, cell in row.items()
    }


def _parse_rows(file: Path, rows: Iterable[tuple[str, Any]], lexicon: Lexicon) -> list[LabelEntry]:
    """Return the entries of rows, given with their position in the file."""
    entries = []
    for position, row in rows:
        # csv.DictReader stores surplus cells under the name None.
        if (
            not isinstance(row, Mapping)
            or None in row
            or not all(isinstance(row.get(name), str) for name in ("unit", "set", "label"))
        ):
            raise UserError(
                f"{file}, {position}: every entry needs the texts unit, set and label, and no field"
                " more than the heading names; complete it."
            )
        if row["set"] == LABEL:
            continue
        answer = _structured_answer(file, position, row, lexicon)
        text = row["label"]
        if not text and answer is None and row["set"] != CONSENSUS:
            text = str(row.get("words") or "")
        text = _check_length(file, position, text)
        entries.append(
            LabelEntry(
                position=position,
                set=row["set"].strip(),
                unit=_parse_unit(file, position, row["unit"]),
                text=text,
                answer=_free_text_answer(text) if answer is None else answer,
                reason=str(row.get("reason") or ""),
            )
        )
    return entries


def _structured_answer(
    file: Path, position: str, row: Mapping[str, Any], lexicon: Lexicon
) -> dict[str, Any] | None:
    """Return the structured answer of a row, None for free text."""
    raw = row.get("phenomena") or None
    try:
        phenomena = json.loads(raw) if isinstance(raw, str) else raw
        if not phenomena and row.get("recognisable") not in ("nothing", "unsure"):
            return None
        confidence = int(row["confidence"]) if row.get("confidence") not in (None, "") else None
        # Imported answers pass the same checks as those from the annotation page.
        return annotation_answers.validate_answer(
            {
                "recognisable": row.get("recognisable") or "yes",
                "phenomena": phenomena or [],
                "confidence": confidence,
                "words": row.get("words"),
                "label": row["label"],
            },
            lexicon,
        )
    except UserError as error:
        raise UserError(f"{file}, {position}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{file}, {position}: phenomena must be JSON and confidence 1, 2 or 3; correct the"
            " entry."
        ) from error


def write_label_file(file: Path, rows: list[dict[str, Any]], head: Mapping[str, Any]) -> None:
    """Write rows with LABEL_COLUMNS as JSON ({..head, "labels": rows}) or CSV, by file ending."""
    if file.suffix.lower() == ".json":
        write_text(file, json.dumps({**head, "labels": rows}, indent=1, ensure_ascii=False) + "\n")
    elif file.suffix.lower() == ".csv":
        _write_csv(file, rows)
    else:
        raise UserError(
            f"{file}: labels are exported to a name that ends in .json or .csv; choose one."
        )


def _write_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV, with lists and objects as JSON in their cells."""
    with (
        atomic_write(file) as partial,
        partial.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, LABEL_COLUMNS)
        writer.writeheader()
        for row in rows:
            cells = {
                name: json.dumps(value, ensure_ascii=False)
                if isinstance(value, (list, dict))
                else neutral_text(value)
                if isinstance(value, str)
                else value
                for name, value in row.items()
            }
            writer.writerow(cells)
