"""Unit labels between a study and files: an import is everything or nothing and keeps its origin;
an export holds every set side by side.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb

from core import birads_lexicon, settings, store
from core.annotation import label_files
from core.annotation.label_files import CONSENSUS, LABEL, Entry
from core.class_labels import unit_name
from core.errors import UserError
from core.pipeline.inputs import latest
from core.store import annotation_table, participant_table

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import added. substantive: per expert, answers that name something; units: distinct
    units with such an answer in the study; decided: consensus labels; traced: those with a raw
    answer; flagged: names of those whose raw answers name nothing; without: those without any raw
    answer.
    """

    run: str
    answers: dict[str, int]
    substantive: dict[str, int]
    units: int
    decided: int
    traced: int
    flagged: tuple[str, ...]
    without: tuple[str, ...]


def import_file(study: Path, file: Path, who: str) -> Imported:
    """Add a file's labels to the newest dissection: raw answers as annotations of their experts, a
    consensus as decisions that name the raw answers they rest on (import those first). UserError,
    and nothing added, where any entry does not fit.
    """
    entries = label_files.read(file)
    run = latest(study, "dissect")
    with store.write(study) as con:
        count = annotation_table.unit_count(con, run)
        for entry in entries:
            if entry.unit >= count:
                raise UserError(
                    f"{file}, {entry.place}: there is no {unit_name(entry.unit)}; {run} has {count}"
                    " units. Dissect the network these labels are of."
                )
        answered = [e for e in entries if e.set != CONSENSUS]
        _add_experts(con, file, answered)
        for entry in answered:
            _add_answer(con, run, file, entry)
        decided = [e for e in entries if e.set == CONSENSUS]
        flagged, without = _decide(con, run, file, decided, who)
        frame = annotation_table.answers(con, run)
    named = {
        int(r.unit)
        for r in frame.itertuples()
        if not r.practice and birads_lexicon.substantive(r.answer)
    }
    codes = sorted({e.set for e in answered})
    return Imported(
        run=run,
        answers={code: sum(e.set == code for e in answered) for code in codes},
        substantive={
            code: sum(e.set == code and e.substantive for e in answered) for code in codes
        },
        units=len(named),
        decided=len(decided),
        traced=len(decided) - len(without),
        flagged=flagged,
        without=without,
    )


def _add_experts(con: Connection, file: Path, entries: list[Entry]) -> None:
    for entry in {e.set: e for e in entries}.values():
        try:
            role = participant_table.role_of(con, participant_table.check_code(entry.set))
        except UserError as error:
            raise UserError(f"{file}, {entry.place}: {error}") from error
        if role is None:
            participant_table.add(con, entry.set, "annotator")
        elif role != "annotator":
            raise UserError(
                f"{file}, {entry.place}: {entry.set} is a {role} in this study; give the expert"
                " another code in the file."
            )


def _add_answer(con: Connection, run: str, file: Path, entry: Entry) -> None:
    answer = entry.answer
    if answer is None:
        answer = (
            birads_lexicon.free_answer(entry.text)
            if entry.substantive
            else {**birads_lexicon.empty_answer(), "words": entry.text.strip()}
        )
    digest = hashlib.sha256(f"{run}|{entry.set}|{entry.unit}|{entry.text}".encode()).hexdigest()[
        :32
    ]
    try:
        annotation_table.append_imported(
            con,
            run=run,
            unit=entry.unit,
            code=entry.set,
            answer=answer,
            annotation_id=digest,
            origin=f"{file.name}: {entry.place}",
        )
    except UserError as error:
        raise UserError(
            f"{file}, {entry.place}: {error}; nothing was imported. An answer is imported once."
        ) from error


def _decide(
    con: Connection, run: str, file: Path, entries: list[Entry], who: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Consensus labels with the raw answers of the same unit; (flagged, without)."""
    frame = annotation_table.answers(con, run)
    frame = frame[~frame["practice"] & ~frame["repeat"]] if len(frame) else frame
    before = annotation_table.decisions(con, run)
    same = {(int(d.unit), d.label) for d in before.itertuples()}
    flagged, without = [], []
    for entry in entries:
        if (entry.unit, " ".join(entry.text.split())) in same:
            raise UserError(
                f"{file}, {entry.place}: this label is decided in the study already; nothing was"
                " imported. A consensus is imported once."
            )
        raw = frame[frame["unit"] == entry.unit] if len(frame) else frame
        note = ""
        if not len(raw):
            without.append(unit_name(entry.unit))
            note = "; no raw answer is known"
        elif entry.substantive and not any(map(birads_lexicon.substantive, raw["answer"])):
            flagged.append(unit_name(entry.unit))
            note = "; every raw answer names nothing"
        sources = [str(i) for i in raw["annotation_id"]] if len(raw) else []
        label = entry.text if entry.substantive else ""
        reason = entry.reason or f"imported from {file.name}"
        annotation_table.decide(con, run, entry.unit, label, sources, reason + note, who)
    return tuple(flagged), tuple(without)


def export_file(study: Path, file: Path) -> dict[str, Any]:
    """Write every label set: each expert's latest answers, the decided ones (consensus), and the
    label of each unit as the study uses it. Returns counts per set, and for each pair of sets how
    many units both name and how many of those in the same words.
    """
    run = latest(study, "dissect")
    order = tuple(settings.load(study).annotation.order_of_experts)
    with store.read(study) as con:
        frame = annotation_table.answers(con, run)
        decisions = annotation_table.decisions(con, run)
        labels = annotation_table.labels(con, run, order)
    frame = frame[~frame["practice"] & ~frame["repeat"]] if len(frame) else frame
    rows = [_answer_row(row) for row in frame.itertuples()]
    rows += [
        _row(
            int(d.unit),
            CONSENSUS,
            d.label,
            annotation_ids=list(d.sources),
            reason=d.reason,
            decided_by=d.decided_by,
            made=str(d.made),
        )
        for d in decisions.itertuples()
    ]
    rows += [
        _row(
            unit, LABEL, one.text, annotation_ids=list(one.annotation_ids), simulated=one.simulated
        )
        for unit, one in labels.items()
    ]
    rows.sort(key=lambda r: (r["unit"], r["set"] == LABEL, r["set"] == CONSENSUS, r["set"]))
    label_files.write(
        file, rows, {"schema": 1, "run": run, "simulated": any(r["simulated"] for r in rows)}
    )
    return {"file": str(file), "run": run, "rows": len(rows), **_compared(rows)}


def _row(unit: int, name: str, label: str, **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
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
    return {"unit": unit_name(unit), "set": name, "label": label, **empty, **more}


def _answer_row(row: Any) -> dict[str, Any]:
    a = row.answer
    seconds = float(row.seconds) if row.seconds == row.seconds and row.seconds is not None else None
    return _row(
        int(row.unit),
        row.code,
        a["label"],
        words=a["words"],
        recognisable=a["recognisable"],
        phenomena=a["phenomena"],
        confidence=a["confidence"],
        seconds=seconds,
        version=int(row.version),
        annotation_ids=[row.annotation_id],
        simulated=bool(row.simulated),
        origin=a.get("origin", ""),
        made=str(row.made),
    )


def _compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    sets: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["label"]:
            sets.setdefault(row["set"], {})[row["unit"]] = row["label"]
    pairs = []
    for a, b in combinations(sorted(sets), 2):
        both = sets[a].keys() & sets[b].keys()
        pairs.append(
            {
                "first": a,
                "second": b,
                "both": len(both),
                "same_words": sum(sets[a][u].lower() == sets[b][u].lower() for u in both),
            }
        )
    return {"sets": {name: len(units) for name, units in sorted(sets.items())}, "pairs": pairs}
