"""Answers of a reading study with their key, checked for consistency."""

from __future__ import annotations

import pandas as pd

from core.errors import UserError
from evaluation.reading_study.design import Design

_ANSWER_COLUMNS = ("code", "case_number", "repeat", "answer")
_SCORED_KEY_COLUMNS = ("case_number", "patient_id", "arm", "texts", "truth", "network_score")


def primary_rows(joined: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the answers of the primary arm (the design's first) without hidden repeats."""
    return joined[(joined["arm"] == design.arms[0]) & ~joined["repeat"]]


def join_answers(answers: pd.DataFrame, key: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the answers with their key and the columns malignant, called_malignant, correct.

    malignant stands for the positive class of the design.
    """
    _check_answers(answers, key, design)
    # many_to_one: a key with repeated case numbers would multiply answers silently.
    joined = answers.merge(key, on="case_number", how="left", validate="many_to_one")
    joined["repeat"] = joined["repeat"].astype(bool)
    joined["malignant"] = joined["truth"] == design.positive
    joined["called_malignant"] = joined["answer"] >= design.threshold
    return joined.assign(correct=joined["malignant"] == joined["called_malignant"])


def _check_answers(answers: pd.DataFrame, key: pd.DataFrame, design: Design) -> None:
    """Raise a UserError for the first inconsistency of answers and key."""
    for table, name, needed in (
        (answers, "answers", _ANSWER_COLUMNS),
        (key, "key", _SCORED_KEY_COLUMNS),
    ):
        missing = [column for column in needed if column not in table.columns]
        if missing:
            raise UserError(
                f"The table of {name} lacks the column {missing[0]!r}; scoring needs"
                f" {', '.join(needed)}."
            )
    is_repeated = key["case_number"].duplicated()
    if is_repeated.any():
        raise UserError(
            f"The key holds case {key['case_number'][is_repeated].iloc[0]} twice; restore the"
            " frozen key."
        )
    unknown = set(answers["case_number"]) - set(key["case_number"])
    if unknown:
        raise UserError(
            f"Case {sorted(unknown)[0]} is answered but not in the key; score the answers with the"
            " key of their own protocol."
        )
    invalid = answers[~answers["answer"].isin(range(1, design.scale + 1))]
    if len(invalid):
        raise UserError(
            f"Reader {invalid['code'].iloc[0]} answered case {invalid['case_number'].iloc[0]} with"
            f" {invalid['answer'].iloc[0]}; answers are 1 to {design.scale}."
        )
    # An earlier revision beside the latest would count one reading twice.
    twice = answers[answers.duplicated(["code", "case_number", "repeat"])]
    if len(twice):
        raise UserError(
            f"Reader {twice['code'].iloc[0]} answered case {twice['case_number'].iloc[0]} twice;"
            " provide the latest answers only."
        )
