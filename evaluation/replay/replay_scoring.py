"""Leakage checks and scores of a published reading study (`deepminer reading replay`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.clustered import ClusteredProportion, clustered_proportion
from evaluation.intervals import count_text, decimal, display_name, interval_text, p_text, percent
from evaluation.proportion import exact_binomial_test
from evaluation.reading_study.design import BENIGN, MALIGNANT, TRUTH_RULES, UNPROVEN
from evaluation.reading_study.leakage_checks import check_leakage
from evaluation.reading_study.leakage_issues import LeakageIssue
from evaluation.reading_study.text_information import (
    TextBaselines,
    TextRepeats,
    text_baselines,
    text_repeats,
)
from evaluation.replay.csv_import import ReplayCase, read_replay_cases, read_unit_labels
from evaluation.roc import AucInterval, auc_interval
from evaluation.roc.diagnostic import diagnostic_table
from evaluation.validation import Array

# Keys of the JSON output of the command.
CLUSTER_KEYS = (
    "icc",
    "design_effect",
    "gee_p_greater",
    "gee_p_two_sided",
    "sign_flip_p_greater",
    "patient_weighted_p_greater",
)
ISSUE_KEYS = ("field", "severity", "finding", "auc", "p")


@dataclass(frozen=True, kw_only=True)
class RuleScore:
    """The reader's answers against one truth rule.

    An unproven case counts as not malignant, as in the published key, unless it is left out.

    Attributes
    ----------
    n, correct : int
        Numbers of cases and of right answers.
    p_greater, p_two_sided : float or None
        Exact binomial P values against 1/2, assuming independent answers.
    sensitivity, specificity : float or None
    critical_count, answers_to_flip : int or None
        As in `BinomialTest`, one-sided.
    """

    n: int
    correct: int
    p_greater: float | None
    p_two_sided: float | None
    sensitivity: float | None
    specificity: float | None
    critical_count: int | None
    answers_to_flip: int | None

    def sentence(self) -> str:
        """Return the score as a clause, without a full stop."""
        return (
            f"{self.correct} of {self.n} correct"
            f" ({percent(self.correct / self.n if self.n else None)}), exact binomial test assuming"
            f" independence, one-sided {p_text(self.p_greater)}, two-sided"
            f" {p_text(self.p_two_sided)}"
        )

    def flip_sentence(self, rule: str) -> str:
        """Return how many answers decide the one-sided test; rule: its name in print."""
        if self.critical_count is None or self.answers_to_flip is None:
            return f"By the {rule} rule no number of correct answers would be significant."
        return (
            f"By the {rule} rule the one-sided test is significant from {self.critical_count}"
            f" correct answers; changing {count_text(self.answers_to_flip, 'answer')} would change"
            " its conclusion."
        )


@dataclass(frozen=True, kw_only=True)
class DiscrepantCase:
    """A case whose truth depends on the rule.

    Attributes
    ----------
    case, image : str
        Case and image name of the sheets.
    response : str
        The reader's answer, "malignant" or "benign".
    folder, first_abnormality, any_malignant : str
        Truth by each rule: "malignant", "benign" or "unproven".
    """

    case: str
    image: str
    response: str
    folder: str
    first_abnormality: str
    any_malignant: str


@dataclass(frozen=True)
class NetworkScore:
    """The network alone on the same cases.

    Attributes
    ----------
    interval : AucInterval
        AUC with patients as clusters.
    correct_at_half : int
        Right decisions at a score above .5.
    n : int
        Number of cases.
    """

    interval: AucInterval
    correct_at_half: int
    n: int

    def sentence(self) -> str:
        """Return the result as a sentence."""
        return (
            f"The network alone: {self.interval.sentence()[:-1]}; right in {self.correct_at_half}"
            f" of {self.n} at a score above .5."
        )


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """Scores and leakage checks of a replayed study.

    Attributes
    ----------
    n : int
        Number of cases.
    truth_rules : dict of str to RuleScore
    discrepant : tuple of DiscrepantCase
    clusters : ClusteredProportion
        Right answers by the primary rule, patients as clusters.
    lint : tuple of LeakageIssue
    texts : TextRepeats
    information : TextBaselines
    network : NetworkScore
    without_unproven : RuleScore
        First-abnormality rule without the cases that it calls unproven.
    primary_rule : str
        Rule of the published score.
    """

    n: int
    truth_rules: dict[str, RuleScore]
    discrepant: tuple[DiscrepantCase, ...]
    clusters: ClusteredProportion
    lint: tuple[LeakageIssue, ...]
    texts: TextRepeats
    information: TextBaselines
    network: NetworkScore
    without_unproven: RuleScore
    primary_rule: str = "folder"

    def as_dict(self) -> dict[str, Any]:
        """Return the result of `deepminer reading replay --json`."""
        interval = self.network.interval
        # The key `reason` exists only where a number is missing or an interval has no width.
        clusters_reason, network_reason = (
            {"reason": part.reason} if part.reason else {} for part in (self.clusters, interval)
        )
        return {
            "n": self.n,
            "truth_rules": {name: asdict(score) for name, score in self.truth_rules.items()},
            "discrepant": [asdict(case) for case in self.discrepant],
            "clusters": {
                "patients": self.clusters.clusters,
                **{name: getattr(self.clusters, name) for name in CLUSTER_KEYS},
                **clusters_reason,
            },
            "lint": [{key: getattr(issue, key) for key in ISSUE_KEYS} for issue in self.lint],
            "texts": self.texts.as_dict(),
            "information": self.information.as_dict(),
            "network": {
                "auc": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "correct_at_half": self.network.correct_at_half,
                **network_reason,
            },
        }

    def sentences(self) -> list[str]:
        """Return the result as lines of text, for the command line and the page."""
        interval = self.network.interval
        primary = self.truth_rules[self.primary_rule]
        return [
            *self._score_sentences(),
            primary.flip_sentence(display_name(self.primary_rule)),
            self.clusters.sentence(),
            self.texts.sentence(),
            self.information.sentence(),
            (
                f"The network alone: AUC {decimal(interval.estimate)}"
                f" ({interval_text(interval.low, interval.high, interval.level, interval.reason)},"
                f" patients as clusters), right in {self.network.correct_at_half} of {self.n} at a"
                " score above .5."
            ),
            *(issue.sentence() + "." for issue in self.lint),
            "One reader: the result does not generalise to readers.",
        ]

    def _score_sentences(self) -> list[str]:
        lines = [
            f"Truth by {display_name(name)}: {score.sentence()}."
            for name, score in self.truth_rules.items()
        ]
        unproven = sum(
            UNPROVEN in (case.first_abnormality, case.any_malignant) for case in self.discrepant
        )
        if unproven:
            lines.append(f"Without the {unproven} unproven: {self.without_unproven.sentence()}.")
        if not self.discrepant:
            return [*lines, "The truth rules agree on every case."]
        cases = ", ".join(case.case for case in self.discrepant)
        return [
            *lines,
            f"{len(self.discrepant)} cases where truth rules differ or are unproven: {cases}.",
        ]


def replay_study(
    cases_csv: str | Path,
    responses_csv: str | Path,
    key_csv: str | Path,
    labels_json: str | Path | None = None,
    seed: int = 1,
) -> ReplayResult:
    """Check and score a reading study in the published CSV form.

    Parameters
    ----------
    cases_csv : str or Path
        Sheet that was displayed to the reader.
    responses_csv : str or Path
        The reader's answers.
    key_csv : str or Path
        Answer key with image names, reports and network scores.
    labels_json : str or Path, optional
        Unit labels, to find labels that never appear in the texts.
    seed : int
        Seed of the permutation tests.

    Returns
    -------
    ReplayResult
        Clusters, information and network are measured against the rule `folder`, as published.

    Raises
    ------
    UserError
        If a file is missing or damaged. The message names file and line.

    Notes
    -----
    Truth rules: `folder` (image name begins with "cancer"), `first_abnormality` and
    `any_malignant` (pathology in the report).

    Checked against: the published study (182 of 330 right, P = .0346; GEE P = .051).
    """
    cases = read_replay_cases(cases_csv, responses_csv, key_csv)
    labels = read_unit_labels(labels_json) if labels_json is not None else None
    truths = {
        rule: np.array([getattr(case, rule) == MALIGNANT for case in cases]) for rule in TRUTH_RULES
    }
    # The published score rests on the folder rule.
    answers, truth = np.array([case.answer for case in cases]), truths["folder"]
    patient = np.array([case.patient for case in cases])
    score = np.array([case.score for case in cases])
    texts = [case.texts for case in cases]
    # The published key counts unproven cases as benign; the sensitivity analysis leaves them out.
    proven = np.array([case.first_abnormality != UNPROVEN for case in cases])
    discrepant = _discrepant_cases(cases)
    # The 330 published images come from 185 patients.
    interval = auc_interval(truth, score, patient, "obuchowski")
    return ReplayResult(
        n=len(cases),
        truth_rules={rule: rule_score(answers, values) for rule, values in truths.items()},
        discrepant=discrepant,
        clusters=clustered_proportion(answers == truth, patient),
        lint=check_leakage(
            _leakage_table(cases, truth), ("case",), labels, len(discrepant), seed=seed
        ),
        texts=text_repeats(texts, answers.tolist()),
        information=text_baselines(texts, truth, patient, seed),
        network=NetworkScore(interval, int(((score > 0.5) == truth).sum()), len(cases)),
        without_unproven=rule_score(answers[proven], truths["first_abnormality"][proven]),
    )


def rule_score(answers: Array, truth: Array) -> RuleScore:
    """Score a reader's answers against one truth.

    Parameters
    ----------
    answers, truth : ndarray of bool, shape (n,)
        True for malignant.

    Examples
    --------
    >>> score = rule_score(np.array([True, True, False]), np.array([True, False, False]))
    >>> score.correct, score.sensitivity, score.specificity
    (2, 1.0, 0.5)
    """
    correct, n = int((answers == truth).sum()), len(answers)
    one_sided = exact_binomial_test(correct, n)
    two_sided = exact_binomial_test(correct, n, alternative="two-sided")
    table = diagnostic_table(
        tp=int((answers & truth).sum()),
        fn=int((~answers & truth).sum()),
        fp=int((answers & ~truth).sum()),
        tn=int((~answers & ~truth).sum()),
    )
    return RuleScore(
        n=n,
        correct=correct,
        p_greater=one_sided.p_value,
        p_two_sided=two_sided.p_value,
        sensitivity=table.sensitivity.estimate,
        specificity=table.specificity.estimate,
        critical_count=one_sided.critical_count,
        answers_to_flip=one_sided.answers_to_flip,
    )


def _discrepant_cases(cases: list[ReplayCase]) -> tuple[DiscrepantCase, ...]:
    return tuple(
        DiscrepantCase(
            case=case.case,
            image=case.image,
            response=MALIGNANT if case.answer else BENIGN,
            folder=case.folder,
            first_abnormality=case.first_abnormality,
            any_malignant=case.any_malignant,
        )
        for case in cases
        # "unproven" counts as a truth of its own here, so that such cases are listed.
        if len({case.folder, case.first_abnormality, case.any_malignant}) > 1
    )


def _leakage_table(cases: list[ReplayCase], truth: Array) -> pd.DataFrame:
    """Return the columns that `check_leakage` expects."""
    names = [case.case for case in cases]
    # Numeric case names are tested in the order of their values, not of their digits.
    identifiers: Any = (
        [float(name) for name in names]
        if all(name.replace(".", "", 1).isdigit() for name in names)
        else names
    )
    return pd.DataFrame(
        {
            "case": identifiers,
            "order": [case.order for case in cases],
            "texts": [case.texts for case in cases],
            "truth": truth,
            "score": [case.score for case in cases],
            "patient": [case.patient for case in cases],
        }
    )
