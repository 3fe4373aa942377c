"""Scores of a reading study with few answers, by hand: ties, both directions, hidden repeats."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy
import statsmodels.api as sm

from evaluation.clustered import clustered_proportion
from evaluation.proportion import exact_binomial_test
from evaluation.reading_study import design_preset, score_study
from evaluation.reading_study.arms import ArmScore
from evaluation.reading_study.case_selection import choose_cases
from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.leakage_checks import check_leakage
from evaluation.reading_study.narrative import narrative, verdict
from evaluation.reading_study.narrative.paragraph import _flip_sentence
from evaluation.reading_study.primary import primary_analysis
from evaluation.reading_study.timing import accuracy_trend
from evaluation.roc import compare_aucs

# Truth, answer (1 to 6, malignant from 4) and the network's score of each case.
CASES = (
    ("malignant", 4, 0.50),  # right at the threshold of the answers; network at its threshold
    ("malignant", 6, 0.70),
    ("malignant", 5, 0.30),
    ("malignant", 3, 0.90),  # wrong
    ("malignant", 1, 0.40),  # wrong
    ("benign", 3, 0.45),  # right
    ("benign", 1, 0.10),
    ("benign", 2, 0.30),
    ("benign", 4, 0.80),  # wrong
)
# Case and answer to its hidden repeat: another number with the same meaning, and another meaning.
REPEATS = ((2, 5), (7, 2), (4, 4), (1, 6), (8, 2))


def small_study(arm: str = "explanation") -> tuple[pd.DataFrame, pd.DataFrame]:
    key = pd.DataFrame(
        [
            {
                "case_number": i,
                "mammogram_id": f"m{i}",
                "patient_id": f"p{i}",
                "arm": arm,
                "texts": (f"text {i}",),
                "truth": truth,
                "network_score": score,
                "predicted": "malignant",
            }
            for i, (truth, _, score) in enumerate(CASES, start=1)
        ]
    )
    first = [(i, answer, False) for i, (_, answer, _) in enumerate(CASES, start=1)]
    rows = [*first, *((case, answer, True) for case, answer in REPEATS)]
    answers = pd.DataFrame(rows, columns=["case_number", "answer", "repeat"])
    return answers.assign(code="R1", position=range(1, len(rows) + 1)), key


@pytest.fixture(scope="module")
def score():
    design = design_preset("Recommended", arms=("explanation",), readers=1)
    return score_study(*small_study(), design, threshold=0.5)


def test_two_by_two(score):
    table = score.table
    assert (table.tp, table.fn, table.fp, table.tn) == (3, 2, 1, 3)
    assert (score.primary.correct, score.primary.n) == (6, 9)
    assert table.sensitivity.estimate == 3 / 5 and table.specificity.estimate == 3 / 4
    assert table.ppv.estimate == 3 / 4 and table.npv.estimate == 3 / 5


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("material", [{}, {"synthetic": False}, {"synthetic": True}])
def test_simulated_answers_and_material_are_stated(simulated: bool, material: dict) -> None:
    design = design_preset("Recommended", arms=("explanation",), readers=1)
    text = narrative(score_study(*small_study(), design, simulated=simulated, **material))
    assert text.startswith("SIMULATED") == (simulated or material.get("synthetic", False))


def test_hidden_repeats_are_compared_as_malignant_or_benign(score):
    # Cases 2 and 1 stay malignant, 7 and 8 benign; case 4 changes from benign to malignant.
    assert score.hidden_repeats.estimate == 4 / 5
    assert score.conduct.repeats == 5 and score.conduct.answers == 14


def test_network_is_malignant_at_its_threshold(score):
    # Malignant: .5, .7 and .9 of five; benign: .45, .1 and .3 of four.
    assert (score.network.right, score.network.n) == (3 + 3, 9)
    # A malignant and a benign case have the same score, .3.
    wins = [m > b for m in (0.5, 0.7, 0.3, 0.9, 0.4) for b in (0.45, 0.1, 0.3, 0.8)]
    assert score.network.auc.estimate == pytest.approx((sum(wins) + 0.5) / 20)


def paired_study(weaker: str, patients: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two arms on the same images; ratings in `weaker` are mostly noise."""
    rng, rows, answers = np.random.default_rng(8), [], []
    for a, arm in enumerate(("explanation", "shuffled")):
        for k in range(patients):
            number, truth = a * patients + k + 1, k % 2 == 0
            rows.append((number, f"m{k}", f"p{k}", arm, (f"t{k}",), truth, 0.5))
            for reader in range(3):
                latent = (0.3 if arm == weaker else 0.9) * (1 if truth else -1) + rng.normal()
                rating = int(np.clip(round(3.5 + 1.3 * latent), 1, 6))
                answers.append((f"R{reader}", number, False, rating))
    names = ["case_number", "mammogram_id", "patient_id", "arm", "texts", "truth", "network_score"]
    key = pd.DataFrame(rows, columns=names)
    key["truth"] = np.where(key["truth"], "malignant", "benign")
    return pd.DataFrame(answers, columns=["code", "case_number", "repeat", "answer"]), key


@pytest.mark.parametrize(
    ("settings", "study"),
    [
        ({"arms": ("explanation",), "primary": "auc"}, small_study()),
        ({"arms": ("explanation",), "primary": "exact_binomial"}, small_study()),
        ({"primary": "auc_difference"}, paired_study("shuffled", 14)),
    ],
    ids=["auc", "exact binomial", "difference of arms"],
)
def test_significance_is_judged_at_the_alpha_of_the_design(settings, study):
    answers, key = study

    def analyse(**more):
        design = design_preset("Recommended", **(settings | more))
        return primary_analysis(join_answers(answers, key, design), key, design)

    p = analyse().p_value
    assert 0.06 < p < 0.49
    assert analyse(alpha=p * 1.01).significant and not analyse(alpha=p * 0.99).significant
    strict = analyse(alpha=1e-6)
    assert not strict.significant and strict.alpha == 1e-6


def test_alpha_below_one_in_twenty():
    answers, key = small_study()
    truth = key.set_index("case_number")["truth"].map({"malignant": 6, "benign": 1})
    answers = answers.assign(answer=truth.reindex(answers["case_number"]).to_numpy())
    for alpha, significant in ((0.05, True), (0.001, False)):
        # P of 9 right answers of 9 is 1 / 512.
        design = design_preset(
            "Recommended", arms=("explanation",), primary="exact_binomial", alpha=alpha
        )
        result = primary_analysis(join_answers(answers, key, design), key, design)
        assert result.p_value == pytest.approx(1 / 512) and result.significant is significant


@pytest.mark.parametrize(
    ("primary", "side", "reverse", "expected"),
    [
        ("exact_binomial", "two-sided", False, "better than chance"),
        ("exact_binomial", "two-sided", True, "worse than chance"),
        ("auc", "two-sided", False, "better than chance"),
        ("auc", "two-sided", True, "worse than chance"),
        ("auc", "greater", True, "did not show"),
    ],
)
def test_verdict_names_the_direction(primary, side, reverse, expected):
    answers, key = paired_study("shuffled", patients=40)
    if reverse:
        answers = answers.assign(answer=7 - answers["answer"])
    design = design_preset("Recommended", arms=("explanation",), primary=primary, side=side)
    only = key[key["arm"] == "explanation"]
    only_answers = answers[answers["case_number"].isin(only["case_number"])]
    text = verdict(score_study(only_answers, only, design, simulated=False))
    assert expected in text
    assert ("better than chance" in text) == (expected != "worse than chance")


@pytest.mark.parametrize(("weaker", "word"), [("shuffled", "higher"), ("explanation", "lower")])
def test_verdict_of_two_arms_names_the_direction(weaker, word):
    answers, key = paired_study(weaker, patients=120)
    design = design_preset("Recommended", primary="auc_difference", side="two-sided")
    score = score_study(answers, key, design, simulated=False)
    assert score.primary.significant and (score.primary.estimate > 0) == (word == "higher")
    assert f"was {word} than in the arm" in verdict(score)


def test_trend_equals_least_squares_with_clusters():
    """statsmodels without its small-sample factor, times that of m patients."""
    rng = np.random.default_rng(5)
    position = np.arange(1, 31)
    table = pd.DataFrame(
        {
            "code": "R1",
            "position": position,
            "correct": rng.random(30) < 0.4 + position / 100,
            "patient_id": [f"p{i % 7}" for i in position],
        }
    )
    fit = sm.OLS(table["correct"].astype(float), sm.add_constant(position)).fit(
        cov_type="cluster",
        cov_kwds={
            "groups": np.unique(table["patient_id"], return_inverse=True)[1],
            "use_correction": False,
        },
    )
    slope, error = fit.params.iloc[1], fit.bse.iloc[1] * np.sqrt(7 / 6)
    trend = accuracy_trend(table, level=0.9)
    half = scipy.stats.t.isf(0.05, 6) * error
    assert trend.estimate == pytest.approx(29 * slope, rel=1e-9)
    assert (trend.low, trend.high) == pytest.approx((29 * (slope - half), 29 * (slope + half)))


def test_image_with_a_missing_truth_counts_as_discrepant():
    """The source files one patient under no diagnosis, which is not agreement."""
    rows = [
        (f"m{i}", f"p{i}", "test", truth, truth, truth, 0.5, truth, (f"text {i}",))
        for i, truth in enumerate(["malignant", "benign"] * 4)
    ]
    names = [
        *("mammogram_id", "patient_id", "split", "folder", "first_abnormality", "any_malignant"),
        *("network_score", "predicted", "texts"),
    ]
    table = pd.DataFrame(rows, columns=names)
    table.loc[0, "folder"] = None
    table.loc[3, "first_abnormality"] = "unproven"
    design = design_preset("Recommended", arms=("explanation",), truth_rule="any_malignant")
    cases, flow = choose_cases(table, design)
    assert ("truth rules agree", 6, 6) in flow.steps
    assert set(cases["mammogram_id"]) == {"m1", "m2", "m4", "m5", "m6", "m7"}


def test_class_at_both_ends_of_the_case_numbers_is_a_leak():
    """The AUC is .5, and neither length, first nor last character differs between the classes."""
    n = 120
    case = np.random.default_rng(2).permutation(n) + 1000
    truth = (case < 1030) | (case >= 1090)
    table = pd.DataFrame(
        {
            "case": case,
            "order": np.arange(n),
            "texts": [(f"text {i}",) for i in range(n)],
            "truth": truth,
            "score": np.random.default_rng(3).random(n),
            "patient": np.arange(n),
        }
    )
    issues = [issue for issue in check_leakage(table) if issue.severity == "error"]
    assert [issue.field for issue in issues] == ["case"] and "range" in issues[0].finding


def test_one_reader_is_a_fixed_reader():
    """With one reader the difference is that of two paired AUCs; random readers need several."""
    answers, key = paired_study("shuffled", patients=40)
    design = design_preset("Recommended", primary="auc_difference", readers=1)
    one = answers[answers["code"] == "R0"]
    result = primary_analysis(join_answers(one, key, design), key, design)
    ratings = one.merge(key, on="case_number").pivot(
        index="mammogram_id", columns="arm", values="answer"
    )
    truth = (
        (key.drop_duplicates("mammogram_id").set_index("mammogram_id")["truth"]).reindex(
            ratings.index
        )
        == "malignant"
    )
    pair = compare_aucs(truth, ratings["explanation"], ratings["shuffled"])
    assert result.estimate == pytest.approx(pair.difference)
    assert result.p_value is not None and result.significant is not None
    assert result.p_value == pytest.approx(pair.p_greater, rel=0.25)


@pytest.mark.parametrize(
    ("successes", "sentence"),
    [
        (15, "from 15 correct answers; changing one answer would"),
        (14, "from 15 correct answers; changing one answer would"),
        (17, "from 15 correct answers; changing 3 answers would"),
    ],
)
def test_answers_that_decide_the_exact_test(successes: int, sentence: str) -> None:
    """Of 20 answers 15 or more are significant at .05, one-sided: P .021 and .058 for 14."""
    assert scipy.stats.binom.sf([14, 13], 20, 0.5) == pytest.approx([0.0207, 0.0577], abs=1e-4)
    assert sentence in _flip_sentence(exact_binomial_test(successes, 20))


def test_sentence_of_an_arm() -> None:
    design = design_preset("Recommended", arms=("explanation", "shuffled"), readers=1)
    answers, key = small_study()
    joined = join_answers(answers, key, design)
    clusters = clustered_proportion(joined["correct"], joined["patient_id"])
    score = ArmScore(arm="class_map", cases=9, clusters=clusters)
    assert score.sentence() == f"Arm class map: {clusters.sentence()}"
