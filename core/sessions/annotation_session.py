"""What an annotator's page may request: the own queue, one unit at a time, the own answers.

Class lists, influences, patch labels (unless the study shows them), cases, patients and other
annotators' answers are not available here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from core.errors import RequestRefused
from core.lexicon import birads_lexicon
from core.sessions.tokens import one_time_token, refuse_invalid_answer, valid_seconds
from core.store import annotation_table, participant_table, unit_table
from core.store.annotation_table import SavedAnnotation
from core.store.connection import Connection
from core.store.unit_table import Tile

PRACTICE_UNIT_COUNT = 2
ANNOTATION_TILES = 32
STALE_UNIT = (
    "This unit was answered in another window; what you see now is the state on the server."
)


@dataclass(frozen=True, kw_only=True)
class QueueSlot:
    """One position of an annotator's queue.

    number: from 1, 0 for practice. status: "todo", "skipped" or "done". version: of the latest
    answer, 0 without one.
    """

    unit: int
    repeat: bool
    practice: bool
    number: int
    status: str = "todo"
    version: int = 0


@dataclass(frozen=True)
class AnnotationQueue:
    """An annotator's queue in its present state, practice first."""

    run: str
    slots: tuple[QueueSlot, ...]

    @property
    def real(self) -> tuple[QueueSlot, ...]:
        """The slots that count: all but practice."""
        return tuple(slot for slot in self.slots if not slot.practice)

    @property
    def finished(self) -> bool:
        """Whether every slot that counts is answered; a skipped one is not."""
        return all(slot.status == "done" for slot in self.real)

    def next(self, after: QueueSlot | None = None) -> QueueSlot | None:
        """Return the slot to show next, or None when all are done.

        Practice comes first, then the first open slot behind `after`, then any open slot, then
        skipped ones.
        """
        open_slots = [slot for slot in self.slots if slot.status == "todo"]
        skipped = [slot for slot in self.real if slot.status == "skipped"]
        practice = next((slot for slot in open_slots if slot.practice), None)
        if practice is not None:
            return practice
        behind = [slot for slot in open_slots if after is not None and slot.number > after.number]
        # After a skipped slot only later skipped ones follow, so that skipping again moves on.
        skipped_behind = [
            slot
            for slot in skipped
            if after is not None and (slot.number > after.number or after.status != "skipped")
        ]
        return next(iter(behind or open_slots or skipped_behind or skipped), None)


def queue_order(units: list[int], seed: str, repeats: int) -> list[tuple[int, bool]]:
    """Return (unit, is a repeat) in an annotator's order.

    The order is a hash of seed and unit, so it does not depend on class or rank. The first
    `repeats` units (at most a quarter) are shown again, spread over the last third.
    """
    shuffled = sorted(units, key=lambda unit: hashlib.sha256(f"{seed}|{unit}".encode()).digest())
    # The first units are repeated last, when their answers are remembered least.
    repeated = shuffled[: min(repeats, len(shuffled) // 4)]
    spacing = max(1, len(shuffled) // (3 * max(1, len(repeated))))
    queue = [(unit, False) for unit in shuffled]
    for i, unit in enumerate(repeated):
        queue.insert(len(queue) - (len(repeated) - 1 - i) * spacing, (unit, True))
    return queue


class AnnotationSession:
    """One annotator in one study; every method stays within this person's own work."""

    def __init__(
        self, code: str, secret: bytes, repeats: int, patch_labels_shown: bool = False
    ) -> None:
        self.code = code
        self.shows_patch_labels = patch_labels_shown
        self._secret = secret
        self._repeats = repeats

    def has_consented(self, con: Connection) -> bool:
        """Return whether this person has given consent."""
        return participant_table.has_consented(con, self.code)

    def queue(self, con: Connection) -> AnnotationQueue:
        """Return the queue. RequestRefused("empty") before any unit is selected."""
        run = unit_table.current_dissection(con)
        units = unit_table.selected_unit_ids(con, run) if run else []
        if run is None or not units:
            raise RequestRefused(
                "empty",
                "There are no units to name yet. The research team will tell you when there are.",
            )
        answers = annotation_table.load_expert_annotations(con, run, self.code)
        versions = {(r.unit, r.repeat, r.practice): r.version for r in answers.itertuples()}
        skipped = annotation_table.skipped_units(con, run, self.code)
        practice = unit_table.practice_unit_ids(con, run, PRACTICE_UNIT_COUNT)
        slots = [QueueSlot(unit=unit, repeat=False, practice=True, number=0) for unit in practice]
        # An order per expert: fatigue and learning affect different units.
        order = queue_order(units, f"{run}|{self.code}", self._repeats)
        slots += [
            QueueSlot(unit=unit, repeat=repeat, practice=False, number=number)
            for number, (unit, repeat) in enumerate(order, start=1)
        ]
        return AnnotationQueue(run, tuple(_with_status(s, versions, skipped) for s in slots))

    def slot_name(self, queue: AnnotationQueue, slot: QueueSlot) -> str:
        """Return the opaque, permanent name of a slot, for drafts and the list of units."""
        return one_time_token(
            self._secret, "slot", queue.run, self.code, slot.unit, slot.repeat, slot.practice
        )

    def slot_token(self, queue: AnnotationQueue, slot: QueueSlot) -> str:
        """Return the one-time token for the next version of the answer on a slot."""
        return one_time_token(
            self._secret,
            "annotate",
            queue.run,
            self.code,
            slot.unit,
            slot.repeat,
            slot.practice,
            # The version invalidates the token once another window has answered.
            slot.version + 1,
        )

    def find_slot(self, queue: AnnotationQueue, name: str) -> QueueSlot:
        """Return the slot of an opaque name. RequestRefused("stale") for an unknown name."""
        for slot in queue.slots:
            if self.slot_name(queue, slot) == name:
                return slot
        raise RequestRefused(
            "stale", "This unit is no longer in your queue; the next one is shown instead."
        )

    def slot_tiles(self, con: Connection, queue: AnnotationQueue, slot: QueueSlot) -> list[Tile]:
        """Return the 32 strongest patches of a slot's unit."""
        return unit_table.load_tiles(con, queue.run, slot.unit, ANNOTATION_TILES)

    def latest_answer(
        self, con: Connection, queue: AnnotationQueue, slot: QueueSlot
    ) -> dict[str, Any] | None:
        """Return this person's latest answer on a slot, or None."""
        return annotation_table.load_latest_answer(
            con,
            run=queue.run,
            unit=slot.unit,
            code=self.code,
            repeat=slot.repeat,
            practice=slot.practice,
        )

    def save_answer(
        self, con: Connection, token: str, answer: Any, seconds: Any
    ) -> tuple[SavedAnnotation, QueueSlot]:
        """Append the answer on the slot that was displayed with this token.

        The same token with the same answer gets the same acknowledgement again.
        RequestRefused("stale") for any other token: another window has answered, or the token was
        never issued. RequestRefused("consent") without consent.
        """
        if not self.has_consented(con):
            raise RequestRefused("consent", "Please give your consent first.")
        queue = self.queue(con)
        # The token is the id of the stored annotation, so a repeated request finds its own row.
        stored = annotation_table.find_annotation(con, token)
        if stored is not None and stored.code == self.code:
            # Compared in the stored form, because validation normalises spaces.
            with refuse_invalid_answer():
                valid = birads_lexicon.validate_answer(answer)
            if stored.answer != valid:
                raise RequestRefused("stale", STALE_UNIT)
            key = (stored.unit, stored.repeat, stored.practice)
            slot = next(s for s in queue.slots if (s.unit, s.repeat, s.practice) == key)
            return SavedAnnotation(token, stored.version, stored.made), slot
        slot = self._slot_of_token(queue, token)
        with refuse_invalid_answer():
            saved = annotation_table.append_annotation(
                con,
                run=queue.run,
                unit=slot.unit,
                code=self.code,
                answer=answer,
                seconds=valid_seconds(seconds),
                annotation_id=token,
                repeat=slot.repeat,
                practice=slot.practice,
                # Recorded with the answer, because displayed labels can influence it.
                patch_labels_shown=self.shows_patch_labels,
            )
        return saved, slot

    def skip_slot(self, con: Connection, token: str) -> QueueSlot:
        """Postpone the displayed unit and return its slot; an answered unit stays answered.

        RequestRefused("answer") for practice, RequestRefused("stale") for an old token.
        """
        queue = self.queue(con)
        slot = self._slot_of_token(queue, token)
        if slot.practice:
            raise RequestRefused(
                "answer", "The practice units cannot be skipped; choose Unsure to go on."
            )
        if slot.status != "done":
            annotation_table.record_skip(con, queue.run, slot.unit, self.code, slot.repeat)
        return slot

    def _slot_of_token(self, queue: AnnotationQueue, token: str) -> QueueSlot:
        for slot in queue.slots:
            if self.slot_token(queue, slot) == token:
                return slot
        raise RequestRefused("stale", STALE_UNIT)


def _with_status(
    slot: QueueSlot,
    versions: dict[tuple[int, bool, bool], int],
    skipped: set[tuple[int, bool]],
) -> QueueSlot:
    """Return a slot with its version and status."""
    version = versions.get((slot.unit, slot.repeat, slot.practice), 0)
    if version:
        status = "done"
    elif not slot.practice and (slot.unit, slot.repeat) in skipped:
        status = "skipped"
    else:
        status = "todo"
    return replace(slot, version=version, status=status)
