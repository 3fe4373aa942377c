"""Leakage checks of the readers' orders: truth, score, arm, texts and hidden repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evaluation.intervals import count_text
from evaluation.permutation import Association, PatientPermutations
from evaluation.reading_study.case_selection import reader_order
from evaluation.reading_study.design import Design
from evaluation.reading_study.leakage_checks import leakage_table, order_issues
from evaluation.reading_study.leakage_issues import (
    ERROR,
    NOTE,
    IssueCode,
    LeakageIssue,
    association_issue,
)
from evaluation.validation import Array


def reader_order_issues(
    cases: pd.DataFrame, design: Design, codes: Sequence[str]
) -> list[LeakageIssue]:
    """Check the orders of the planned readers, each and all together.

    Positions are tested against truth and the network's score by permutation of patients, and
    against arm, texts that several cases show, and hidden repeats by permutation of cases.

    Parameters
    ----------
    cases : DataFrame
        The sealed key, with the blocks of the order.
    design : Design
        Provides the seeds.
    codes : sequence of str
        Codes of the planned readers.

    Returns
    -------
    list of LeakageIssue
        An error for each leak, or one note if no order leaks.
    """
    errors: list[LeakageIssue] = []
    positions = []
    for rotation, code in enumerate(codes):
        order = reader_order(cases, design, code, rotation)
        table = leakage_table(cases, order, design.positive)
        positions.append(table["order"].rank())
        issues = _position_issues(table, design.seed) + _repeat_issues(cases, order, design)
        errors += [replace(issue, field=f"order of {code}") for issue in issues]
    if len(codes) > 1:
        # A preference that is weak in each order adds up over the readers.
        together = leakage_table(cases, positive=design.positive).assign(order=sum(positions))
        errors += [
            replace(issue, field="order of all planned readers")
            for issue in _position_issues(together, design.seed)
        ]
    errors = [issue for issue in errors if issue.severity == ERROR]
    if errors:
        return errors
    return [
        LeakageIssue(
            field="order",
            severity=NOTE,
            finding=(
                f"the orders of {count_text(len(codes), 'planned reader')} ({', '.join(codes)}) are"
                " not shown to predict truth, the network's score, arm, texts or hidden repeats"
            ),
            code=IssueCode.READER_ORDERS,
        )
    ]


def _position_issues(table: pd.DataFrame, seed: int) -> list[LeakageIssue]:
    """Test the positions of the first showings of all cases; table: of `leakage_table`."""
    table = table.sort_values("order", kind="stable")
    # The permutations belong to an order of rows, which differs between readers.
    tests = PatientPermutations(table["patient"].to_numpy(), seed)
    issues = order_issues(table, tests)
    # Arm and text differ between the cases of a patient, and the order is drawn for each case: here
    # the case is exchanged. An exchange of whole patients would keep a fixed order of the arms.
    tests = PatientPermutations(np.arange(len(table)), seed)
    issues += _category_issues(IssueCode.ORDER_ARM, table["arm"], tests, "the arm")
    worded = table[table["texts"].map(len) > 0]
    if len(worded):
        texts = worded["texts"].map(tuple)
        # Texts that one case shows have no mean position to compare; together they are the rest.
        shared = texts.where(texts.duplicated(keep=False), None)
        tests = PatientPermutations(np.arange(len(worded)), seed)
        issues += _category_issues(IssueCode.ORDER_TEXT, shared, tests, "the texts")
    return issues


def _category_issues(
    code: IssueCode, categories: pd.Series, tests: PatientPermutations, target: str
) -> list[LeakageIssue]:
    result = position_by_category(pd.factorize(categories, use_na_sentinel=False)[0], tests)
    return association_issue(code, "order", "the position in the order", result, target, ERROR)


def position_by_category(categories: Array, tests: PatientPermutations) -> Association:
    """Test whether the mean position in the order differs between categories.

    The statistic is the sum of squares between categories of the centred positions; a category that
    is spread more evenly than by chance does not count as a difference.

    Parameters
    ----------
    categories : ndarray of int, shape (n,)
        Category of each row, in the order of display.
    tests : PatientPermutations
        Permutations of the patients of the same rows.

    Examples
    --------
    >>> tests = PatientPermutations(range(20), seed=1, permutations=999)
    >>> position_by_category(np.repeat([0, 1], 10), tests).p
    0.001
    """
    categories = np.unique(categories, return_inverse=True)[1]
    if categories.max(initial=0) == 0:
        return Association(None, None)
    position = np.arange(len(categories), dtype=float)
    position -= position.mean()
    sizes = np.bincount(categories)
    table = np.eye(len(sizes))[categories]
    observed = float(((position @ table) ** 2 / sizes).sum())
    permuted = ((position[tests.rows] @ table) ** 2 / sizes).sum(axis=1)
    return Association(None, tests.p_value(observed, permuted))


def _repeat_issues(
    cases: pd.DataFrame, order: Sequence[tuple[int, bool]], design: Design
) -> list[LeakageIssue]:
    """Test where hidden repeats are, and which cases are repeated."""
    repeated = {case for case, is_repeat in order if is_repeat}
    if not repeated:
        return []
    key = cases.set_index("case_number")
    # All repeats are in the second half; their place in it must not show which they are.
    half = order[(len(order) + 1) // 2 :]
    flags = np.array([is_repeat for _, is_repeat in half])
    tests = PatientPermutations(np.arange(len(half)), design.seed)
    results = [
        (
            "the position in the second half",
            "hidden repeats",
            tests.ordinal_association(np.arange(len(half), dtype=float), flags),
        ),
        ("the run of neighbouring cases", "hidden repeats", tests.runs_test(flags)),
    ]
    flags = key.index.isin(repeated)
    tests = PatientPermutations(np.arange(len(key)), design.seed)
    scores = key["network_score"].to_numpy(dtype=float)
    truth = (key["truth"] == design.positive).to_numpy()
    results += [
        ("being repeated", "truth", tests.ordinal_association(flags.astype(float), truth)),
        (
            "being repeated",
            "the arm",
            tests.categorical_association(pd.factorize(key["arm"])[0], flags),
        ),
        ("being repeated", "the network's score", tests.ordinal_association(scores, flags)),
    ]
    return [
        issue
        for subject, target, result in results
        for issue in association_issue(
            IssueCode.ORDER_REPEAT, "order", subject, result, target, ERROR
        )
    ]
