"""The audit's desk over HTTP: a unit's words, one patch on its film, a token.

Nothing here knows a kind, a rank, an activation or a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
from starlette.routing import BaseRoute

from core.sessions.audit_session import Desk, Shown
from core.sessions.tokens import Refused
from core.store.annotation_table import Tile
from dashboard.components.http import appending, reading, route, stamp
from dashboard.server import context, image_routes

Connection = duckdb.DuckDBPyConnection
SIZE = 384
QUESTION = "Does the patch show this?"


def desk(code: str) -> Desk:
    """The audit's desk of one expert."""
    return Desk(code, context.secret(context.current()))


def summary(con: Connection, code: str) -> dict[str, int] | None:
    """How far this expert is in the open audit, or None where none is open."""
    count = desk(code).count(con)
    return {"done": count[0], "total": count[1]} if count else None


def _pictures(code: str, tile: Tile) -> dict[str, Any]:
    return {
        "plain": image_routes.url(
            "patch", code, file=tile.file, y=tile.y, x=tile.x, side=tile.side, size=SIZE
        ),
        "film": image_routes.url("film", code, file=tile.file),
        "ratio": tile.width / tile.height,
        "box": [
            tile.x / tile.width,
            tile.y / tile.height,
            tile.side / tile.width,
            tile.side / tile.height,
        ],
    }


def _shown(code: str, shown: Shown) -> dict[str, Any]:
    return {
        "token": shown.token,
        "words": shown.words,
        "number": shown.number,
        "total": shown.total,
        "given": shown.given,
        "fresh": shown.fresh,
        "back": shown.may_reopen,
        "question": QUESTION,
        **_pictures(code, shown.tile),
    }


def _state(con: Connection, at: Desk) -> dict[str, Any]:
    audit = at.audit(con)
    sheet = at.sheet(con, audit)
    shown = at.show(con, audit, sheet)
    if shown is None:
        return {"stage": "done", "total": len(sheet)}
    following = at.following(con, audit, sheet)
    early = _pictures(at.code, following) if following else {}
    return {
        "stage": "patch",
        "patch": _shown(at.code, shown),
        "early": [early[k] for k in ("plain", "film") if k in early],
    }


async def _get_audit(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    return await reading(lambda con: _state(con, desk(code)))


async def _post_judge(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    at = desk(code)
    made = await appending(
        lambda con: at.answer(con, str(body.get("token")), body.get("answer"), body.get("seconds"))
    )
    try:
        return {**await reading(lambda con: _state(con, at)), "saved": stamp(made)}
    except Refused:  # ended in between: the answer stands
        return {"stage": "ended", "saved": stamp(made)}


async def _post_rejudge(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    at = desk(code)
    return await reading(
        lambda con: {"stage": "patch", "patch": _shown(code, at.reopen(con)), "early": []}
    )


def _build() -> list[BaseRoute]:
    base = "/expert/annotate"
    return [
        route(f"{base}/audit", "annotator", "GET", _get_audit),
        route(f"{base}/judge", "annotator", "POST", _post_judge),
        route(f"{base}/rejudge", "annotator", "POST", _post_rejudge),
    ]


ROUTES = _build()
