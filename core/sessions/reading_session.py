"""All that a reader's page may ask for: the next case, the answer just given, the way back by one.

Truth, pathology, case, patient, file, network score, arm, repeats, later cases, the own tally and
other readers cannot be had here: no query below names their columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from core.sessions.case_order import readers_order
from core.sessions.tokens import Refused, clean_seconds, one_time
from core.store import participant_table, reading_table
from core.store.reading_table import Item, Protocol, Saved

Connection = duckdb.DuckDBPyConnection
TEXT_SLOTS = 3
PRACTICE = (
    ("Mass with circumscribed margin", "Fatty tissue", "Vascular calcifications"),
    (
        "Mass with spiculated margin",
        "Architectural distortion",
        "Fine pleomorphic calcifications, grouped distribution",
    ),
    ("Lymph node", "Scattered tissue", "Round calcifications"),
    ("Focal asymmetry", "Heterogeneously dense tissue", "Mass with indistinct margin"),
    ("Pectoral muscle", "Milk of calcium calcifications", "Mass with obscured margin"),
)
# Arms that are more than words: without their pictures their cases would be shown half.
PICTURES = ("class_map", "image", "image_explanation")
CLOSED = (
    "This reading study has been closed; no further answers are taken. What you answered before is"
    " kept. Thank you."
)
NOTHING = "Nothing to read yet. The research team will tell you when the reading study is open."
STALE = "This case was answered in another window; the next one is shown here."


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One case as a reader sees it. number, total: place among the real cases or, in practice,
    among the practice cases; picture: (kind, source) for the server to draw, never sent.
    """

    token: str
    texts: tuple[str, ...]
    number: int
    total: int
    practice: bool
    given: int | None
    position: int
    may_reopen: bool
    picture: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """One place of this reader's order with what was answered there; never leaves the server."""

    position: int
    token: str
    case_number: int
    practice: bool
    revision: int
    given: int | None
    made: datetime | None


class Desk:
    """One reader at one study's store."""

    def __init__(self, code: str, secret: bytes) -> None:
        self.code, self._secret = code, secret

    def consented(self, con: Connection) -> bool:
        """Whether this person has agreed."""
        return participant_table.has_consented(con, self.code)

    def protocol(self, con: Connection, onward: bool = False) -> Protocol:
        """The study this reader reads: the one begun until it is finished or closed, whatever else
        is frozen meanwhile; for somebody new the open one.

        onward: this reader has been told that the study begun is finished or closed and asks for
        the next. Refused("closed") where the study begun was closed, Refused("empty") where there
        is nothing to read.
        """
        begun = reading_table.begun(con, self.code)
        found = begun[0] if begun is not None else None
        if begun is None or (onward and (begun[1] or begun[0].state != "frozen")):
            found = reading_table.open_to(con, self.code) or found
        if found is None:
            raise Refused("empty", NOTHING)
        if found.state != "frozen":
            raise Refused("closed", CLOSED)
        if set(found.design.get("arms", ())) & set(PICTURES) and not self.has_pictures(con, found):
            raise Refused(
                "empty",
                "This reading study needs images, which were not frozen with it. Please tell the"
                " research team.",
            )
        return found

    def has_pictures(self, con: Connection, protocol: Protocol) -> bool:
        """Whether any case shows more than words."""
        return (
            con.execute(
                "SELECT 1 FROM reading_pictures WHERE protocol = ? AND version = ? LIMIT 1",
                [protocol.protocol, protocol.version],
            ).fetchone()
            is not None
        )

    def shows_pictures(self, con: Connection) -> bool:
        """Whether the study that this reader reads, or would read, shows more than words."""
        begun = reading_table.begun(con, self.code)
        found = begun[0] if begun is not None else reading_table.open_to(con, self.code)
        return found is not None and self.has_pictures(con, found)

    def has_next(self, con: Connection) -> bool:
        """Whether there is a study to go on to."""
        return reading_table.open_to(con, self.code) is not None

    def ticket(self, protocol: Protocol) -> str:
        """What the instructions of a study are shown with and come back with: nobody begins a study
        other than the one introduced.
        """
        return one_time(self._secret, "begin", self.code, protocol.protocol, protocol.version)

    def begin(self, con: Connection, ticket: str) -> None:
        """The instructions that carried this ticket were read: make the order (needs a writing
        connection). Nothing where another study, or none, is to be read by now. Somebody who has
        begun nothing needs no ticket.
        """
        if not self.consented(con):
            raise Refused("consent", "Please give your consent first.")
        fresh = reading_table.begun(con, self.code) is None
        protocol = self.protocol(con, onward=True)
        if ticket == self.ticket(protocol) or (fresh and not ticket):
            self.seat(con, protocol)

    def seat(self, con: Connection, protocol: Protocol) -> None:
        """Give this reader an order at the first visit (needs a writing connection)."""
        if not reading_table.is_assigned(con, protocol.protocol, protocol.version, self.code):
            reading_table.assign(
                con, protocol.protocol, protocol.version, self.code, self._order(con, protocol)
            )

    def is_seated(self, con: Connection, protocol: Protocol) -> bool:
        """Whether the order has been made."""
        return reading_table.is_assigned(con, protocol.protocol, protocol.version, self.code)

    def _order(self, con: Connection, protocol: Protocol) -> list[Item]:
        rows = con.execute(
            "SELECT case_number, patient_id, texts FROM reading_cases WHERE protocol = ? AND"
            " version = ?",
            [protocol.protocol, protocol.version],
        ).fetchall()
        seed, repeats = int(protocol.design.get("seed", 0)), int(protocol.design.get("repeats", 0))
        order = readers_order(
            [r[0] for r in rows],
            [r[1] for r in rows],
            [json.loads(r[2]) for r in rows],
            seed,
            self.code,
            repeats,
        )
        practice = [Item(-i, practice=True) for i in range(1, len(_practice(protocol)) + 1)]
        return practice + [Item(number, repeat=again) for number, again in order]

    def sheet(self, con: Connection, protocol: Protocol) -> list[Place]:
        """This reader's whole order with the latest answers: one query, because it runs between a
        key and its acknowledgement.
        """
        rows = con.execute(
            """SELECT i.position, i.token, i.case_number, i.practice, max(a.revision), arg_max(a.answer, a.revision), max(a.made)
            FROM reading_items i LEFT JOIN answers a USING (protocol, version, code, position)
            WHERE i.protocol = ? AND i.version = ? AND i.code = ? GROUP BY ALL ORDER BY i.position""",
            [protocol.protocol, protocol.version, self.code],
        ).fetchall()
        return [
            Place(
                position=r[0],
                token=r[1],
                case_number=r[2],
                practice=r[3],
                revision=r[4] or 0,
                given=r[5],
                made=r[6],
            )
            for r in rows
        ]

    def show(
        self,
        con: Connection,
        protocol: Protocol,
        sheet: list[Place] | None = None,
        place: Place | None = None,
    ) -> Shown | None:
        """The first unanswered text, or the one at `place`; None when all are answered."""
        sheet = self.sheet(con, protocol) if sheet is None else sheet
        place = place or _current(sheet)
        if place is None:
            return None
        alike = [p for p in sheet if p.practice == place.practice]
        number = alike.index(place) + 1
        texts, picture = self._content(con, protocol, place)
        back = number > 1 and place.given is None
        return Shown(
            token=self._token(place),
            texts=_slots(texts, protocol),
            number=number,
            total=len(alike),
            practice=place.practice,
            given=place.given,
            position=place.position,
            may_reopen=back,
            picture=picture,
        )

    def _content(
        self, con: Connection, protocol: Protocol, place: Place
    ) -> tuple[Sequence[str], tuple[str, str] | None]:
        """Texts and picture of a place: one query, because it runs between a key and its
        acknowledgement.
        """
        row = con.execute(
            """SELECT c.texts, p.kind, p.source FROM (SELECT ? AS protocol, ? AS version, ? AS case_number) w
            LEFT JOIN reading_cases c USING (protocol, version, case_number) LEFT JOIN reading_pictures p USING (protocol, version, case_number)""",
            [protocol.protocol, protocol.version, place.case_number],
        ).fetchone()
        if row is None or (row[0] is None and not place.practice):
            raise Refused("stale", "This case is not there any more; tell the research team.")
        texts = (
            _practice(protocol)[-place.case_number - 1] if place.practice else json.loads(row[0])
        )
        return texts, (row[1], row[2]) if row[1] else None

    def _token(self, place: Place) -> str:
        """One-time token for the next revision of the answer at a place."""
        return one_time(self._secret, "read", place.token, place.revision + 1)

    def reopen(self, con: Connection, protocol: Protocol) -> Shown:
        """The previous text with the answer given: the only one that may be reopened."""
        sheet = self.sheet(con, protocol)
        place = _previous(sheet)
        shown = self.show(con, protocol, sheet, place) if place is not None else None
        if shown is None:
            raise Refused("stale", "There is no earlier case to reopen.")
        return shown

    def answer(
        self, con: Connection, token: str, answer: Any, seconds: Any, idle: Any
    ) -> tuple[Saved, Shown | None, Protocol]:
        """Append the answer for the text this token was shown with, and say what comes next.

        The same token and answer again is answered as before, without a new row.

        Refused("stale") for a token that is neither the current text's nor the previous one's: two
        windows, or one never given out.
        """
        if not self.consented(con):
            raise Refused("consent", "Please give your consent first.")
        begun = reading_table.begun(con, self.code)
        if begun is None:
            raise Refused("stale", STALE)
        protocol = begun[0]
        if protocol.state != "frozen":
            raise Refused("closed", CLOSED)
        sheet = self.sheet(con, protocol)
        for place in (_current(sheet), _previous(sheet)):
            if place is not None and self._token(place) == token:
                saved = reading_table.append_answer(
                    con,
                    protocol=protocol,
                    code=self.code,
                    position=place.position,
                    revision=place.revision + 1,
                    answer=answer,
                    seconds=clean_seconds(seconds),
                    idle=bool(idle),
                )
                sheet[sheet.index(place)] = replace(
                    place, revision=saved.revision, given=saved.answer, made=saved.made
                )
                return saved, self.show(con, protocol, sheet), protocol
        for place in sheet:
            if (
                place.given is not None
                and place.made is not None
                and place.given == answer
                and one_time(self._secret, "read", place.token, place.revision) == token
            ):
                return (
                    Saved(place.position, place.revision, place.given, place.made),
                    self.show(con, protocol, sheet),
                    protocol,
                )
        raise Refused("stale", STALE)


def _current(sheet: list[Place]) -> Place | None:
    """The first unanswered place."""
    return next((p for p in sheet if not p.revision), None)


def _previous(sheet: list[Place]) -> Place | None:
    """The place before the first unanswered one.

    Practice and real texts are kept apart: the first real one has no way back.
    """
    answered = [p for p in sheet if p.revision]
    current = _current(sheet)
    if not answered or (current is not None and current.practice != answered[-1].practice):
        return None
    return answered[-1]


def _practice(protocol: Protocol) -> Sequence[Sequence[str]]:
    return protocol.design.get("practice") or PRACTICE


def _slots(texts: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """Texts in slots of constant number, so that their shape tells nothing."""
    slots = int(protocol.design.get("texts", TEXT_SLOTS))
    return tuple([*texts, *[""] * slots][: max(slots, 1)])
