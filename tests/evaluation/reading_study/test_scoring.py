"""Scoring of reading studies: the published one, simulated ones, and the narrative."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from evaluation.reading_study import design_preset, score_study
from evaluation.reading_study.narrative import narrative
from evaluation.reading_study.timing import accuracy_trend


def simulated(
    readers: int = 3, patients: int = 120, skill: float = 1.0, seed: int = 0, shuffled: bool = True
):
    """Return answers and key of a study with one image per patient.

    Ratings follow truth with the strength `skill`; the shuffled arm carries no information; each
    reader has five hidden repeats.
    """
    rng = np.random.default_rng(seed)
    rows, answers, number = [], [], 0
    truth = rng.permutation(np.arange(patients) % 2 == 0)
    ease = rng.normal(size=patients)
    for arm, count in (("explanation", patients), ("shuffled", patients // 3 if shuffled else 0)):
        for k in range(count):
            number += 1
            rows.append(
                (
                    number,
                    f"m{k}",
                    f"p{k}",
                    arm,
                    (f"text {k % 60}", "b", "c"),
                    "malignant" if truth[k] else "benign",
                    0.3 + 0.4 * truth[k] + 0.2 * rng.normal(),
                    "malignant",
                )
            )
    key = pd.DataFrame(
        rows,
        columns=[
            "case_number",
            "mammogram_id",
            "patient_id",
            "arm",
            "texts",
            "truth",
            "network_score",
            "predicted",
        ],
    )
    for reader in range(readers):
        order = rng.permutation(len(key))
        for position, index in enumerate([*order, *order[:5]], start=1):
            row = key.iloc[index]
            k, signal = int(row["patient_id"][1:]), skill if row["arm"] == "explanation" else 0.0
            latent = signal * (truth[k] - 0.5) * 2 + 0.5 * ease[k] + rng.normal()
            answers.append(
                (
                    f"R{reader}",
                    position,
                    row["case_number"],
                    position > len(order),
                    int(np.clip(round(3.5 + 1.5 * latent), 1, 6)),
                    1 + (position == 3),
                    8.0 + rng.random(),
                    False,
                    True,
                )
            )
    names = [
        "code",
        "position",
        "case_number",
        "repeat",
        "answer",
        "revision",
        "seconds",
        "idle",
        "simulated",
    ]
    return pd.DataFrame(answers, columns=names), key


def test_published_study(published):
    key = pd.DataFrame(
        {
            "case_number": published["Case #"],
            "mammogram_id": published["Image Name"],
            "patient_id": published["patient"],
            "arm": "explanation",
            "texts": (
                published[
                    (
                        "DeepMiner Explanation_x"
                        if "DeepMiner Explanation_x" in published
                        else "DeepMiner Explanation"
                    )
                ].map(ast.literal_eval)
            ),
            "truth": np.where(published["prefix"], "malignant", "benign"),
            "network_score": published["prob"],
            "predicted": None,
            "folder": np.where(published["prefix"], "malignant", "benign"),
            "any_malignant": np.where(published["any"], "malignant", "benign"),
        }
    )
    answers = pd.DataFrame(
        {
            "code": "expert",
            "position": range(1, 331),
            "case_number": published["Case #"],
            "repeat": False,
            "answer": np.where(published["answer"], 2, 1),
        }
    )
    got = score_study(answers, key, design_preset("DeepMiner 2021"), threshold=0.5000001)
    assert (got.primary.correct, got.primary.n, round(got.primary.p_value, 4)) == (
        182,
        330,
        0.0346,
    ) and got.primary.significant
    assert (got.patients, round(got.clusters.design_effect, 2), got.binomial.critical_count) == (
        185,
        1.10,
        181,
    )
    assert [round(got.table.sensitivity.estimate, 3), round(got.table.specificity.estimate, 3)] == [
        0.582,
        0.521,
    ]
    assert (
        round(got.table.fisher_p_greater, 4) == 0.0387 and 0.03 < got.permutation_p_greater < 0.05
    )
    assert {rule.rule: rule.correct for rule in got.rules} == {"folder": 182, "any_malignant": 181}
    assert (
        got.repeats.ordered == 114
        and got.network.right == 209
        and round(got.network.auc.estimate, 3) == 0.697
    )
    text = narrative(got)
    for part in (
        "182 of 330",
        "185 patients",
        "P = .035",
        "better than chance",
        "proportion correct .552 (one-sided 95 % CI from .505",
        "does not generalise to readers",
        "any malignant 181 of 330",
        ".697",
    ):
        assert part in text, part
    clustered = score_study(answers, key, design_preset("DeepMiner 2021", primary="gee"))
    assert (
        # .051 with the large-sample variance, as published; the test has the small-sample one.
        round(clustered.clusters.gee_p_greater, 3) == 0.051
        and round(clustered.primary.p_value, 3) == 0.052
        and not clustered.primary.significant
        and "did not show" in narrative(clustered)
    )


def test_skilled_readers():
    answers, key = simulated()
    got = score_study(
        answers, key, design_preset("Recommended"), threshold=0.5, assigned=len(answers) + 2
    )
    assert (
        got.primary.significant
        and got.primary.estimate > 0.6
        and got.clusters.clusters == 120
        and got.clusters.n == 360
    )
    assert got.simulated and narrative(got).startswith("SIMULATED")
    assert (
        got.roc.estimate > 0.7
        and len(got.readers) == 3
        and all(reader.missing == 0 for reader in got.readers)
    )
    assert [arm.arm for arm in got.arms] == ["explanation", "shuffled"] and [
        arm.cases for arm in got.arms
    ] == [120, 40]
    comparison = got.comparisons[0]
    assert (
        comparison.pairs == 120
        and comparison.difference.low > 0
        and comparison.mcnemar.exact_p_value < 0.05
    )
    assert (
        comparison.mrmc.p_value is not None
        and comparison.sign_flip_p_two_sided < 0.05
        and "against" in comparison.sentence()
    )
    assert (
        got.conduct.missing == 2
        and got.conduct.corrections == 3
        and got.conduct.trend.low < 0 < got.conduct.trend.high
    )
    assert (
        got.conduct.repeats > 0
        and f"({got.conduct.repeats} of them to hidden repeats)" in got.conduct.sentence()
    )
    assert (
        got.hidden_repeats.estimate is not None
        and got.network.against.p_value is not None
        and got.network.right is not None
    )
    assert got.readers_auc.low < got.readers_auc.estimate < got.readers_auc.high
    text = narrative(got)
    assert (
        f"3 readers gave {got.primary.n} answers on texts of {got.patients} patients,"
        f" {got.primary.correct} of them correct (" in text
    )
    assert (
        "Mean AUC over readers" in text
        and "better than chance" in text
        and "treated as fixed" in text
        and "network" in text
    )


def test_primary_excludes_repeats_and_other_arms():
    answers, key = simulated()
    only = answers[~answers["repeat"] & (answers["case_number"] <= 120)]
    assert (
        score_study(only, key, design_preset("Recommended")).primary
        == score_study(answers, key, design_preset("Recommended")).primary
    )


def test_readers_without_skill():
    significant = 0
    for seed in range(12):
        answers, key = simulated(readers=1, patients=80, skill=0.0, seed=seed, shuffled=False)
        got = score_study(
            answers, key, design_preset("Recommended", arms=("explanation",)), simulated=False
        )
        significant += got.primary.significant
        if not got.primary.significant:
            assert "did not show" in narrative(
                got
            ) and "not establish that the texts are uninformative" in narrative(got)
    assert significant <= 3


def test_first_answers():
    answers, key = simulated(readers=1)
    first = answers.assign(answer=7 - answers["answer"])
    got = score_study(answers, key, design_preset("Recommended"), first_answers=first)
    assert got.first_answers.correct == got.primary.n - got.primary.correct


def test_missing_answers_and_single_class():
    answers, key = simulated(readers=2)
    partial = answers[answers["position"] <= 50]
    got = score_study(partial, key, design_preset("Recommended"))
    missing = sum(reader.missing for reader in got.readers)
    assert got.primary.missing == missing > 0
    assert f"Missing answers: {missing}, left out as prespecified" in narrative(got)
    assert "the protocol planned 3 readers" in narrative(got)  # two read
    none = score_study(answers.iloc[:0], key, design_preset("Recommended"))
    assert (
        none.primary.p_value is None
        and none.primary.reason
        and "there is no result" in narrative(none)
    )
    malignant = key[(key["truth"] == "malignant")]
    one = score_study(
        answers[answers["case_number"].isin(malignant["case_number"])],
        malignant,
        design_preset("Recommended"),
    )
    assert (
        one.roc.estimate is None
        and one.permutation_p_greater is None
        and one.table.specificity.reason
    )
    assert narrative(one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, k: (pd.concat([a, a.iloc[:1]]), k), "twice"),
        (lambda a, k: (a.assign(answer=7), k), "with 7; answers are 1 to 6"),
        (lambda a, k: (a.assign(case_number=a["case_number"] + 1000), k), "not in the key"),
        (lambda a, k: (a, pd.concat([k, k.iloc[:1]])), "The key holds case"),
        (lambda a, k: (a.drop(columns="answer"), k), "lacks the column 'answer'"),
        (lambda a, k: (a, k.drop(columns="truth")), "lacks the column 'truth'"),
    ],
)
def test_inconsistent_input(change, message):
    with pytest.raises(UserError, match=message):
        score_study(*change(*simulated(readers=1)), design_preset("Recommended"))


def read_along(is_correct, readers: int = 1, arms=("explanation",), n: int = 40) -> pd.DataFrame:
    """Return answers along the order; the arms alternate."""
    return pd.DataFrame(
        [
            {
                "code": f"R{k}",
                "arm": arms[i % len(arms)],
                "position": i + 6,
                "correct": is_correct(k, i),
                "patient_id": f"P{i % 23}",
            }
            for k in range(readers)
            for i in range(n)
        ]
    )


@pytest.mark.parametrize("readers", [1, 3])
def test_no_trend_without_variation(readers):
    for answer, reason in ((True, "all answers are right"), (False, "all answers are wrong")):
        trend = accuracy_trend(read_along(lambda k, i, answer=answer: answer, readers))
        assert (trend.estimate, trend.low, trend.high, trend.reason) == (None, None, None, reason)
    # All answers of one arm are right and all of the other wrong: there is no trend within arms.
    arms = accuracy_trend(
        read_along(
            lambda k, i: i % 3 > 0, readers, ("explanation", "explanation", "shuffled")[::-1]
        )
    )
    assert arms.estimate is None and "all right or all wrong" in arms.reason
    alike = accuracy_trend(read_along(lambda k, i: k % 2 == 0, 2))
    assert alike.estimate is None and "all right or all wrong" in alike.reason


def test_trend_within_arms():
    trend = accuracy_trend(read_along(lambda k, i: i % 5 > 0 if i >= 20 else i % 3 == 0, 3))
    assert 0 < trend.low < trend.estimate < trend.high <= 1 and trend.reason is None
    # The line through a step from 25 % to 100 % correct leaves the range of a proportion.
    steep = accuracy_trend(read_along(lambda k, i: i >= 20 or i % 4 == 0, 3))
    assert steep.estimate is None and "leaves the range" in steep.reason
    # A more difficult arm at the start is not learning.
    mixed = read_along(lambda k, i: (i % 2 == 0) if i < 20 else (i % 4 != 0), 2).assign(
        arm=lambda t: np.where(t["position"] < 26, "shuffled", "explanation")
    )
    assert (
        accuracy_trend(mixed.drop(columns="arm")).estimate > 0.25
        and abs(accuracy_trend(mixed).estimate) < 0.2
    )


@pytest.mark.parametrize("primary", ["gee", "sign_flip", "exact_binomial"])
def test_reason_is_given_once(primary):
    answers, key = simulated(readers=1, shuffled=False)
    truth = key.set_index("case_number")["truth"]
    right = answers.assign(
        answer=[6 if truth[number] == "malignant" else 1 for number in answers["case_number"]]
    )
    got = score_study(
        right, key, design_preset("Recommended", arms=("explanation",), primary=primary)
    )
    text = narrative(got)
    assert (
        text.count("all answers are right") == 1
        and "no reason recorded" not in text
        and ": –" not in text
    )
    if primary == "gee":
        # A bound by the number of patients, although the variance is 0.
        assert "Prespecified analysis: proportion correct 1.000 (one-sided 95 % CI from ." in text
        assert "distinguished malignant from benign cases better than chance." in text
        assert "Intraclass correlation and design effect not estimable: all answers" in text
    if primary == "sign_flip":
        assert (
            "Prespecified analysis: proportion correct 1.000 (one-sided 95 % CI from ." in text
            and "better than chance" in text
        )


def test_one_image_per_patient():
    answers, key = simulated(readers=1, patients=8, shuffled=False)
    text = narrative(score_study(answers, key, design_preset("Recommended", arms=("explanation",))))
    assert (
        "No patient has two answers: clustering plays no part (the design effect, 1.14, is the"
        " variance's small-sample factor)." in text
    )
