"""The status of a study repeats the score of its closed reading study."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from evaluation.queries.study_status import study_status
from evaluation.reading_study import workflow


def test_reading_numbers_equal_the_score(demonstration: Path) -> None:
    _, score = workflow.score_protocol(demonstration, "Simulated demonstration")
    reading = study_status(demonstration)["reading"]
    assert (reading["correct"], reading["answered"]) == (score.primary.correct, score.primary.n)
    assert reading["p_greater"] == pytest.approx(score.binomial.p_value, rel=1e-12)


def test_altered_key_is_neither_scored_nor_counted(own_study: Path) -> None:
    with store.write(own_study) as con:
        con.execute(
            "UPDATE reading_cases SET truth = 'benign' WHERE protocol = ? AND truth = 'malignant'",
            ["Simulated demonstration"],
        )
    with pytest.raises(UserError, match="not the one that was frozen"):
        workflow.score_protocol(own_study, "Simulated demonstration")
    with pytest.raises(UserError, match="not the one that was frozen"):
        study_status(own_study)
