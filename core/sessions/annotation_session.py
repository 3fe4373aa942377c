"""What an annotator's page may request: the own queue, one unit at a time, the own answers.

Class lists, influences, patch labels (unless the study shows them), cases, patients and other
annotators' answers are not available here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from core.errors import RequestRefused
from core.lexicon import annotation_answers
from core.sessions.tokens import one_time_token, refuse_invalid_answer, valid_seconds
from core.store import annotation_table, dataset_table, participant_table, unit_table
from core.store.annotation_table import SavedAnnotation
from core.store.connection import Connection
from core.store.labels import assignment_table, group_table
from core.store.unit_table import Tile

PRACTICE_UNIT_COUNT = 2
ANNOTATION_TILES = 32
NOT_ASSIGNED = "These units are no longer yours to name; the research team changed who names what."
STALE_UNIT = (
    "This unit was answered in another window or has left your queue; what you see now is the state"
    " on the server."
)


@dataclass(frozen=True, kw_only=True)
class QueueSlot:
    """One position of an annotator's queue.

    run: the dissection. number: from 1, 0 for practice. status: "todo", "skipped" or "done".
    version: of the latest answer, 0 without one. group: the units that the answer is given for,
    `unit` first.
    """

    run: str
    unit: int
    repeat: bool
    practice: bool
    number: int
    status: str = "todo"
    version: int = 0
    group: tuple[int, ...] = ()


@dataclass(frozen=True)
class AnnotationQueue:
    """An annotator's queue of one dissection in its present state, practice first."""

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
        self,
        code: str,
        secret: bytes,
        repeats: int,
        patch_labels_shown: bool = False,
        by_group: bool = False,
    ) -> None:
        self.code = code
        self.shows_patch_labels = patch_labels_shown
        self._secret = secret
        self._repeats = repeats
        self._by_group = by_group

    def has_consented(self, con: Connection) -> bool:
        """Return whether this person has given consent."""
        return participant_table.has_consented(con, self.code)

    def queues(self, con: Connection) -> list[AnnotationQueue]:
        """Return the queues of the assigned dissections, in the order of assignment.

        RequestRefused("empty") where none is assigned or none has selected units.
        """
        practised = annotation_table.practised_runs(con, self.code)
        queues: list[AnnotationQueue] = []
        for run in assignment_table.assigned_dissections(con, self.code):
            # The form is practised once, on the dissection that is annotated first.
            has_practice = run in practised if practised else not queues
            slots = self._slots(con, run, has_practice)
            if slots:
                queues.append(AnnotationQueue(run, slots))
        if not queues:
            raise RequestRefused(
                "empty",
                "There are no units to name yet. The research team will tell you when there are.",
            )
        return queues

    def _slots(self, con: Connection, run: str, has_practice: bool) -> tuple[QueueSlot, ...]:
        """Return the slots of one dissection; none where it has no selected units."""
        selected = unit_table.selected_unit_ids(con, run)
        if not selected:
            return ()
        groups = (
            group_table.annotated_groups(con, run)
            if self._by_group
            else {unit: (unit,) for unit in selected}
        )
        answers = annotation_table.load_expert_annotations(con, run, self.code)
        versions = {(r.unit, r.repeat, r.practice): r.version for r in answers.itertuples()}
        # A separated unit is shown again: its answer was given for the group.
        separated = group_table.separated_units(con, run) if self._by_group else set()
        reopened = {
            int(row.unit)
            for row in answers.itertuples()
            if row.unit in separated and annotation_table.is_group_answer(row.answer)
        }
        skipped = annotation_table.skipped_units(con, run, self.code)
        practice = unit_table.practice_unit_ids(con, run, PRACTICE_UNIT_COUNT)
        slots = [
            QueueSlot(run=run, unit=unit, repeat=False, practice=True, number=0)
            for unit in practice
            if has_practice
        ]
        # An order per expert: fatigue and learning affect different units.
        order = queue_order(list(groups), f"{run}|{self.code}", self._repeats)
        slots += [
            QueueSlot(
                run=run,
                unit=unit,
                repeat=repeat,
                practice=False,
                number=number,
                group=groups[unit],
            )
            for number, (unit, repeat) in enumerate(order, start=1)
        ]
        return tuple(_with_status(slot, versions, skipped, reopened) for slot in slots)

    def queue(self, con: Connection, run: str | None = None) -> AnnotationQueue:
        """Return the queue of a dissection, by default that of the last answer, else the first.

        RequestRefused("empty") as in `queues`, RequestRefused("stale") for a dissection that is not
        assigned.
        """
        queues = {queue.run: queue for queue in self.queues(con)}
        if run is not None and run not in queues:
            raise RequestRefused("stale", NOT_ASSIGNED)
        last = annotation_table.latest_answered_run(con, self.code)
        return queues[run or (last if last in queues else next(iter(queues)))]

    def queue_name(self, queue: AnnotationQueue) -> str:
        """Return the opaque name of a dissection for the menu."""
        return one_time_token(self._secret, "dissection", queue.run, self.code)

    def find_queue(self, con: Connection, name: str) -> AnnotationQueue:
        """Return the queue of an opaque name. RequestRefused("stale") for an unknown name."""
        for queue in self.queues(con):
            if self.queue_name(queue) == name:
                return queue
        raise RequestRefused("stale", NOT_ASSIGNED)

    def slot_name(self, slot: QueueSlot) -> str:
        """Return the opaque, permanent name of a slot, for drafts and the list of units."""
        return one_time_token(
            self._secret, "slot", slot.run, self.code, slot.unit, slot.repeat, slot.practice
        )

    def slot_token(self, slot: QueueSlot) -> str:
        """Return the one-time token for the next version of the answer on a slot."""
        return one_time_token(
            self._secret,
            "annotate",
            slot.run,
            self.code,
            slot.unit,
            slot.repeat,
            slot.practice,
            # The version invalidates the token once another window has answered.
            slot.version + 1,
        )

    def find_slot(self, con: Connection, name: str) -> QueueSlot:
        """Return the slot of an opaque name. RequestRefused("stale") for an unknown name."""
        for queue in self.queues(con):
            for slot in queue.slots:
                if self.slot_name(slot) == name:
                    return slot
        raise RequestRefused(
            "stale", "This unit is no longer in your queue; the next one is shown instead."
        )

    def slot_tiles(self, con: Connection, slot: QueueSlot) -> list[tuple[int, Tile]]:
        """Return 32 patches with the unit that each is a strongest patch of.

        Of a group: the strongest patches of each unit in turn, every patch once.
        """
        units = slot.group or (slot.unit,)
        by_unit = [unit_table.load_tiles(con, slot.run, u, ANNOTATION_TILES) for u in units]
        tiles: dict[int, tuple[int, Tile]] = {}
        for same_rank in zip_longest(*by_unit):
            for unit, tile in zip(units, same_rank):
                if tile is not None:
                    tiles.setdefault(tile.patch_id, (unit, tile))
        return list(tiles.values())[:ANNOTATION_TILES]

    def latest_answer(self, con: Connection, slot: QueueSlot) -> dict[str, Any] | None:
        """Return this person's latest answer on a slot, or None."""
        return annotation_table.load_latest_answer(
            con,
            run=slot.run,
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
        # The token is the id of the stored annotation, so a repeated request finds its own row.
        stored = annotation_table.find_annotation(con, token)
        if stored is not None and stored.code == self.code:
            # Compared in the stored form, because validation normalises spaces.
            with refuse_invalid_answer():
                valid = annotation_answers.validate_answer(answer, dataset_table.load_lexicon(con))
            if stored.answer != valid:
                raise RequestRefused("stale", STALE_UNIT)
            key = (stored.unit, stored.repeat, stored.practice)
            slots = self.queue(con, stored.run).slots
            slot = next(s for s in slots if (s.unit, s.repeat, s.practice) == key)
            return SavedAnnotation(token, stored.version, stored.made), slot
        slot = self._slot_of_token(con, token)
        with refuse_invalid_answer():
            saved = annotation_table.append_annotation(
                con,
                run=slot.run,
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
            if not slot.repeat and not slot.practice:
                self._answer_for_group(con, slot, answer, token)
        return saved, slot

    def _answer_for_group(self, con: Connection, slot: QueueSlot, answer: Any, token: str) -> None:
        """Store the answer for the other units of the slot's group.

        A unit that this expert has answered by itself keeps that answer.
        """
        valid = annotation_answers.validate_answer(answer, dataset_table.load_lexicon(con))
        for unit in slot.group[1:]:
            present = annotation_table.load_latest_answer(
                con, run=slot.run, unit=unit, code=self.code, repeat=False, practice=False
            )
            if present is not None and not annotation_table.is_group_answer(present):
                continue
            annotation_table.append_group_answer(
                con,
                run=slot.run,
                unit=unit,
                code=self.code,
                answer=valid,
                annotation_id=f"{token}-{unit}",
                group_of=slot.unit,
                patch_labels_shown=self.shows_patch_labels,
            )

    def separate_slot(self, con: Connection, token: str) -> QueueSlot:
        """Separate the units of the displayed group: each is shown by itself from now on.

        Answers that were given for the group stay until a unit is answered again.
        RequestRefused("stale") for an old token, RequestRefused("answer") without a group.
        """
        slot = self._slot_of_token(con, token)
        if len(slot.group) < 2:
            raise RequestRefused("answer", "This unit stands for itself; there is no group.")
        group_table.separate_units(con, slot.run, slot.group, self.code)
        return slot

    def skip_slot(self, con: Connection, token: str) -> QueueSlot:
        """Postpone the displayed unit and return its slot; an answered unit stays answered.

        RequestRefused("answer") for practice, RequestRefused("stale") for an old token.
        """
        slot = self._slot_of_token(con, token)
        if slot.practice:
            raise RequestRefused(
                "answer", "The practice units cannot be skipped; choose Unsure to go on."
            )
        if slot.status != "done":
            annotation_table.record_skip(con, slot.run, slot.unit, self.code, slot.repeat)
        return slot

    def _slot_of_token(self, con: Connection, token: str) -> QueueSlot:
        for queue in self.queues(con):
            for slot in queue.slots:
                if self.slot_token(slot) == token:
                    return slot
        raise RequestRefused("stale", STALE_UNIT)


def _with_status(
    slot: QueueSlot,
    versions: dict[tuple[int, bool, bool], int],
    skipped: set[tuple[int, bool]],
    reopened: set[int],
) -> QueueSlot:
    """Return a slot with its version and status."""
    version = versions.get((slot.unit, slot.repeat, slot.practice), 0)
    if version and (slot.repeat or slot.unit not in reopened):
        status = "done"
    elif not slot.practice and (slot.unit, slot.repeat) in skipped:
        status = "skipped"
    else:
        status = "todo"
    return replace(slot, version=version, status=status)
