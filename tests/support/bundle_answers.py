"""Readers of a bundle's test study, and answers files that a bundle's holder could make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core import store
from core.sessions import tokens
from core.sessions.reading_session import ReadingSession
from core.store import participant_table
from core.store.reading import bundle_table, protocol_table, reading_table
from evaluation.reading_study import protocol_hash, workflow
from evaluation.reading_study.site_bundles import keys
from evaluation.reading_study.site_bundles.answers import seal_answers
from support import synthetic_study
from support.study_templates import copy_template

NAME = "ZQXSTUDY"


def create_frozen_study(folder: Path) -> Path:
    """Create a study with a frozen protocol of 24 cases for two readers."""
    return copy_template(_build_frozen_study, folder)


def _build_frozen_study(folder: Path) -> None:
    study = synthetic_study.create_study(folder, protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(
            con,
            24,
            state="checked",
            design={"arms": ["explanation"], "truth_rule": "any_malignant", "readers": 2},
        )
        checked = protocol_table.load_protocol(con, NAME, 1)
        assert checked is not None
        digest = protocol_hash(
            workflow.protocol_design(checked), reading_table.load_reading_cases(con, NAME, 1)
        )
        protocol_table.append_protocol_state(
            con, protocol=NAME, version=1, state="frozen", design=checked.design, hash=digest
        )


def answer_all(study: Path, code: str, most: int = 99, corrections: bool = False) -> dict[int, int]:
    """Answer the remaining cases of a reader and return position to answer.

    corrections: every fifth answer is corrected once.
    """
    at, given = ReadingSession(code, tokens.load_secret_key(study)), {}
    with store.write(study) as con:
        if participant_table.participant_role(con, code) is None:
            participant_table.add_participant(con, code, "reader")
            participant_table.record_consent(con, code, "<b>9 years</b>", "agreed")
        at.assign_order(con, at.protocol(con))
        shown = at.displayed_case(con, at.protocol(con))
        while shown is not None and len(given) < most:
            position = shown.position
            given[position] = 1 + (position * 7 + len(code)) % 6
            shown = at.save_answer(con, shown.token, given[position], 3.5, False)[1]
            if corrections and position % 5 == 0 and shown is not None and shown.can_reopen:
                again = at.reopen_previous(con, at.protocol(con))
                given[position] = 7 - given[position]
                shown = at.save_answer(con, again.token, given[position], 1.25, False)[1]
    return given


def opened_answers(home: Path, file: Path) -> dict[str, Any]:
    """Return the decrypted content of an answers file, as the original study reads it."""
    sealed = json.loads(file.read_text())
    text = keys.decrypt(
        keys.load_decryption_key(home, sealed["bundle"]),
        sealed["content"],
        [sealed["kind"], sealed["schema"], sealed["bundle"]],
    )
    assert text is not None
    content: dict[str, Any] = json.loads(text)
    return content


def write_forged(away: Path, file: Path, content: Any) -> None:
    """Write any content as an answers file with the bundle's own key, as its holder could."""
    with store.read(away) as con:
        identity = bundle_table.bundle_identity(con) or {}
    sealed = seal_answers(keys.load_signing_key(away), identity, content)
    file.write_text(sealed.model_dump_json(by_alias=True))


def all_rows(study: Path) -> dict[str, list[Any]]:
    """Return every row of every table of a store."""
    with store.read(study) as con:
        names = [row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: con.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """Return an edit of a file's JSON text."""

    def edit(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return edit
