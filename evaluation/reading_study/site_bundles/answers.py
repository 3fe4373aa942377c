"""Answers of a site bundle: export at the other site, import into the original study."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import store, study_folder
from core.errors import UserError
from core.store import (
    bundle_table,
    participant_table,
    protocol_table,
    run_table,
)
from core.store.connection import Connection
from core.store.protocol_table import Protocol
from core.timestamps import utc_now
from evaluation.reading_study.site_bundles.bundles import check_bundle, seal_content

ANSWERS_KIND = "deepminer reading answers"


ANSWERS_SCHEMA = 1


@dataclass(frozen=True)
class ImportedAnswers:
    """Imported answers of a bundle.

    Parameters
    ----------
    id : str
        The bundle.
    protocol, version
        The protocol.
    readers : dict
        Code of each reader in this study to the number of answers, without practice.
    """

    id: str
    protocol: str
    version: int
    readers: dict[str, int]


def export_answers(study: Path, file: Path) -> dict[str, int]:
    """Write the answers of a site bundle into one sealed file.

    Parameters
    ----------
    study : Path
        The study folder of the bundle.
    file : Path
        New JSON file.

    Returns
    -------
    dict
        Code of each reader to the number of answers, without practice.

    Raises
    ------
    UserError
        If the study is not a bundle, was changed or has no answers, or the file exists.
    """
    protocol = check_bundle(study)
    if protocol is None:
        raise UserError(
            f"{study} is not a site bundle; its answers are in its own store (`deepminer reading"
            " score` after closing)."
        )
    if file.exists():
        raise UserError(f"{file} exists already; name a new file for the answers.")
    with store.read(study) as con:
        identity = bundle_table.bundle_identity(con) or {}
        readers = bundle_table.load_bundle_readers(con, protocol.protocol, protocol.version)
    if not readers:
        raise UserError(
            "There are no answers to export yet; invite a reader with `deepminer invite reader`."
        )
    content = {
        "schema": ANSWERS_SCHEMA,
        "kind": ANSWERS_KIND,
        "bundle": identity["id"],
        "protocol": protocol.protocol,
        "version": protocol.version,
        "hash": protocol.hash,
        "exported": utc_now().isoformat(timespec="seconds"),
        "readers": readers,
    }
    sealed = content | {"seal": seal_content(identity["key"], content)}
    study_folder.write_text(file, json.dumps(sealed, indent=1, ensure_ascii=False) + "\n")
    return {reader["code"]: _count_answers(reader) for reader in readers}


def _count_answers(reader: Mapping[str, Any]) -> int:
    """Count the answered positions of a reader's order, without practice."""
    # A set: the revisions of one answer count once.
    positions = {position for position, _, _, practice in reader["items"] if not practice}
    return len({answer[0] for answer in reader["answers"]} & positions)


def import_answers(study: Path, file: Path, user: str) -> ImportedAnswers:
    """Import the answers of a site bundle; all or none, and once per bundle.

    Parameters
    ----------
    study : Path
        The original study folder.
    file : Path
        File of `export_answers`.
    user : str
        Code of the acting person, for the log.

    Returns
    -------
    ImportedAnswers
        Readers have codes such as B1-R1: bundle, then their code in the bundle.

    Raises
    ------
    UserError
        If the file is unreadable, was changed or does not fit the protocol, if the bundle is
        unknown or imported already, or if the protocol is closed.
    """
    content = _read_answers_file(file)
    # One transaction: an error in any reader's rows leaves the study unchanged.
    with store.write(study) as con:
        bundle = str(content.get("bundle"))
        record = _check_seal(con, file, bundle, content)
        protocol = _check_protocol(con, file, record, content)
        case_numbers = {
            row[0]
            for row in bundle_table.load_bundle_cases(con, protocol.protocol, protocol.version)
        }
        counts = {}
        for reader in content["readers"]:
            scale = protocol_table.answer_scale(protocol.design)
            _check_reader(file, reader, case_numbers, scale)
            # Every site starts with R1; the bundle id makes the codes unique in the study.
            code = participant_table.check_code(f"{bundle}-{reader['code']}"[:32])
            participant_table.add_participant(con, code, "reader")
            bundle_table.add_bundle_reader(con, protocol.protocol, protocol.version, reader, code)
            counts[code] = _count_answers(reader)
        bundle_table.record_bundle_export(
            con, bundle, record | {"imported": utc_now().isoformat(timespec="seconds")}
        )
        run_table.append_log(
            con,
            user,
            "bundle answers imported",
            f"{bundle}: {sum(counts.values())} answers of {', '.join(counts)}",
        )
    return ImportedAnswers(bundle, protocol.protocol, protocol.version, counts)


def _read_answers_file(file: Path) -> dict[str, Any]:
    """Return the content of an answers file after a check of its form."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"Cannot read {file} ({error.strerror}); name a file written by `deepminer reading"
            " export-answers`."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{file} is not JSON ({error}); name an unchanged file written by `deepminer reading"
            " export-answers`."
        ) from error
    if (
        not isinstance(content, dict)
        or content.get("kind") != ANSWERS_KIND
        or content.get("schema") != ANSWERS_SCHEMA
        or not isinstance(content.get("readers"), list)
    ):
        raise UserError(
            f"{file} contains no answers of a site bundle; name a file written by `deepminer"
            " reading export-answers`."
        )
    return content


def _check_seal(
    con: Connection, file: Path, bundle: str, content: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the study's record of a bundle after a check of the file's seal."""
    record = bundle_table.bundle_exports(con).get(bundle)
    if record is None:
        raise UserError(
            f"{file} comes from the bundle {bundle[:20]!r}, which this study did not issue; import"
            " it into the study that created the bundle."
        )
    seal = seal_content(record["key"], {k: v for k, v in content.items() if k != "seal"})
    # Checked before the content is used: an unsealed file may hold anything.
    if not hmac.compare_digest(seal, str(content.get("seal"))):
        raise UserError(
            f"{file} does not match its seal: it was edited or truncated after the export. Ask the"
            " other site to export the answers again."
        )
    # A second import would count every answer twice.
    if record["imported"]:
        raise UserError(
            f"The answers of the bundle {bundle} were already imported on"
            f" {record['imported'][:10]}; a bundle's answers are imported once."
        )
    return record


def _check_protocol(
    con: Connection, file: Path, record: Mapping[str, Any], content: Mapping[str, Any]
) -> Protocol:
    """Return the protocol of a bundle if the answers belong to it and it is open."""
    protocol = protocol_table.load_protocol(con, record["protocol"], record["version"])
    if protocol is None or content["hash"] != protocol.hash:
        raise UserError(
            f"{file} was read under the protocol {content['hash'][:12]}, which is not the protocol"
            " of this study; nothing was imported."
        )
    if protocol.state != "frozen":
        raise UserError(
            f"{protocol.protocol}, version {protocol.version}, is {protocol.state}: it was closed"
            " before these answers arrived and accepts no more."
        )
    return protocol


def _check_reader(
    file: Path, reader: Mapping[str, Any], case_numbers: set[int], scale: int
) -> None:
    """Raise a UserError unless a reader's order and answers fit the protocol.

    The order must hold every case once apart from repeats and practice. Answers must belong to
    positions of the order, have revisions from 1 without gaps, and lie on the scale.
    """
    # The seal proves the origin of the file, not the consistency of its rows.
    items, answers = reader["items"], reader["answers"]
    positions = {position for position, *_ in items}
    first_reads = sorted(
        number for _, number, repeat, practice in items if not (repeat or practice)
    )
    repeats = [number for _, number, repeat, practice in items if repeat and not practice]
    answered = sorted({answer[0] for answer in answers})
    revisions = sorted((answer[0], answer[1]) for answer in answers)
    expected_revisions = [
        (position, revision)
        for position in answered
        for revision in range(1, 1 + sum(answer[0] == position for answer in answers))
    ]
    fits = (
        first_reads == sorted(case_numbers)
        and positions == set(range(1, len(items) + 1))
        and all(number in case_numbers for number in repeats)
        and revisions == expected_revisions
        and set(answered) <= positions
        and all(1 <= answer[2] <= scale for answer in answers)
    )
    if not fits:
        raise UserError(
            f"{file}: the order or the answers of {reader['code']} do not fit the protocol; nothing"
            " was imported. Ask the other site to export again."
        )
