"""`reading replay`: lints and scores somebody else's blinded study, as INTERFACE.md names the
result (DEFINITIONS, Reading study).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.clustered import ClusteredProportion, clustered_proportion
from evaluation.intervals import decimal, interval_text, p_text, percent, words
from evaluation.proportion import exact_binomial_test
from evaluation.reading_study.leakage_checks import Finding, lint
from evaluation.reading_study.text_information import (
    Information,
    TextRepeats,
    information,
    text_repeats,
)
from evaluation.replay.csv_import import MALIGNANT, UNPROVEN, ReplayCase, read_cases, read_labels
from evaluation.roc import AucInterval, auc_interval
from evaluation.roc.diagnostic import diagnostic_table
from evaluation.validation import Array

RULES = ("folder", "first_abnormality", "any_malignant")


@dataclass(frozen=True, kw_only=True)
class RuleScore:
    """The reader against one truth rule; an unproven case counts as not malignant, as the paper's
    key has it, unless left out.
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
        """For a results section."""
        return (
            f"{self.correct} of {self.n} right"
            f" ({percent(self.correct / self.n if self.n else None)}), exact binomial test assuming"
            f" independence, one-sided {p_text(self.p_greater)}, two-sided"
            f" {p_text(self.p_two_sided)}"
        )


@dataclass(frozen=True, kw_only=True)
class Discrepant:
    """A case whose truth depends on the rule."""

    case: str
    image: str
    response: str
    folder: str
    first_abnormality: str
    any_malignant: str


@dataclass(frozen=True)
class Network:
    """The network alone on the same cases:

    AUC with clustered interval, and right answers at a score above .5.
    """

    interval: AucInterval
    correct_at_half: int
    n: int

    def sentence(self) -> str:
        """For a results section."""
        return (
            f"The network alone: {self.interval.sentence()[:-1]}; right in {self.correct_at_half}"
            f" of {self.n} at a score above .5."
        )


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """Everything that a replay finds; `without_unproven` scores the first-abnormality rule without
    the cases it calls unproven.
    """

    n: int
    truth_rules: dict[str, RuleScore]
    discrepant: tuple[Discrepant, ...]
    clusters: ClusteredProportion
    lint: tuple[Finding, ...]
    texts: TextRepeats
    information: Information
    network: Network
    without_unproven: RuleScore
    primary_rule: str = "folder"

    def as_dict(self) -> dict[str, Any]:
        """The JSON of INTERFACE.md, whole."""
        clusters = (
            "icc",
            "design_effect",
            "gee_p_greater",
            "gee_p_two_sided",
            "sign_flip_p_greater",
            "patient_weighted_p_greater",
        )
        interval = self.network.interval
        # Only where a number is missing, or its interval has no width.
        because, alone = (
            {"reason": part.reason} if part.reason else {} for part in (self.clusters, interval)
        )
        return {
            "n": self.n,
            "truth_rules": {name: asdict(score) for name, score in self.truth_rules.items()},
            "discrepant": [asdict(case) for case in self.discrepant],
            "clusters": (
                {"patients": self.clusters.clusters}
                | {name: getattr(self.clusters, name) for name in clusters}
                | because
            ),
            "lint": [finding.as_dict() for finding in self.lint],
            "texts": self.texts.as_dict(),
            "information": self.information.as_dict(),
            "network": (
                {
                    "auc": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "correct_at_half": self.network.correct_at_half,
                }
                | alone
            ),
        }

    def sentences(self) -> list[str]:
        """The replay in words, line by line, for the command line and the page."""
        rules = [
            f"Truth by {words(name)}: {score.sentence()}."
            for name, score in self.truth_rules.items()
        ]
        unproven = sum(
            UNPROVEN in (case.first_abnormality, case.any_malignant) for case in self.discrepant
        )
        left_out = (
            [f"Without the {unproven} unproven: {self.without_unproven.sentence()}."]
            if unproven
            else []
        )
        main, interval = self.truth_rules[self.primary_rule], self.network.interval
        return [
            *rules,
            *left_out,
            (
                f"{len(self.discrepant)} cases where truth rules differ or are unproven:"
                f" {', '.join(d.case for d in self.discrepant)}."
                if self.discrepant
                else "The truth rules agree on every case."
            ),
            (
                f"By the {words(self.primary_rule)} rule the one-sided test needs"
                f" {main.critical_count} right; {main.answers_to_flip} answers would turn its"
                " verdict."
            ),
            self.clusters.sentence(),
            self.texts.sentence(),
            self.information.sentence(),
            (
                f"The network alone: AUC {decimal(interval.estimate)}"
                f" ({interval_text(interval.low, interval.high, interval.level, interval.reason)},"
                f" patients as clusters), right in {self.network.correct_at_half} of {self.n} at a"
                " score above .5."
            ),
            *(finding.sentence() + "." for finding in self.lint),
            "One reader: the result does not generalise to readers.",
        ]


def replay(
    cases_csv: str | Path,
    responses_csv: str | Path,
    key_csv: str | Path,
    labels_json: str | Path | None = None,
    seed: int = 1,
) -> ReplayResult:
    """Lints and scores a study in the published CSV form.

    Truth rules: `folder` (image name begins with cancer), `first_abnormality`, `any_malignant`;
    clusters, information and network are judged against `folder`, as the paper scored. UserError
    names file and line.
    """
    cases = read_cases(cases_csv, responses_csv, key_csv)
    labels = read_labels(labels_json) if labels_json is not None else None
    truths = {
        rule: np.array([getattr(case, rule) == MALIGNANT for case in cases]) for rule in RULES
    }
    answers, truth = np.array([case.answer for case in cases]), truths["folder"]
    patient = np.array([case.patient for case in cases])
    score = np.array([case.score for case in cases])
    texts = [case.texts for case in cases]
    proven = np.array([case.first_abnormality != UNPROVEN for case in cases])
    discrepant = _discrepant(cases)
    interval = auc_interval(truth, score, patient, "obuchowski")
    return ReplayResult(
        n=len(cases),
        truth_rules={rule: rule_score(answers, values) for rule, values in truths.items()},
        discrepant=discrepant,
        clusters=clustered_proportion(answers == truth, patient),
        lint=lint(_lint_table(cases, truth), ("case",), labels, len(discrepant), seed=seed),
        texts=text_repeats(texts, answers.tolist()),
        information=information(texts, truth, patient, seed),
        network=Network(interval, int(((score > 0.5) == truth).sum()), len(cases)),
        without_unproven=rule_score(answers[proven], truths["first_abnormality"][proven]),
    )


def rule_score(answers: Array, truth: Array) -> RuleScore:
    """The reader's answers (bool, malignant) against one truth (bool)."""
    correct, n = int((answers == truth).sum()), len(answers)
    one, two = (
        exact_binomial_test(correct, n),
        exact_binomial_test(correct, n, alternative="two-sided"),
    )
    table = diagnostic_table(
        *(
            int((answers == a)[truth == t].sum())
            for t, a in ((True, True), (True, False), (False, True), (False, False))
        )
    )
    return RuleScore(
        n=n,
        correct=correct,
        p_greater=one.p_value,
        p_two_sided=two.p_value,
        sensitivity=table.sensitivity.estimate,
        specificity=table.specificity.estimate,
        critical_count=one.critical_count,
        answers_to_flip=one.answers_to_flip,
    )


def _discrepant(cases: list[ReplayCase]) -> tuple[Discrepant, ...]:
    return tuple(
        Discrepant(
            case=case.case,
            image=case.image,
            response=MALIGNANT if case.answer else "benign",
            folder=case.folder,
            first_abnormality=case.first_abnormality,
            any_malignant=case.any_malignant,
        )
        for case in cases
        if len({case.folder, case.first_abnormality, case.any_malignant}) > 1
    )


def _lint_table(cases: list[ReplayCase], truth: Array) -> pd.DataFrame:
    names = [case.case for case in cases]
    # Numbers as numbers, so that their order is that of their values.
    shown: Any = (
        [float(name) for name in names]
        if all(name.replace(".", "", 1).isdigit() for name in names)
        else names
    )
    return pd.DataFrame(
        {
            "case": shown,
            "order": [case.order for case in cases],
            "texts": [case.texts for case in cases],
            "truth": truth,
            "score": [case.score for case in cases],
            "patient": [case.patient for case in cases],
        }
    )
