"""A small reading study whose numbers all differ, to be counted by hand.

Two readers, seven cases of six patients in the primary arm and three in another; one answer of R2
is missing in each arm. Answers from 4 on mean malignant.
"""

from __future__ import annotations

import pandas as pd

M, B = "malignant", "benign"
_KEY_COLUMNS = (
    *("case_number", "mammogram_id", "patient_id", "arm", "texts", "truth", "network_score"),
    *("predicted", "folder", "first_abnormality", "any_malignant"),
)
_MASS, _FINE = ("Mass", "Skin"), ("Calcification",)
_KEY_ROWS = (
    (1, "m1", "p1", "explanation", _MASS, M, 0.90, M, M, M, M),
    (2, "m2", "p1", "explanation", ("Skin", "Mass"), M, 0.35, B, B, M, M),
    (3, "m3", "p2", "explanation", _MASS, M, 0.60, M, M, M, M),
    (4, "m4", "p3", "explanation", _FINE, M, 0.80, M, M, B, M),
    # At the threshold .5 the network decides malignant; the more probable class is benign.
    (5, "m5", "p4", "explanation", ("Vessel", "Suspicious"), B, 0.50, B, "unproven", B, B),
    (6, "m6", "p6", "explanation", ("Vessel",), B, 0.10, B, B, B, B),
    (7, "m7", "p5", "explanation", _FINE, B, 0.55, M, None, B, B),
    (8, "m1", "p1", "shuffled", _FINE, M, 0.90, M, M, M, M),
    (9, "m3", "p2", "shuffled", ("Vessel",), M, 0.60, M, M, M, M),
    (10, "m6", "p6", "shuffled", _MASS, B, 0.10, B, B, B, B),
)
# Answers to the cases 1 to 10, and to hidden repeats by case.
ANSWERS = {"R1": (5, 6, 3, 4, 2, 1, 5, 2, 4, 3), "R2": (4, 2, 5, 6, 4, 3, None, 5, 1, None)}
REPEATS = {"R1": {2: 4, 6: 4}, "R2": {4: 5}}


def hand_counted_key() -> pd.DataFrame:
    """Return the sealed key with the truth by each rule."""
    return pd.DataFrame(_KEY_ROWS, columns=list(_KEY_COLUMNS))


def hand_counted_answers() -> pd.DataFrame:
    """Return the answers of both readers, the hidden repeats last."""
    rows = [
        (code, case, False, answer)
        for code, answers in ANSWERS.items()
        for case, answer in enumerate(answers, start=1)
        if answer is not None
    ]
    rows += [(code, case, True, a) for code, again in REPEATS.items() for case, a in again.items()]
    table = pd.DataFrame(rows, columns=["code", "case_number", "repeat", "answer"])
    return table.assign(position=table.groupby("code").cumcount() + 1)
