"""HTTP routes of the label audit: a label, one patch in its mammogram and a one-time token.

No reply contains the kind or rank of a patch, an activation or a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute

from core.errors import RequestRefused
from core.sessions.audit_session import AuditSession, DisplayedPatch
from core.store.connection import Connection
from core.store.unit_table import Tile
from dashboard.components.annotation.sessions import audit_session_of
from dashboard.components.http import expert_route, iso_timestamp, run_append, run_read
from dashboard.server import image_routes

PATCH_PIXELS = 384
AUDIT_QUESTION = "Does the patch show this?"


def audit_summary(con: Connection, code: str) -> dict[str, int] | None:
    """Return the annotator's progress in the open audit, or None without an open audit."""
    count = audit_session_of(code).completed_count(con)
    return {"done": count[0], "total": count[1]} if count else None


def tile_position(tile: Tile) -> dict[str, Any]:
    """Return the mammogram's width-to-height ratio and the patch's box in shares of its sides."""
    box = [tile.x / tile.width, tile.y / tile.height]
    box += [tile.side / tile.width, tile.side / tile.height]
    return {"ratio": tile.width / tile.height, "box": box}


def _images(code: str, tile: Tile) -> dict[str, Any]:
    square = {"file": tile.file, "y": tile.y, "x": tile.x, "side": tile.side}
    return {
        "patch": image_routes.image_url("patch", code, **square, size=PATCH_PIXELS),
        "mammogram": image_routes.image_url("mammogram", code, file=tile.file),
    }


def _patch(code: str, displayed: DisplayedPatch) -> dict[str, Any]:
    return {
        "token": displayed.token,
        "label": displayed.label,
        "number": displayed.number,
        "total": displayed.total,
        "answer": displayed.answer,
        "is_new_label": displayed.is_new_label,
        "can_reopen": displayed.can_reopen,
        "question": AUDIT_QUESTION,
        **_images(code, displayed.tile),
        **tile_position(displayed.tile),
    }


def _state(con: Connection, session: AuditSession) -> dict[str, Any]:
    audit = session.current_audit(con)
    positions = session.audit_progress(con, audit)
    displayed = session.displayed_patch(con, audit, positions)
    if displayed is None:
        return {"stage": "done", "total": len(positions)}
    next_tile = session.next_tile(con, audit, positions)
    # The browser loads the next images while the annotator looks at these.
    prefetch = list(_images(session.code, next_tile).values()) if next_tile else []
    return {"stage": "patch", "patch": _patch(session.code, displayed), "prefetch": prefetch}


async def _get_audit(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    return await run_read(lambda con: _state(con, audit_session_of(code)))


async def _post_judgement(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = audit_session_of(code)
    token, answer, seconds = str(body.get("token")), body.get("answer"), body.get("seconds")
    saved_at = await run_append(lambda con: session.save_answer(con, token, answer, seconds))
    saved = {"saved": iso_timestamp(saved_at)}
    try:
        return {**await run_read(lambda con: _state(con, session)), **saved}
    except RequestRefused:  # the audit was ended after this answer, which is kept
        return {"stage": "ended", **saved}


async def _post_reopening(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = audit_session_of(code)

    def reopen(con: Connection) -> dict[str, Any]:
        """Return the previous patch with its answer."""
        patch = _patch(code, session.reopen_previous(con))
        return {"stage": "patch", "patch": patch, "prefetch": []}

    return await run_read(reopen)


AUDIT_ROUTES: list[BaseRoute] = [
    expert_route("/expert/annotate/audit", "annotator", "GET", _get_audit),
    expert_route("/expert/annotate/judge", "annotator", "POST", _post_judgement),
    expert_route("/expert/annotate/rejudge", "annotator", "POST", _post_reopening),
]
