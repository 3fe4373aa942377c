"""A study that is being read: orders, answers with a revision, consent, log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core import store
from core.store import participant_table, run_table
from core.store.reading import protocol_table, reading_table
from core.store.reading.reading_table import ReadingItem
from support import synthetic_study

NAME = "ZQXSTUDY"


@pytest.fixture(scope="session")
def reading_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study in which R03 and R05 have read nine positions."""
    study = synthetic_study.create_study(tmp_path_factory.mktemp("evidence") / "study")
    items = [ReadingItem(case) for case in (4, 9, 1, 7, 2, 8, 5)]
    items += [ReadingItem(9, repeat=True), ReadingItem(6)]
    with store.write(study) as con:
        run_table.append_log(con, "team", "reading study frozen", "for the test")
        for code in ("R03", "R05"):
            participant_table.add_participant(con, code, "reader")
            participant_table.record_consent(con, code, "seven years", "I agree.")
            reading_table.assign_reading_order(con, NAME, 1, code, items)
    with store.write(study) as con:
        protocol = protocol_table.load_protocol(con, NAME, 1)
        answers = [(code, position, 1) for code in ("R03", "R05") for position in range(1, 10)]
        for code, position, revision in [*answers, ("R03", 4, 2)]:
            reading_table.append_reading_answer(
                con,
                protocol=protocol,
                code=code,
                position=position,
                revision=revision,
                answer=1 + (position * revision) % 6,
                seconds=position + 0.25,
            )
    return study


@pytest.fixture
def reading_study(reading_template: Path, tmp_path: Path) -> Path:
    """Return a copy for one test."""
    shutil.copytree(reading_template, tmp_path / "read")
    return tmp_path / "read"
