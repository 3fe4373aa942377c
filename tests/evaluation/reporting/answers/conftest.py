"""A closed study of two arms: three readers, patients with several images, repeats, gaps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.store.reading.protocol_table import Protocol
from evaluation.reading_study.design import Design
from evaluation.reading_study.workflow import ClosedStudy

MADE = datetime(2026, 3, 4, 5, 6, 7, 890000)


def _key(generator: np.random.Generator, arms: tuple[str, ...]) -> pd.DataFrame:
    images = pd.DataFrame(
        {
            "mammogram_id": [f"m{i:03d}" for i in range(44)],
            # 1, 2, 3, 1, ... images of a patient
            "patient_id": [
                f"p{i:02d}" for i in np.repeat(np.arange(22), [1, 2, 3, 2] * 5 + [2, 2])
            ],
        }
    )
    images["truth"] = np.where(generator.random(44) < 0.45, "malignant", "benign")
    images["any_malignant"] = images["truth"]
    images["first_abnormality"] = images["truth"].where(images.index != 3, "unproven")
    key = pd.concat(
        [images.assign(arm=arms[0])] + [images.iloc[5:35].assign(arm=arm) for arm in arms[1:]],
        ignore_index=True,
    )
    key = key.iloc[generator.permutation(len(key))].reset_index(drop=True)
    return key.assign(
        case_number=np.arange(1, len(key) + 1),
        texts=[("Mass",)] * len(key),
        network_score=0.5,
    )


def _revisions(generator: np.random.Generator, key: pd.DataFrame, scale: int) -> pd.DataFrame:
    rows = []
    for number, code in enumerate(("R1", "R2", "B1-R1")):
        cases = key.iloc[generator.permutation(len(key))]
        # The last reader has left out two cases; two hidden repeats follow at the end.
        given = cases.iloc[: len(key) - 2 * (number == 2)]
        order = pd.concat([given.assign(repeat=False), given.iloc[:2].assign(repeat=True)])
        for position, case in enumerate(order.to_dict("records"), start=6):
            signal = (case["truth"] == "malignant") * (1.3 if case["arm"] == "explanation" else 0.7)
            rating = int(np.clip(np.rint(3.3 + signal + generator.normal(0, 1.4)), 1, 6))
            answer = rating if scale == 6 else 1 + (rating > 3)
            for revision in range(1, 2 + (position % 9 == 0)):
                rows.append(
                    {
                        "code": code,
                        "position": position,
                        "case_number": case["case_number"],
                        "repeat": case["repeat"],
                        "answer": answer if revision == 1 else 1 + answer % scale,
                        "revision": revision,
                        "seconds": None if position == 8 else 4.25 + position,
                        "idle": position == 10,
                        "simulated": False,
                        "made": MADE + timedelta(minutes=position, seconds=revision),
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture
def closed_study() -> Callable[..., tuple[ClosedStudy, pd.DataFrame]]:
    """Return a function that makes a closed study of a design and all revisions of its answers."""

    def make(**settings: Any) -> tuple[ClosedStudy, pd.DataFrame]:
        design = Design(**{"arms": ("explanation", "shuffled"), **settings})
        generator = np.random.default_rng(4)
        key = _key(generator, design.arms)
        revisions = _revisions(generator, key, design.scale)
        latest = revisions.drop_duplicates(["code", "position"], keep="last")
        protocol = Protocol(
            protocol="Masses",
            version=2,
            state="closed",
            design={},
            lint=[],
            hash="ab" * 32,
            run="",
            simulated=False,
            who="team",
            made=MADE,
            content={},
        )
        closed = ClosedStudy(
            protocol=protocol,
            design=design,
            answers=latest.reset_index(drop=True),
            first_answers=revisions.drop_duplicates(["code", "position"]),
            items=pd.DataFrame(),
            key=key,
            looks=(),
        )
        return closed, revisions

    return make
