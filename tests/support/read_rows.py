"""A reading study that is being read, whose rows are written by hand and all differ.

Reader R1 has practice, a hidden repeat, corrections and advice; R2 is simulated; R3 has only begun.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from core import store
from core.store import participant_table
from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table, stage_table
from core.store.reading.reading_table import CasePicture, ReadingCase, ReadingItem
from support.study_templates import build_empty_store, copy_template

NAME = "Masses"
DESIGN = {"name": NAME, "scale": 6, "seed": 5, "looks": 2}
START = datetime(2026, 5, 1)
CASES = [
    ReadingCase(
        number=3, mammogram_id="m3", patient_id="p2", arm="image", texts=(), truth="BENIGN",
        network_score=0.25, predicted="benign",
    ),
    ReadingCase(
        number=1, mammogram_id="m1", patient_id="p1", arm="advice", texts=("ü", "b"),
        truth="MALIGNANT", network_score=0.75, predicted="malignant", block=2, advice="{}",
    ),
    ReadingCase(
        number=2, mammogram_id="m2", patient_id="p1", arm="advice", texts=("c",), truth=None,
        network_score=None, predicted=None, block=1, advice="[1]",
    ),
]  # fmt: skip
ITEMS = (
    ReadingItem(-1, practice=True),
    ReadingItem(2, period=0),
    ReadingItem(3, period=1),
    ReadingItem(1, period=1),
    ReadingItem(2, repeat=True, period=1),
)
# code, position, revision, answer, seconds, idle, simulated
ANSWERS = (
    ("R1", 1, 1, 6, 90.0, False, False),
    ("R1", 2, 1, 5, 10.0, True, False),
    ("R1", 2, 2, 4, 70.0, False, False),
    ("R1", 2, 3, 3, 80.0, False, False),
    ("R1", 3, 1, 2, 30.0, False, False),
    ("R1", 5, 1, 1, 50.0, False, False),
    ("R2", 2, 1, 6, None, False, True),
)
# code, position, stage, value, seconds
STAGES = (
    ("R1", 2, "first answer", "6", 1.5),
    ("R1", 2, "prediction", "2", 2.0),
    ("R1", 2, "question 1", "large", 1000.0),
    ("R1", 5, "first answer", "1", None),
    ("R1", 5, "prediction", "3", 4.0),
    ("R1", 1, "first answer", "3", 500.0),
    ("R1", 0, "closing question 1", "none", 9.0),
)


def append_state(con: Connection, state: str, version: int = 2, **changes: object) -> None:
    values = {"design": DESIGN, "hash": "H", "run": "explain-1", "actor": "T1", **changes}
    protocol_table.append_protocol_state(con, protocol=NAME, version=version, state=state, **values)


def build_reading(path: Path) -> None:
    """Build a study that is being read."""
    copy_template(build_empty_store, path)
    with store.write(path) as con:
        append_state(con, "design")
        reading_table.add_reading_cases(con, NAME, 2, [])
        reading_table.add_reading_cases(con, NAME, 2, CASES)
        append_state(con, "checked", actor="T2")
        append_state(con, "frozen", actor="T3", lint=[{"field": "x"}][:0])
        pictures = [
            CasePicture(1, "map", "m1.png", slot=4),
            CasePicture(1, "film", "m1", slot=0),
            CasePicture(3, "film", "m3"),
            CasePicture(-1, "film", "own", slot=1),
        ]
        reading_table.add_case_pictures(con, NAME, 2, pictures)
        for code, items in (("R2", ITEMS[1:3]), ("R1", ITEMS), ("R3", ITEMS[:2])):
            participant_table.add_participant(con, code, "reader", simulated=code == "R2")
            reading_table.assign_reading_order(con, NAME, 2, code, items)
        protocol = protocol_table.find_protocol(con)
        for code, position, revision, answer, seconds, idle, simulated in ANSWERS:
            reading_table.append_reading_answer(
                con, protocol=protocol, code=code, position=position, revision=revision,
                answer=answer, seconds=seconds, idle=idle, simulated=simulated,
            )  # fmt: skip
        for code, position, stage, value, seconds in STAGES:
            stage_table.append_stage_answer(
                con, protocol=protocol, code=code, position=position, stage=stage, value=value,
                seconds=seconds,
            )  # fmt: skip
        con.execute("UPDATE answers SET made = ? + to_minutes(10 * position + revision)", [START])
        con.execute("UPDATE reading_stages SET made = ? + to_minutes(10 * position)", [START])


def minutes(count: int) -> datetime:
    return START + timedelta(minutes=count)


def cells(frame: pd.DataFrame) -> list[list[object]]:
    """Return the cells of a table; None where a value is missing."""
    rows = frame.astype(object).to_numpy().tolist()
    return [
        [None if not isinstance(cell, list) and pd.isna(cell) else cell for cell in row]
        for row in rows
    ]
