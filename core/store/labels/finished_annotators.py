"""Which annotators of a dissection have finished: only their answers decide about labels.

An annotator has finished with an answer on every selected unit. Answers that were imported from a
file are complete as they are. For a person who left before the end, the team can let the answers
given so far count; this mark can be undone, and answers given after it do not count until the
annotator has finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from core.errors import UserError
from core.store import annotation_table, unit_table
from core.store.connection import Connection
from core.timestamps import utc_now

UNFINISHED, COMPLETE, IMPORTED, MARKED = "unfinished", "complete", "imported", "marked"


@dataclass(frozen=True, kw_only=True)
class AnnotatorState:
    """Whether an annotator's answers on a dissection count.

    state: "unfinished", "complete" (every selected unit is answered), "imported" or "marked" (the
    team lets the answers given until `until` count). marked_by: code of the person who did, or "".
    """

    code: str
    state: str
    until: datetime | None = None
    marked_by: str = ""

    @property
    def finished(self) -> bool:
        """Whether the answers count."""
        return self.state != UNFINISHED


def annotator_states(con: Connection, run: str) -> dict[str, AnnotatorState]:
    """Return the state of everybody with an answer on a dissect run, by code.

    Practice units and hidden repeats are not answers in this sense.
    """
    return states_of_versions(con, run, annotation_table.load_annotations(con, run, versions=True))


def states_of_versions(
    con: Connection, run: str, versions: pd.DataFrame
) -> dict[str, AnnotatorState]:
    """Return `annotator_states` from all versions of the annotations of a dissect run."""
    selected = set(unit_table.selected_unit_ids(con, run))
    marks = _marks(con, run)
    answered: dict[str, dict[int, list[bool]]] = {}
    first = first_answers(versions)
    for code, unit, answer in zip(first["code"], first["unit"], first["answer"]):
        of_unit = answered.setdefault(str(code), {}).setdefault(unit, [])
        of_unit.append("origin" in answer)
    states = {}
    for code, imported in sorted(answered.items()):
        state, until, marked_by = UNFINISHED, None, ""
        if selected and selected <= set(imported):
            state = COMPLETE
        elif all(map(all, imported.values())):
            state = IMPORTED
        elif code in marks:
            state, (until, marked_by) = MARKED, marks[code]
        states[code] = AnnotatorState(code=code, state=state, until=until, marked_by=marked_by)
    return states


def first_answers(annotations: pd.DataFrame) -> pd.DataFrame:
    """Return annotations without practice units and hidden repeats."""
    if not len(annotations):
        return annotations
    return annotations[~annotations["practice"] & ~annotations["repeat"]]


def latest_versions(versions: pd.DataFrame) -> pd.DataFrame:
    """Return the latest version of each answer, in the order of the rows."""
    # Without a sorting and a grouping by pandas, which take several ms for a few rows.
    latest: dict[tuple, tuple[int, int]] = {}
    keys = zip(*(versions[name] for name in ("code", "unit", "repeat", "practice")))
    for number, (key, version) in enumerate(zip(keys, versions["version"])):
        latest[key] = max(latest.get(key, (version, number)), (version, number))
    return versions.iloc[sorted(number for _, number in latest.values())]


def finished_answers(versions: pd.DataFrame, states: Mapping[str, AnnotatorState]) -> pd.DataFrame:
    """Return the latest answers that count, hidden repeats included and practice excluded.

    versions: all versions of the annotations of a dissect run. states: `annotator_states` of it. Of
    a person whom the team marked as finished, the answers given until then count.
    """
    if not len(versions):
        return versions
    cut = {code: state.until for code, state in states.items() if state.until is not None}
    finished = {code for code, state in states.items() if state.finished}
    counts = [
        not practice and code in finished and (code not in cut or answered_at <= cut[code])
        for code, practice, answered_at in zip(
            versions["code"], versions["practice"], versions["made"]
        )
    ]
    return latest_versions(versions[counts])


def load_finished_answers(con: Connection, run: str) -> pd.DataFrame:
    """Return the answers that count on a dissect run (`finished_answers`).

    Columns: those of `core.store.annotation_table.load_annotations`.
    """
    versions = annotation_table.load_annotations(con, run, versions=True)
    return finished_answers(versions, states_of_versions(con, run, versions))


def mark_finished(con: Connection, run: str, code: str, marked_by: str) -> None:
    """Let the answers that an annotator has given so far count.

    UserError if the annotator has no answer, or has finished already.
    """
    state = annotator_states(con, run).get(code)
    if state is None:
        raise UserError(f"{code} has not answered on any unit yet; there is nothing to count.")
    if state.state in (COMPLETE, IMPORTED):
        raise UserError(f"{code} has finished already; all answers count.")
    _append(con, run, code, True, marked_by)


def undo_mark(con: Connection, run: str, code: str, marked_by: str) -> None:
    """Take back the last mark of an annotator, so that the one before it counts again, if any.

    UserError without a mark.
    """
    if code not in _marks(con, run):
        raise UserError(f"The answers of {code} were not marked as finished; nothing is undone.")
    _append(con, run, code, False, marked_by)


def _append(con: Connection, run: str, code: str, finished: bool, marked_by: str) -> None:
    con.execute(
        "INSERT INTO annotator_finishes SELECT 1 + coalesce(max(number), 0), ?, ?, ?, ?, ?"
        " FROM annotator_finishes",
        [run, code, finished, marked_by, utc_now()],
    )


def _marks(con: Connection, run: str) -> dict[str, tuple[datetime, str]]:
    """Return the time of the mark that counts and who made it, by the annotator's code."""
    standing: dict[str, list[tuple[datetime, str]]] = {}
    for code, finished, marked_by, marked_at in con.execute(
        "SELECT code, finished, who, made FROM annotator_finishes WHERE run = ? ORDER BY number",
        [run],
    ).fetchall():
        of_code = standing.setdefault(code, [])
        if finished:
            of_code.append((marked_at, marked_by))
        elif of_code:
            of_code.pop()
    return {code: of_code[-1] for code, of_code in standing.items() if of_code}
