"""Import and export of unit labels between a study and label files.

File formats belong in `core.annotation.label_files`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from core import lineage, store
from core.annotation.label_files import (
    CONSENSUS,
    LABEL,
    LabelEntry,
    read_label_file,
    write_label_file,
)
from core.annotation.unit_categories import PROPOSED, free_texts
from core.class_labels import unit_name
from core.errors import UserError
from core.lexicon.birads_lexicon import is_substantive
from core.settings import load_settings
from core.store import annotation_table, participant_table, unit_table
from core.store.connection import Connection


@dataclass(frozen=True, kw_only=True)
class LabelImport:
    """Result of an import.

    answers: imported answers per expert. substantive: those of them that name something. units:
    distinct units of the study with such an answer. decided: imported consensus labels. traced:
    those with a raw answer. flagged: names of those whose raw answers name nothing. without: names
    of those without any raw answer. proposed: texts of the dissection whose categories are proposed
    from their words and wait for confirmation.
    """

    run: str
    answers: dict[str, int]
    substantive: dict[str, int]
    units: int
    decided: int
    traced: int
    flagged: tuple[str, ...]
    without: tuple[str, ...]
    proposed: int


def import_labels(study: Path, file: Path, author: str, dissect: str | None = None) -> LabelImport:
    """Add the labels of a file to a dissection, by default the newest.

    Raw answers become annotations of their experts. A consensus becomes decisions that refer to the
    raw answers of the same unit, which must be imported first. The categories of free text are
    proposed from its words (`core.annotation.unit_categories`); confirmed ones stay as they are.
    The import is atomic: UserError, and no change, if any entry is invalid.
    """
    entries = read_label_file(file)
    run = lineage.resolve_run(study, "dissect", dissect)
    raw = [entry for entry in entries if entry.set != CONSENSUS]
    consensus = [entry for entry in entries if entry.set == CONSENSUS]
    # One transaction: an error in any entry below rolls back all of them.
    with store.write(study) as con:
        _check_units(con, run, file, entries)
        _add_experts(con, file, raw)
        for entry in raw:
            _add_answer(con, run, file, entry)
        # After the answers, so that decisions can refer to answers of the same file.
        flagged, without = _add_decisions(con, run, file, consensus, author)
        annotations = annotation_table.load_annotations(con, run)
        texts = free_texts(con, run)
    named_units = {
        int(row.unit)
        for row in annotations.itertuples()
        if not row.practice and is_substantive(row.answer)
    }
    by_expert = {code: [e for e in raw if e.set == code] for code in sorted({e.set for e in raw})}
    return LabelImport(
        run=run,
        answers={code: len(answers) for code, answers in by_expert.items()},
        substantive={
            code: sum(is_substantive(entry.answer) for entry in answers)
            for code, answers in by_expert.items()
        },
        units=len(named_units),
        decided=len(consensus),
        traced=len(consensus) - len(without),
        flagged=flagged,
        without=without,
        proposed=sum(text.categories.state == PROPOSED for text in texts),
    )


def _check_units(con: Connection, run: str, file: Path, entries: list[LabelEntry]) -> None:
    """Raise UserError for a unit that the dissection does not have."""
    count = unit_table.unit_count(con, run)
    for entry in entries:
        if entry.unit >= count:
            raise UserError(
                f"{file}, {entry.position}: there is no {unit_name(entry.unit)}; {run} has {count}"
                " units. Dissect the network that these labels describe."
            )


def _add_experts(con: Connection, file: Path, entries: list[LabelEntry]) -> None:
    """Add the experts that the study does not have yet."""
    for entry in {entry.set: entry for entry in entries}.values():
        try:
            role = participant_table.participant_role(con, participant_table.check_code(entry.set))
        except UserError as error:
            raise UserError(f"{file}, {entry.position}: {error}") from error
        # A reader who labels units would recognise the labels in the reading study.
        if role is None:
            participant_table.add_participant(con, entry.set, "annotator")
        elif role != "annotator":
            raise UserError(
                f"{file}, {entry.position}: {entry.set} is a {role} in this study; give the expert"
                " another code in the file."
            )


def _add_answer(con: Connection, run: str, file: Path, entry: LabelEntry) -> None:
    """Add a raw answer as an annotation of its expert."""
    # An id made from the content lets the database reject an answer that is imported again.
    content = f"{run}|{entry.set}|{entry.unit}|{entry.text}"
    try:
        annotation_table.append_imported_annotation(
            con,
            run=run,
            unit=entry.unit,
            code=entry.set,
            answer=entry.answer,
            annotation_id=hashlib.sha256(content.encode()).hexdigest()[:32],
            origin=f"{file.name}: {entry.position}",
        )
    except UserError as error:
        raise UserError(
            f"{file}, {entry.position}: {error}; nothing was imported. An answer is imported once."
        ) from error


def _add_decisions(
    con: Connection, run: str, file: Path, entries: list[LabelEntry], author: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Record consensus labels as decisions; return (flagged, without) of `LabelImport`."""
    # Practice answers are no basis for a decision, and a repeat only measures consistency.
    annotations = _first_answers(annotation_table.load_annotations(con, run))
    decisions = annotation_table.load_decisions(con, run)
    decided = {(int(decision.unit), decision.label) for decision in decisions.itertuples()}
    flagged, without = [], []
    for entry in entries:
        # Decisions are stored with single spaces.
        if (entry.unit, " ".join(entry.text.split())) in decided:
            raise UserError(
                f"{file}, {entry.position}: this label is decided in the study already; nothing was"
                " imported. A consensus is imported once."
            )
        raw = annotations[annotations["unit"] == entry.unit] if len(annotations) else annotations
        substantive, note = is_substantive(entry.answer), ""
        if not len(raw):
            without.append(unit_name(entry.unit))
            note = "; no raw answer is known"
        elif substantive and not any(map(is_substantive, raw["answer"])):
            flagged.append(unit_name(entry.unit))
            note = "; every raw answer names nothing"
        sources = [str(i) for i in raw["annotation_id"]] if len(raw) else []
        # A consensus such as "n/a" is the decision that the unit has no label.
        label = entry.text if substantive else ""
        reason = entry.reason or f"imported from {file.name}"
        annotation_table.record_decision(
            con, run, entry.unit, label, sources, reason + note, author, "imported"
        )
    return tuple(flagged), tuple(without)


def _first_answers(annotations: pd.DataFrame) -> pd.DataFrame:
    """Return the annotations without practice and without repeated units."""
    if not len(annotations):
        return annotations
    return annotations[~annotations["practice"] & ~annotations["repeat"]]


def export_labels(study: Path, file: Path) -> dict[str, Any]:
    """Write every label set of the newest dissection to a file.

    Sets are the latest answers of each expert, the decided labels (consensus), and the label of
    each unit as the study uses it (label). Returns file, run, rows, named units per set, and for
    each pair of sets how many units both name and how many of those in the same words.
    """
    run = lineage.resolve_run(study, "dissect")
    order = tuple(load_settings(study).annotation.order_of_experts)
    with store.read(study) as con:
        annotations = _first_answers(annotation_table.load_annotations(con, run))
        decisions = annotation_table.load_decisions(con, run)
        labels = annotation_table.unit_labels(con, run, order)
    rows = [_answer_row(row) for row in annotations.itertuples()]
    rows += [
        _label_row(
            int(decision.unit),
            CONSENSUS,
            decision.label,
            annotation_ids=list(decision.sources),
            reason=decision.reason,
            decided_by=decision.decided_by,
            made=str(decision.made),
        )
        for decision in decisions.itertuples()
    ]
    rows += [
        _label_row(
            unit,
            LABEL,
            label.text,
            annotation_ids=list(label.annotation_ids),
            simulated=label.simulated,
        )
        for unit, label in labels.items()
    ]
    rows.sort(key=lambda row: (row["unit"], *_set_order(row["set"])))
    # One simulated row marks the file, because its counts include that row.
    head = {"schema": 1, "run": run, "simulated": any(row["simulated"] for row in rows)}
    write_label_file(file, rows, head)
    return {"file": str(file), "run": run, "rows": len(rows), **_compare_sets(rows)}


def _set_order(name: str) -> tuple[bool, bool, str]:
    """Return a sort key: experts by code, then the consensus, then the label in use."""
    return name == LABEL, name == CONSENSUS, name


def _label_row(unit: int, name: str, label: str, **cells: Any) -> dict[str, Any]:
    """Return a row of an export, with neutral values for the columns that are not given."""
    neutral: dict[str, Any] = {
        "words": "",
        "recognisable": "yes" if label else "nothing",
        "phenomena": [],
        "confidence": None,
        "seconds": None,
        "version": None,
        "annotation_ids": [],
        "reason": "",
        "decided_by": "",
        "simulated": False,
        "origin": "",
        "made": "",
    }
    return {"unit": unit_name(unit), "set": name, "label": label, **neutral, **cells}


def _answer_row(row: Any) -> dict[str, Any]:
    """Return the export row of an annotation."""
    answer = row.answer
    return _label_row(
        int(row.unit),
        row.code,
        answer["label"],
        words=answer["words"],
        recognisable=answer["recognisable"],
        phenomena=answer["phenomena"],
        confidence=answer["confidence"],
        seconds=None if pd.isna(row.seconds) else float(row.seconds),
        version=int(row.version),
        annotation_ids=[row.annotation_id],
        simulated=bool(row.simulated),
        origin=answer.get("origin", ""),
        made=str(row.made),
    )


def _compare_sets(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the named units per set, and agreement in words for each pair of sets."""
    sets: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["label"]:
            sets.setdefault(row["set"], {})[row["unit"]] = row["label"]
    pairs = []
    for first, second in combinations(sorted(sets), 2):
        both = sets[first].keys() & sets[second].keys()
        same = sum(sets[first][unit].lower() == sets[second][unit].lower() for unit in both)
        pairs.append({"first": first, "second": second, "both": len(both), "same_words": same})
    return {"sets": {name: len(units) for name, units in sorted(sets.items())}, "pairs": pairs}
