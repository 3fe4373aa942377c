"""What an auditing expert's page may request: a unit's label, one patch, the answer just given.

The kind of a patch, its rank, activation and class, the unit, other experts' answers and the own
count of answers are not available here; `core.store.blinded_queries` does not select them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import RequestRefused
from core.sessions.annotation_session import AnnotationSession
from core.sessions.positions import current_position, find_stored_answer, previous_position
from core.sessions.tokens import one_time_token, refuse_invalid_answer, valid_seconds
from core.store import audit_table, blinded_queries
from core.store.audit_table import Audit
from core.store.blinded_queries import AuditPosition
from core.store.connection import Connection
from core.store.unit_table import Tile

CONSENT_FIRST = "Please give your consent first."
QUEUE_FIRST = "The audit opens when you have named all your units; skipped units count as open."
NO_OPEN_AUDIT = (
    "There is no audit at the moment. The research team will tell you when there is one."
)


@dataclass(frozen=True, kw_only=True)
class DisplayedPatch:
    """One patch as an expert sees it.

    number, total: its place among all patches. is_new_label: the label differs from that of the
    patch before. can_reopen: the patch before can be answered again.
    """

    token: str
    label: str
    tile: Tile
    number: int
    total: int
    answer: str | None
    is_new_label: bool
    can_reopen: bool


class AuditSession:
    """One expert in one study's label audit.

    It opens once this expert has named all units of the own queues: the labels of an audit are
    those of colleagues, which must not influence the own names.
    """

    def __init__(self, annotation: AnnotationSession, secret: bytes) -> None:
        self.code = annotation.code
        self._annotation = annotation
        self._secret = secret

    def current_audit(self, con: Connection) -> Audit:
        """Return the open audit.

        RequestRefused("consent") without consent, "queue" before the own queue is finished, "empty"
        without an open audit.
        """
        if not self._annotation.has_consented(con):
            raise RequestRefused("consent", CONSENT_FIRST)
        if not all(queue.finished for queue in self._annotation.queues(con)):
            raise RequestRefused("queue", QUEUE_FIRST)
        audit = audit_table.current_audit(con)
        if audit is None:
            raise RequestRefused("empty", NO_OPEN_AUDIT)
        return audit

    def completed_count(self, con: Connection) -> tuple[int, int] | None:
        """Return the numbers of answered and of all patches, or None where no audit is open."""
        try:
            audit = self.current_audit(con)
        except RequestRefused:
            return None
        positions = self.audit_progress(con, audit)
        return sum(position.revision > 0 for position in positions), len(positions)

    def audit_progress(self, con: Connection, audit: Audit) -> list[AuditPosition]:
        """Return this expert's whole order with the latest answers.

        Labels come one after another, and the patches of a label are shuffled. Both orders are
        hashes of audit, seed and expert, so they are the same on every device and after a restart.
        """
        positions = blinded_queries.load_audit_positions(con, audit.audit, self.code)
        return sorted(
            positions,
            key=lambda position: (
                # Grouped by label: the expert judges one question at a time.
                self._shuffle_key(audit, "unit", position.unit),
                # Shuffled, so that the position reveals neither rank nor kind of a patch.
                self._shuffle_key(audit, "item", position.item),
            ),
        )

    def _shuffle_key(self, audit: Audit, *parts: object) -> bytes:
        values = (audit.audit, audit.run, audit.seed, self.code, *parts)
        return hashlib.sha256("|".join(map(str, values)).encode()).digest()

    def displayed_patch(
        self,
        con: Connection,
        audit: Audit,
        positions: Sequence[AuditPosition] | None = None,
        position: AuditPosition | None = None,
    ) -> DisplayedPatch | None:
        """Return the patch at a position, or the first unanswered one; None when none is left."""
        positions = self.audit_progress(con, audit) if positions is None else positions
        position = position or current_position(positions)
        if position is None:
            return None
        index = positions.index(position)
        return DisplayedPatch(
            token=self._token(audit, position, position.revision + 1),
            label=position.label,  # what the expert judges, not the class of the patch
            tile=_load_tile(con, audit, position),
            number=index + 1,
            total=len(positions),
            answer=position.answer,
            is_new_label=index == 0 or positions[index - 1].label != position.label,
            can_reopen=index > 0 and position.answer is None,
        )

    def next_tile(
        self, con: Connection, audit: Audit, positions: Sequence[AuditPosition]
    ) -> Tile | None:
        """Return the patch after the current one, so that its images can be loaded in advance."""
        unanswered = [position for position in positions if not position.revision]
        return _load_tile(con, audit, unanswered[1]) if len(unanswered) > 1 else None

    def _token(self, audit: Audit, position: AuditPosition, revision: int) -> str:
        """Return the one-time token for a revision of the answer at a position."""
        return one_time_token(
            self._secret, "audit", audit.audit, self.code, position.item, revision
        )

    def reopen_previous(self, con: Connection) -> DisplayedPatch:
        """Return the previous patch with its answer, the only one that may be answered again.

        RequestRefused("stale") at the first patch.
        """
        audit = self.current_audit(con)
        positions = self.audit_progress(con, audit)
        previous = previous_position(positions)
        patch = None if previous is None else self.displayed_patch(con, audit, positions, previous)
        if patch is None:
            raise RequestRefused("stale", "There is no earlier patch to reopen.")
        return patch

    def save_answer(self, con: Connection, token: str, answer: Any, seconds: Any) -> datetime:
        """Append the answer on the patch that was displayed with this token.

        The same token with the same answer gets the same acknowledgement again.
        RequestRefused("stale") for a token that is neither the current patch's nor the previous
        one's, "closed" when the audit has ended, "consent" without consent.
        """
        try:
            audit = self.current_audit(con)
        except RequestRefused as refusal:
            if refusal.code != "empty":
                raise
            raise RequestRefused(
                "closed",
                "This audit has been ended; no further answers are taken. What you answered before"
                " is kept. Thank you.",
            ) from None
        positions = self.audit_progress(con, audit)
        # Earlier answers are final: later patches must not influence them.
        for position in (current_position(positions), previous_position(positions)):
            if position is None:
                continue
            revision = position.revision + 1
            if self._token(audit, position, revision) == token:
                with refuse_invalid_answer():
                    return audit_table.append_audit_answer(
                        con,
                        audit.audit,
                        self.code,
                        position.item,
                        revision,
                        str(answer),
                        valid_seconds(seconds),
                    )
        stored = find_stored_answer(
            positions,
            token,
            answer,
            lambda position: self._token(audit, position, position.revision),
        )
        if stored is None or stored.made is None:
            raise RequestRefused(
                "stale", "This patch was answered in another window; the next one is shown here."
            )
        return stored.made


def _load_tile(con: Connection, audit: Audit, position: AuditPosition) -> Tile:
    tile = blinded_queries.load_audit_tile(con, audit.audit, audit.run, position.item)
    if tile is None:
        raise RequestRefused(
            "stale", "This patch does not exist any more; please tell the research team."
        )
    return tile
