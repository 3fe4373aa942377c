"""Withdrawal of a patient's data, or of a participant's answers, from a study.

What was removed is counted, never kept. A record without content stays in the log and in the
evidence chain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.errors import UserError
from core.store import dataset_table, participant_table, problem_table, run_table
from core.store.connection import Connection
from core.store.evidence import record_group
from core.store.reading.protocol_states import OPEN_STATES
from core.store.reading.protocol_table import list_protocols, load_protocol
from core.timestamps import utc_now

# Rows of a patient by the column that identifies them, in an order in which each is still known.
_MAMMOGRAM_TABLES = (
    "findings",
    "image_scores",
    "influences",
    "explanations",
    "attention",
    "figure_picks",
    "comments",
)
_PATCH_TABLES = ("predictions", "top_patches")
_PARTICIPANT_TABLES = (
    "annotations",
    "skips",
    "audit_answers",
    "answers",
    "reading_stages",
    "reading_items",
)


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """What was removed, and what had rested on it.

    removed: number of rows by table, without empty tables. runs: runs that were made with the data.
    studies: reading studies, with their version, that showed or asked the withdrawn. files: names
    of working images that belong to no mammogram any more.
    """

    removed: dict[str, int]
    runs: tuple[str, ...]
    studies: tuple[str, ...]
    files: tuple[str, ...] = ()


def withdraw_patient(con: Connection, patient_id: str, actor: str) -> Withdrawal:
    """Remove the images, findings, patches and results of a patient.

    The sealed key of a closed reading study keeps the pseudonym, the texts that were shown and the
    truth, because its hash covers them; scores leave the patient's cases out. A withdrawn patient
    is not ingested again.

    Parameters
    ----------
    con : Connection
        A connection of `core.store.write`.
    patient_id : str
    actor : str
        Who acts.

    Returns
    -------
    Withdrawal

    Raises
    ------
    UserError
        If there is no such patient, or an open reading study shows one of the images.
    """
    known = con.execute("SELECT 1 FROM patients WHERE patient_id = ?", [patient_id]).fetchone()
    if not known:
        raise UserError(
            f"There is no patient {patient_id!r} in the study; the Data page lists the cases."
        )
    check_not_shown(con, [patient_id], "withdraw the patient")
    studies = _studies_with(con, "reading_cases", "patient_id", patient_id)
    own = "SELECT mammogram_id FROM mammograms WHERE patient_id = ?"
    files = con.execute("SELECT file FROM mammograms WHERE patient_id = ?", [patient_id])
    names = tuple(row[0] for row in files.fetchall())
    runs = _runs_with_patient(con, patient_id)
    removed = {table: _delete_patch_results(con, table, patient_id) for table in _PATCH_TABLES}
    removed["problems"] = problem_table.remove_patient_problems(con, [patient_id])
    for table in (*_MAMMOGRAM_TABLES, "patches"):
        removed[table] = _delete(con, table, f"mammogram_id IN ({own})", patient_id)
    for table in ("mammograms", "splits", "patients", "ingested_patients"):
        removed[table] = _delete(con, table, "patient_id = ?", patient_id)
    con.execute(
        "INSERT INTO withdrawn_patients VALUES (?, ?, ?)", [patient_id, utc_now(), str(actor)]
    )
    dataset_table.set_meta(con, "data_hash", dataset_table.content_hash(con))
    run_table.append_log(con, actor, "patient withdrawn", f"patient {patient_id}")
    return Withdrawal(
        removed=_without_empty(removed),
        runs=runs,
        studies=tuple(name for name, _ in studies),
        files=names,
    )


def check_not_shown(con: Connection, patient_ids: Collection[str], purpose: str) -> None:
    """Raise UserError if an open reading study shows images of one of the patients.

    purpose: what is to be done with the patient, for the message.
    """
    wanted = set(patient_ids)
    for study in list_protocols(con):
        if study.state not in OPEN_STATES:
            continue
        shown = con.execute(
            "SELECT DISTINCT patient_id FROM reading_cases WHERE protocol = ? AND version = ?"
            " ORDER BY patient_id",
            [study.protocol, study.version],
        ).fetchall()
        for (patient,) in shown:
            if patient in wanted:
                raise UserError(
                    f"{study.protocol}, version {study.version} shows images or explanations of"
                    f" patient {patient} and is open; close it, then {purpose}."
                )


def withdraw_participant(con: Connection, code: str, actor: str) -> Withdrawal:
    """Remove the annotations, answers and orders of a participant, and end every link.

    The code stays in the list of participants, without content.

    Parameters
    ----------
    code : str
        The participant.
    con, actor
        See `withdraw_patient`.

    Raises
    ------
    UserError
        If there is no such participant.
    """
    participant_table.revoke_invitations(con, code)
    studies = _studies_with(con, "reading_items", "code", code)
    runs = con.execute(
        "SELECT DISTINCT run FROM annotations WHERE code = ? ORDER BY run", [code]
    ).fetchall()
    answers = con.execute(
        "SELECT protocol, version, position, revision FROM answers WHERE code = ? ORDER BY ALL",
        [code],
    ).fetchall()
    stages = con.execute(
        "SELECT protocol, version, position, stage FROM reading_stages WHERE code = ? ORDER BY ALL",
        [code],
    ).fetchall()
    orders = con.execute(
        "SELECT DISTINCT protocol, version FROM reading_items WHERE code = ? ORDER BY ALL", [code]
    ).fetchall()
    removed = {table: _delete(con, table, "code = ?", code) for table in _PARTICIPANT_TABLES}
    # The chain holds a record of each removal, so that it differs from a deletion without a record.
    for protocol, version, position, revision in answers:
        record_group(
            con,
            "reading_answer",
            actor,
            protocol=protocol,
            version=version,
            code=code,
            position=position,
            revision=revision,
        )
    for protocol, version, position, stage in stages:
        record_group(
            con,
            "reading_stage",
            actor,
            protocol=protocol,
            version=version,
            code=code,
            position=position,
            stage=stage,
        )
    for protocol, version in orders:
        record_group(con, "reading_order", actor, protocol=protocol, version=version, code=code)
    run_table.append_log(con, actor, "participant withdrawn", f"participant {code}")
    return Withdrawal(
        removed=_without_empty(removed),
        runs=tuple(row[0] for row in runs),
        studies=tuple(name for name, _ in studies),
    )


def withdrawn_patients(con: Connection) -> frozenset[str]:
    """Return the patients that were withdrawn from the study."""
    rows = con.execute("SELECT patient_id FROM withdrawn_patients").fetchall()
    return frozenset(row[0] for row in rows)


def _without_empty(removed: dict[str, int]) -> dict[str, int]:
    return {table: count for table, count in removed.items() if count}


def _delete(con: Connection, table: str, condition: str, value: str) -> int:
    rows = con.execute(f"DELETE FROM {table} WHERE {condition} RETURNING 1", [value]).fetchall()
    return len(rows)


def _runs_with_patient(con: Connection, patient_id: str) -> tuple[str, ...]:
    """Return the patches runs that hold a patient, and every run that rests on one of them."""
    rows = con.execute(
        "SELECT run FROM splits WHERE patient_id = ? UNION"
        " SELECT run FROM patches JOIN mammograms USING (mammogram_id) WHERE patient_id = ?",
        [patient_id, patient_id],
    ).fetchall()
    bases = {row[0] for row in rows}
    run_ids = [row[0] for row in con.execute("SELECT run FROM runs ORDER BY made, run").fetchall()]
    return tuple(run for run in run_ids if run_table.find_ancestor(con, run, "patches") in bases)


def _delete_patch_results(con: Connection, table: str, patient_id: str) -> int:
    """Delete the rows of a table whose patches, numbered in their patches run, are a patient's."""
    count = 0
    # Rows of a run that is not registered yet belong to a process that is still storing them.
    runs = con.execute(f"SELECT DISTINCT run FROM {table} SEMI JOIN runs USING (run)").fetchall()
    for (run,) in runs:
        deleted = con.execute(
            f"""
            DELETE FROM {table} WHERE run = ? AND patch_id IN (
                SELECT patch_id FROM patches JOIN mammograms USING (mammogram_id)
                WHERE run = ? AND patient_id = ?
            ) RETURNING 1
            """,
            [run, run_table.ancestor(con, run, "patches"), patient_id],
        )
        count += len(deleted.fetchall())
    return count


def _studies_with(con: Connection, table: str, column: str, value: str) -> list[tuple[str, str]]:
    """Return the reading studies with a row of this value, each with its state."""
    rows = con.execute(
        f"SELECT DISTINCT protocol, version FROM {table} WHERE {column} = ? ORDER BY ALL",
        [value],
    ).fetchall()
    studies = []
    for protocol, version in rows:
        current = load_protocol(con, protocol, version)
        if current is not None:
            studies.append((f"{protocol}, version {version}", current.state))
    return studies
