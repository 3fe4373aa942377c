"""Leakage checks of a reading study with advice: repeated cases, balance, order, base rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.sessions.arms import ARM_TITLES, CONTROL_ARMS, is_sham_of, shows_advice
from evaluation.intervals import count_text, decimal, percent
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
_SHAM = "advice_shuffled"
# Arms with this difference in the share of wrong advice are not compared fairly.
_LARGEST_IMBALANCE = 0.1
# With fewer cases of wrong, or of right, advice in an arm its reliance is hardly estimable.
_LEAST_CASES = 5
# Difference between the share of wrong advice in the instructions and that of the cases.
_LARGEST_STATED_ERROR = 0.02
_DOMINANT_ADVICE = 0.8


def advice_issues(
    cases: pd.DataFrame,
    design: Design,
    orders: Mapping[str, Sequence[int]],
    threshold: float | None = None,
) -> list[LeakageIssue]:
    """Check the arms, the cases and the orders of a study with advice.

    Parameters
    ----------
    cases : DataFrame
        The sealed key with case_number, mammogram_id, patient_id, arm, truth, network_score,
        predicted, advice.
    design : Design
        The design.
    orders : mapping
        Case numbers in the order of each planned reader, by code.
    threshold : float, optional
        The network's threshold, fixed on the hold-out split.

    Returns
    -------
    list of LeakageIssue
        Nothing for a study without advice.
    """
    if design.advice == NO_ADVICE:
        return []
    wrong = cases["predicted"] != cases["truth"]
    return [
        *_sham_issues(design),
        *_statement_issues(cases, design),
        *_decision_issues(cases, design, threshold),
        *_repeated_case_issues(cases, design, list(orders.values())),
        *_balance_issues(cases, wrong),
        *_base_rate_issues(cases, wrong, design),
        *_order_issues(cases, wrong, design, orders),
    ]


def _issue(code: IssueCode, severity: str, finding: str) -> LeakageIssue:
    return LeakageIssue(field="advice", severity=severity, finding=finding, code=code)


def _sham_issues(design: Design) -> list[LeakageIssue]:
    """Check that the shuffled units are the sham of an arm with the same content."""
    if _SHAM not in design.arms:
        return []
    arms = [arm for arm in design.arms if shows_advice(arm) and arm != _SHAM]
    others = [ARM_TITLES[arm] for arm in arms if not is_sham_of(_SHAM, arm)]
    if not others:
        return []
    finding = (
        f"the arm {ARM_TITLES[_SHAM]} is no sham of {' or of '.join(others)}: these arms differ"
        " from it in what they show, and not only in whether it belongs to the case"
    )
    if len(others) < len(arms):
        return [_issue(IssueCode.ADVICE_SHAM, NOTE, finding)]
    finding += (
        f"; compare with the arm {ARM_TITLES['no_advice']}, or plan the arm"
        f" {ARM_TITLES['advice_units']}"
    )
    return [_issue(IssueCode.ADVICE_SHAM, WARNING, finding)]


def _decision_issues(
    cases: pd.DataFrame, design: Design, threshold: float | None
) -> list[LeakageIssue]:
    """Count the cases whose decision differs from that at the threshold of the hold-out split."""
    if threshold is None:
        return []
    scored = cases[cases["network_score"].notna()]
    at_threshold = scored["network_score"] >= threshold
    differing = int((at_threshold != (scored["predicted"] == design.positive)).sum())
    finding = (
        f"the advice is the more probable of the two classes; for {differing} of"
        f" {count_text(len(scored), 'case')} it differs from the decision at the hold-out"
        f" threshold of {decimal(threshold)}"
    )
    return [_issue(IssueCode.ADVICE_DECISION, NOTE, finding)]


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
        f"{count_text(len(after), 'image')} read as a control after advice on the same image; put"
        " each image in one arm, or plan a crossover with a washout"
    )
    return [_issue(IssueCode.ADVICE_REPEATED_CASE, ERROR, finding)]


def _balance_issues(cases: pd.DataFrame, wrong: pd.Series) -> list[LeakageIssue]:
    """Check whether the share of wrong advice differs between the arms."""
    counts = wrong.groupby(cases["arm"]).agg(["sum", "count"])
    shares = counts["sum"] / counts["count"]
    # One case more or less is no imbalance, however small the arms are.
    tolerance = max(_LARGEST_IMBALANCE, 2 / counts["count"].min())
    text = ", ".join(
        f"{ARM_TITLES[str(arm)]} {row['sum']} of {row['count']}" for arm, row in counts.iterrows()
    )
    text += f"; limit: a difference of {percent(tolerance, 0)}"
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
                f"arm {ARM_TITLES[str(counts[kind].idxmin())]} has {count_text(least, 'case')} of"
                f" {kind} advice, fewer than {_LEAST_CASES}: reliance on"
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
            f" {percent(share, 0)} of the cases have a wrong one (limit: a difference of"
            f" {percent(_LARGEST_STATED_ERROR, 0)})"
        )
        issues.append(_issue(IssueCode.ADVICE_TOLD_SHARE, ERROR, finding))
    names = cases["predicted"].value_counts(normalize=True)
    if names.max() > _DOMINANT_ADVICE:
        finding = (
            f"the network decides {names.idxmax()} in {percent(names.max(), 0)} of the cases, more"
            f" than {percent(_DOMINANT_ADVICE, 0)}: readers may learn to expect it"
        )
        issues.append(_issue(IssueCode.ADVICE_BASE_RATE, WARNING, finding))
    return issues


def _order_issues(
    cases: pd.DataFrame, wrong: pd.Series, design: Design, orders: Mapping[str, Sequence[int]]
) -> list[LeakageIssue]:
    """Test whether wrong advice comes earlier or later in the readers' orders."""
    flags = dict(zip(cases["case_number"], wrong))
    issues = []
    for code, order in orders.items():
        tests = PatientPermutations(np.arange(len(order)), design.seed)
        is_wrong = np.array([flags[case] for case in order])
        result = tests.ordinal_association(np.arange(len(order), dtype=float), is_wrong)
        issues += association_issue(
            IssueCode.ADVICE_ORDER,
            f"advice, order of {code}",
            "the position in the order",
            result,
            "wrong advice",
            ERROR,
        )
    return issues
