"""Answers on a whole annotation queue."""

from __future__ import annotations

from core.lexicon import annotation_answers
from core.sessions.annotation_session import AnnotationSession
from core.store import annotation_table
from core.store.connection import Connection


def finish_queue(con: Connection, session: AnnotationSession, leave_open: int = 0) -> None:
    """Answer every open unit of an annotator's queue except the last `leave_open` ones."""
    queue = session.queue(con)
    for slot in queue.slots[: len(queue.slots) - leave_open]:
        if slot.status != "done":
            annotation_table.append_annotation(
                con,
                run=queue.run,
                unit=slot.unit,
                code=session.code,
                answer=annotation_answers.empty_answer(),
                seconds=1.0,
                annotation_id=session.slot_token(slot),
                repeat=slot.repeat,
                practice=slot.practice,
            )
