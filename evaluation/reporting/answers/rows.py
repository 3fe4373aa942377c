"""One row an answer: who answered what, when, on which case, and what was true."""

from __future__ import annotations

import pandas as pd

from core.errors import UserError
from evaluation.reading_study.advice.first_stages import total_seconds
from evaluation.reading_study.design import NO_ADVICE, TRUTH_RULES, Design, Question

ROW_COLUMNS = (
    "reader",
    "case_number",
    "image",
    "patient",
    "arm",
    "position",
    "hidden_repeat",
    "revision",
    "latest",
    "answer",
    "seconds",
    "idle",
    "answered_at",
    "truth",
    *(f"truth_{rule}" for rule in TRUTH_RULES),
    "simulated",
)


def answer_rows(
    revisions: pd.DataFrame,
    key: pd.DataFrame,
    design: Design,
    stages: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the answers of a study with truth and pseudonyms, one row for each revision.

    Parameters
    ----------
    revisions : DataFrame
        Every revision of every answer, without practice: code, position, case_number, repeat,
        answer, revision, seconds (or NaN), idle, simulated and made (UTC).
    key : DataFrame
        The sealed key with case_number, mammogram_id, patient_id, arm, truth, and truth by any
        `TRUTH_RULES`.
    design : Design
        The frozen design.
    stages : DataFrame, optional
        What readers entered beside the answers of a study with advice or questions, see
        `core.store.reading.stage_table.load_stage_answers`.

    Returns
    -------
    DataFrame
        The columns `ROW_COLUMNS`, and with `stages` those of `with_stage_columns`, by reader,
        position and revision. Images and patients are numbered (I1, P1, ...) by their lowest case
        number, which is random. `position` is the place in the reader's order, practice included.
        `truth` follows the design's rule; truth by a rule is malignant, benign, unproven, or empty
        (normal by this rule, or unknown to the source).

    Raises
    ------
    UserError
        If an answer belongs to no case of the key.

    Examples
    --------
    >>> key = pd.DataFrame({
    ...     "case_number": [1, 2], "mammogram_id": ["m7", "m3"], "patient_id": ["p9", "p9"],
    ...     "arm": "explanation", "truth": ["malignant", "benign"],
    ... })
    >>> answers = pd.DataFrame({
    ...     "code": "R1", "position": [1, 1, 2], "case_number": [2, 2, 1], "repeat": False,
    ...     "answer": [2, 3, 6], "revision": [1, 2, 1], "seconds": [4.5, 1.0, None],
    ...     "idle": False, "simulated": False, "made": pd.Timestamp("2026-01-02 03:04:05"),
    ... })
    >>> rows = answer_rows(answers, key, Design(arms=("explanation",)))
    >>> rows[["reader", "image", "patient", "answer", "latest", "truth"]].values.tolist()[1]
    ['R1', 'I2', 'P1', 3, True, 'benign']
    """
    unknown = set(revisions["case_number"]) - set(key["case_number"])
    if unknown:
        raise UserError(
            f"Case {min(unknown)} of {design.name!r} is answered but not in the key; restore the"
            " frozen key."
        )
    by_case = with_pseudonyms(key)
    for rule in TRUTH_RULES:
        by_case[f"truth_{rule}"] = by_case.get(rule)
    rows = revisions.rename(
        columns={"code": "reader", "repeat": "hidden_repeat", "made": "answered_at"}
    ).merge(by_case, on="case_number", how="left", validate="many_to_one")
    rows["latest"] = rows["revision"] == rows.groupby(["reader", "position"])["revision"].transform(
        "max"
    )
    ordered = rows.sort_values(["reader", "position", "revision"], ignore_index=True)
    if stages is None:
        return ordered[list(ROW_COLUMNS)]
    columns = [*ROW_COLUMNS, *(["predicted"] if design.advice != NO_ADVICE else [])]
    return with_stage_columns(ordered[columns], stages, design)


def with_stage_columns(rows: pd.DataFrame, stages: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return rows of answers with what the reader entered at the other stages of the case.

    Parameters
    ----------
    rows : DataFrame
        Rows with reader, position and seconds; predicted, the network's decision, is named so.
    stages : DataFrame
        code, position, stage, value and seconds.
    design : Design
        Gives the questions.

    Returns
    -------
    DataFrame
        With a column for each stage, such as first_answer, prediction (1 the comparison class, 2
        the positive class) and question_1; first_answer_seconds, prediction_seconds and
        total_seconds (see `advice.first_stages.total_seconds`); and the questionnaire,
        closing_question_1 and so on, which is the same in all rows of a reader. The text of a
        question is in question_1_text, that of the chosen option in question_1_option.
    """
    named = stages.assign(stage=stages["stage"].str.replace(" ", "_"))
    of_case = named[named["position"] > 0]
    table = of_case.pivot(index=["code", "position"], columns="stage", values="value")
    seconds = of_case.pivot(index=["code", "position"], columns="stage", values="seconds")
    timed = [stage for stage in ("first_answer", "prediction") if stage in seconds.columns]
    for stage in timed:
        table[f"{stage}_seconds"] = seconds[stage]
    closing = named[named["position"] == 0].pivot(index="code", columns="stage", values="value")
    joined = (
        rows.rename(columns={"predicted": "network_decision"})
        .merge(table, left_on=["reader", "position"], right_index=True, how="left")
        .merge(closing, left_on="reader", right_index=True, how="left")
    )
    if "first_answer" in timed:
        joined["total_seconds"] = total_seconds(
            joined["first_answer_seconds"],
            joined["seconds"],
            joined["prediction_seconds"] if "prediction" in timed else None,
        )
    for prefix, questions in (
        ("question", design.questions),
        ("closing_question", design.questionnaire),
    ):
        for number, question in enumerate(questions, start=1):
            joined = _with_question_text(joined, f"{prefix}_{number}", question)
    return joined


def _with_question_text(rows: pd.DataFrame, name: str, question: Question) -> pd.DataFrame:
    """Return rows with the text of a question, and that of the chosen option, beside its column."""
    if name not in rows.columns:
        return rows
    rows.insert(rows.columns.get_loc(name), f"{name}_text", question.text)
    if question.options:
        options = {str(number): text for number, text in enumerate(question.options, start=1)}
        rows.insert(rows.columns.get_loc(name) + 1, f"{name}_option", rows[name].map(options))
    return rows


def with_pseudonyms(key: pd.DataFrame) -> pd.DataFrame:
    """Return the key by case number with pseudonyms in the columns image and patient."""
    return key.sort_values("case_number").assign(
        image=lambda table: _numbered(table["mammogram_id"], "I"),
        patient=lambda table: _numbered(table["patient_id"], "P"),
    )


def first_readings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the latest answer of each reader to each case, without hidden repeats."""
    return rows[rows["latest"].astype(bool) & ~rows["hidden_repeat"].astype(bool)]


def _numbered(ids: pd.Series, letter: str) -> pd.Series:
    """Return pseudonyms that count the distinct ids in the order of their rows."""
    codes, _ = pd.factorize(ids)
    return pd.Series([f"{letter}{code + 1}" for code in codes], index=ids.index)
