"""All that an annotator's page may ask for: the own queue, one unit at a time, the own answers.

No class list, influence, patch label, case, patient or colleague's answer can be had here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from core import birads_lexicon
from core.sessions.tokens import Refused, clean_seconds, one_time
from core.store import annotation_table, participant_table
from core.store.annotation_table import Saved, Tile

Connection = duckdb.DuckDBPyConnection
PRACTICE_UNITS = 2
TILES = 32


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One place in an expert's queue. number:

    1-based within the queue, 0 for practice; status: "todo", "skipped" or "done".
    """

    unit: int
    repeat: bool
    practice: bool
    number: int
    status: str = "todo"
    version: int = 0


@dataclass(frozen=True)
class Queue:
    """An expert's queue as it stands. slots: practice first."""

    run: str
    slots: tuple[Slot, ...]

    @property
    def real(self) -> tuple[Slot, ...]:
        """The slots that count."""
        return tuple(s for s in self.slots if not s.practice)

    def next(self, after: Slot | None = None) -> Slot | None:
        """What to show next: practice, then the first todo behind `after`, any todo, then what was
        skipped; None when all is done.
        """
        left = [s for s in self.slots if s.status == "todo"]
        put_off = [s for s in self.real if s.status == "skipped"]
        if any(s.practice for s in left):
            return next(s for s in left if s.practice)
        behind = [s for s in left if after is not None and s.number > after.number]
        further = [
            s
            for s in put_off
            if after is not None and (s.number > after.number or after.status != "skipped")
        ]
        return next(iter(behind or left or further or put_off), None)


def order(units: list[int], who: str, repeats: int) -> list[tuple[int, bool]]:
    """(unit, is repeat) in an order seeded by the person and blind to class: hashed, then `repeats`
    early units shown again in the last third.
    """
    shuffled = sorted(units, key=lambda u: hashlib.sha256(f"{who}|{u}".encode()).digest())
    again = shuffled[: min(repeats, len(shuffled) // 4)]
    queue = [(u, False) for u in shuffled]
    for i, unit in enumerate(again):
        queue.insert(
            len(queue) - (len(again) - 1 - i) * max(1, len(shuffled) // (3 * max(1, len(again)))),
            (unit, True),
        )
    return queue


class Desk:
    """One annotator at one study's store; every method takes a connection and stays within this
    person's own work.
    """

    def __init__(
        self, code: str, secret: bytes, repeats: int, patch_labels_shown: bool = False
    ) -> None:
        self.code, self._secret, self._repeats, self.shows_patch_labels = (
            code,
            secret,
            repeats,
            patch_labels_shown,
        )

    def consented(self, con: Connection) -> bool:
        """Whether this person has agreed."""
        return participant_table.has_consented(con, self.code)

    def queue(self, con: Connection) -> Queue:
        """The queue. Refused("empty") when nothing has been dissected or selected."""
        run = annotation_table.current_run(con)
        units = annotation_table.selected_units(con, run) if run else []
        if run is None or not units:
            raise Refused(
                "empty",
                "There are no units to name yet. The research team will tell you when there are.",
            )
        mine = annotation_table.of_person(con, run, self.code)
        versions = {(r.unit, r.repeat, r.practice): r.version for r in mine.itertuples()}
        put_off = annotation_table.skips(con, run, self.code)
        practice = annotation_table.other_units(con, run, PRACTICE_UNITS)
        raw = [Slot(unit=u, repeat=False, practice=True, number=0) for u in practice]
        raw += [
            Slot(unit=u, repeat=again, practice=False, number=n)
            for n, (u, again) in enumerate(
                order(units, f"{run}|{self.code}", self._repeats), start=1
            )
        ]
        return Queue(run, tuple(self._with_status(s, versions, put_off) for s in raw))

    def _with_status(
        self,
        slot: Slot,
        versions: dict[tuple[int, bool, bool], int],
        put_off: set[tuple[int, bool]],
    ) -> Slot:
        version = versions.get((slot.unit, slot.repeat, slot.practice), 0)
        skipped = not slot.practice and (slot.unit, slot.repeat) in put_off
        return replace(
            slot, version=version, status="done" if version else "skipped" if skipped else "todo"
        )

    def name(self, queue: Queue, slot: Slot) -> str:
        """Opaque lasting name of a slot, for drafts and for the drawer."""
        return one_time(
            self._secret, "slot", queue.run, self.code, slot.unit, slot.repeat, slot.practice
        )

    def token(self, queue: Queue, slot: Slot) -> str:
        """One-time token for the next version of the answer on this slot."""
        return one_time(
            self._secret,
            "annotate",
            queue.run,
            self.code,
            slot.unit,
            slot.repeat,
            slot.practice,
            slot.version + 1,
        )

    def find(self, queue: Queue, name: str) -> Slot:
        """The slot of that opaque name; Refused("stale") if there is none."""
        for slot in queue.slots:
            if self.name(queue, slot) == name:
                return slot
        raise Refused(
            "stale", "This unit is no longer in your queue; the next one is shown instead."
        )

    def tiles(self, con: Connection, queue: Queue, slot: Slot) -> list[Tile]:
        """The 32 strongest patches of the slot's unit."""
        return annotation_table.tiles(con, queue.run, slot.unit, TILES)

    def answer_of(self, con: Connection, queue: Queue, slot: Slot) -> dict[str, Any] | None:
        """This person's latest answer on the slot, or None."""
        row = con.execute(
            """SELECT answer FROM annotations WHERE run = ? AND unit = ? AND code = ? AND repeat = ? AND practice = ?
            ORDER BY version DESC LIMIT 1""",
            [queue.run, slot.unit, self.code, slot.repeat, slot.practice],
        ).fetchone()
        return json.loads(row[0]) if row else None

    def save(self, con: Connection, token: str, answer: Any, seconds: Any) -> tuple[Saved, Slot]:
        """Append the answer for the item this token was shown with; the same token with the same
        answer again is answered as before.

        Refused("stale") for any other token: a second window has answered, or the token was never
        given out.
        """
        if not self.consented(con):
            raise Refused("consent", "Please give your consent first.")
        queue = self.queue(con)
        stored = con.execute(
            "SELECT unit, repeat, practice, answer, version, made FROM annotations WHERE"
            " annotation_id = ? AND code = ?",
            [token, self.code],
        ).fetchone()
        if stored:
            if json.loads(stored[3]) != birads_lexicon.check(answer):
                raise Refused(
                    "stale",
                    "This unit was answered in another window; what you see now is the state on the"
                    " server.",
                )
            slot = next(s for s in queue.slots if (s.unit, s.repeat, s.practice) == stored[:3])
            return Saved(token, stored[4], stored[5]), slot
        slot = self._current(queue, token)
        saved = annotation_table.append(
            con,
            run=queue.run,
            unit=slot.unit,
            code=self.code,
            answer=answer,
            seconds=clean_seconds(seconds),
            annotation_id=token,
            repeat=slot.repeat,
            practice=slot.practice,
            patch_labels_shown=self.shows_patch_labels,
        )
        return saved, slot

    def skip(self, con: Connection, token: str) -> Slot:
        """Put the shown unit off; practice cannot be put off. An answered unit stays answered."""
        queue = self.queue(con)
        slot = self._current(queue, token)
        if slot.practice:
            raise Refused("answer", "The practice units cannot be skipped; choose Unsure to go on.")
        if slot.status != "done":
            annotation_table.skip(con, queue.run, slot.unit, self.code, slot.repeat)
        return slot

    def _current(self, queue: Queue, token: str) -> Slot:
        for slot in queue.slots:
            if self.token(queue, slot) == token:
                return slot
        raise Refused(
            "stale",
            "This unit was answered in another window; what you see now is the state on the"
            " server.",
        )
