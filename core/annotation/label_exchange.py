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
from core.annotation.lexicon_adoption import adopt_lexicon
from core.annotation.unit_categories import PROPOSED, free_texts, text_categories
from core.class_labels import unit_index, unit_name
from core.errors import UserError
from core.lexicon.annotation_answers import is_substantive
from core.lexicon.birads_categories import BIRADS
from core.settings import load_settings
from core.store import annotation_table, dataset_table, participant_table, unit_table
from core.store.connection import Connection
from core.store.labels import assignment_table, decision_table, label_states
from core.store.labels.finished_annotators import first_answers


@dataclass(frozen=True, kw_only=True)
class LabelImport:
    """Result of an import.

    answers: imported answers per expert. substantive: those of them that name something. units:
    distinct units of the study with such an answer. decided: imported consensus labels. traced:
    those with a raw answer. kept: names of units whose label stays as it is, because it was
    adjudicated or agreed in this study; the imported one is in the label set "published". disputed:
    names of units that the imported answers leave without an agreed label. flagged: names of those
    whose raw answers name nothing. without: names of those without any raw answer. proposed: texts
    of the dissection whose categories are proposed from their words and wait for confirmation.
    """

    run: str
    answers: dict[str, int]
    substantive: dict[str, int]
    units: int
    decided: int
    traced: int
    kept: tuple[str, ...]
    disputed: tuple[str, ...]
    flagged: tuple[str, ...]
    without: tuple[str, ...]
    proposed: int


def import_labels(study: Path, file: Path, author: str, dissect: str | None = None) -> LabelImport:
    """Add the labels of a file to a dissection, which is named where the study has several.

    Raw answers become annotations of their experts, who are assigned the dissection beside those
    that they have. A consensus becomes decisions that refer to the raw answers of the same unit,
    which must be imported first. The categories of free text are proposed from its words
    (`core.annotation.unit_categories`); confirmed ones stay as they are. The import is atomic:
    UserError, and no change, if any entry is invalid.
    """
    entries = read_label_file(file, adopt_lexicon(study))
    run = lineage.choose_dissection(study, dissect)
    raw = [entry for entry in entries if entry.set != CONSENSUS]
    consensus = [entry for entry in entries if entry.set == CONSENSUS]
    # One transaction: an error in any entry below rolls back all of them.
    with store.write(study) as con:
        _check_units(con, run, file, entries)
        before = label_states.unit_states(con, run, ())
        _add_experts(con, run, file, raw)
        for entry in raw:
            _add_answer(con, run, file, entry)
        # After the answers, so that decisions can refer to answers of the same file.
        flagged, without = _add_decisions(con, run, file, consensus, author)
        annotations = annotation_table.load_annotations(con, run)
        texts = free_texts(con, run)
        after = label_states.unit_states(con, run, ())
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
        kept=tuple(
            unit_name(entry.unit)
            for entry in consensus
            if after[entry.unit].state in (label_states.AGREED, label_states.ADJUDICATED)
        ),
        disputed=tuple(
            unit_name(unit)
            for unit, state in after.items()
            if state.disputed and unit in before and before[unit].counts
        ),
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


def _add_experts(con: Connection, run: str, file: Path, entries: list[LabelEntry]) -> None:
    """Add the experts that the study does not have yet, and assign them the dissection."""
    for entry in {entry.set: entry for entry in entries}.values():
        try:
            role = participant_table.participant_role(con, participant_table.check_code(entry.set))
            if role is None:
                participant_table.add_participant(con, entry.set, "annotator", dissection=run)
                continue
        except UserError as error:
            raise UserError(f"{file}, {entry.position}: {error}") from error
        # A reader who labels units would recognise the labels in the reading study.
        if role != "annotator":
            raise UserError(
                f"{file}, {entry.position}: {entry.set} is a {role} in this study; give the expert"
                " another code in the file."
            )
        assignment_table.add_assignment(con, entry.set, run)


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
    annotations = first_answers(annotation_table.load_annotations(con, run))
    decisions = decision_table.load_decisions(con, run, imported=True)
    decided = {(int(decision.unit), decision.label) for decision in decisions.itertuples()}
    flagged, without = [], []
    for entry in entries:
        # Decisions are stored with single spaces.
        if (entry.unit, " ".join(entry.text.split())) in decided:
            raise UserError(
                f"{file}, {entry.position}: this label is in the study already; nothing was"
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
        decision_table.record_decision(
            con, run, entry.unit, label, sources, reason + note, author, decision_table.IMPORTED
        )
    return tuple(flagged), tuple(without)


def export_labels(study: Path, file: Path, dissect: str | None = None) -> dict[str, Any]:
    """Write every label set of a dissection to a file; it is named where the study has several.

    Each row has the categories of its text and where they come from
    (`core.annotation.unit_categories`). Sets are the latest answers of each expert, the decided
    labels (consensus), and the label of each unit as the study uses it (label). Returns file, run,
    rows, named units per set, and for each pair of sets how many units both name and how many of
    those in the same words.
    """
    run = lineage.choose_dissection(study, dissect)
    order = tuple(load_settings(study).annotation.order_of_experts)
    with store.read(study) as con:
        annotations = first_answers(annotation_table.load_annotations(con, run))
        decisions = decision_table.load_consensus(con, run)
        labels = label_states.unit_labels(con, run, order)
    rows = [_answer_row(row) for row in annotations.itertuples()]
    rows += [
        _label_row(
            int(decision.unit),
            CONSENSUS,
            decision.label,
            state=label_states.PUBLISHED if decision.imported else label_states.ADJUDICATED,
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
            state=label.state,
            annotation_ids=list(label.annotation_ids),
            simulated=label.simulated,
        )
        for unit, label in labels.items()
    ]
    rows.sort(key=lambda row: (row["unit"], *_set_order(row["set"])))
    texts = [(unit_index(row["unit"]), row["label"], row["annotation_ids"]) for row in rows]
    with store.read(study) as con:
        categories = text_categories(con, run, texts)
        lexicon = dataset_table.load_lexicon(con)
    for row, of_text in zip(rows, categories):
        row |= {"categories": list(of_text.names), "category_state": of_text.state}
    # One simulated row marks the file, because its counts include that row.
    head: dict[str, Any] = {
        "schema": 1,
        "run": run,
        "simulated": any(row["simulated"] for row in rows),
    }
    if lexicon != BIRADS:
        head |= {"lexicon": lexicon.to_dict()}  # by which the answers are read
    write_label_file(file, rows, head)
    return {"file": str(file), "run": run, "rows": len(rows), **_compare_sets(rows)}


def _set_order(name: str) -> tuple[bool, bool, str]:
    """Return a sort key: experts by code, then the consensus, then the label in use."""
    return name == LABEL, name == CONSENSUS, name


def _label_row(unit: int, name: str, label: str, **cells: Any) -> dict[str, Any]:
    """Return a row of an export, with neutral values for the columns that are not given."""
    neutral: dict[str, Any] = {
        "state": "",
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
