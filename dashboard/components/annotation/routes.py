"""HTTP routes of the annotation page: its state, and what it saves.

No reply contains a class list, an influence or a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute

from core import settings
from core.lexicon import annotation_answers
from core.lexicon.lexicon import Lexicon
from core.sessions.annotation_session import AnnotationQueue, AnnotationSession, QueueSlot
from core.store import dataset_table, run_table, unit_table
from core.store.connection import Connection
from core.store.unit_table import Tile
from dashboard.components.annotation.audit_routes import audit_summary, tile_position
from dashboard.components.annotation.sessions import annotation_session_of
from dashboard.components.consent import consent_stage, record_consent
from dashboard.components.http import expert_route, iso_timestamp, run_append, run_read
from dashboard.server import context, image_routes

PREVIEW_PATCHES = 8
UNIT_PATCHES = 32
# Below the study's consent text.
TASK_NOTE = (
    "Two practice units come first. A few units are shown a second time to measure consistency."
    " There are no right or wrong answers: Nothing and Unsure are answers too."
)


def worked_example(lexicon: Lexicon) -> str:
    """Return an answer in words with the keys that give it, for the page before practice."""
    category = lexicon.categories[0]
    phenomenon: dict[str, Any] = {"category": category.name, "terms": {}, "association": None}
    keys = [category.key]
    if category.fields:
        term = category.fields[0].terms[-1]
        phenomenon["terms"][category.fields[0].name] = term.name
        keys.append(term.key)
    if category.association == "required":
        association = lexicon.associations[-1]
        phenomenon["association"] = association.name
        keys.append(association.key)
    label = annotation_answers.format_label([phenomenon], lexicon)
    return (
        f"A worked example: the outlined regions of nearly all tiles show “{label}”. Press"
        f" {', '.join(keys)}, then 3 for high confidence, and Enter. One tile that differs does not"
        " matter. If the regions have nothing in common, press 0 and Enter."
    )


def _patch(code: str, run: str, unit: int, tile: Tile, level: float) -> dict[str, Any]:
    square = {"file": tile.file, "y": tile.y, "x": tile.x, "side": tile.side}
    region = {"run": run, "unit": unit, "rank": tile.rank, "level": level}
    return {
        "highlighted": image_routes.image_url("unit", code, **square, **region),
        "patch": image_routes.image_url("patch", code, **square),
        "mammogram": image_routes.image_url("mammogram", code, file=tile.file),
        **tile_position(tile),
    }


def _patches(
    con: Connection,
    session: AnnotationSession,
    slot: QueueSlot,
    count: int = UNIT_PATCHES,
) -> list[dict[str, Any]]:
    threshold = settings.load_settings(context.served_study()).dissection.threshold
    tiles = session.slot_tiles(con, slot)[:count]
    # The region of a tile is relative to the largest activation of its unit anywhere.
    levels = {
        unit: threshold * unit_table.largest_activation(con, slot.run, unit)
        for unit in dict.fromkeys(unit for unit, _ in tiles)
    }
    patches = [_patch(session.code, slot.run, unit, tile, levels[unit]) for unit, tile in tiles]
    if session.shows_patch_labels:
        names = run_table.run_classes(con, slot.run).names
        for patch, (_, tile) in zip(patches, tiles, strict=True):
            patch["label"] = names[tile.label]
    return patches


def _unit(
    con: Connection, session: AnnotationSession, queue: AnnotationQueue, slot: QueueSlot
) -> dict[str, Any]:
    # Practice has numbers of its own, so that the first counted unit is unit 1.
    practice = [s for s in queue.slots if s.practice]
    numbered = practice if slot.practice else queue.real
    index = numbered.index(slot)
    return {
        "token": session.slot_token(slot),
        "name": session.slot_name(slot),
        "practice": slot.practice,
        "number": index + 1,
        "total": len(numbered),
        "status": slot.status,
        "group": max(1, len(slot.group)),
        "answer": session.latest_answer(con, slot),
        "patches": _patches(con, session, slot),
        "previous": session.slot_name(numbered[index - 1]) if index else None,
    }


def _progress(queue: AnnotationQueue) -> dict[str, int]:
    statuses = [slot.status for slot in queue.real]
    return {
        "total": len(statuses),
        "done": statuses.count("done"),
        "skipped": statuses.count("skipped"),
    }


def _menu(
    con: Connection, session: AnnotationSession, shown: AnnotationQueue
) -> list[dict[str, Any]]:
    """Return the assigned networks and layers, where there are several."""
    queues = session.queues(con)
    if len(queues) == 1:
        return []
    titles = {one.run: one.title for one in unit_table.list_dissections(con)}
    return [
        {
            "name": session.queue_name(queue),
            "title": titles[queue.run],
            "shown": queue.run == shown.run,
            **_progress(queue),
        }
        for queue in queues
    ]


def _prefetched(
    con: Connection, session: AnnotationSession, queue: AnnotationQueue, slot: QueueSlot
) -> list[str]:
    """Return the image addresses of the next unit, which the browser loads ahead."""
    next_slot = queue.next(slot) if not slot.practice else None
    if next_slot is None or next_slot == slot:
        return []
    patches = _patches(con, session, next_slot)
    return [url for patch in patches for url in (patch["highlighted"], patch["mammogram"])]


def _state(
    con: Connection,
    session: AnnotationSession,
    after: QueueSlot | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Return what the page shows: the slot of a name, or the next one behind `after`."""
    if not session.has_consented(con):
        example = worked_example(dataset_table.load_lexicon(con))
        return consent_stage(context.served_study(), TASK_NOTE, example)
    named = session.find_slot(con, name) if name else after
    queue = session.queue(con, named.run if named else None)
    slot = named if name else queue.next(after)
    state = {
        "progress": _progress(queue),
        "dissections": _menu(con, session, queue),
        "audit": audit_summary(con, session.code),
    }
    if slot is None:
        return {"stage": "done", **state}
    return {
        "stage": "unit",
        **state,
        "unit": _unit(con, session, queue, slot),
        "prefetch": _prefetched(con, session, queue, slot),
    }


async def _get_state(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    session = annotation_session_of(code)
    return await run_read(lambda con: _state(con, session, name=query.get("name")))


async def _post_consent(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = annotation_session_of(code)
    await record_consent(code, body)
    return await run_read(lambda con: _state(con, session))


async def _post_answer(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = annotation_session_of(code)
    token, answer, seconds = str(body.get("token")), body.get("answer"), body.get("seconds")
    saved, slot = await run_append(lambda con: session.save_answer(con, token, answer, seconds))
    state = await run_read(lambda con: _state(con, session, after=slot))
    return {**state, "saved": iso_timestamp(saved.made)}


async def _post_skip(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = annotation_session_of(code)
    slot = await run_append(lambda con: session.skip_slot(con, str(body.get("token"))))
    return await run_read(lambda con: _state(con, session, after=slot))


async def _post_separate(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = annotation_session_of(code)
    slot = await run_append(lambda con: session.separate_slot(con, str(body.get("token"))))
    return await run_read(lambda con: _state(con, session, name=session.slot_name(slot)))


async def _get_queue(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """Return every unit of a queue with some patches and the annotator's label.

    The queue is that of `dissection` or of the unit `name`, by default that of the last answer.
    """
    session = annotation_session_of(code)
    unit, dissection = query.get("name"), query.get("dissection")

    def list_units(con: Connection) -> dict[str, Any]:
        """Return all units from one transaction."""
        if dissection:
            queue = session.find_queue(con, dissection)
        else:
            queue = session.queue(con, session.find_slot(con, unit).run if unit else None)
        units = [_queue_row(con, session, slot) for slot in queue.real]
        following = queue.next()
        return {
            "units": units,
            "next": units[following.number - 1] if following and following.number else None,
            "progress": _progress(queue),
            "dissections": _menu(con, session, queue),
        }

    return await run_read(list_units)


def _queue_row(con: Connection, session: AnnotationSession, slot: QueueSlot) -> dict[str, Any]:
    patches = _patches(con, session, slot, PREVIEW_PATCHES)
    return {
        "name": session.slot_name(slot),
        "number": slot.number,
        "status": slot.status,
        "label": _label(session.latest_answer(con, slot)),
        "patches": [patch["highlighted"] for patch in patches],
    }


def _label(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return ""
    if annotation_answers.is_substantive(answer):
        return str(answer["label"])
    return str(answer["recognisable"]).capitalize()


ANNOTATION_ROUTES: list[BaseRoute] = [
    expert_route("/expert/annotate/state", "annotator", "GET", _get_state),
    expert_route("/expert/annotate/queue", "annotator", "GET", _get_queue),
    expert_route("/expert/annotate/consent", "annotator", "POST", _post_consent),
    expert_route("/expert/annotate/answer", "annotator", "POST", _post_answer),
    expert_route("/expert/annotate/skip", "annotator", "POST", _post_skip),
    expert_route("/expert/annotate/separate", "annotator", "POST", _post_separate),
]
