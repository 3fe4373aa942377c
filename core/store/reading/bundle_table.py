"""Exchange between a study and its site bundles.

A bundle is a study without images, truth and scores, in which readers at another site read. What it
holds of a case, and what comes back, passes through the functions below. Bundles are properties of
the study (table `meta`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import RequestRefused, UserError
from core.store import dataset_table
from core.store.connection import Connection
from core.store.evidence import Actor, append_evidence, record_group, record_row
from core.store.reading import reading_table, stage_table
from core.store.reading.reading_table import ReadingCase, ReadingItem

# Actor of the records of imported rows; the reader's code is the claimed name beside it.
IMPORT = "import"


@dataclass(frozen=True, kw_only=True)
class BundleAnswer:
    """One revision of an answer that was given in a bundle."""

    position: int
    revision: int
    answer: int
    seconds: float | None
    idle: bool
    made: datetime


@dataclass(frozen=True, kw_only=True)
class BundleStage:
    """What a reader entered in a bundle beside the answer of a case, see `stage_table`."""

    position: int
    stage: str
    value: str
    seconds: float | None
    idle: bool
    made: datetime


@dataclass(frozen=True)
class BundleConsent:
    """Consent of a bundle's reader to a text, with the experience stated."""

    experience: str
    text: str
    made: datetime


@dataclass(frozen=True)
class BundleReader:
    """A reader of a bundle: consents by time, order, and answers by position and revision.

    stages: by position and stage, the questionnaire last; empty in a study of single answers.
    """

    code: str
    consents: tuple[BundleConsent, ...]
    items: tuple[ReadingItem, ...]
    answers: tuple[BundleAnswer, ...]
    stages: tuple[BundleStage, ...] = ()


def bundle_exports(con: Connection) -> dict[str, dict[str, Any]]:
    """Return the bundles that a study created, by id; see `record_bundle_export`."""
    rows = con.execute(
        "SELECT name, value FROM meta WHERE starts_with(name, 'bundle:') ORDER BY name"
    ).fetchall()
    return {name.removeprefix("bundle:"): json.loads(value) for name, value in rows}


def record_bundle_export(con: Connection, bundle: str, properties: dict[str, Any]) -> None:
    """Record a bundle that was created.

    properties: schema, protocol, version, hash, made (time), signing_key (public), seal, seats
    (order of each reader), imported (time of the last import, or None).
    """
    dataset_table.set_meta(con, f"bundle:{bundle}", json.dumps(properties))


def record_bundle_import(
    con: Connection, bundle: str, exported: datetime, content: dict[str, Any], actor: str
) -> None:
    """Record the import of a bundle's answers, also in the evidence chain.

    exported: time of the export. content: what identifies the file, for the chain.
    """
    properties = bundle_exports(con)[bundle] | {"imported": exported.isoformat()}
    record_bundle_export(con, bundle, properties)
    subject = f"answers of bundle {bundle}, exported {exported:%Y-%m-%d %H:%M:%S} UTC"
    append_evidence(con, "bundle_import", subject, content, actor)


def bundle_identity(con: Connection) -> dict[str, Any] | None:
    """Return the properties of a study that is itself a bundle, else None."""
    text = dataset_table.get_meta(con, "bundle")
    return json.loads(text) if text else None


def record_bundle_identity(con: Connection, properties: dict[str, Any]) -> None:
    """Make this study a bundle.

    properties: schema, id, hash, made (time), seats (order of each reader), encryption_key and
    seal_key (public), seal.
    """
    dataset_table.set_meta(con, "bundle", json.dumps(properties))


def load_seat(con: Connection, code: str) -> list[ReadingItem] | None:
    """Return the order that a site bundle holds for a reader; None where the study is no bundle.

    RequestRefused("empty") for a reader for whom the bundle has no seat.
    """
    identity = bundle_identity(con)
    if identity is None:
        return None
    seats = identity.get("seats", {})
    if code not in seats:
        raise RequestRefused(
            "empty",
            f"This copy of the reading study is for the readers {', '.join(seats)}; please tell"
            " the research team that your code is another one.",
        )
    return seat_items(seats[code])


def check_reader_seat(con: Connection, code: str) -> None:
    """Raise a UserError where this study is a site bundle without a seat for a reader's code."""
    identity = bundle_identity(con)
    seats = [] if identity is None else list(identity.get("seats", {}))
    if identity is not None and code not in seats:
        raise UserError(
            f"This site bundle has seats for {', '.join(seats)} and none for {code}; invite one of"
            " these codes, or make a bundle with more --readers at the original site."
        )


def seat_rows(items: Iterable[ReadingItem]) -> list[list[Any]]:
    """Return an order in the form in which bundles and their records hold it."""
    return [[item.case_number, item.repeat, item.practice] for item in items]


def seat_items(rows: Iterable[Sequence[Any]]) -> list[ReadingItem]:
    """Return the order that `seat_rows` wrote."""
    return [ReadingItem(number, repeat, practice) for number, repeat, practice in rows]


# All that a bundle holds of a case: its number, its texts, and in an arm with advice the advice.
BundleCase = tuple[int, list[str]] | tuple[int, list[str], str]


def load_bundle_cases(con: Connection, protocol: str, version: int) -> list[BundleCase]:
    """Return all that a bundle holds of each case, by case number."""
    rows = con.execute(
        "SELECT case_number, texts, advice FROM reading_cases"
        " WHERE protocol = ? AND version = ? ORDER BY case_number",
        [protocol, version],
    ).fetchall()
    # Absent without advice, so that the seals of older bundles hold.
    return [
        (number, json.loads(texts)) if advice is None else (number, json.loads(texts), advice)
        for number, texts, advice in rows
    ]


def add_bundle_cases(
    con: Connection, protocol: str, version: int, cases: Iterable[BundleCase]
) -> None:
    """Store the cases of a bundle, without mammogram, patient, truth, score and arm."""
    reading_table.add_reading_cases(
        con,
        protocol,
        version,
        [
            ReadingCase(
                number=number,
                mammogram_id="",
                patient_id="",
                arm="",
                texts=tuple(texts),
                truth=None,
                network_score=None,
                predicted=None,
                advice=advice[0] if advice else None,
            )
            for number, texts, *advice in cases
        ],
    )


def load_bundle_readers(con: Connection, protocol: str, version: int) -> list[BundleReader]:
    """Return every reader who has an order in a version, by code."""
    codes = con.execute(
        "SELECT DISTINCT code FROM reading_items WHERE protocol = ? AND version = ? ORDER BY code",
        [protocol, version],
    ).fetchall()
    return [load_bundle_reader(con, protocol, version, code) for (code,) in codes]


def load_bundle_reader(con: Connection, protocol: str, version: int, code: str) -> BundleReader:
    """Return one reader of a version; without order and answers where there is no such reader."""
    consents = con.execute(
        "SELECT experience, consent, made FROM consents WHERE code = ? ORDER BY made", [code]
    ).fetchall()
    items = con.execute(
        "SELECT case_number, repeat, practice FROM reading_items"
        " WHERE protocol = ? AND version = ? AND code = ? ORDER BY position",
        [protocol, version, code],
    ).fetchall()
    answers = con.execute(
        "SELECT position, revision, answer, seconds, idle, made FROM answers"
        " WHERE protocol = ? AND version = ? AND code = ? ORDER BY position, revision",
        [protocol, version, code],
    ).fetchall()
    stages = con.execute(
        "SELECT position, stage, value, seconds, idle, made FROM reading_stages"
        " WHERE protocol = ? AND version = ? AND code = ?",
        [protocol, version, code],
    ).fetchall()
    return BundleReader(
        code=code,
        consents=tuple(BundleConsent(*row) for row in consents),
        items=tuple(seat_items(items)),
        answers=tuple(
            BundleAnswer(
                position=position,
                revision=revision,
                answer=answer,
                seconds=seconds,
                idle=idle,
                made=answered_at,
            )
            for position, revision, answer, seconds, idle, answered_at in answers
        ),
        stages=tuple(
            sorted(
                (
                    BundleStage(
                        position=position,
                        stage=stage,
                        value=value,
                        seconds=seconds,
                        idle=idle,
                        made=entered_at,
                    )
                    for position, stage, value, seconds, idle, entered_at in stages
                ),
                # In the order in which they are entered: the questionnaire, position 0, is last.
                key=lambda row: (
                    row.position == stage_table.QUESTIONNAIRE_POSITION,
                    row.position,
                    stage_table.stage_number(row.stage),
                ),
            )
        ),
    )


def add_bundle_consents(con: Connection, code: str, consents: Sequence[BundleConsent]) -> None:
    """Store consents of a bundle's reader under a code of this study.

    The original times are kept; `record_consent` would stamp the time of the import.
    """
    for consent in consents:
        stored = con.execute(
            "INSERT INTO consents (code, experience, consent, made, consent_hash)"
            " VALUES (?, ?, ?, ?, sha256(?)) RETURNING *",
            [code, consent.experience, consent.text, consent.made, consent.text],
        )
        record_row(con, "consent", stored, Actor(IMPORT, code))


def add_bundle_answers(
    con: Connection, protocol: str, version: int, code: str, answers: Sequence[BundleAnswer]
) -> None:
    """Store answers of a bundle's reader under a code of this study. The caller has checked them.

    The original times are kept; `append_reading_answer` would stamp the time of the import.
    """
    rows = [
        [
            protocol,
            version,
            code,
            answer.position,
            answer.revision,
            answer.answer,
            answer.seconds,
            answer.idle,
            False,  # not simulated: only people read at a site
            answer.made,
        ]
        for answer in answers
    ]
    if rows:
        con.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    for answer in answers:
        record_group(
            con,
            "reading_answer",
            Actor(IMPORT, code),
            protocol=protocol,
            version=version,
            code=code,
            position=answer.position,
            revision=answer.revision,
        )


def add_bundle_stages(
    con: Connection, protocol: str, version: int, code: str, stages: Sequence[BundleStage]
) -> None:
    """Store stage answers of a bundle's reader under a code of this study, with their times.

    The caller has checked them.
    """
    for row in stages:
        stored = con.execute(
            "INSERT INTO reading_stages VALUES (?, ?, ?, ?, ?, ?, ?, ?, FALSE, ?) RETURNING *",
            [
                protocol,
                version,
                code,
                row.position,
                row.stage,
                row.value,
                row.seconds,
                row.idle,
                row.made,
            ],
        )
        record_row(con, "reading_stage", stored, Actor(IMPORT, code))
