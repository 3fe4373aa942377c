"""Answers to questions, counted by arm, against a count by hand."""

from __future__ import annotations

import pandas as pd

from evaluation.reading_study import design_preset
from evaluation.reading_study.advice.question_summary import count_question_answers
from evaluation.reading_study.design import Question

SURE = Question(text="How sure?", options=("not", "partly", "very"))
REMARK = Question(text="Remarks", kind="text")
USE = Question(text="Use it?", kind="choice", options=("yes", "no"))


def test_counts_by_arm_and_at_the_end() -> None:
    design = design_preset(
        "Reading with advice",
        arms=("advice_units", "no_advice"),
        questions=(SURE, REMARK),
        questionnaire=(USE,),
    )
    key = pd.DataFrame(
        {"case_number": [1, 2, 3], "arm": ["advice_units", "no_advice", "no_advice"]}
    )
    stages = pd.DataFrame(
        [
            ("R1", 1, "first answer", "3"),
            ("R1", 1, "question 1", "3"),
            ("R2", 1, "question 1", "1"),
            ("R1", 2, "question 1", "3"),
            ("R2", 3, "question 1", "3"),
            ("R1", 1, "question 2", " "),
            ("R1", 2, "question 2", "3"),
            ("R1", None, "closing question 1", "2"),
        ],
        columns=["code", "case_number", "stage", "value"],
    )
    counted = count_question_answers(stages, key, design)
    assert [(c.question, c.arm, c.answers, c.counts) for c in counted] == [
        (SURE, "advice_units", 2, (1, 0, 1)),
        (SURE, "no_advice", 2, (0, 0, 2)),
        # A text of blanks says nothing.
        (REMARK, "advice_units", 1, (0,)),
        (REMARK, "no_advice", 1, (1,)),
        (USE, None, 1, (0, 1)),
    ]
