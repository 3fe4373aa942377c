"""Storing of a bundle's readers in the original study, where an earlier export may be stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.store import participant_table
from core.store.connection import Connection
from core.store.reading import bundle_table, reading_table
from core.store.reading.bundle_table import BundleAnswer, BundleReader, BundleStage
from core.store.reading.protocol_table import Protocol


def store_readers(
    con: Connection, file: Path, protocol: Protocol, bundle: str, readers: list[BundleReader]
) -> int | None:
    """Store what is new of a bundle's readers.

    Returns the number of new rows of answers, or None if the file brings nothing new.
    """
    name, version = protocol.protocol, protocol.version
    stored = {
        reader.code: reader
        for reader in bundle_table.load_bundle_readers(con, name, version)
        if reader.code.startswith(f"{bundle}-")
    }
    sent = {reader.code: reader for reader in readers}
    _check_consistent(file, stored, sent)
    added, is_new = 0, False
    for code, reader in sent.items():
        before = stored.get(code, BundleReader(code, (), (), ()))
        answers = reader.answers[len(before.answers) :]
        consents = reader.consents[len(before.consents) :]
        stages = reader.stages[len(before.stages) :]
        if not before.items:
            participant_table.add_participant(con, code, "reader")
            reading_table.assign_reading_order(con, name, version, code, reader.items)
        bundle_table.add_bundle_consents(con, code, consents)
        bundle_table.add_bundle_answers(con, name, version, code, answers)
        bundle_table.add_bundle_stages(con, name, version, code, stages)
        added += len(answers)
        is_new = is_new or bool(answers or consents or stages)
    return added if is_new else None


def _check_consistent(
    file: Path, stored: Mapping[str, BundleReader], sent: Mapping[str, BundleReader]
) -> None:
    """Raise a UserError unless one of two exports of a bundle contains the other.

    A bundle's rows are append-only: of two exports, the later one begins with the earlier one.
    """
    lacking: list[str] = []
    longer: list[str] = []
    for code in sorted(set(stored) | set(sent)):
        old = _rows(stored[code]) if code in stored else [[], [], []]
        new = _rows(sent[code]) if code in sent else [[], [], []]
        for old_rows, new_rows in zip(old, new, strict=True):
            for (row_name, before), (_, after) in zip(old_rows, new_rows):
                if before != after:
                    raise UserError(
                        f"{file}: {row_name} of {code} differs from what was imported earlier from"
                        " this bundle; nothing was imported. The bundle was reset or edited at the"
                        " other site."
                    )
            if len(new_rows) < len(old_rows):
                lacking.append(code)
            if len(new_rows) > len(old_rows):
                longer.append(code)
    if lacking and longer:
        raise UserError(
            f"{file} has new rows of {longer[0]} but lacks rows of {lacking[0]} that were imported"
            " earlier from this bundle; nothing was imported. The bundle was reset or edited at the"
            " other site."
        )


def _rows(reader: BundleReader) -> list[list[tuple[str, Any]]]:
    """Return consents, answers and stages of a reader, each with its place in words."""
    return [
        [(f"consent {i}", consent) for i, consent in enumerate(reader.consents, start=1)],
        [(_answer_place(answer), answer) for answer in reader.answers],
        [(_stage_place(stage), stage) for stage in reader.stages],
    ]


def _answer_place(answer: BundleAnswer) -> str:
    return f"the answer at position {answer.position}, revision {answer.revision}"


def _stage_place(stage: BundleStage) -> str:
    return f"the {stage.stage} at position {stage.position}"
