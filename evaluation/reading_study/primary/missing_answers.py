"""Assigned cases without an answer, and what an analysis puts in their place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evaluation.reading_study.design import MALIGNANT, Design


def missing_answers(
    joined: pd.DataFrame, key: pd.DataFrame, arms: Sequence[str], positive: str = MALIGNANT
) -> pd.DataFrame:
    """Return the cases of some arms that a reader with any answer has not answered.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key; hidden repeats do not count.
    key : DataFrame
        The sealed key.
    arms : sequence of str
        Arms that count.
    positive : str
        The class for which the column malignant stands.

    Returns
    -------
    DataFrame
        The columns of the key, code, repeat (False) and malignant.
    """
    assigned = key[key["arm"].isin(arms)].merge(
        pd.DataFrame({"code": sorted(joined["code"].unique())}), how="cross"
    )
    given = set(joined.loc[~joined["repeat"], ["code", "case_number"]].itertuples(index=False))
    is_missing = [
        pair not in given for pair in assigned[["code", "case_number"]].itertuples(index=False)
    ]
    return assigned[np.array(is_missing, dtype=bool)].assign(
        repeat=False, malignant=lambda table: table["truth"] == positive
    )


def apply_missing_rule(
    joined: pd.DataFrame, missing: pd.DataFrame, design: Design, rule: str
) -> pd.DataFrame:
    """Return the answers with the missing ones left out, or as the most extreme answers.

    A case without a final answer has no first answer either: both are counted alike, and the change
    from the one to the other is 0.

    Parameters
    ----------
    joined, missing : DataFrame
        Answers with their key, in a study with advice also unaided (the first answer), and the
        result of `missing_answers`.
    design : Design
        Gives the scale and the threshold.
    rule : {"complete_case", "counted_wrong", "counted_correct"}
        "counted_wrong" takes the lowest answer for a malignant case and the highest for a benign
        one; "counted_correct" the opposite.

    Returns
    -------
    DataFrame
    """
    if rule == "complete_case" or missing.empty:
        return joined
    called = missing["malignant"] == (rule == "counted_correct")
    filled = missing.assign(
        answer=np.where(called, design.scale, 1),
        called_malignant=called,
        correct=rule == "counted_correct",
    )
    if "unaided" in joined.columns:
        filled["unaided"] = filled["answer"]
    return pd.concat([joined, filled], ignore_index=True)
