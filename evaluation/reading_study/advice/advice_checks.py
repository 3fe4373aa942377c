"""Leakage checks of a reading study with advice: repeated cases, balance, order, base rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.sessions.arms import CONTROL_ARMS, shows_advice
from evaluation.intervals import percent
from evaluation.permutation import PatientPermutations
from evaluation.reading_study.advice.advice_cases import stated_advice
from evaluation.reading_study.design import NO_ADVICE, Design
from evaluation.reading_study.leakage_issues import (
    ERROR,
    NOTE,
    WARNING,
    IssueCode,
    LeakageIssue,
    association_issue,
)

# Four weeks are usual between the readings of a case in studies of several readers.
USUAL_WASHOUT_DAYS = 28
# Arms with this difference in the share of wrong advice are not compared fairly.
_LARGEST_IMBALANCE = 0.1
# With fewer cases of wrong, or of right, advice in an arm its reliance is hardly estimable.
_LEAST_CASES = 5
# Difference between the share of wrong advice in the instructions and that of the cases.
_LARGEST_STATED_ERROR = 0.02
_DOMINANT_ADVICE = 0.8


def advice_issues(
    cases: pd.DataFrame, design: Design, orders: Sequence[Sequence[int]]
) -> list[LeakageIssue]:
    """Check the cases and the orders of a study with advice.

    Parameters
    ----------
    cases : DataFrame
        The sealed key with case_number, mammogram_id, patient_id, arm, truth, predicted, advice.
    design : Design
        The design.
    orders : sequence of sequence of int
        Case numbers in the order of each planned reader.

    Returns
    -------
    list of LeakageIssue
        Nothing for a study without advice.
    """
    if design.advice == NO_ADVICE:
        return []
    wrong = cases["predicted"] != cases["truth"]
    return [
        *_statement_issues(cases, design),
        *_repeated_case_issues(cases, design, orders),
        *_balance_issues(cases, wrong),
        *_base_rate_issues(cases, wrong, design),
        *_order_issues(cases, wrong, design, orders),
    ]


def _issue(code: IssueCode, severity: str, finding: str) -> LeakageIssue:
    return LeakageIssue(field="advice", severity=severity, finding=finding, code=code)


def _statement_issues(cases: pd.DataFrame, design: Design) -> list[LeakageIssue]:
    """Check that arms without advice hold none, and the others the network's decision."""
    holds = cases["advice"].notna()
    shows = cases["arm"].map(shows_advice)
    if design.advice == "class":
        expected = pd.Series(stated_advice(cases, design), cases.index, dtype=object)
        wrong = (holds != shows) | (shows & (cases["advice"] != expected))
    else:
        wrong = holds != shows
    if not wrong.any():
        return []
    number = int(cases.loc[wrong, "case_number"].iloc[0])
    finding = (
        f"the advice of case {number} is not the network's decision, or stands in an arm without"
        " advice; design the study again"
    )
    return [_issue(IssueCode.ADVICE_STATEMENT, ERROR, finding)]


def _repeated_case_issues(
    cases: pd.DataFrame, design: Design, orders: Sequence[Sequence[int]]
) -> list[LeakageIssue]:
    """Check whether a control is read after advice on the same image."""
    if design.washout_days is not None:
        if design.washout_days >= USUAL_WASHOUT_DAYS:
            return []
        finding = (
            f"the washout of {design.washout_days} days is shorter than the usual"
            f" {USUAL_WASHOUT_DAYS}: readers may recall the advice on a case when they read it as a"
            " control"
        )
        return [_issue(IssueCode.ADVICE_WASHOUT, WARNING, finding)]
    key = cases.set_index("case_number")
    image, control = key["mammogram_id"], key["arm"].isin(CONTROL_ARMS)
    after = set()
    for order in orders:
        advised: set[str] = set()
        for number in order:
            if not control[number]:
                advised.add(image[number])
            elif image[number] in advised:
                after.add(image[number])
    if not after:
        return []
    finding = (
        f"{len(after)} images are read as a control after advice on the same image; put each image"
        " in one arm, or plan a crossover with a washout"
    )
    return [_issue(IssueCode.ADVICE_REPEATED_CASE, ERROR, finding)]


def _balance_issues(cases: pd.DataFrame, wrong: pd.Series) -> list[LeakageIssue]:
    """Check whether the share of wrong advice differs between the arms."""
    counts = wrong.groupby(cases["arm"]).agg(["sum", "count"])
    shares = counts["sum"] / counts["count"]
    # One case more or less is no imbalance, however small the arms are.
    tolerance = max(_LARGEST_IMBALANCE, 2 / counts["count"].min())
    text = ", ".join(f"{arm} {row['sum']} of {row['count']}" for arm, row in counts.iterrows())
    if shares.max() - shares.min() <= tolerance:
        finding = f"the share of wrong advice is balanced over the arms ({text})"
        return [_issue(IssueCode.ADVICE_BALANCE, NOTE, finding)]
    finding = (
        f"the share of wrong advice differs between the arms ({text}): differences between arms"
        " would be differences between cases"
    )
    return [_issue(IssueCode.ADVICE_BALANCE, ERROR, finding)]


def _base_rate_issues(cases: pd.DataFrame, wrong: pd.Series, design: Design) -> list[LeakageIssue]:
    """Check how often the advice is wrong, and how often it names one class."""
    issues = []
    counts = pd.DataFrame({"wrong": wrong, "right": ~wrong}).groupby(cases["arm"]).sum()
    for kind in ("wrong", "right"):
        least = int(counts[kind].min())
        if least < _LEAST_CASES:
            finding = (
                f"arm {counts[kind].idxmin()} has {least} cases of {kind} advice: reliance on"
                f" {'oneself' if kind == 'wrong' else 'the network'} is hardly estimable"
            )
            issues.append(_issue(IssueCode.ADVICE_BASE_RATE, WARNING, finding))
    share = float(wrong.mean())
    stated = design.wrong_advice
    if (
        design.wrong_advice_told
        and stated is not None
        and abs(share - stated) > _LARGEST_STATED_ERROR
    ):
        finding = (
            f"the instructions state that {percent(stated, 0)} of the decisions are wrong, but"
            f" {percent(share, 0)} of the cases have a wrong one"
        )
        issues.append(_issue(IssueCode.ADVICE_TOLD_SHARE, ERROR, finding))
    names = cases["predicted"].value_counts(normalize=True)
    if names.max() > _DOMINANT_ADVICE:
        finding = (
            f"the network decides {names.idxmax()} in {percent(names.max(), 0)} of the cases:"
            " readers may learn to expect it"
        )
        issues.append(_issue(IssueCode.ADVICE_BASE_RATE, WARNING, finding))
    return issues


def _order_issues(
    cases: pd.DataFrame, wrong: pd.Series, design: Design, orders: Sequence[Sequence[int]]
) -> list[LeakageIssue]:
    """Test whether wrong advice comes earlier or later in the readers' orders."""
    flags = dict(zip(cases["case_number"], wrong))
    issues = []
    for number, order in enumerate(orders, start=1):
        tests = PatientPermutations(np.arange(len(order)), design.seed)
        is_wrong = np.array([flags[case] for case in order])
        result = tests.ordinal_association(np.arange(len(order), dtype=float), is_wrong)
        issues += association_issue(
            IssueCode.ADVICE_ORDER,
            f"advice, order of planned reader {number}",
            "the position in the order",
            result,
            "wrong advice",
            ERROR,
        )
    errors = [issue for issue in issues if issue.severity == ERROR]
    return errors or issues[:1]
