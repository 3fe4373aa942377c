"""First answers and predictions of a study with advice, beside the final answers."""

from __future__ import annotations

import pandas as pd

from core.store.reading.stage_table import FIRST, PREDICTION


def with_first_stages(answers: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
    """Return answers with what each reader entered before the advice.

    Parameters
    ----------
    answers : DataFrame
        Final answers with code and position.
    stages : DataFrame
        As `core.store.reading.stage_table.load_stage_answers` returns it.

    Returns
    -------
    DataFrame
        The columns of `answers` and unaided (the first answer), unaided_seconds and
        network_prediction (1 the comparison class, 2 the positive class); missing where nothing was
        entered.
    """
    key = ["code", "position"]
    first = stages[stages["stage"] == FIRST][[*key, "value", "seconds"]]
    prediction = stages[stages["stage"] == PREDICTION][[*key, "value"]]
    first = first.rename(columns={"value": "unaided", "seconds": "unaided_seconds"})
    prediction = prediction.rename(columns={"value": "network_prediction"})
    joined = answers.merge(first, on=key, how="left").merge(prediction, on=key, how="left")
    return joined.assign(
        unaided=pd.to_numeric(joined["unaided"]),
        network_prediction=pd.to_numeric(joined["network_prediction"]),
    )
