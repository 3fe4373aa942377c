"""Scoring a reading study: the published one through the general path, simulated ones, and the
paragraph's restraint.
"""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from evaluation.reading_study import preset, score
from evaluation.reading_study.timing import trend


def simulated(
    readers: int = 3, patients: int = 120, skill: float = 1.0, seed: int = 0, shuffled: bool = True
):
    """One image a patient; readers' ratings follow truth by `skill`; a shuffled arm without
    information; some hidden repeats.
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


def test_published_study_through_the_general_path(published):
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
            "answer": np.where(published["said"], 2, 1),
        }
    )
    got = score(answers, key, preset("DeepMiner 2021"), threshold=0.5000001)
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
    words = got.paragraph()
    for part in (
        "182 of 330",
        "185 patients",
        "P = .035",
        "includes chance",
        "does not generalise to readers",
        "any malignant 181 of 330",
        ".697",
    ):
        assert part in words, part
    clustered = score(answers, key, preset("DeepMiner 2021", primary="gee"))
    assert (
        round(clustered.primary.p_value, 3) == 0.051
        and not clustered.primary.significant
        and "did not show" in clustered.paragraph()
    )


def test_a_skilled_study():
    answers, key = simulated()
    got = score(answers, key, preset("Recommended"), threshold=0.5, assigned=len(answers) + 2)
    assert (
        got.primary.significant
        and got.primary.estimate > 0.6
        and got.clusters.clusters == 120
        and got.clusters.n == 360
    )
    assert got.simulated and got.paragraph().startswith("SIMULATED")
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
    words = got.paragraph()
    assert (
        f"3 readers gave {got.primary.n} answers on texts of {got.patients} patients,"
        f" {got.primary.correct} of them right (" in words
    )
    assert (
        "Mean AUC over readers" in words
        and "better than chance" in words
        and "treated as fixed" in words
        and "network" in words
    )


def test_hidden_repeats_and_other_arms_do_not_count_in_the_primary():
    answers, key = simulated()
    only = answers[~answers["repeat"] & (answers["case_number"] <= 120)]
    assert (
        score(only, key, preset("Recommended")).primary
        == score(answers, key, preset("Recommended")).primary
    )


def test_no_skill_is_not_sold():
    significant = 0
    for seed in range(12):
        answers, key = simulated(readers=1, patients=80, skill=0.0, seed=seed, shuffled=False)
        got = score(answers, key, preset("Recommended", arms=("explanation",)), simulated=False)
        significant += got.primary.significant
        if not got.primary.significant:
            assert (
                "did not show" in got.paragraph()
                and "does not show that the texts carry nothing" in got.paragraph()
            )
    assert significant <= 3


def test_first_answers_beside_corrected_ones():
    answers, key = simulated(readers=1)
    first = answers.assign(answer=7 - answers["answer"])
    got = score(answers, key, preset("Recommended"), first_answers=first)
    assert got.first_answers.correct == got.primary.n - got.primary.correct


def test_missing_answers_one_class_and_none_at_all():
    answers, key = simulated(readers=2)
    partial = answers[answers["position"] <= 50]
    got = score(partial, key, preset("Recommended"))
    assert sum(reader.missing for reader in got.readers) > 0 and "are missing" in got.paragraph()
    assert "the protocol planned 3 readers" in got.paragraph()  # two read
    none = score(answers.iloc[:0], key, preset("Recommended"))
    assert (
        none.primary.p_value is None
        and none.primary.reason
        and "nothing to report" in none.paragraph()
    )
    malignant = key[(key["truth"] == "malignant")]
    one = score(
        answers[answers["case_number"].isin(malignant["case_number"])],
        malignant,
        preset("Recommended"),
    )
    assert (
        one.roc.estimate is None
        and one.permutation_p_greater is None
        and one.table.specificity.reason
    )
    assert one.paragraph()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a, k: (pd.concat([a, a.iloc[:1]]), k), "twice"),
        (lambda a, k: (a.assign(answer=7), k), "with 7; answers are 1 to 6"),
        (lambda a, k: (a.assign(case_number=a["case_number"] + 1000), k), "not in the key"),
        (lambda a, k: (a, pd.concat([k, k.iloc[:1]])), "The key holds case"),
        (lambda a, k: (a.drop(columns="answer"), k), "lacks the column 'answer'"),
        (lambda a, k: (a, k.drop(columns="truth")), "lacks the column 'truth'"),
    ],
)
def test_mistakes_are_said(change, words):
    with pytest.raises(UserError, match=words):
        score(*change(*simulated(readers=1)), preset("Recommended"))


def read_along(right, readers: int = 1, arms=("explanation",), n: int = 40) -> pd.DataFrame:
    """Answers along the order: right(reader, place), the arms by turns."""
    return pd.DataFrame(
        [
            {
                "code": f"R{k}",
                "arm": arms[i % len(arms)],
                "position": i + 6,
                "right": right(k, i),
                "patient_id": f"P{i % 23}",
            }
            for k in range(readers)
            for i in range(n)
        ]
    )


@pytest.mark.parametrize("readers", [1, 3])
def test_no_trend_where_right_answers_do_not_vary(readers):
    for answer, why in ((True, "all answers are right"), (False, "all answers are wrong")):
        found = trend(read_along(lambda k, i, answer=answer: answer, readers))
        assert (found.estimate, found.low, found.high, found.reason) == (None, None, None, why)
    # One arm all right, the other all wrong: what varies is the arm and not the reading.
    arms = trend(
        read_along(
            lambda k, i: i % 3 > 0, readers, ("explanation", "explanation", "shuffled")[::-1]
        )
    )
    assert arms.estimate is None and "all right or all wrong" in arms.reason
    alike = trend(read_along(lambda k, i: k % 2 == 0, 2))
    assert alike.estimate is None and "all right or all wrong" in alike.reason


def test_a_trend_is_found_within_arms():
    found = trend(read_along(lambda k, i: i >= 20 or i % 4 == 0, 3))
    assert found.low > 0 and found.reason is None
    # A harder arm read first is no learning.
    mixed = read_along(lambda k, i: (i % 2 == 0) if i < 20 else (i % 4 != 0), 2).assign(
        arm=lambda t: np.where(t["position"] < 26, "shuffled", "explanation")
    )
    assert trend(mixed.drop(columns="arm")).estimate > 0.5 and abs(trend(mixed).estimate) < 0.5


@pytest.mark.parametrize("primary", ["gee", "sign_flip", "exact_binomial"])
def test_a_reason_is_given_once(primary):
    answers, key = simulated(readers=1, shuffled=False)
    truth = key.set_index("case_number")["truth"]
    right = answers.assign(
        answer=[6 if truth[number] == "malignant" else 1 for number in answers["case_number"]]
    )
    got = score(right, key, preset("Recommended", arms=("explanation",), primary=primary))
    words = got.paragraph()
    assert (
        words.count("all answers are right") == 1
        and "no reason recorded" not in words
        and ": –" not in words
    )
    if primary == "gee":
        assert (
            "clustered by patient, not estimable: all answers are right: their variance is 0)."
            " Whether this is better than chance is not estimable. " in words
        )
        assert "Intraclass correlation and design effect not estimable. " in words
    if primary == "sign_flip":
        assert (
            "1.000, 95 % CI not estimable: all answers are right" in words
            and "better than chance" in words
        )


def test_one_image_a_patient_leaves_nothing_to_cluster():
    answers, key = simulated(readers=1, patients=8, shuffled=False)
    words = score(answers, key, preset("Recommended", arms=("explanation",))).paragraph()
    assert (
        "No patient has two answers: clustering plays no part (the design effect, 1.14, is the"
        " variance's small-sample factor)." in words
    )
