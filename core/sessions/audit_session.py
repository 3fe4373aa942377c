"""All that an auditing expert's page may ask for: a unit's words, one patch, the answer just given.

Whether the patch is a top one, its rank, activation and label, the unit, other experts' answers and
the own tally cannot be had here: no query below names their columns.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from core.sessions.tokens import Refused, clean_seconds, one_time
from core.store import annotation_table, audit_table, participant_table
from core.store.annotation_table import Tile
from core.store.audit_table import Audit

Connection = duckdb.DuckDBPyConnection
NONE_OPEN = "There is no audit at the moment. The research team will tell you when there is one."


@dataclass(frozen=True)
class Place:
    """One place of this expert's order with what was answered there; never leaves the server."""

    item: int
    words: str
    version: int
    given: str | None
    made: datetime | None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One patch as the expert sees it. number, total: place among all; fresh: the words differ from
    the patch before.
    """

    token: str
    words: str
    tile: Tile
    number: int
    total: int
    given: str | None
    fresh: bool
    may_reopen: bool


class Desk:
    """One expert at one study's store."""

    def __init__(self, code: str, secret: bytes) -> None:
        self.code, self._secret = code, secret

    def audit(self, con: Connection) -> Audit:
        """The open audit; Refused("empty") when there is none."""
        found = audit_table.current(con)
        if found is None:
            raise Refused("empty", NONE_OPEN)
        return found

    def count(self, con: Connection) -> tuple[int, int] | None:
        """(done, total) of the open audit, or None where none is open."""
        found = audit_table.current(con)
        if found is None:
            return None
        sheet = self.sheet(con, found)
        return sum(p.version > 0 for p in sheet), len(sheet)

    def sheet(self, con: Connection, audit: Audit) -> list[Place]:
        """This expert's whole order: words by words in an order of their own, and the patches under
        the same words shuffled. Seeded by audit, seed and expert, so that it is the same on every
        device and after every restart.
        """
        rows = con.execute(
            """SELECT i.item, i.label, i.unit, max(a.version), arg_max(a.answer, a.version), max(a.made)
            FROM audit_items i LEFT JOIN (SELECT * FROM audit_answers WHERE code = ?) a USING (audit, item)
            WHERE i.audit = ? GROUP BY ALL""",
            [self.code, audit.audit],
        ).fetchall()
        rows.sort(
            key=lambda row: (self._luck(audit, "unit", row[2]), self._luck(audit, "item", row[0]))
        )
        return [
            Place(item, words, version or 0, given, made)
            for item, words, _, version, given, made in rows
        ]

    def _luck(self, audit: Audit, *what: object) -> bytes:
        return hashlib.sha256(
            "|".join(map(str, (audit.audit, audit.run, audit.seed, self.code, *what))).encode()
        ).digest()

    def show(
        self,
        con: Connection,
        audit: Audit,
        sheet: list[Place] | None = None,
        place: Place | None = None,
    ) -> Shown | None:
        """The first patch without an answer, or the one at `place`; None when all are answered."""
        sheet = self.sheet(con, audit) if sheet is None else sheet
        place = place or _current(sheet)
        if place is None:
            return None
        at = sheet.index(place)
        fresh = at == 0 or sheet[at - 1].words != place.words
        return Shown(
            token=self._token(audit, place),
            words=place.words,
            tile=_tile(con, audit, place.item),
            number=at + 1,
            total=len(sheet),
            given=place.given,
            fresh=fresh,
            may_reopen=at > 0 and place.given is None,
        )

    def following(self, con: Connection, audit: Audit, sheet: list[Place]) -> Tile | None:
        """The patch after the current one, so that its pictures can be fetched early."""
        left = [p for p in sheet if not p.version]
        return _tile(con, audit, left[1].item) if len(left) > 1 else None

    def _token(self, audit: Audit, place: Place) -> str:
        """One-time token for the next version of the answer at a place."""
        return one_time(
            self._secret, "audit", audit.audit, self.code, place.item, place.version + 1
        )

    def reopen(self, con: Connection) -> Shown:
        """The previous patch with the answer given: the only one that may be reopened."""
        audit = self.audit(con)
        sheet = self.sheet(con, audit)
        place = _previous(sheet)
        shown = self.show(con, audit, sheet, place) if place is not None else None
        if shown is None:
            raise Refused("stale", "There is no earlier patch to reopen.")
        return shown

    def answer(self, con: Connection, token: str, answer: Any, seconds: Any) -> datetime:
        """Append the answer for the patch this token was shown with.

        The same token and answer again is answered as before, without a new row.

        Refused("stale") for a token that is neither the current patch's nor the previous one's: two
        windows, or one never given out.
        """
        if not participant_table.has_consented(con, self.code):
            raise Refused("consent", "Please give your consent first.")
        audit = audit_table.current(con)
        if audit is None:
            raise Refused(
                "closed",
                "This audit has been ended; no further answers are taken. What you answered before"
                " is kept. Thank you.",
            )
        sheet = self.sheet(con, audit)
        for place in (_current(sheet), _previous(sheet)):
            if place is not None and self._token(audit, place) == token:
                return audit_table.append_answer(
                    con,
                    audit.audit,
                    self.code,
                    place.item,
                    place.version + 1,
                    str(answer),
                    clean_seconds(seconds),
                )
        for place in sheet:
            if (
                place.made is not None
                and place.given == answer
                and self._token(audit, replace(place, version=place.version - 1)) == token
            ):
                return place.made
        raise Refused(
            "stale", "This patch was answered in another window; the next one is shown here."
        )


def _current(sheet: list[Place]) -> Place | None:
    return next((p for p in sheet if not p.version), None)


def _previous(sheet: list[Place]) -> Place | None:
    """The place before the first unanswered one; the last one when all are answered."""
    current = _current(sheet)
    at = sheet.index(current) if current is not None else len(sheet)
    return sheet[at - 1] if at else None


def _tile(con: Connection, audit: Audit, item: int) -> Tile:
    row = con.execute(
        """SELECT p.patch_id, m.mammogram_id, m.file, m.width, m.height, p.y, p.x, p.side
        FROM audit_items i JOIN patches p ON p.run = ? AND p.patch_id = i.patch_id JOIN mammograms m ON m.mammogram_id = p.mammogram_id
        WHERE i.audit = ? AND i.item = ?""",
        [annotation_table.patches_run(con, audit.run), audit.audit, item],
    ).fetchone()
    if row is None:
        raise Refused("stale", "This patch is not there any more; tell the research team.")
    patch_id, mammogram_id, file, width, height, y, x, side = row
    return Tile(
        rank=0,
        patch_id=patch_id,
        mammogram_id=mammogram_id,
        file=file,
        width=width,
        height=height,
        y=y,
        x=x,
        side=side,
        label=0,
    )
