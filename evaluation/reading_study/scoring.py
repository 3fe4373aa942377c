"""Scoring of a closed reading study: the prespecified analysis and its sensitivity analyses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from evaluation.clustered import ClusteredProportion, clustered_proportion
from evaluation.intervals import Interval
from evaluation.mrmc import compare_with_standalone, obuchowski_rockette
from evaluation.permutation import PatientPermutations
from evaluation.proportion import exact_binomial_test, proportion_interval
from evaluation.reading_study.advice.question_summary import count_question_answers
from evaluation.reading_study.advice.reliance import score_advice
from evaluation.reading_study.arms import arm_scores, compare_arms
from evaluation.reading_study.design import NO_ADVICE, TRUTH_RULES, UNPROVEN, Design
from evaluation.reading_study.joined_answers import join_answers, primary_rows
from evaluation.reading_study.primary import (
    MISSING_NAMES,
    InterimLook,
    PrimaryResult,
    analysed_answers,
    primary_analysis,
    stopping_look,
)
from evaluation.reading_study.results import (
    NetworkResult,
    ReaderResult,
    ReadingScore,
    RuleResult,
)
from evaluation.reading_study.text_information import (
    TextBaselines,
    TextRepeats,
    text_baselines,
    text_repeats,
)
from evaluation.reading_study.timing import summarize_conduct
from evaluation.roc import auc_interval
from evaluation.roc.diagnostic import operating_point


def score_study(
    answers: pd.DataFrame,
    key: pd.DataFrame,
    design: Design,
    first_answers: pd.DataFrame | None = None,
    threshold: float | None = None,
    assigned: int | None = None,
    simulated: bool | None = None,
    synthetic: bool = False,
    looks: tuple[InterimLook, ...] = (),
    stages: pd.DataFrame | None = None,
) -> ReadingScore:
    """Score a closed reading study.

    The primary analysis uses the design's first arm without hidden repeats.

    Parameters
    ----------
    answers : DataFrame
        Latest answers with code, case_number, repeat (bool) and answer (1 to scale); optional:
        position, seconds, idle, revision, made, simulated. In a study with advice also unaided, see
        `advice.first_stages.with_first_stages`.
    key : DataFrame
        The sealed key with the columns `design.KEY_COLUMNS` and any truth rules.
    design : Design
        The frozen design.
    first_answers : DataFrame, optional
        Answers before corrections; default `answers`.
    threshold : float, optional
        The network's threshold, fixed on the hold-out split.
    assigned : int, optional
        Number of expected answers.
    simulated : bool, optional
        Whether answers are simulated; default: the column simulated decides.
    synthetic : bool
        Whether the mammograms or the labels are simulated.
    looks : tuple of InterimLook
        The interim looks that were taken. One that stopped the study gives the level of the test.
    stages : DataFrame, optional
        What readers entered beside their answers, see `advice.question_summary`.

    Returns
    -------
    ReadingScore

    Raises
    ------
    UserError
        If a column is missing, a case is answered twice or not in the key, or an answer is not on
        the scale.

    Examples
    --------
    >>> import pandas as pd
    >>> key = pd.DataFrame({
    ...     "case_number": [1, 2, 3, 4], "patient_id": list("abcd"), "arm": "explanation",
    ...     "texts": [("Mass",), ("Skin",), ("Mass",), ("Vessel",)],
    ...     "truth": ["malignant", "benign"] * 2, "network_score": [0.9, 0.2, 0.4, 0.6],
    ... })
    >>> answers = pd.DataFrame({
    ...     "code": "R1", "case_number": [1, 2, 3, 4], "repeat": False, "answer": [6, 2, 3, 1],
    ... })
    >>> result = score_study(answers, key, Design(arms=("explanation",)))
    >>> result.primary.correct, result.primary.n, result.roc.estimate
    (3, 4, 1.0)
    """
    joined = join_answers(answers, key, design)
    primary = primary_rows(joined, design)
    stopped_at = stopping_look(looks)
    result = primary_analysis(joined, key, design, look_number=stopped_at)
    # Other tests of the proportion correct repeat that of the primary analysis on its answers.
    tested, _ = analysed_answers(joined, key, design, design.missing_answers, stopped_at)
    tested = tested[tested["arm"] == design.arms[0]]
    correct = tested["correct"].to_numpy(dtype=bool)
    level = 1 - design.alpha
    first = joined if first_answers is None else join_answers(first_answers, key, design)
    clusters = clustered_proportion(correct, tested["patient_id"].to_numpy(), level=level)
    # One simulated answer suffices: a mixture is not a result about people.
    flagged = bool("simulated" in answers.columns and answers["simulated"].fillna(False).any())
    return ReadingScore(
        design=design,
        primary=result,
        proportion=_overall_proportion(result, clusters),
        missing_analyses=_missing_analyses(joined, key, design, result),
        clusters=clusters,
        **_proportion_tests(tested, level),
        **_answers_against_truth(primary, design),
        rules=_rule_results(primary, design.positive, level),
        discrepant=_discrepant_cases(primary),
        repeats=_text_repeats(primary),
        hidden_repeats=_hidden_repeat_agreement(joined, level),
        information=_text_baselines(primary, design.seed),
        network=_network_result(primary, threshold, design),
        arms=arm_scores(joined, design),
        comparisons=compare_arms(joined, design),
        readers=_reader_results(primary, key, design),
        conduct=summarize_conduct(joined, assigned, level),
        first_answers=(
            result
            if first is joined
            else primary_analysis(first, key, design, look_number=stopped_at)
        ),
        patients=int(primary["patient_id"].nunique()),
        simulated=flagged if simulated is None else simulated,
        readers_auc=_mean_reader_auc(primary, level),
        synthetic=synthetic,
        looks=looks,
        advice=None if design.advice == NO_ADVICE else score_advice(joined, design),
        questions=() if stages is None else count_question_answers(stages, key, design),
    )


def _proportion_tests(tested: pd.DataFrame, level: float) -> dict[str, Any]:
    """Return the tests of the proportion correct, by field of the score."""
    correct, n = int(tested["correct"].sum()), len(tested)
    return {
        "binomial": exact_binomial_test(correct, n, level=level),
        "binomial_two_sided": exact_binomial_test(correct, n, alternative="two-sided", level=level),
        "permutation_p_greater": _permutation_p(tested),
    }


def _answers_against_truth(primary: pd.DataFrame, design: Design) -> dict[str, Any]:
    """Return the table of answers against truth and the ROC analysis, by field of the score."""
    level = 1 - design.alpha
    # Readers and images of one patient are correlated, so patients are the clusters (Obuchowski
    # 1997).
    truth, patients = primary["malignant"].to_numpy(dtype=bool), primary["patient_id"].to_numpy()
    point = operating_point(
        truth, primary["answer"], design.threshold, patients, level, "of the design"
    )
    return {
        "table": point.table,
        "roc": auc_interval(truth, primary["answer"], patients, level=level),
    }


def _overall_proportion(result: PrimaryResult, clusters: ClusteredProportion) -> Interval:
    """Return the proportion correct in the primary arm with the one interval that is printed.

    It is that of the primary analysis where that is of the proportion correct.
    """
    if result.endpoint == "proportion" and result.low is not None:
        return Interval(
            estimate=result.estimate,
            low=result.low,
            high=result.high,
            level=result.level,
            method=result.method,
            reason=result.reason,
            unit=result.unit,
        )
    return _korn_graubard(clusters)


def _missing_analyses(
    joined: pd.DataFrame, key: pd.DataFrame, design: Design, result: PrimaryResult
) -> tuple[PrimaryResult, ...]:
    """Return the primary analysis under every other rule for missing answers."""
    if not result.missing:
        return ()
    return tuple(
        primary_analysis(joined, key, design, missing_rule=rule)
        for rule in MISSING_NAMES
        if rule != result.missing_rule
    )


def _permutation_p(answers: pd.DataFrame) -> float | None:
    """Return the one-sided P of the number of correct answers under exchange of truth.

    The margins of the table are fixed by design, so a permutation test is the appropriate test of
    independence.
    """
    truth, called = (
        answers[name].to_numpy(dtype=bool) for name in ("malignant", "called_malignant")
    )
    patients = answers["patient_id"].to_numpy()
    # With one class every permutation yields the same count.
    if not len(truth) or truth.all() or not truth.any():
        return None
    tests = PatientPermutations(patients, 1)
    return tests.p_value(
        float((truth == called).sum()),
        (tests.permuted_truth(truth) == called).sum(axis=1).astype(float),
    )


def _rule_results(primary: pd.DataFrame, positive: str, level: float) -> tuple[RuleResult, ...]:
    results = []
    for rule in TRUTH_RULES:
        if rule not in primary.columns or primary[rule].isna().all():
            continue
        # Unproven cases have no truth by this rule; they are counted separately.
        proven = primary[primary[rule].notna() & (primary[rule] != UNPROVEN)]
        correct = int(((proven[rule] == positive) == proven["called_malignant"]).sum())
        differs = primary[rule].fillna("") != primary["truth"]
        results.append(
            RuleResult(
                rule=rule,
                n=len(proven),
                correct=correct,
                unproven=int((primary[rule] == UNPROVEN).sum()),
                differing=int(primary[differs]["case_number"].nunique()),
                binomial=exact_binomial_test(correct, len(proven), level=level),
            )
        )
    return tuple(results)


def _discrepant_cases(primary: pd.DataFrame) -> tuple[dict[str, Any], ...]:
    rules = [
        rule for rule in TRUTH_RULES if rule in primary.columns and primary[rule].notna().any()
    ]
    if len(rules) < 2:
        return ()
    # Normal (None) by one rule and a class by another is a difference, too.
    differs = primary[rules].nunique(axis=1, dropna=False) > 1
    cases = primary[differs].drop_duplicates("case_number")
    columns = [name for name in ("case_number", "mammogram_id", *rules) if name in cases.columns]
    return tuple(cases[columns].to_dict("records"))


def _hidden_repeat_agreement(joined: pd.DataFrame, level: float) -> Interval:
    """Return the proportion of hidden repeats with the same binary answer as the first time."""
    pairs = joined[joined["repeat"]].merge(
        joined[~joined["repeat"]], on=["code", "case_number"], suffixes=("_again", "")
    )
    same = int((pairs["called_malignant_again"] == pairs["called_malignant"]).sum())
    # Wilson: repeats are few and agreement is often near 1 (Brown et al. 2001).
    return proportion_interval(same, len(pairs), "wilson", level)


def _text_repeats(primary: pd.DataFrame) -> TextRepeats | None:
    if not primary["texts"].map(len).any():
        return None
    return text_repeats(primary["texts"].tolist(), primary["called_malignant"].tolist())


def _text_baselines(primary: pd.DataFrame, seed: int) -> TextBaselines | None:
    # Several readers answer on the same text; each text counts once.
    cases = primary.drop_duplicates("case_number")
    if not cases["texts"].map(len).any():
        return None
    return text_baselines(
        cases["texts"].tolist(),
        cases["malignant"].to_numpy(dtype=bool),
        cases["patient_id"].to_numpy(),
        seed,
    )


def _network_result(
    primary: pd.DataFrame, threshold: float | None, design: Design
) -> NetworkResult:
    cases = primary.drop_duplicates("case_number").dropna(subset=["network_score"])
    truth = cases["malignant"].to_numpy(dtype=bool)
    scores = cases["network_score"].to_numpy(dtype=float)
    ratings = primary.pivot_table(index="code", columns="case_number", values="answer").reindex(
        columns=cases["case_number"]
    )
    # Only cases that every reader read can be compared with the network.
    is_complete = ratings.notna().all(axis=0).to_numpy()
    comparison = None
    if is_complete.any() and len(ratings):
        comparison = compare_with_standalone(
            ratings.to_numpy()[:, is_complete],
            scores[is_complete],
            truth[is_complete],
            "rrrc" if len(ratings) > 1 else "frrc",
            cluster=cases["patient_id"].to_numpy()[is_complete],
        )
    return NetworkResult(
        auc=auc_interval(truth, scores, cases["patient_id"].to_numpy()),
        threshold=threshold,
        right=None if threshold is None else int(((scores >= threshold) == truth).sum()),
        **_decision_counts(cases, scores, threshold, design),
        n=len(cases),
        against=comparison,
    )


def _decision_counts(
    cases: pd.DataFrame, scores: np.ndarray, threshold: float | None, design: Design
) -> dict[str, int | None]:
    """Return how often the decision that the key states is right, by field of the result."""
    if "predicted" not in cases.columns or cases["predicted"].isna().any():
        return {}
    decided = (cases["predicted"] == design.positive).to_numpy(dtype=bool)
    truth = cases["malignant"].to_numpy(dtype=bool)
    return {
        "decision_right": int((decided == truth).sum()),
        "decision_differs": (
            None if threshold is None else int((decided != (scores >= threshold)).sum())
        ),
    }


def _mean_reader_auc(primary: pd.DataFrame, level: float) -> Interval | None:
    """Return the mean AUC over readers on the cases that all of them read."""
    ratings = primary.pivot_table(index="code", columns="case_number", values="answer")
    # The Obuchowski-Rockette analysis needs a complete table of readers and cases.
    ratings = ratings.dropna(axis=1)
    if ratings.empty:
        return None
    facts = primary.drop_duplicates("case_number").set_index("case_number").loc[ratings.columns]
    # One modality: the analysis then yields the mean AUC with both random effects.
    result = obuchowski_rockette(
        ratings.to_numpy()[None],
        facts["malignant"].to_numpy(dtype=bool),
        "rrrc",
        level=level,
        cluster=facts["patient_id"].to_numpy(),
    )
    return result.modality_means[0] if result.modality_means else None


def _reader_results(
    primary: pd.DataFrame, key: pd.DataFrame, design: Design
) -> tuple[ReaderResult, ...]:
    expected = int((key["arm"] == design.arms[0]).sum())
    return tuple(
        ReaderResult(
            code=str(code),
            n=len(rows),
            correct=int(rows["correct"].sum()),
            missing=expected - len(rows),
            share=_proportion_correct(rows, 1 - design.alpha),
            auc=auc_interval(
                rows["malignant"].to_numpy(dtype=bool),
                rows["answer"],
                rows["patient_id"].to_numpy(),
            ),
        )
        for code, rows in primary.groupby("code")
    )


def _proportion_correct(rows: pd.DataFrame, level: float) -> Interval:
    return _korn_graubard(
        clustered_proportion(
            rows["correct"].to_numpy(dtype=bool), rows["patient_id"].to_numpy(), level=level
        )
    )


def _korn_graubard(result: ClusteredProportion) -> Interval:
    # An exact interval at the effective sample size, for few patients.
    return Interval(
        estimate=result.estimate,
        low=result.korn_graubard_low,
        high=result.korn_graubard_high,
        level=result.level,
        method="Korn-Graubard",
        reason=result.reason if result.korn_graubard_low is None else None,
        unit="patient",
    )
