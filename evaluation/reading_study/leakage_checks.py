"""Leakage checks of a reading study: test whether anything displayed predicts truth or score.

The checks run before a study is frozen, and on published studies (`deepminer reading replay`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from core.errors import UserError
from core.sessions.arms import WORDLESS_ARMS
from evaluation.intervals import count_text
from evaluation.permutation import Association, PatientPermutations
from evaluation.reading_study.design import MALIGNANT
from evaluation.reading_study.leakage_issues import (
    ERROR,
    SEVERITIES,
    WARNING,
    IssueCode,
    LeakageIssue,
    association_issue,
    truth_conflict_issue,
)
from evaluation.reading_study.text_leakage import (
    MAMMOGRAPHY_VERDICTS,
    VerdictWords,
    text_issues,
)
from evaluation.validation import Array

IMAGE_PROPERTIES = ("height", "outline", "grey", "films")


def leakage_table(
    cases: pd.DataFrame,
    order: Sequence[tuple[int, bool]] | None = None,
    positive: str = MALIGNANT,
) -> pd.DataFrame:
    """Return the sealed key in the form that `check_leakage` takes.

    Parameters
    ----------
    cases : DataFrame
        Cases of one arm or of all, with the columns `design.KEY_COLUMNS`.
    order : sequence of (int, bool), optional
        A reader's order, see `case_selection.reader_order`; hidden repeats are ignored.
    positive : str
        The class for which `truth` stands.

    Returns
    -------
    DataFrame
        case, texts, truth (bool), patient, score, arm and, with an order, order.
    """
    table = pd.DataFrame(
        {
            "case": cases["case_number"],
            "texts": cases["texts"],
            "truth": cases["truth"] == positive,
            "patient": cases["patient_id"],
            "score": cases["network_score"].astype(float),
            "arm": cases["arm"],
        }
    )
    if order is not None:
        # With its hidden repeat a case would have two positions.
        positions = {case: index for index, (case, repeat) in enumerate(order) if not repeat}
        table["order"] = table["case"].map(positions)
    return table


def check_leakage(
    cases: pd.DataFrame,
    identifiers: Sequence[str] = ("case",),
    labels: Mapping[str, str] | None = None,
    conflicts: int = 0,
    annotators: Sequence[str] = (),
    seed: int = 1,
    verdicts: VerdictWords = MAMMOGRAPHY_VERDICTS,
) -> tuple[LeakageIssue, ...]:
    """Check everything displayed with the cases for information about truth.

    Permutation tests exchange whole patients and are seeded.

    Parameters
    ----------
    cases : DataFrame
        One row per displayed case with texts (list of str), truth (bool: malignant), patient and
        the columns named in `identifiers`. Optional: order (position; default the row order), score
        (of the network, NaN where unknown) and arm.
    identifiers : sequence of str
        Columns displayed beside the texts, such as case numbers, file names or sites.
    labels : mapping, optional
        Unit id to label, to list labels that are never displayed.
    conflicts : int
        Cases whose truth rules conflict or are unproven and that have not been reviewed.
    annotators : sequence of str
        Codes of readers who labelled units.
    seed : int
        Seed of the permutations.
    verdicts : VerdictWords
        The words that state a verdict in texts and identifiers.

    Returns
    -------
    tuple of LeakageIssue
        Errors first, then warnings, then notes.

    Raises
    ------
    UserError
        If a column is missing or there are no cases.

    Examples
    --------
    >>> import pandas as pd
    >>> truth = [True] * 20 + [False] * 20
    >>> cases = pd.DataFrame({
    ...     "case": range(40), "texts": [(f"text {i * 7 % 40}",) for i in range(40)],
    ...     "truth": truth, "patient": range(40), "order": [i * 11 % 40 for i in range(40)],
    ... })
    >>> issue = check_leakage(cases)[0]
    >>> issue.field, issue.severity, issue.code.value, issue.auc
    ('case', 'error', 'identifier_truth', 1.0)
    """
    needed = ["texts", "truth", "patient", *identifiers]
    missing = [name for name in needed if name not in cases.columns]
    if missing:
        raise UserError(
            f"The table of cases lacks the column {missing[0]!r}; the leakage checks need"
            f" {', '.join(needed)}."
        )
    if cases.empty:
        raise UserError("There are no cases to check; choose cases first.")
    # Runs and blocks are properties of the display order, so the rows must be in it.
    table = cases.sort_values("order", kind="stable") if "order" in cases.columns else cases
    tests = PatientPermutations(table["patient"].to_numpy(), seed)
    issues: list[LeakageIssue] = []
    for name in identifiers:
        issues += identifier_issues(name, table[name], table, tests, verdicts)
    issues += order_issues(table, tests)
    issues += _text_arm_issues(table, seed, labels, verdicts)
    issues += design_issues(table, conflicts, annotators)
    # sorted is stable: within a severity the order of the checks remains.
    return tuple(sorted(issues, key=lambda issue: SEVERITIES.index(issue.severity)))


def _truth(table: pd.DataFrame) -> Array:
    return table["truth"].to_numpy(dtype=bool)


def _has_scores(table: pd.DataFrame) -> bool:
    return "score" in table.columns and bool(table["score"].notna().all())


def identifier_issues(
    name: str,
    values: pd.Series,
    table: pd.DataFrame,
    tests: PatientPermutations,
    verdicts: VerdictWords = MAMMOGRAPHY_VERDICTS,
) -> list[LeakageIssue]:
    """Check that an identifier carries no information about truth or network score.

    Parameters
    ----------
    name : str
        Name of the identifier.
    values : Series
        Its values in the rows of `table`.
    table : DataFrame
        Rows as for `check_leakage`, in display order.
    tests : PatientPermutations
        Permutations of the patients of the same rows.
    verdicts : VerdictWords
        The words that state a verdict.

    Returns
    -------
    list of LeakageIssue
        Verdict words in the values; value, category, characters, length and range against truth;
        value against score.
    """
    truth, issues = _truth(table), []
    texts = values.astype(str).str.lower()
    # DDSM files its cases under cancer, benign and normal, so a file name can state the diagnosis.
    has_verdict = texts.str.contains(verdicts.any_class, regex=True)
    if has_verdict.any():
        finding = (
            f"{int(has_verdict.sum())} of {len(table)} values of {name} contain a verdict word such"
            f" as {str(texts[has_verdict].iloc[0])[:40]!r}"
        )
        code = IssueCode.IDENTIFIER_VERDICT_WORDS
        issues.append(LeakageIssue(field=name, severity=ERROR, finding=finding, code=code))
    ranks = natural_ranks(values)
    results = [
        ("its value", tests.ordinal_association(ranks, truth)),
        *_category_tests(values, truth, tests),
    ]
    issues += _strongest_issue(IssueCode.IDENTIFIER_TRUTH, name, results)
    # An identifier that follows the score reveals the network's verdict.
    if _has_scores(table):
        result = tests.score_correlation(ranks, table["score"].to_numpy(dtype=float))
        issues += association_issue(
            IssueCode.IDENTIFIER_SCORE, name, "its value", result, "the network's score", ERROR
        )
    return issues


def _strongest_issue(
    code: IssueCode, field: str, results: list[tuple[str, Association]]
) -> list[LeakageIssue]:
    """Return the first leak of several tests against truth, or else the note of the first test.

    Later tests would report the same leak again.
    """
    issues = [
        issue
        for subject, result in results
        for issue in association_issue(code, field, subject, result, "truth", ERROR)
    ]
    leaks = [issue for issue in issues if issue.severity == ERROR]
    return (leaks or issues)[:1]


def _category_tests(
    values: pd.Series, truth: Array, tests: PatientPermutations
) -> list[tuple[str, Association]]:
    """Test properties of an identifier that a test of its order misses."""
    text = values.astype(str)
    results = []
    # More categories than a fifth of the cases leave too few cases in each for a test.
    if 1 < values.nunique() <= max(2, len(values) // 5):
        results.append(
            ("its category", tests.categorical_association(pd.factorize(text)[0], truth))
        )
    # A letter for the class at either end, or a longer name, need not show in the order of values.
    for subject, codes in (
        ("its last character", pd.factorize(text.str[-1])[0]),
        ("its length", pd.factorize(text.str.len())[0]),
        ("its first character", pd.factorize(text.str[:1])[0]),
    ):
        if 0 < codes.max() < len(values) // 5:
            results.append((subject, tests.categorical_association(codes, truth)))
    # Eighths of the order detect a leak that is not monotone, such as one class at both ends.
    results.append(
        ("its range", tests.categorical_association(_eighths(natural_ranks(values)), truth))
    )
    return results


def _eighths(ranks: Array) -> Array:
    """Return the eighth of the range that each rank lies in, 0 to 7."""
    return np.minimum((ranks - ranks.min()) * 8 // max(1.0, np.ptp(ranks) + 1e-9), 7).astype(int)


def natural_ranks(values: pd.Series) -> Array:
    """Return the ranks of identifiers in natural sort order.

    Parameters
    ----------
    values : Series
        Numbers, or texts whose digit groups are compared by value.

    Returns
    -------
    ndarray of float, shape (n,)

    Examples
    --------
    >>> import pandas as pd
    >>> natural_ranks(pd.Series(["case 10", "case 9", "case 100"])).tolist()
    [1.0, 0.0, 2.0]
    """
    if pd.api.types.is_numeric_dtype(values):
        return values.rank().to_numpy(dtype=float)
    # Tuples of one shape keep digit groups and texts comparable at the same position.
    keys = [
        tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.findall(r"[0-9]+|[^0-9]+", str(value))
        )
        for value in values
    ]
    rank_of = {key: index for index, key in enumerate(sorted(set(keys)))}
    return np.array([rank_of[key] for key in keys], dtype=float)


def order_issues(table: pd.DataFrame, tests: PatientPermutations) -> list[LeakageIssue]:
    """Check that the display order predicts neither truth nor network score.

    Parameters
    ----------
    table : DataFrame
        Rows as for `check_leakage`, in display order.
    tests : PatientPermutations
        Permutations of the patients of the same rows.

    Returns
    -------
    list of LeakageIssue
        Trend, alternation and blocks against truth; trend against score.
    """
    truth, position = _truth(table), np.arange(len(table), dtype=float)
    # A trend, an alternation and blocks: each is invisible to the other two tests.
    results = [
        ("the position in the order", tests.ordinal_association(position, truth)),
        ("the run of neighbouring cases", tests.runs_test(truth)),
        ("the eighth of the order", tests.categorical_association(_eighths(position), truth)),
    ]
    issues = _strongest_issue(IssueCode.ORDER_TRUTH, "order", results)
    if _has_scores(table):
        subject, result = (
            "the position in the order",
            tests.score_correlation(position, table["score"].to_numpy(dtype=float)),
        )
        issues += association_issue(
            IssueCode.ORDER_SCORE, "order", subject, result, "the network's score", ERROR
        )
    return issues


def image_issues(
    table: pd.DataFrame, seed: int, field: str = "images", subject: str = "the mammograms'"
) -> list[LeakageIssue]:
    """Check that incidental properties of the displayed pictures do not predict truth.

    A leak is a warning only, because the picture itself is what the arm displays. A class map shows
    the outline of its mammogram, so every property but brightness applies to it as well.

    Parameters
    ----------
    table : DataFrame
        One row per mammogram with truth (bool), patient, scanner and any of height (for a width of
        1), outline (share of the picture that the breast covers), grey (mean over the breast) and
        films (number of films of its exam).
    seed : int
        Seed of the permutations.
    field, subject : str
        Name of the pictures in the issues.

    Returns
    -------
    list of LeakageIssue
    """
    # Where cases were collected by diagnosis, as in DDSM, scanner, size and exposure can differ
    # between the classes.
    truth, tests = _truth(table), PatientPermutations(table["patient"].to_numpy(), seed)
    results = [
        (name, tests.ordinal_association(table[name].to_numpy(dtype=float), truth))
        for name in IMAGE_PROPERTIES
        if name in table.columns
    ]
    scanners = pd.factorize(table["scanner"].astype(str))[0]
    results.append(("scanner", tests.categorical_association(scanners, truth)))
    return [
        issue
        for name, result in results
        for issue in association_issue(
            IssueCode.IMAGE_TRUTH, field, f"{subject} {name}", result, "truth", WARNING
        )
    ]


def _text_arm_issues(
    table: pd.DataFrame, seed: int, labels: Mapping[str, str] | None, verdicts: VerdictWords
) -> list[LeakageIssue]:
    """Check the texts of those arms that display texts."""
    # Cases of an arm without texts would otherwise be reported as cases with missing texts.
    rows = table[~table["arm"].isin(WORDLESS_ARMS)] if "arm" in table.columns else table
    if rows.empty:
        return []
    tests = PatientPermutations(rows["patient"].to_numpy(), seed)
    return text_issues(rows, tests, labels, verdicts)


def design_issues(
    table: pd.DataFrame, conflicts: int, annotators: Collection[str]
) -> list[LeakageIssue]:
    """Check patients, truth rules, arms, readers and class sizes.

    Parameters are those of `check_leakage`.
    """
    patients, n = table["patient"].nunique(), len(table)
    warnings: list[tuple[IssueCode, str, str]] = []
    if patients < n:
        finding = (
            f"{n} cases come from {count_text(patients, 'patient')}: answers are not independent,"
            " so the test must account for clustering"
        )
        warnings.append((IssueCode.REPEATED_PATIENTS, "patients", finding))
    if "arm" in table.columns:
        # A reader may remember a patient from another arm, and the arms are not independent.
        shared = int((table.groupby("patient")["arm"].nunique() > 1).sum())
        if shared:
            verb = "is" if shared == 1 else "are"
            finding = f"{count_text(shared, 'patient')} {verb} in more than one arm"
            warnings.append((IssueCode.SHARED_PATIENTS, "arms", finding))
    if annotators:
        finding = (
            f"{', '.join(sorted(annotators))} annotated units; as readers they may recognise their"
            " own labels"
        )
        warnings.append((IssueCode.ANNOTATING_READERS, "readers", finding))
    issues = [
        LeakageIssue(field=field, severity=WARNING, finding=finding, code=code)
        for code, field, finding in warnings
    ]
    if conflicts:
        issues.append(truth_conflict_issue(conflicts))
    positives = int(_truth(table).sum())
    if positives in (0, n):
        finding = "all cases are of one class: discrimination cannot be measured"
        issues.append(
            LeakageIssue(
                field="truth", severity=ERROR, finding=finding, code=IssueCode.SINGLE_CLASS
            )
        )
    return issues
