"""Leakage checks of the displayed texts: length, words for malignancy, variety and label list."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.lexicon.annotation_answers import without_association
from core.lexicon.birads_categories import BIRADS
from evaluation.intervals import count_text, decimal, percent
from evaluation.permutation import PatientPermutations
from evaluation.reading_study.leakage_issues import (
    ERROR,
    WARNING,
    IssueCode,
    LeakageIssue,
    association_issue,
    permutation_p_text,
)
from evaluation.validation import Array

# Words of the classes of mammography; those of other classes begin with the name of the class.
_CLASS_PATTERNS = {
    "malignant": r"malignan\w*|cancer\w*|carcinoma\w*|suspicious",
    "benign": r"benign\w*",
    "normal": r"normal",
}
# The lexicon's own name of a finding; it states no verdict although it contains "normal".
NORMAL_TISSUE_PATTERN = r"normal (fatty |glandular |dense )?tissue"
MAX_LISTED_CASES = 8
# Thresholds of the warnings about variety, as shares of the cases.
DOMINANT_SHARE = 0.5
FEW_DISTINCT_SHARE = 1 / 3
REPEATED_SHARE = 0.1


@dataclass(frozen=True)
class VerdictWords:
    """Regular expressions of the words that state a verdict.

    positive: for the positive class; other: for any other class. associations: what annotators add
    to a label as their verdict, as the lexicon names it.
    """

    positive: str
    other: str
    associations: tuple[str, ...]

    @property
    def any_class(self) -> str:
        """The words for any class."""
        return f"{self.positive}|{self.other}"


def study_verdicts(classes: ClassDefinition, associations: Sequence[str]) -> VerdictWords:
    """Return the verdict words of a study.

    Parameters
    ----------
    classes : ClassDefinition
        The classes of the study, whose names are such words.
    associations : sequence of str
        Names of the associations of its lexicon.

    Examples
    --------
    >>> classes = ClassDefinition(("empty", "cat", "full moon"), "cat", "full moon")
    >>> verdict_words(["Round full moons"], study_verdicts(classes, ()))
    {'positive': [], 'other': ['full moons']}
    """
    patterns = {
        name: _CLASS_PATTERNS.get(name.lower())
        or r"[ _-]".join(map(re.escape, re.split(r"[ _-]+", name.lower()))) + r"\w*"
        for name in classes.names
    }
    return VerdictWords(
        positive=patterns[classes.positive],
        other="|".join(p for name, p in patterns.items() if name != classes.positive),
        associations=tuple(associations),
    )


MAMMOGRAPHY_VERDICTS = study_verdicts(MAMMOGRAPHY, BIRADS.association_names)


def verdict_words(
    texts: Sequence[str], verdicts: VerdictWords = MAMMOGRAPHY_VERDICTS
) -> dict[str, list[str]]:
    """Return the words of one case's texts that state a verdict.

    Parameters
    ----------
    texts : sequence of str
        Texts of one case. "Normal tissue" is the lexicon's name of a finding and does not count.
    verdicts : VerdictWords
        The words that count.

    Returns
    -------
    dict
        "positive" and "other" (any other class) to the matching words.

    Examples
    --------
    >>> verdict_words(["Suspicious mass", "Normal tissue", "Benign cyst"])
    {'positive': ['suspicious'], 'other': ['benign']}
    """
    # The separator keeps words of neighbouring texts from forming a match.
    joined = re.sub(NORMAL_TISSUE_PATTERN, " ", " ; ".join(texts).lower())
    return {
        "positive": re.findall(rf"\b(?:{verdicts.positive})", joined),
        "other": re.findall(rf"\b(?:{verdicts.other})", joined),
    }


def verdict_balance(texts: Sequence[str], verdicts: VerdictWords = MAMMOGRAPHY_VERDICTS) -> int:
    """Return the number of words for the positive class minus the number for any other class.

    Examples
    --------
    >>> verdict_balance(["Suspicious mass", "Cancer", "Benign cyst"])
    1
    """
    counts = verdict_words(texts, verdicts)
    return len(counts["positive"]) - len(counts["other"])


def text_issues(
    table: pd.DataFrame,
    tests: PatientPermutations,
    labels: Mapping[str, str] | None,
    verdicts: VerdictWords = MAMMOGRAPHY_VERDICTS,
) -> list[LeakageIssue]:
    """Check the displayed texts of the arms with texts.

    Parameters
    ----------
    table : DataFrame
        Rows as for `evaluation.reading_study.leakage_checks.check_leakage`.
    tests : PatientPermutations
        Permutations of the patients of the same rows.
    labels : mapping or None
        Unit id to label, to list labels that are never displayed; None skips this check.
    verdicts : VerdictWords
        The words that state a verdict.

    Returns
    -------
    list of LeakageIssue
    """
    truth = table["truth"].to_numpy(dtype=bool)
    texts = [tuple(map(str, case_texts)) for case_texts in table["texts"]]
    issues = []
    # An answer to an empty text is a guess and hides what the texts of other cases convey.
    empty = sum(not any(text.strip() for text in case_texts) for case_texts in texts)
    if empty:
        issues.append(
            LeakageIssue(
                field="texts",
                severity=ERROR,
                finding=(
                    f"{empty} of {len(texts)} cases have no text: leave them out or choose another"
                    " depth"
                ),
                code=IssueCode.MISSING_TEXTS,
            )
        )
    # If the units of one class are labelled more often, the amount of text reveals the class.
    number = np.array([len(case_texts) for case_texts in texts], dtype=float)
    length = np.array([sum(map(len, case_texts)) for case_texts in texts], dtype=float)
    for code, field, subject, values in (
        (IssueCode.TEXT_COUNT_TRUTH, "number of texts", "the number of texts", number),
        (IssueCode.TEXT_LENGTH_TRUTH, "length of texts", "the length of the texts", length),
    ):
        result = tests.ordinal_association(values, truth)
        issues += association_issue(code, field, subject, result, "truth", WARNING)
    issues += _verdict_issues(texts, _case_names(table), truth, tests, verdicts)
    issues += _variety_issues(texts)
    return issues + (
        _label_issues(texts, labels, verdicts.associations) if labels is not None else []
    )


def _case_names(table: pd.DataFrame) -> list[str]:
    """Return the names of the cases; their row numbers if the table has none."""
    names = table["case"] if "case" in table.columns else range(1, len(table) + 1)
    # Numeric identifiers arrive as floats so that they sort by value; print 253, not 253.0.
    return [f"{name:g}" if isinstance(name, float) else str(name) for name in names]


def _verdict_issues(
    texts: list[tuple[str, ...]],
    names: Sequence[str],
    truth: Array,
    tests: PatientPermutations,
    verdicts: VerdictWords,
) -> list[LeakageIssue]:
    """Return one warning that lists each verdict word with the cases that display it."""
    cases_by_word: dict[str, list[str]] = {}
    for name, case_texts in zip(names, texts):
        for word in sorted(set(chain.from_iterable(verdict_words(case_texts, verdicts).values()))):
            cases_by_word.setdefault(word, []).append(name)
    if not cases_by_word:
        return []
    count = len({name for cases in cases_by_word.values() for name in cases})
    # The words alone are a warning; their balance tests whether they also predict truth.
    balances = np.array(
        [verdict_balance(case_texts, verdicts) for case_texts in texts], dtype=float
    )
    result = tests.ordinal_association(balances, truth)
    test_text = (
        ""
        if result.p is None
        else (
            f" (their balance against truth: AUC {decimal(result.auc, 2)}, permutation P"
            f" {permutation_p_text(result.p)})"
        )
    )
    listing = "; ".join(
        f"{word!r} in {_case_list(cases)}"
        for word, cases in sorted(cases_by_word.items(), key=lambda item: -len(item[1]))
    )
    return [
        LeakageIssue(
            field="texts",
            severity=WARNING,
            finding=(
                f"the texts of {count} of {len(texts)} cases contain verdict words, so that the"
                f" reader may repeat the annotator's verdict: {listing}{test_text}"
            ),
            code=IssueCode.TEXT_VERDICT_WORDS,
            auc=result.auc,
            p=result.p,
        )
    ]


def _case_list(names: Sequence[str]) -> str:
    """Return the first names of a list of cases and the number of the others."""
    more = len(names) - MAX_LISTED_CASES
    return f"case{'s' if len(names) > 1 else ''} {', '.join(names[:MAX_LISTED_CASES])}" + (
        f" and {more} more" if more > 0 else ""
    )


def _variety_issues(texts: list[tuple[str, ...]]) -> list[LeakageIssue]:
    """Warn of texts that are too similar for the answers to be independent."""
    findings: list[tuple[IssueCode, str]] = []
    n = len(texts)
    distinct = len({tuple(sorted(case_texts)) for case_texts in texts})
    commonest, copies = Counter(texts).most_common(1)[0]
    if distinct < FEW_DISTINCT_SHARE * n:
        message = (
            f"only {count_text(distinct, 'distinct text')} (ignoring their order) for {n} cases,"
            f" fewer than {percent(FEW_DISTINCT_SHARE, 0)} of them"
        )
        findings.append((IssueCode.FEW_DISTINCT_TEXTS, message))
    # In a small study a tenth of the cases is less than two copies.
    if copies > max(2, REPEATED_SHARE * n):
        message = (
            f"one text is shown for {copies} of {n} cases: {', '.join(commonest)!r}; more than"
            f" {percent(REPEATED_SHARE, 0)}, and more than two"
        )
        findings.append((IssueCode.REPEATED_TEXT, message))
    label_counts = Counter(label for case_texts in texts for label in set(case_texts))
    if len(label_counts) > 1:
        label, cases = label_counts.most_common(1)[0]
        if cases > DOMINANT_SHARE * n:
            message = (
                f"one label dominates: {label!r} is shown in {cases} of {n} cases, more than"
                f" {percent(DOMINANT_SHARE, 0)}"
            )
            findings.append((IssueCode.DOMINANT_LABEL, message))
    return _warnings("texts", findings)


def _label_issues(
    texts: list[tuple[str, ...]], labels: Mapping[str, str], associations: Sequence[str]
) -> list[LeakageIssue]:
    """Compare the displayed labels with the list of labelled units."""
    displayed = {label for case_texts in texts for label in case_texts}
    # A design may remove words for malignancy, so a label is displayed in one of two forms.
    forms = {
        unit: {label, without_association(label, associations)} for unit, label in labels.items()
    }
    unused = [unit for unit, form in forms.items() if not form & displayed]
    unknown = sorted(displayed.difference(*forms.values()))
    findings: list[tuple[IssueCode, str]] = []
    if unused:
        message = (
            f"{count_text(len(displayed), 'distinct label')} for"
            f" {count_text(len(labels), 'labelled unit')}; the labels of"
            f" {count_text(len(unused), 'unit')} never appear"
        )
        findings.append((IssueCode.UNUSED_LABELS, message))
    if unknown:
        message = (
            f"{count_text(len(unknown), 'displayed label')} not in the list of labels, among them"
            f" {unknown[0]!r}"
        )
        findings.append((IssueCode.UNKNOWN_LABELS, message))
    return _warnings("labels", findings)


def _warnings(field: str, findings: list[tuple[IssueCode, str]]) -> list[LeakageIssue]:
    return [
        LeakageIssue(field=field, severity=WARNING, finding=message, code=code)
        for code, message in findings
    ]
