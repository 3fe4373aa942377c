"""Expert time against labelled coverage, counted by hand on a few answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import store
from core.lexicon import annotation_answers
from core.store import annotation_table
from evaluation.annotation.efficiency import annotation_efficiency
from support import synthetic_study

RUN = synthetic_study.DISSECT


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study in which two mammograms have the top units (0, 1) and (0, 30) for every class."""
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    with store.write(study) as con:
        con.execute(
            "UPDATE runs SET settings = ?, manifest = ?",
            [json.dumps({"dissection": {"top": 2}}), json.dumps({"classes": 3})],
        )
        for mammogram, units in (("ZQXCASE000", (0, 1)), ("ZQXCASE002", (0, 30))):
            for code in range(3):
                for rank, unit in enumerate(units, start=1):
                    con.execute(
                        "INSERT INTO influences VALUES (?, ?, ?, ?, ?, 1.0)",
                        [RUN, mammogram, code, rank, unit],
                    )
        con.execute("DELETE FROM selected")
        con.execute(
            "INSERT INTO selected SELECT ?, c, u, u, 1 FROM range(3) t(c), range(2) s(u)", [RUN]
        )
    return study


def test_minutes_and_coverage(study: Path) -> None:
    """Each answer takes 10 s; unit 30 has a label and is not selected."""
    nothing = annotation_answers.empty_answer()
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 5, synthetic_study.mass_answer(), practice=True)
        synthetic_study.annotate(con, "A1", 1, nothing)
        synthetic_study.annotate(con, "A2", 30, synthetic_study.mass_answer())
        synthetic_study.annotate(con, "A2", 0, synthetic_study.mass_answer())
        # A2 names unit 1, which A1 did not recognise, and is the only one who finishes.
        synthetic_study.annotate(con, "A2", 1, synthetic_study.mass_answer())
        annotation_table.append_imported_annotation(
            con,
            run=RUN,
            unit=2,
            code="A2",
            answer=annotation_answers.free_answer("Mass"),
            annotation_id="imported",
            origin="file",
        )
    found = annotation_efficiency(study, RUN)
    assert found.minutes == pytest.approx(4 * 10 / 60) and found.median_seconds == 10
    assert (found.answers, found.timed, found.units, found.images) == (5, 4, 4, 2)
    assert found.coverage == {"normal": 0.75, "benign": 0.75, "malignant": 0.75}
    # 20 s: unit 30 covers nothing; 30 s: unit 0, half of the places; 40 s: unit 1.
    assert found.curve["units"].tolist() == [1, 2, 3]
    assert found.curve["minutes"].tolist() == pytest.approx([20 / 60, 30 / 60, 40 / 60])
    assert found.curve["malignant"].tolist() == [0.0, 0.5, 0.75]
    sentence = found.sentence()
    assert "30 min for 60 units at 30 s, against 166 h for 10,000 images" in sentence
    assert "malignant 75.0 %" in sentence and "SIMULATED" not in sentence


def test_without_recorded_time(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 0, synthetic_study.mass_answer(), simulated=True)
        con.execute("UPDATE annotations SET seconds = NULL")
    found = annotation_efficiency(study, RUN)
    assert found.minutes is None and found.median_seconds is None and not len(found.curve)
    assert found.sentence().startswith("SIMULATED answers. Expert time: not recorded (1 answer).")


def test_run_without_influences_has_no_coverage(tmp_path: Path) -> None:
    study = synthetic_study.create_study(tmp_path / "study")
    assert annotation_efficiency(study, synthetic_study.DISSECT) is None
