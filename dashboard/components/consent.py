"""The consent stage of the experts' pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.sessions import consent
from dashboard.components.http import run_append
from dashboard.server import context


def consent_stage(study: Path, *notes: str) -> dict[str, Any]:
    """Return what the page shows before consent: the study's text, then notes on the task.

    The page sets paragraphs as text, so that markup in them stays visible and without effect.
    """
    text = consent.consent_text(study)
    return {
        "stage": "consent",
        "paragraphs": [*consent.consent_paragraphs(text), *notes],
        "consent_hash": consent.text_hash(text),
    }


async def record_consent(code: str, body: Mapping[str, Any]) -> None:
    """Store a participant's consent to the study's text."""
    text = consent.consent_text(context.served_study())
    experience, shown = str(body.get("experience", "")), str(body.get("consent_hash") or "")
    await run_append(lambda con: consent.give_consent(con, code, experience, text, shown))
