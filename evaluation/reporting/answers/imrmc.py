"""Input file of iMRMC, the program of the FDA for multi-reader multi-case studies."""

from __future__ import annotations

import pandas as pd

from core.errors import UserError
from evaluation.reporting.answers.rows import first_readings

# iMRMC's reader that states the truth; no participant's code begins with a dash.
TRUTH_READER = "-1"


def imrmc_text(rows: pd.DataFrame, heading: str) -> str:
    """Return the answers as an input file of iMRMC.

    Parameters
    ----------
    rows : DataFrame
        Result of `answer_rows`.
    heading : str
        Description of the study, above the data.

    Returns
    -------
    str
        A case is an image, a modality is an arm, and the score is a reader's latest answer. Hidden
        repeats are left out, since iMRMC takes one score of a reader, case and modality. Cases are
        numbered as the images are.

    Raises
    ------
    UserError
        If the answers contain one class only, for which iMRMC has no AUC.

    Notes
    -----
    iMRMC takes cases as independent. Where patients have several images, its variances are too
    small.

    References
    ----------
    iMRMC user manual, section 4.1.1, https://github.com/DIDSR/iMRMC

    Examples
    --------
    >>> rows = pd.DataFrame({
    ...     "reader": "R1", "image": ["I1", "I2"], "arm": "explanation", "answer": [5, 2],
    ...     "truth": ["malignant", "benign"], "latest": True, "hidden_repeat": False,
    ... })
    >>> print(imrmc_text(rows, "Study"))
    Study
    NR: 1
    N0: 1
    N1: 1
    NM: 1
    <BLANKLINE>
    BEGIN DATA:
    -1,1,0,1
    -1,2,0,0
    R1,1,explanation,5
    R1,2,explanation,2
    <BLANKLINE>
    """
    readings = first_readings(rows).assign(
        case=lambda table: table["image"].str.removeprefix("I").astype(int),
        malignant=lambda table: (table["truth"] == "malignant").astype(int),
    )
    truth = readings.drop_duplicates("case").set_index("case")["malignant"].sort_index()
    counts = truth.value_counts()
    if len(counts) < 2:
        raise UserError(
            "The answers contain cases of one class only; iMRMC needs malignant and benign cases."
        )
    lines = [
        # A line of the description must not look like one of the counts below.
        " ".join(heading.split()),
        f"NR: {readings['reader'].nunique()}",
        f"N0: {counts[0]}",
        f"N1: {counts[1]}",
        f"NM: {readings['arm'].nunique()}",
        "",
        "BEGIN DATA:",
    ]
    lines += [f"{TRUTH_READER},{case},0,{state}" for case, state in truth.items()]
    scores = readings.sort_values(["arm", "reader", "case"])[["reader", "case", "arm", "answer"]]
    lines += [",".join(map(str, row)) for row in scores.itertuples(index=False)]
    return "\n".join(lines) + "\n"
