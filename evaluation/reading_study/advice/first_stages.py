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
        The columns of `answers` and unaided (the first answer), network_prediction (1 the
        comparison class, 2 the positive class), unaided_seconds, prediction_seconds and, where
        answers have seconds, total_seconds; missing where nothing was entered.
    """
    key = ["code", "position"]
    joined = answers
    for stage, name in ((FIRST, "unaided"), (PREDICTION, "network_prediction")):
        seconds = "unaided_seconds" if stage == FIRST else "prediction_seconds"
        entered = stages[stages["stage"] == stage][[*key, "value", "seconds"]]
        entered = entered.rename(columns={"value": name, "seconds": seconds})
        joined = joined.merge(entered, on=key, how="left")
        joined = joined.assign(**{name: pd.to_numeric(joined[name])})
    if "seconds" not in joined.columns:
        return joined
    return joined.assign(
        total_seconds=total_seconds(
            joined["unaided_seconds"],
            joined["seconds"],
            joined["prediction_seconds"] if (stages["stage"] == PREDICTION).any() else None,
        )
    )


def total_seconds(
    first: pd.Series, final: pd.Series, prediction: pd.Series | None = None
) -> pd.Series:
    """Return the time of each case with advice, from its images to the final answer.

    Parameters
    ----------
    first : Series of float
        Seconds from the images to the first answer.
    final : Series of float
        Seconds from the second look, which begins with the advice or with the notice that there is
        none, to the final answer; further questions included.
    prediction : Series of float, optional
        Seconds of the prediction between the two, where readers give one.

    Returns
    -------
    Series of float
        Missing where a part is missing.
    """
    times = [pd.to_numeric(part) for part in (first, final, prediction) if part is not None]
    return pd.concat(times, axis=1).sum(axis=1, skipna=False)
