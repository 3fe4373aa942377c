"""Result records of a scored reading study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evaluation.clustered import ClusteredProportion
from evaluation.intervals import (
    Interval,
    display_name,
)
from evaluation.mrmc import StandaloneComparison
from evaluation.proportion import BinomialTest
from evaluation.reading_study.advice.question_summary import QuestionCounts
from evaluation.reading_study.advice.reliance import AdviceScore
from evaluation.reading_study.arms import ArmComparison, ArmScore
from evaluation.reading_study.design import Design
from evaluation.reading_study.primary import InterimLook, PrimaryResult
from evaluation.reading_study.text_information import TextBaselines, TextRepeats
from evaluation.reading_study.timing import ReadingConduct
from evaluation.roc import AucInterval
from evaluation.roc.diagnostic import DiagnosticTable


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """Correct answers by one truth rule.

    Parameters
    ----------
    rule : str
        The truth rule.
    n, correct : int
        Answers to cases that are malignant or benign by this rule, and correct ones among them.
    unproven : int
        Answers to cases that are unproven by this rule; they are excluded.
    differing : int
        Cases whose truth differs from that of the design's rule.
    binomial : BinomialTest
        Exact binomial test of `correct` of `n`.
    """

    rule: str
    n: int
    correct: int
    unproven: int
    differing: int
    binomial: BinomialTest

    def sentence(self) -> str:
        """Return the result as one sentence."""
        excluded = f" ({self.unproven} unproven left out)" if self.unproven else ""
        return f"Truth by {display_name(self.rule)}{excluded}: {self.binomial.sentence()}"


@dataclass(frozen=True, kw_only=True)
class ReaderResult:
    """One reader in the primary arm.

    Parameters
    ----------
    code : str
        Code of the reader.
    n, correct, missing : int
        Answers, correct answers, and cases without an answer.
    share : Interval
        Proportion correct, clustered by patient.
    auc : AucInterval
        AUC of the ratings.
    """

    code: str
    n: int
    correct: int
    missing: int
    share: Interval
    auc: AucInterval

    def sentence(self) -> str:
        """Return the result as one sentence."""
        return (
            f"Reader {self.code}: {self.correct} of {self.n} correct, {self.share.sentence()};"
            f" {self.auc.sentence()}"
        )


@dataclass(frozen=True, kw_only=True)
class NetworkResult:
    """The network alone on the cases of the primary arm.

    Parameters
    ----------
    auc : AucInterval
        AUC of the network's score, clustered by patient.
    threshold : float or None
        Threshold fixed on the hold-out split.
    right : int or None
        Correct decisions at this threshold.
    n : int
        Cases with a score.
    against : StandaloneComparison or None
        Comparison with the readers; None if no case has an answer of every reader.
    decision_right : int or None
        Correct decisions where the decision is the more probable of the two classes, which advice
        states; None where the key holds no decision.
    decision_differs : int or None
        Cases in which the two decisions differ.
    """

    auc: AucInterval
    # Fixed on other cases: a threshold chosen on these cases would favour the network.
    threshold: float | None
    right: int | None
    n: int
    against: StandaloneComparison | None
    decision_right: int | None = None
    decision_differs: int | None = None

    def sentence(self) -> str:
        """Return the result as one sentence or two."""
        correct = (
            ""
            if self.right is None
            else f" Correct in {self.right} of {self.n} at the threshold fixed on hold-out."
        )
        return f"The network alone: {self.auc.sentence()}{correct}" + (
            f" {self.against.sentence()}" if self.against else ""
        )


@dataclass(frozen=True, kw_only=True)
class ReadingScore:
    """A scored reading study; the prespecified result is the first field after the design.

    Parameters
    ----------
    design : Design
        The frozen design.
    primary : PrimaryResult
        The prespecified analysis.
    proportion : Interval
        Proportion correct in the primary arm, with the one interval that is printed for it.
    missing_analyses : tuple of PrimaryResult
        The primary analysis under every other rule for missing answers; empty without missing ones.
    clusters : ClusteredProportion
        Proportion correct in the primary arm with patients as clusters.
    binomial, binomial_two_sided : BinomialTest
        Exact tests that assume independent answers.
    table : DiagnosticTable
        Answers against truth at the design's threshold; sensitivity, specificity and accuracy have
        intervals clustered by patient.
    permutation_p_greater : float or None
        One-sided P of the number of correct answers when truth is exchanged between patients.
    rules : tuple of RuleResult
        Result by each available truth rule.
    discrepant : tuple of dict
        Cases whose truth rules differ.
    roc : AucInterval
        AUC of the ratings over all readers.
    repeats : TextRepeats or None
        Agreement on repeated texts; None without texts.
    hidden_repeats : Interval
        Proportion of hidden repeats with the same binary answer as before.
    information : TextBaselines or None
        Information about truth in the texts; None without texts.
    network : NetworkResult
        The network on the same cases.
    arms, comparisons : tuple
        Each arm, and the first arm against each other arm.
    readers : tuple of ReaderResult
        Each reader.
    conduct : ReadingConduct
        Times, corrections, missing answers and trend.
    first_answers : PrimaryResult
        The primary analysis of the answers before corrections.
    patients : int
        Patients in the primary arm.
    simulated : bool
        Whether an answer is simulated.
    readers_auc : Interval or None
        Mean AUC over readers on the cases that all of them read (Obuchowski-Rockette, random
        readers and cases).
    synthetic : bool
        Whether the mammograms or the labels are simulated.
    looks : tuple of InterimLook
        The interim looks that were taken.
    advice : AdviceScore or None
        Reliance on the network's advice; None in a study without advice.
    questions : tuple of QuestionCounts
        Answers to the further questions by arm, and to the questionnaire.
    """

    design: Design
    primary: PrimaryResult
    proportion: Interval
    missing_analyses: tuple[PrimaryResult, ...]
    clusters: ClusteredProportion
    # Stated beside the primary analysis because the published study reports this test.
    binomial: BinomialTest
    binomial_two_sided: BinomialTest
    table: DiagnosticTable
    permutation_p_greater: float | None
    rules: tuple[RuleResult, ...]
    discrepant: tuple[dict[str, Any], ...]
    roc: AucInterval
    repeats: TextRepeats | None
    hidden_repeats: Interval
    information: TextBaselines | None
    network: NetworkResult
    arms: tuple[ArmScore, ...]
    comparisons: tuple[ArmComparison, ...]
    readers: tuple[ReaderResult, ...]
    conduct: ReadingConduct
    # A correction can follow from a later case, so the result without corrections is reported.
    first_answers: PrimaryResult
    patients: int
    simulated: bool = False
    readers_auc: Interval | None = None
    synthetic: bool = False
    looks: tuple[InterimLook, ...] = ()
    advice: AdviceScore | None = None
    questions: tuple[QuestionCounts, ...] = ()
