"""Every field of a score, counted by hand or by another library on one small study."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
import scipy
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from evaluation.permutation import PatientPermutations
from evaluation.reading_study import design_preset, score_study, scoring
from evaluation.reading_study.primary import InterimLook
from evaluation.reading_study.results import ReadingScore
from support.hand_counted_study import ANSWERS, B, M, hand_counted_answers, hand_counted_key

LOOK = InterimLook(number=1, information=0.5, answers=7, boundary=0.01, stops=False)


DESIGN = design_preset("Recommended", alpha=0.1, primary="gee")


@pytest.fixture(scope="module")
def score() -> ReadingScore:
    answers = hand_counted_answers()
    return score_study(answers, hand_counted_key(), DESIGN, threshold=0.5, assigned=26)


@pytest.fixture(scope="module")
def other() -> ReadingScore:
    """The same answers with corrections, a flag, a look, and without threshold and assignment."""
    answers = hand_counted_answers().assign(simulated=[None] * 20 + [True])
    first = answers.assign(answer=answers["answer"].where(answers["position"] != 1, 1))
    settings = {"first_answers": first, "synthetic": True, "looks": (LOOK,)}
    return score_study(answers, hand_counted_key(), DESIGN, **settings)


def concordance(positive: Iterable[float], negative: Iterable[float]) -> float:
    """Return the share of pairs in the right order, ties as one half."""
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    return sum(pairs) / len(pairs)


def test_counts_against_truth(score: ReadingScore) -> None:
    primary, table = score.primary, score.table
    assert (primary.correct, primary.n, primary.missing, primary.filled) == (9, 13, 1, 0)
    assert (table.tp, table.fn, table.fp, table.tn) == (6, 2, 2, 3)
    assert (score.clusters.successes, score.clusters.n, score.clusters.clusters) == (9, 13, 6)
    assert score.patients == 6 and score.proportion.estimate == primary.estimate
    assert (score.proportion.low, score.proportion.high) == (primary.low, primary.high)
    assert (score.proportion.method, score.proportion.unit) == (primary.method, "patient")
    # The other rule counts the missing answer of R2 to the benign case 7 as wrong or as right.
    wrong, right = score.missing_analyses
    assert (wrong.missing_rule, right.missing_rule) == ("counted_wrong", "counted_correct")
    assert (wrong.correct, wrong.n, wrong.filled) == (9, 14, 1)
    assert (right.correct, right.n, right.filled) == (10, 14, 1)


def test_tests_of_the_proportion(score: ReadingScore) -> None:
    one = scipy.stats.binomtest(9, 13, alternative="greater").pvalue
    two = scipy.stats.binomtest(9, 13).pvalue
    assert score.binomial.p_value == pytest.approx(one)
    assert (score.binomial.alternative, score.binomial.level) == ("greater", 0.9)
    assert score.binomial_two_sided.p_value == pytest.approx(two)
    assert (score.binomial_two_sided.alternative, score.binomial_two_sided.level) == (
        "two-sided",
        0.9,
    )
    # Each draw exchanges the truth of whole patients; the seed of this test is 1.
    answers = hand_counted_answers().merge(hand_counted_key(), on="case_number")
    rows = answers[(answers["arm"] == "explanation") & ~answers["repeat"]]
    truth, called = (rows["truth"] == M).to_numpy(), (rows["answer"] >= 4).to_numpy()
    drawn = PatientPermutations(rows["patient_id"].to_numpy(), 1).permuted_truth(truth)
    counts = [int((row == called).sum()) for row in drawn]
    expected = (1 + sum(count >= 9 for count in counts)) / (1 + len(counts))
    assert score.permutation_p_greater == pytest.approx(expected)


def test_areas(score: ReadingScore, other: ReadingScore) -> None:
    key = hand_counted_key()[:7]
    both = [(a, t) for given in ANSWERS.values() for a, t in zip(given, key["truth"]) if a]
    area = concordance([a for a, t in both if t == M], [a for a, t in both if t == B])
    assert score.roc.estimate == pytest.approx(area)
    assert (score.roc.positives, score.roc.negatives, score.roc.clusters) == (8, 5, 6)
    assert score.roc.level == 0.9
    # Both readers read the cases 1 to 6: R1 orders all 8 pairs, R2 5.5 of them.
    assert score.readers_auc.estimate == pytest.approx((1 + 5.5 / 8) / 2)
    assert score.readers_auc.level == 0.9
    network = score.network
    assert network.auc.estimate == pytest.approx(
        roc_auc_score(key["truth"] == M, key["network_score"])
    )
    assert (network.auc.clusters, network.auc.level, network.n, network.threshold) == (
        *(6, 0.95),
        *(7, 0.5),
    )
    # At the threshold the cases 2, 5 and 7 are wrong, by the more probable class 2 and 7.
    assert (network.right, network.decision_right, network.decision_differs) == (4, 5, 1)
    assert network.against.standalone_auc == pytest.approx(7 / 8)
    assert network.against.difference == pytest.approx((1 + 5.5 / 8) / 2 - 7 / 8)
    assert (network.against.design, network.against.level) == ("rrrc", 0.95)
    without = other.network
    assert (without.right, without.decision_right, without.decision_differs) == (None, 5, None)


def test_truth_rules(score: ReadingScore) -> None:
    counts = [(r.rule, r.n, r.correct, r.unproven, r.differing) for r in score.rules]
    assert counts == [
        ("folder", 10, 8, 2, 3),
        ("first_abnormality", 13, 7, 0, 1),
        ("any_malignant", 13, 9, 0, 0),
    ]
    assert [(r.binomial.successes, r.binomial.trials, r.binomial.level) for r in score.rules] == [
        (8, 10, 0.9),
        (7, 13, 0.9),
        (9, 13, 0.9),
    ]
    assert [r.binomial.p_value for r in score.rules] == pytest.approx(
        [scipy.stats.binom.sf(x - 1, n, 0.5) for x, n in ((8, 10), (7, 13), (9, 13))]
    )
    names = ("case_number", "mammogram_id", "folder", "first_abnormality", "any_malignant")
    assert [tuple(case) for case in score.discrepant] == [names] * 4
    assert [
        tuple(None if pd.isna(v) else v for v in case.values()) for case in score.discrepant
    ] == [
        (2, "m2", B, M, M),
        (4, "m4", M, B, M),
        (5, "m5", "unproven", B, B),
        (7, "m7", None, B, B),
    ]
    assert score.rules[0].sentence() == (
        f"Truth by folder (2 unproven left out): {score.rules[0].binomial.sentence()}"
    )
    assert score.rules[2].sentence() == (
        f"Truth by any malignant: {score.rules[2].binomial.sentence()}"
    )


def test_hidden_repeats(score: ReadingScore) -> None:
    # R1 changes case 6; the cases 2 and 4 remain malignant.
    low, high = proportion_confint(2, 3, alpha=0.1, method="wilson")
    repeats = score.hidden_repeats
    assert (repeats.estimate, repeats.level, repeats.method) == (2 / 3, 0.9, "wilson")
    assert (repeats.low, repeats.high) == pytest.approx((low, high))


def test_arms_and_their_comparison(score: ReadingScore) -> None:
    arms = [(a.arm, a.cases, a.clusters.successes, a.clusters.n) for a in score.arms]
    assert arms == [("explanation", 7, 9, 13), ("shuffled", 3, 3, 5)]
    assert {a.clusters.level for a in score.arms} == {0.9}
    (pair,) = score.comparisons
    assert (pair.first, pair.second, pair.pairs) == ("explanation", "shuffled", 5)
    # Better in the first arm: R1 on m1, R2 on m3; worse: R1 on m3.
    assert (pair.mcnemar.b, pair.mcnemar.c) == (2, 1)
    assert pair.difference.estimate == pytest.approx(1 / 5) and pair.difference.level == 0.9
    # Summed by patient only p1 differs.
    assert pair.sign_flip_p_two_sided == pair.adjusted_p_two_sided == 1
    # Both readers read m1 and m3 twice, which are malignant.
    assert pair.mrmc is not None and pair.mrmc.difference is None


def test_readers(score: ReadingScore) -> None:
    first, second = score.readers
    assert (first.code, first.n, first.correct, first.missing) == ("R1", 7, 5, 0)
    assert (second.code, second.n, second.correct, second.missing) == ("R2", 6, 4, 1)
    assert (first.share.estimate, second.share.estimate) == (5 / 7, 4 / 6)
    assert (first.share.level, first.share.method, first.share.unit) == (
        *(0.9, "Korn-Graubard"),
        "patient",
    )
    assert first.auc.estimate == pytest.approx(concordance([5, 6, 3, 4], [2, 1, 5]))
    assert second.auc.estimate == pytest.approx(concordance([4, 2, 5, 6], [4, 3]))
    assert (first.auc.clusters, second.auc.clusters, first.auc.level) == (6, 5, 0.95)
    assert first.sentence() == (
        f"Reader R1: 5 of 7 correct, {first.share.sentence()}; {first.auc.sentence()}"
    )


def test_texts_of_the_cases(score: ReadingScore) -> None:
    repeats = score.repeats
    assert (repeats.ordered, repeats.unordered, repeats.labels_used) == (5, 4, 5)
    # Answers by text: T T F T; T F; T T T; F T; F F.
    assert (repeats.same_answer_pairs, repeats.pairs) == (3 + 0 + 3 + 0 + 1, 6 + 1 + 3 + 1 + 1)
    assert repeats.sentence() == (
        "5 distinct texts (4 ignoring the order of their labels) made of 5 labels; 7 of 12 pairs of"
        " cases with the same text got the same answer."
    )
    assert dataclasses.replace(repeats, pairs=0).sentence().endswith("made of 5 labels.")
    texts = score.information
    # The two cases of Calcification differ in truth; the word suspicious is wrong in case 5.
    assert (texts.n, texts.in_sample_ceiling, texts.keyword_correct) == (7, 6, 6 * 0.5)
    assert texts.leave_one_patient_out_correct == left_out_correct()
    tests = PatientPermutations(hand_counted_key()["patient_id"][:7].to_numpy(), 1)
    drawn = tests.permuted_truth((hand_counted_key()["truth"][:7] == M).to_numpy())
    # The cases of each text; a rule answers them alike, for the more frequent truth.
    groups = ([0, 2], [1], [3, 6], [4], [5])
    ceilings = sum(
        np.maximum(drawn[:, cases].sum(axis=1), (~drawn[:, cases]).sum(axis=1)) for cases in groups
    )
    assert texts.ceiling_null_mean == pytest.approx(np.mean(ceilings))
    assert texts.ceiling_null_p == pytest.approx((1 + (ceilings >= 6).sum()) / (1 + len(drawn)))
    assert texts.as_dict() == {
        "leave_one_patient_out_correct": texts.leave_one_patient_out_correct,
        "in_sample_ceiling": 6,
        "ceiling_null_p": texts.ceiling_null_p,
    }
    fixed = dataclasses.replace(
        texts, leave_one_patient_out_correct=4, ceiling_null_p=0.25, ceiling_null_mean=5.4
    )
    assert fixed.sentence() == (
        "A text classifier, tested on patients left out, is correct in 4 of 7 cases; no rule on"
        " these texts can be correct in more than 6, and 5 would be reached on average if the texts"
        " were uninformative (patient permutation, P = .250); following the verdict words alone is"
        " correct in 3."
    )


def left_out_correct() -> int:
    """Count the right decisions of naive Bayes without the patient's own cases, literally."""
    key = hand_counted_key()[:7]
    vocabulary = sorted({label for text in key["texts"] for label in text})
    correct = 0
    for case in key.itertuples():
        scores = []
        for truth in (M, B):
            others = key[(key["truth"] == truth) & (key["patient_id"] != case.patient_id)]
            shown = [label for text in others["texts"] for label in text]
            total = len(shown) + len(vocabulary)
            scores.append(sum(np.log((shown.count(label) + 1) / total) for label in case.texts))
        correct += (scores[0] - scores[1] > 1e-12) == (case.truth == M)
    return correct


def test_conduct_and_declarations(score: ReadingScore, other: ReadingScore) -> None:
    conduct = score.conduct
    assert (conduct.answers, conduct.repeats, conduct.missing) == (21, 3, 26 - 21)
    assert conduct.trend.level == 1 - DESIGN.alpha == 0.9 and other.conduct.missing is None
    assert (score.simulated, score.synthetic, score.looks) == (False, False, ())
    # One simulated answer suffices.
    assert (other.simulated, other.synthetic, other.looks) == (True, True, (LOOK,))
    assert (score.advice, score.questions) == (None, ())
    assert score.first_answers is score.primary
    # The first answers of both readers to the malignant case 1 were benign.
    assert (other.first_answers.correct, other.primary.correct) == (7, 9)


def test_a_declaration_goes_before_the_flags_of_the_answers() -> None:
    answers = hand_counted_answers().assign(simulated=True)
    key = hand_counted_key().drop(columns="mammogram_id")
    assert score_study(answers, key, DESIGN, simulated=False).simulated is False


def test_a_key_without_every_decision_counts_none() -> None:
    scores, design = np.array([0.2, 0.7]), DESIGN
    cases = pd.DataFrame({"malignant": [False, True]})
    assert scoring._decision_counts(cases, scores, 0.5, design) == {}
    partly = cases.assign(predicted=[None, M])
    assert scoring._decision_counts(partly, scores, 0.5, design) == {}
    whole = cases.assign(predicted=[M, M])
    counts = scoring._decision_counts(whole, scores, 0.5, design)
    assert counts == {"decision_right": 1, "decision_differs": 1}
    without = scoring._decision_counts(whole, scores, None, design)
    assert without == {"decision_right": 1, "decision_differs": None}
