"""A frozen reading study with advice in the synthetic study, with images as files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import store
from core.images import blinded_rendering, jpeg_padding
from core.store import participant_table
from core.store.reading import protocol_table, reading_table
from core.store.reading.reading_table import CasePicture, ReadingCase
from evaluation.reading_study import protocol_hash, workflow

NAME = "ZQXADVICE"
# Arms of the cases in turn; each text and class is found by its words in recorded traffic.
ARMS = ("advice_units_map", "advice_shuffled", "no_advice")
UNIT_TEXT = "ZQXUNIT {} spiculated"
QUESTIONS = [{"text": "How sure are you?", "kind": "scale", "options": ["not", "partly", "very"]}]
DESIGN: dict[str, Any] = {
    "name": NAME,
    "seed": 5,
    "scale": 6,
    "repeats": 0,
    "arms": list(ARMS),
    "advice": "class",
    "practice": [["ZQXUNIT practice"]],
    "practice_advice": ["ZQXCLASS"],
}
PICTURE_BYTES = 64 * 1024


def write_picture(study: Path, shade: int) -> str:
    """Write a small image of one shade as a frozen picture; return its stored source."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16), shade, np.uint8)).save(buffer, "JPEG")
    image = jpeg_padding.pad_jpeg(buffer.getvalue(), PICTURE_BYTES)
    name = hashlib.sha256(image).hexdigest()
    path = blinded_rendering.prerendered_path(study, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(image)
    return blinded_rendering.prerendered_source(name)


def add_advice_study(study: Path, count: int = 6, readers: Sequence[str] = ("R1",), **changes: Any):
    """Add the study with `count` cases and invite readers who have consented; return it frozen.

    changes: of the stored design. Cases with an odd number are malignant; every third decision of
    the network is wrong.
    """
    design = DESIGN | changes
    cases = [_case(number, design) for number in range(1, count + 1)]
    pictures = [CasePicture(-1, "film", write_picture(study, 40))]
    for case in cases:
        pictures.append(CasePicture(case.number, "film", write_picture(study, 100 + case.number)))
        if case.arm == "advice_units_map":
            source = write_picture(study, 200 + case.number)
            pictures.append(CasePicture(case.number, "class_map", source, 4))
    with store.write(study) as con:
        state = {"protocol": NAME, "version": 1, "design": design}
        protocol_table.append_protocol_state(con, **state, state="design")
        reading_table.add_reading_cases(con, NAME, 1, cases)
        drafted = protocol_table.load_protocol(con, NAME, 1)
        assert drafted is not None
        digest = protocol_hash(
            workflow.protocol_design(drafted), reading_table.load_reading_cases(con, NAME, 1)
        )
        for name in ("checked", "frozen"):
            protocol_table.append_protocol_state(con, **state, state=name, hash=digest)
        reading_table.add_case_pictures(con, NAME, 1, pictures)
        for code in readers:
            participant_table.add_participant(con, code, "reader")
            participant_table.record_consent(con, code, "", "yes")
        return protocol_table.load_protocol(con, NAME, 1)


def _case(number: int, design: dict[str, Any]) -> ReadingCase:
    arm = ARMS[number % len(ARMS)]
    truth = "malignant" if number % 2 else "benign"
    predicted = truth if number % 3 else {"malignant": "benign", "benign": "malignant"}[truth]
    period = (number - 1) % 2 if design.get("washout_days") else 0
    return ReadingCase(
        number=number,
        mammogram_id=f"ZQXCASE{number:03d}",
        patient_id=f"ZQXPATIENT{number:03d}",
        arm=arm,
        texts=() if arm == "no_advice" else (UNIT_TEXT.format(number),),
        truth=truth,
        network_score=0.5 + number / 1000,
        predicted=predicted,
        block=period * 100_000 + 1,
        advice=None if arm == "no_advice" else f"ZQXCLASS {predicted}",
    )
