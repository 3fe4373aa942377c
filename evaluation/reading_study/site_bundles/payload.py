"""What an answers file contains once it is decrypted, and the check of every value in it.

The signature proves that the file was made with the bundle's key, and a bundle's holder has that
key. Therefore every value is checked against what the bundle can produce.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    ValidationError,
    model_validator,
)

from core.errors import UserError
from core.sessions.consent import MAX_CONSENT_BYTES
from core.sessions.reading.steps import LONGEST_TEXT_ANSWER, locks_answers
from core.sessions.tokens import LONGEST_SECONDS
from core.store.evidence import ChainHead
from core.store.reading.bundle_table import (
    BundleAnswer,
    BundleConsent,
    BundleReader,
    BundleStage,
    seat_items,
    seat_rows,
)
from core.store.reading.protocol_table import answer_scale
from core.store.reading.stage_table import (
    FIRST,
    PREDICTION,
    QUESTIONNAIRE_POSITION,
    stage_number,
)
from evaluation.reading_study.site_bundles.stage_checks import stage_problem

# Clocks of two sites differ; the time of day is not what the analysis rests on.
CLOCK_TOLERANCE = timedelta(hours=1)
LONGEST_EXPERIENCE = 200
MOST_READERS, MOST_CONSENTS = 1000, 100
MOST_ROWS = 100_000
_ROW_NAMES = {
    "readers": "reader",
    "consents": "row of consents",
    "items": "row of the order",
    "answers": "row of answers",
    "stages": "row of stages",
}
_AGAIN = "nothing was imported. Ask the other site to export the answers again"


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class AnswerRow(_Record):
    """One revision of an answer."""

    position: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    revision: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    answer: Annotated[int, Field(ge=1, le=6)]
    seconds: Annotated[float, Field(ge=0, le=LONGEST_SECONDS)] | None
    idle: bool
    made: NaiveDatetime


class StageRow(_Record):
    """What was entered at one stage beside the answer of a case."""

    position: Annotated[int, Field(ge=0, le=MOST_ROWS)]
    stage: Annotated[str, Field(max_length=40)]
    value: Annotated[str, Field(max_length=LONGEST_TEXT_ANSWER)]
    seconds: Annotated[float, Field(ge=0, le=LONGEST_SECONDS)] | None
    idle: bool
    made: NaiveDatetime


class ConsentRow(_Record):
    """Consent to a text, with the experience stated."""

    experience: Annotated[str, Field(max_length=LONGEST_EXPERIENCE)]
    text: Annotated[str, Field(min_length=1, max_length=MAX_CONSENT_BYTES)]
    made: NaiveDatetime


class ReaderRows(_Record):
    """One reader: consents, order (case number, repeat, practice), answers and stages."""

    code: Annotated[str, Field(min_length=1, max_length=32)]
    consents: Annotated[list[ConsentRow], Field(min_length=1, max_length=MOST_CONSENTS)]
    items: Annotated[list[tuple[int, bool, bool]], Field(max_length=MOST_ROWS)]
    answers: Annotated[list[AnswerRow], Field(max_length=MOST_ROWS)]
    # Absent in a study of single answers.
    stages: Annotated[list[StageRow], Field(max_length=MOST_ROWS)] = []


class HeadRow(_Record):
    """Head of the bundle's evidence chain."""

    number: Annotated[int, Field(ge=0)]
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class AnswersPayload(_Record):
    """All readers of a bundle, for one protocol.

    seal: of the bundle. exported: time of the export.
    """

    protocol: str
    version: int
    hash: str
    seal: str
    exported: NaiveDatetime
    head: HeadRow
    readers: Annotated[list[ReaderRows], Field(min_length=1, max_length=MOST_READERS)]

    @model_validator(mode="after")
    def _check_codes(self) -> AnswersPayload:
        codes = [reader.code for reader in self.readers]
        if len(set(codes)) < len(codes):
            raise ValueError("a reader is listed twice")
        return self


def payload_content(
    *,
    protocol: str,
    version: int,
    hash: str,
    seal: str,
    exported: datetime,
    head: ChainHead,
    readers: Sequence[BundleReader],
) -> dict[str, Any]:
    """Return the content of an answers file as JSON data, in the form of `AnswersPayload`."""
    return {
        "protocol": protocol,
        "version": version,
        "hash": hash,
        "seal": seal,
        "exported": exported.isoformat(),
        "head": {"number": head.number, "hash": head.hash},
        "readers": [
            {
                "code": reader.code,
                "consents": [_row(consent) for consent in reader.consents],
                "items": seat_rows(reader.items),
                "answers": [_row(answer) for answer in reader.answers],
                **({"stages": [_row(stage) for stage in reader.stages]} if reader.stages else {}),
            }
            for reader in readers
        ],
    }


def _row(record: BundleAnswer | BundleConsent | BundleStage) -> dict[str, Any]:
    return vars(record) | {"made": record.made.isoformat()}


def parse_payload(source: str, text: bytes) -> AnswersPayload:
    """Return the content of an answers file after the check of types, ranges and lengths.

    Parameters
    ----------
    source : str
        What is read, for messages.
    text : bytes
        JSON.

    Raises
    ------
    UserError
        Names the first value that is wrong with its row.
    """
    try:
        return AnswersPayload.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        value = repr(first["input"])
        excerpt = value if len(value) <= 60 else value[:60] + "..."
        raise UserError(
            f"{source}: {_place(first['loc'])} is {excerpt}: {first['msg']}; {_AGAIN}."
        ) from error


def _place(location: tuple[int | str, ...]) -> str:
    """Return the place of a value in words: "reader 1, answers row 8, seconds"."""
    parts: list[str] = []
    for part in location:
        if isinstance(part, int) and parts[-1] in _ROW_NAMES.values():
            parts[-1] = f"{parts[-1]} {part + 1}"
        elif isinstance(part, int):
            parts.append(f"column {part + 1}")
        else:
            parts.append(_ROW_NAMES.get(str(part), str(part)))
    return ", ".join(parts) or "the content"


def check_readers(
    source: str,
    payload: AnswersPayload,
    *,
    seats: Mapping[str, Sequence[Sequence[Any]]],
    design: Mapping[str, Any],
    created_at: datetime,
    now: datetime,
) -> list[BundleReader]:
    """Return the readers of an answers file if a bundle can have produced their rows.

    Parameters
    ----------
    source : str
        What is read, for messages.
    payload : AnswersPayload
        The parsed content.
    seats : mapping
        Order of each reader of the bundle, see `core.store.reading.bundle_table.seat_rows`.
    design : mapping
        Settings of the protocol, as stored.
    created_at : datetime
        Creation of the bundle.
    now : datetime
        Time of the import.

    Raises
    ------
    UserError
        Names the first row that is wrong.
    """
    if not created_at - CLOCK_TOLERANCE <= payload.exported <= now + CLOCK_TOLERANCE:
        raise UserError(
            f"{source}: {_time_problem('the export', payload.exported, created_at, now)}"
        )
    for reader in payload.readers:
        _check_reader(source, reader, seats, design)
        _check_times(source, reader, created_at, payload.exported)
    return [
        BundleReader(
            code=reader.code,
            consents=tuple(BundleConsent(**vars(consent)) for consent in reader.consents),
            items=tuple(seat_items(reader.items)),
            answers=tuple(BundleAnswer(**vars(answer)) for answer in reader.answers),
            stages=tuple(BundleStage(**vars(stage)) for stage in reader.stages),
        )
        for reader in payload.readers
    ]


def _check_reader(
    source: str,
    reader: ReaderRows,
    seats: Mapping[str, Sequence[Sequence[Any]]],
    design: Mapping[str, Any],
) -> None:
    """Raise a UserError for the first row of a reader that the bundle cannot have produced."""
    if reader.code not in seats:
        raise UserError(
            f"{source}: the bundle has no seat for the reader {reader.code!r}, only for"
            f" {', '.join(seats)}; {_AGAIN}."
        )
    for consent in reader.consents:
        if consent.experience != " ".join(consent.experience.split()):
            raise UserError(
                f"{source}: the experience of {reader.code} has stray blanks; {_AGAIN}."
            )
    expected = [list(row) for row in seats[reader.code]]
    for position, (row, wanted) in enumerate(zip(reader.items, expected), start=1):
        if list(row) != wanted:
            raise UserError(
                f"{source}: position {position} of {reader.code} shows case {row[0]}, which is not"
                f" the order of this reader; {_AGAIN}."
            )
    if len(reader.items) != len(expected):
        raise UserError(
            f"{source}: the order of {reader.code} has {len(reader.items)} positions and must have"
            f" {len(expected)}; {_AGAIN}."
        )
    _check_sequence(source, reader, design)
    stages = [BundleStage(**vars(stage)) for stage in reader.stages]
    answered = len({answer.position for answer in reader.answers})
    problem = stage_problem(stages, answered, len(reader.items), design)
    if problem is not None:
        raise UserError(f"{source}: {problem} of {reader.code}; {_AGAIN}.")


def _answer_name(reader: ReaderRows, answer: AnswerRow) -> str:
    return f"the answer of {reader.code} at position {answer.position}, revision {answer.revision}"


def _check_sequence(source: str, reader: ReaderRows, design: Mapping[str, Any]) -> None:
    """Raise a UserError unless positions are answered in order and revisions have no gap."""
    scale = answer_scale(design)
    last_practice = sum(is_practice for _, _, is_practice in reader.items)
    position, revision = 0, 0
    for answer in reader.answers:
        name = _answer_name(reader, answer)
        corrects = (answer.position, answer.revision) == (position, revision + 1)
        follows = (answer.position, answer.revision) == (position + 1, 1)
        if not (corrects or follows) or answer.position > len(reader.items):
            raise UserError(
                f"{source}: {name} does not follow position {position}, revision {revision}, and"
                f" the order has {len(reader.items)} positions; {_AGAIN}."
            )
        # A reader can reopen the case before, but not practice once the cases have begun.
        if answer.revision > 1 and answer.position == last_practice < len(reader.items):
            raise UserError(
                f"{source}: {name} corrects the last practice case, which cannot be reopened;"
                f" {_AGAIN}."
            )
        if answer.revision > 1 and locks_answers(design):
            raise UserError(
                f"{source}: {name} is a correction, and answers of this study are final; {_AGAIN}."
            )
        if answer.answer > scale:
            raise UserError(
                f"{source}: {name} is {answer.answer}; answers are 1 to {scale}; {_AGAIN}."
            )
        if answer.seconds is not None and answer.seconds != round(answer.seconds, 3):
            raise UserError(
                f"{source}: {name} took {answer.seconds!r} s; times are stored in milliseconds;"
                f" {_AGAIN}."
            )
        position, revision = answer.position, answer.revision


def _check_times(source: str, reader: ReaderRows, created_at: datetime, exported: datetime) -> None:
    """Raise a UserError unless consent and answers lie in time between creation and export."""
    consents = [(f"the consent of {reader.code}", row.made) for row in reader.consents]
    answers = _timed_entries(reader)
    for name, time in consents + answers:
        if not created_at - CLOCK_TOLERANCE <= time <= exported + CLOCK_TOLERANCE:
            raise UserError(f"{source}: {_time_problem(name, time, created_at, exported)}")
    for (earlier_name, earlier), (name, time) in pairwise([consents[0], *answers]):
        if time < earlier - CLOCK_TOLERANCE:
            raise UserError(
                f"{source}: {name} is of {time:%Y-%m-%d %H:%M} UTC, before {earlier_name}"
                f" ({earlier:%Y-%m-%d %H:%M} UTC); {_AGAIN}."
            )


def _timed_entries(reader: ReaderRows) -> list[tuple[str, datetime]]:
    """Return answers and stages with their times, in the order in which a page takes them."""
    entries: list[tuple[tuple[Any, ...], str, datetime]] = [
        ((False, answer.position, 1, answer.revision), _answer_name(reader, answer), answer.made)
        for answer in reader.answers
    ]
    for row in reader.stages:
        is_closing = row.position == QUESTIONNAIRE_POSITION
        phase = 0 if row.stage in (FIRST, PREDICTION) else 2
        name = f"the {row.stage} of {reader.code} at position {row.position}"
        key = (is_closing, row.position, phase, stage_number(row.stage))
        entries.append((key, name, row.made))
    return [(name, time) for _, name, time in sorted(entries)]


def _time_problem(name: str, time: datetime, created_at: datetime, end: datetime) -> str:
    return (
        f"{name} is of {time:%Y-%m-%d %H:%M} UTC, which is not between the creation of the bundle"
        f" ({created_at:%Y-%m-%d %H:%M} UTC) and {end:%Y-%m-%d %H:%M} UTC; nothing was imported."
        " Check the clock of the other site."
    )
