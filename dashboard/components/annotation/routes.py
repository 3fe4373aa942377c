"""The annotator's desk over HTTP: what the page shows and saves.

Nothing here knows a class list, an influence or a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
from starlette.routing import BaseRoute

from core import birads_lexicon, settings
from core.class_labels import CLASSES
from core.sessions.annotation_session import Desk, Queue, Slot
from core.store import annotation_table, participant_table
from core.store.annotation_table import Tile
from dashboard.components.annotation.audit_routes import summary
from dashboard.components.http import appending, reading, route, stamp
from dashboard.server import context, image_routes

Connection = duckdb.DuckDBPyConnection
PREVIEW = 8
CONSENT = (
    (
        "You will see groups of image patches that a computer program reacts to most strongly, "
        "and say in your own field's terms what they have in common."
    ),
    (
        "A first sitting takes about 15 minutes. You can stop at any time and go on later, on any"
        " device, with the same link."
    ),
    (
        "Your answers, the time you spend on each unit and your experience are stored under a code,"
        " never with your name. They are used for research only."
    ),
    "A second task may follow: to say of single patches whether they show what a group was called.",
    (
        "Two practice units come first. A few units are shown a second time to measure consistency."
        " There are no right or wrong answers: Nothing and Unsure are answers too."
    ),
)


def desk(code: str) -> Desk:
    """The desk of one annotator under the study's settings."""
    path = context.current()
    chosen = settings.load(path).annotation
    return Desk(code, context.secret(path), chosen.repeats, chosen.show_patch_labels)


def _tile(code: str, run: str, unit: int, tile: Tile, level: float) -> dict[str, Any]:
    place = {"file": tile.file, "y": tile.y, "x": tile.x, "side": tile.side}
    return {
        "lit": image_routes.url(
            "unit", code, run=run, unit=unit, rank=tile.rank, level=level, **place
        ),
        "plain": image_routes.url("patch", code, **place),
        "film": image_routes.url("film", code, file=tile.file),
        "ratio": tile.width / tile.height,
        "box": [
            tile.x / tile.width,
            tile.y / tile.height,
            tile.side / tile.width,
            tile.side / tile.height,
        ],
    }


def _tiles(con: Connection, at: Desk, queue: Queue, slot: Slot, count: int) -> list[dict[str, Any]]:
    threshold = settings.load(context.current()).dissection.threshold
    level = threshold * annotation_table.largest(con, queue.run, slot.unit)
    tiles = at.tiles(con, queue, slot)[:count]
    shown = [_tile(at.code, queue.run, slot.unit, tile, level) for tile in tiles]
    if at.shows_patch_labels:
        return [
            {**one, "label": CLASSES[tile.label]} for one, tile in zip(shown, tiles, strict=True)
        ]
    return shown


def _unit(con: Connection, at: Desk, queue: Queue, slot: Slot) -> dict[str, Any]:
    practice = [s for s in queue.slots if s.practice]
    numbered = practice if slot.practice else queue.real
    place = numbered.index(slot)
    return {
        "token": at.token(queue, slot),
        "name": at.name(queue, slot),
        "practice": slot.practice,
        "number": place + 1,
        "total": len(numbered),
        "status": slot.status,
        "answer": at.answer_of(con, queue, slot),
        "tiles": _tiles(con, at, queue, slot, 32),
        "previous": at.name(queue, numbered[place - 1]) if place else None,
    }


def _progress(queue: Queue) -> dict[str, int]:
    real = queue.real
    return {
        "total": len(real),
        "done": sum(s.status == "done" for s in real),
        "skipped": sum(s.status == "skipped" for s in real),
    }


def _state(
    con: Connection, at: Desk, after: Slot | None = None, name: str | None = None
) -> dict[str, Any]:
    """What the page shows now: the named slot, or the next one behind `after`; and the one after
    it, so that its images can be fetched early.
    """
    if not at.consented(con):
        return {"stage": "consent", "paragraphs": CONSENT}
    queue = at.queue(con)
    slot = at.find(queue, name) if name else queue.next(after)
    if slot is None:
        return {"stage": "done", "progress": _progress(queue), "audit": summary(con, at.code)}
    following = queue.next(slot) if not slot.practice else None
    early = (
        []
        if following in (None, slot)
        else [u for t in _tiles(con, at, queue, following, 32) for u in (t["lit"], t["film"])]
    )
    return {
        "stage": "unit",
        "progress": _progress(queue),
        "unit": _unit(con, at, queue, slot),
        "early": early,
        "audit": summary(con, at.code),
    }


async def _get_state(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    at = desk(code)
    return await reading(lambda con: _state(con, at, name=query.get("name")))


async def _post_consent(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    at = desk(code)
    await appending(
        lambda con: participant_table.consent(
            con, code, str(body.get("experience", "")), " ".join(CONSENT)
        )
    )
    return await reading(lambda con: _state(con, at))


async def _post_answer(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    at = desk(code)
    saved, slot = await appending(
        lambda con: at.save(con, str(body.get("token")), body.get("answer"), body.get("seconds"))
    )
    return {**await reading(lambda con: _state(con, at, after=slot)), "saved": stamp(saved.made)}


async def _post_skip(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    at = desk(code)
    slot = await appending(lambda con: at.skip(con, str(body.get("token"))))
    return await reading(lambda con: _state(con, at, after=slot))


async def _get_queue(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """Every unit of the own queue with eight patches and the own label."""
    at = desk(code)

    def work(con: Connection) -> dict[str, Any]:
        """In one reading of the store."""
        queue = at.queue(con)
        return {
            "units": [
                {
                    "name": at.name(queue, slot),
                    "number": slot.number,
                    "status": slot.status,
                    "label": _said(at.answer_of(con, queue, slot)),
                    "tiles": [t["lit"] for t in _tiles(con, at, queue, slot, PREVIEW)],
                }
                for slot in queue.real
            ]
        }

    return await reading(work)


def _said(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return ""
    return (
        answer["label"]
        if birads_lexicon.substantive(answer)
        else answer["recognisable"].capitalize()
    )


def _build() -> list[BaseRoute]:
    base = "/expert/annotate"
    return [
        route(f"{base}/state", "annotator", "GET", _get_state),
        route(f"{base}/queue", "annotator", "GET", _get_queue),
        route(f"{base}/consent", "annotator", "POST", _post_consent),
        route(f"{base}/answer", "annotator", "POST", _post_answer),
        route(f"{base}/skip", "annotator", "POST", _post_skip),
    ]


ROUTES = _build()
