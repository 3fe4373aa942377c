"""An R script that repeats the primary analysis, with its data and our results."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pandas as pd

from core.annotation.spreadsheet_cells import csv_text
from core.errors import UserError
from evaluation.permutation import EXACT_SIGN_FLIP_LIMIT
from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.primary import final_alpha, missing_answers, primary_analysis
from evaluation.reading_study.workflow import ClosedStudy
from evaluation.reporting.answers.rows import first_readings, with_pseudonyms

TEMPLATE = "primary_analysis.R"
DATA_COLUMNS = ("reader", "case_number", "image", "patient", "arm", "malignant", "answer")


def r_files(
    script_name: str, data_name: str, rows: pd.DataFrame, closed: ClosedStudy
) -> tuple[str, str]:
    """Return the R script and its data as texts.

    Parameters
    ----------
    script_name, data_name : str
        Names of the two files.
    rows : DataFrame
        Result of `answer_rows`.
    closed : ClosedStudy
        The closed study; its primary analysis is computed here for the comparison in the script.

    Returns
    -------
    script : str
    data : str
        CSV with the latest answers of the primary arms without hidden repeats, and a row with an
        empty answer for every missing one.

    Raises
    ------
    UserError
        For the primary analysis advice_change, which the script does not contain.
    """
    if closed.design.primary == "advice_change":
        raise UserError(
            f"The R script does not contain the primary analysis of {closed.design.name!r}"
            " (advice_change); export the answers as csv, which hold first and final answers."
        )
    joined = join_answers(closed.answers, closed.key, closed.design)
    result = primary_analysis(joined, closed.key, closed.design, look_number=closed.stopped_at)
    expected = {
        "estimate": result.estimate,
        # In the script P belongs to the first comparison alone, before any rule over several.
        "p_value": result.comparisons[0].p_value if result.comparisons else result.p_value,
        "low": result.low,
        "high": result.high,
    }
    script = _template()
    for mark, text in {
        "@SCRIPT@": script_name,
        "@SETTINGS@": _assignments(_settings(data_name, closed)),
        "@EXPECTED@": _assignments(expected),
    }.items():
        script = script.replace(mark, text)
    return script, csv_text(_data(rows, joined, closed))


def _template() -> str:
    return resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")


def _settings(data: str, closed: ClosedStudy) -> dict[str, Any]:
    design = closed.design
    return {
        "data": data,
        "primary": design.primary,
        "arms": (design.arms[0], *design.compared_arms),
        "side": design.side,
        "goal": design.goal,
        "margin": design.margin or 0.0,
        "alpha": final_alpha(design, closed.stopped_at),
        "scale": design.scale,
        "threshold": design.threshold,
        "missing_answers": design.missing_answers,
        "exact_limit": EXACT_SIGN_FLIP_LIMIT,
        # The jackknife leaves out one patient at a time.
        "unit": "patient",
    }


def _assignments(values: dict[str, Any]) -> str:
    """Return named R values, one a line."""
    return ",\n".join(f"  {name} = {_r_value(value)}" for name, value in values.items())


def _r_value(value: Any) -> str:
    if value is None:
        return "NA"
    if isinstance(value, tuple):
        return f"c({', '.join(map(_r_value, value))})"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(float(value)) if isinstance(value, float) else str(int(value))


def _data(rows: pd.DataFrame, joined: pd.DataFrame, closed: ClosedStudy) -> pd.DataFrame:
    """Return the answers of the primary arms, and a row without answer for every missing one."""
    arms = (closed.design.arms[0], *closed.design.compared_arms)
    latest = first_readings(rows)
    latest = latest[latest["arm"].isin(arms)].assign(
        malignant=lambda table: (table["truth"] == closed.design.positive).astype(int)
    )
    missing = missing_answers(
        joined, with_pseudonyms(closed.key), arms, closed.design.positive
    ).rename(columns={"code": "reader"})
    if closed.stopped_at is not None:
        # What was not read when the study stopped is not missing.
        missing = missing.iloc[:0]
    missing = missing.assign(malignant=missing["malignant"].astype(int), answer=None)
    return pd.concat([latest[list(DATA_COLUMNS)], missing[list(DATA_COLUMNS)]], ignore_index=True)
