"""All that a reader's page may ask for: the next text, the answer just given, the way back by one. Truth, pathology, case, patient, file, network
score, arm, repeats, later cases, the own tally and other readers cannot be had here: no query below names their columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from core.reading_order import reading_order
from core.store import people, readings
from core.store.desk import Refused, clean_seconds, one_time
from core.store.readings import Item, Protocol, Saved

Connection = duckdb.DuckDBPyConnection
TEXT_SLOTS = 3
PRACTICE = (
    ("Mass with circumscribed margin", "Fatty tissue", "Vascular calcifications"),
    ("Mass with spiculated margin", "Architectural distortion", "Fine pleomorphic calcifications, grouped distribution"),
    ("Lymph node", "Scattered tissue", "Round calcifications"),
    ("Focal asymmetry", "Heterogeneously dense tissue", "Mass with indistinct margin"),
    ("Pectoral muscle", "Milk of calcium calcifications", "Mass with obscured margin"),
)
NOTHING = "Nothing to read yet. The research team will tell you when the reading study is open."


@dataclass(frozen=True)
class Shown:
    """One text as a reader sees it. number, total: place among the real cases or, in practice, among the practice texts."""

    token: str
    texts: tuple[str, ...]
    number: int
    total: int
    practice: bool
    given: int | None
    position: int
    may_reopen: bool


class Desk:
    """One reader at one study's store."""

    def __init__(self, code: str, secret: bytes) -> None:
        self.code, self._secret = code, secret

    def consented(self, con: Connection) -> bool:
        """Whether this person has agreed."""
        return people.has_consented(con, self.code)

    def protocol(self, con: Connection) -> Protocol:
        """The open protocol; Refused("empty") when nothing is frozen."""
        found = readings.open_protocol(con)
        if found is None:
            raise Refused("empty", NOTHING)
        return found

    def seat(self, con: Connection, protocol: Protocol) -> None:
        """Give this reader an order at the first visit (needs a writing connection)."""
        if not readings.is_assigned(con, protocol.protocol, protocol.version, self.code):
            readings.assign(con, protocol.protocol, protocol.version, self.code, self._order(con, protocol))

    def is_seated(self, con: Connection, protocol: Protocol) -> bool:
        """Whether the order has been made."""
        return readings.is_assigned(con, protocol.protocol, protocol.version, self.code)

    def _order(self, con: Connection, protocol: Protocol) -> list[Item]:
        rows = con.execute(
            "SELECT case_number, patient_id, texts FROM reading_cases WHERE protocol = ? AND version = ? ORDER BY case_number",
            [protocol.protocol, protocol.version],
        ).fetchall()
        own = hashlib.sha256(f"{protocol.design.get('seed', 0)}|{self.code}".encode()).digest()
        order = reading_order([r[1] for r in rows], [r[2] for r in rows], int.from_bytes(own[:8], "big"), int(protocol.design.get("repeats", 0)))
        practice = [Item(-i, practice=True) for i in range(1, len(_practice(protocol)) + 1)]
        return practice + [Item(rows[index][0], repeat=again) for index, again in order]

    def show(self, con: Connection, protocol: Protocol, position: int | None = None) -> Shown | None:
        """The first unanswered text, or the one at `position`; None when all are answered."""
        where = [protocol.protocol, protocol.version, self.code]
        if position is None:
            row = con.execute(
                """SELECT min(i.position) FROM reading_items i ANTI JOIN answers a USING (protocol, version, code, position)
                WHERE protocol = ? AND version = ? AND code = ?""",
                where,
            ).fetchone()
            position = row[0] if row else None
            if position is None:
                return None
        row = con.execute(
            """SELECT i.token, i.case_number, i.practice, c.texts FROM reading_items i
            LEFT JOIN reading_cases c ON c.protocol = i.protocol AND c.version = i.version AND c.case_number = i.case_number
            WHERE i.protocol = ? AND i.version = ? AND i.code = ? AND i.position = ?""",
            [*where, position],
        ).fetchone()
        if row is None:
            return None
        before, alike = con.execute(
            """SELECT count(*) FILTER (WHERE position <= ?), count(*) FROM reading_items
            WHERE protocol = ? AND version = ? AND code = ? AND practice = ?""",
            [position, *where, row[2]],
        ).fetchone()
        revision, given = con.execute(
            "SELECT max(revision), arg_max(answer, revision) FROM answers WHERE protocol = ? AND version = ? AND code = ? AND position = ?",
            [*where, position],
        ).fetchone()
        texts = _practice(protocol)[-row[1] - 1] if row[2] else tuple(json.loads(row[3]))
        token = one_time(self._secret, "read", row[0], (revision or 0) + 1)
        return Shown(token, _slots(texts, protocol), before, alike, row[2], given, position, before > 1 and given is None)

    def last_answered(self, con: Connection, protocol: Protocol) -> int | None:
        """The place of the answer before the first unanswered text: the only one that may be reopened."""
        return con.execute(
            "SELECT max(position) FROM answers WHERE protocol = ? AND version = ? AND code = ?", [protocol.protocol, protocol.version, self.code]
        ).fetchone()[0]

    def reopen(self, con: Connection, protocol: Protocol) -> Shown:
        """The previous text with the answer given. Practice and real texts are kept apart: the first real one has no way back."""
        position = self.last_answered(con, protocol)
        shown = self.show(con, protocol, position) if position is not None else None
        current = self.show(con, protocol)
        if shown is None or (current is not None and current.practice != shown.practice):
            raise Refused("stale", "There is no earlier case to reopen.")
        return shown

    def answer(self, con: Connection, token: str, answer: Any, seconds: Any, idle: Any) -> Saved:
        """Append the answer for the text this token was shown with; the same token and answer again is answered as before, without a new row.

        Refused("stale") for a token that is neither the current text's nor the previous one's: two windows, or one never given out."""
        if not self.consented(con):
            raise Refused("consent", "Please give your consent first.")
        protocol = self._protocol_of_answer(con)
        previous = self.last_answered(con, protocol)
        current = self.show(con, protocol)
        earlier = self.show(con, protocol, previous) if previous is not None else None
        for shown in (current, earlier):
            if shown is not None and shown.token == token:
                if shown is earlier and current is not None and current.practice != earlier.practice:
                    break
                return readings.append_answer(
                    con,
                    protocol=protocol.protocol,
                    version=protocol.version,
                    code=self.code,
                    position=shown.position,
                    answer=answer,
                    seconds=clean_seconds(seconds),
                    idle=bool(idle),
                )
        again = self._already(con, protocol, token)
        if again is not None and again.answer == answer:
            return again
        raise Refused("stale", "This case was answered in another window; the next one is shown here.")

    def _protocol_of_answer(self, con: Connection) -> Protocol:
        found = readings.open_protocol(con)
        if found is None:
            raise Refused("closed", "This reading study has been closed; no further answers are taken. Thank you.")
        return found

    def _already(self, con: Connection, protocol: Protocol, token: str) -> Saved | None:
        """The stored answer that this token was used for, so that a repeated request after a lost reply is answered as the first was."""
        rows = con.execute(
            """SELECT i.token, a.position, a.revision, a.answer, a.made FROM answers a
            JOIN reading_items i USING (protocol, version, code, position) WHERE protocol = ? AND version = ? AND code = ?
            ORDER BY a.made DESC LIMIT 4""",
            [protocol.protocol, protocol.version, self.code],
        ).fetchall()
        for row in rows:
            if one_time(self._secret, "read", row[0], row[2]) == token:
                return Saved(row[1], row[2], row[3], row[4])
        return None


def _practice(protocol: Protocol) -> Sequence[Sequence[str]]:
    return protocol.design.get("practice") or PRACTICE


def _slots(texts: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """Texts in slots of constant number, so that their shape tells nothing."""
    slots = int(protocol.design.get("texts", TEXT_SLOTS))
    return tuple([*texts, *[""] * slots][: max(slots, 1)])
