"""Primary endpoints: AUC, difference of arms, sides, margins, multiplicity, missing answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy

from evaluation.clustered import clustered_proportion, korn_graubard_interval
from evaluation.group_sequential import nominal_levels
from evaluation.mrmc import obuchowski_rockette
from evaluation.reading_study import design_preset, score_study
from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.narrative import narrative, verdict
from evaluation.reading_study.primary import final_alpha, primary_analysis
from evaluation.reading_study.primary.arm_endpoint import adjusted_p_values, paired_ratings
from evaluation.roc import auc_interval

ARMS = ("explanation", "image", "shuffled")


def three_arms(readers: int = 3, patients: int = 40, seed: int = 2):
    """Return answers and key; every reader reads every patient's image in three arms.

    The arms explanation and image carry the same information, shuffled carries none.
    """
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(patients) % 2 == 0)
    key = pd.DataFrame(
        [
            {
                "case_number": 1 + patients * a + k,
                "mammogram_id": f"m{k}",
                "patient_id": f"p{k}",
                "arm": arm,
                "texts": (f"text {k}",),
                "truth": "malignant" if truth[k] else "benign",
                "network_score": 0.4 + 0.2 * truth[k] + 0.01 * k,
                "predicted": "malignant",
            }
            for a, arm in enumerate(ARMS)
            for k in range(patients)
        ]
    )
    ease = rng.normal(size=patients)
    skill = {"explanation": 0.8, "image": 0.8, "shuffled": 0.0}
    rows = []
    for reader in range(readers):
        for case in key.itertuples():
            k = int(case.patient_id[1:])
            latent = skill[case.arm] * (2 * truth[k] - 1) + 0.5 * ease[k] + rng.normal()
            rows.append(
                {
                    "code": f"R{reader}",
                    "case_number": case.case_number,
                    "repeat": False,
                    "answer": int(np.clip(round(3.5 + 1.2 * latent), 1, 6)),
                }
            )
    return pd.DataFrame(rows), key


@pytest.fixture(scope="module")
def study():
    return three_arms()


def analyse(study, **changes):
    answers, key = study
    design = design_preset("Recommended", **({"arms": ARMS} | changes))
    return primary_analysis(join_answers(answers, key, design), key, design)


def test_auc_is_tested_on_the_side_of_its_interval(study):
    """The bound at the P value's own level lies at .5, and a one-sided test has one bound."""
    answers, key = study
    weak = answers.assign(answer=np.where(answers.index % 3 > 0, 3, answers["answer"]))
    joined = join_answers(weak, key, design_preset("Recommended", arms=ARMS))
    arm = joined[joined["arm"] == "explanation"]
    y, rating, patients = arm["malignant"], arm["answer"], arm["patient_id"]
    one, two = (analyse((weak, key), primary="auc", side=side) for side in ("greater", "two-sided"))
    assert one.estimate == two.estimate == auc_interval(y, rating, patients).estimate
    assert one.endpoint == "auc" and 0.001 < one.p_value < 0.2
    at_p = auc_interval(y, rating, patients, level=1 - 2 * one.p_value)
    assert at_p.low == pytest.approx(0.5, abs=1e-5)
    assert two.p_value == pytest.approx(2 * one.p_value, rel=1e-6)
    assert one.low == auc_interval(y, rating, patients, level=0.90).low and one.high == 1
    whole = auc_interval(y, rating, patients, level=0.95)
    assert (two.low, two.high) == (whole.low, whole.high)
    assert f"one-sided 95 % CI from {one.low:.3f}".replace(" 0.", " .") in one.sentence()


def test_auc_below_chance_and_without_variance(study):
    answers, key = study
    reversed_answers = answers.assign(answer=7 - answers["answer"])
    worse = analyse((reversed_answers, key), primary="auc")
    assert worse.p_value > 0.999 and not worse.significant
    two_sided = analyse((reversed_answers, key), primary="auc", side="two-sided")
    assert two_sided.significant and two_sided.high < 0.5
    constant = analyse((answers.assign(answer=3), key), primary="auc")
    assert constant.p_value is None and constant.low is None and constant.reason
    malignant = key[key["truth"] == "malignant"]
    one_class = answers[answers["case_number"].isin(malignant["case_number"])]
    empty = analyse((one_class, malignant), primary="auc")
    assert empty.estimate is None and empty.significant is None and empty.reason


def test_difference_of_arms_equals_the_analysis_of_its_table(study):
    """Side and margin are those of the t distribution with Hillis' degrees of freedom."""
    answers, key = study
    joined = join_answers(answers, key, design_preset("Recommended", arms=ARMS))
    table = {
        arm: joined[joined["arm"] == arm].pivot(
            index="code", columns="mammogram_id", values="answer"
        )
        for arm in ARMS
    }
    truth = joined.drop_duplicates("mammogram_id").set_index("mammogram_id")["malignant"]
    expected = obuchowski_rockette(
        np.stack([table["explanation"], table["image"]]),
        truth.loc[table["image"].columns].to_numpy(bool),
    )
    law = scipy.stats.t(expected.df)
    error, gap = expected.standard_error, expected.difference
    two_sided = analyse(study, primary="auc_difference", side="two-sided")
    assert two_sided.estimate == pytest.approx(gap)
    assert two_sided.p_value == pytest.approx(expected.p_value)
    assert (two_sided.low, two_sided.high) == pytest.approx((expected.low, expected.high))
    noninferior = analyse(study, primary="auc_difference", goal="noninferiority", margin=0.1)
    assert noninferior.p_value == pytest.approx(law.sf((gap + 0.1) / error))
    assert noninferior.low == pytest.approx(gap - law.isf(0.05) * error) and noninferior.high == 1
    superior = analyse(study, primary="auc_difference", margin=0.1)
    assert superior.p_value == pytest.approx(law.sf((gap - 0.1) / error))
    settings = {"goal": "equivalence", "margin": 0.1, "side": "two-sided"}
    equivalent = analyse(study, primary="auc_difference", **settings)
    tests = law.sf((gap + 0.1) / error), law.cdf((gap - 0.1) / error)
    assert equivalent.p_value == pytest.approx(max(tests))
    # Equivalence has no direction: the arms exchanged give the same P by the other test.
    exchanged = ("image", "explanation", "shuffled")
    other = analyse(study, primary="auc_difference", arms=exchanged, **settings)
    assert other.p_value == pytest.approx(equivalent.p_value)
    assert other.estimate == pytest.approx(-equivalent.estimate)
    assert equivalent.level == pytest.approx(0.9)
    assert equivalent.high == pytest.approx(gap + law.isf(0.05) * error)
    # Equivalence is shown exactly where its interval lies within the margin.
    is_inside = equivalent.low > -0.1 and equivalent.high < 0.1
    assert equivalent.significant == is_inside


def test_readers_of_one_arm_and_missing_images(study):
    """An image that one reader did not read in both arms is left out for every reader."""
    answers, key = study
    design = design_preset("Recommended", arms=ARMS, primary="auc_difference")
    image_of = key.set_index("case_number")["mammogram_id"]
    is_gap = (answers["code"] == "R1") & (answers["case_number"].map(image_of) == "m7")
    joined = join_answers(answers[~is_gap], key, design)
    ratings = paired_ratings(joined, "explanation", "image")
    assert ratings is not None and ratings.scores.shape == (2, 3, 39)
    alone = joined[(joined["code"] != "R2") | (joined["arm"] == "explanation")]
    ratings = paired_ratings(alone, "explanation", "image")
    assert ratings is not None and ratings.scores.shape == (2, 2, 39)
    assert paired_ratings(joined[joined["arm"] == "image"], "explanation", "image") is None
    none = primary_analysis(joined[joined["arm"] == "explanation"], key, design)
    assert none.p_value is None and "no image was read" in str(none.reason)


def test_one_reader_is_a_fixed_factor(study):
    """Without a variance between readers the difference holds for this reader alone."""
    answers, key = study
    alone = answers[answers["code"] == "R1"]
    found = analyse((alone, key), primary="auc_difference", side="two-sided", readers=1)
    joined = join_answers(alone, key, design_preset("Recommended", arms=ARMS))
    ratings = paired_ratings(joined, "explanation", "image")
    expected = obuchowski_rockette(ratings.scores, ratings.truth, "frrc", cluster=ratings.patients)
    assert found.estimate == pytest.approx(expected.difference)
    assert found.p_value == pytest.approx(expected.p_value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    several = analyse(study, primary="auc_difference", side="two-sided")
    joined = join_answers(answers, key, design_preset("Recommended", arms=ARMS))
    ratings = paired_ratings(joined, "explanation", "image")
    random = obuchowski_rockette(ratings.scores, ratings.truth, "rrrc", cluster=ratings.patients)
    assert several.p_value == pytest.approx(random.p_value)


def test_multiplicity_over_arms(study):
    single = analyse(study, primary="auc_difference")
    assert [test.other for test in single.comparisons] == ["image"]
    holm = analyse(study, primary="auc_difference", multiplicity="holm")
    assert [test.other for test in holm.comparisons] == ["image", "shuffled"]
    p = [test.p_value for test in holm.comparisons]
    assert p[1] < p[0]
    # Two hypotheses: the smaller P counts twice, the larger one once.
    adjusted = [test.adjusted_p_value for test in holm.comparisons]
    assert adjusted == pytest.approx([max(p[0], 2 * p[1]), 2 * p[1]])
    fixed = analyse(study, primary="auc_difference", multiplicity="fixed_sequence")
    # Nothing is shown after the first hypothesis that is not.
    assert [test.significant for test in fixed.comparisons] == [False, False]
    assert fixed.comparisons[1].p_value < 0.05 and holm.comparisons[1].significant
    assert adjusted_p_values([0.01, None, 0.02], "fixed_sequence") == [0.01, None, None]
    assert adjusted_p_values([0.01, None, 0.02], "holm") == pytest.approx([0.03, None, 0.04])


def test_missing_answers_by_rule(study):
    answers, key = study
    is_gap = (answers["code"] == "R0") & (answers["case_number"].isin([2, 5, 11]))
    partial = answers[~is_gap]
    complete = analyse((partial, key), primary="gee")
    wrong = analyse((partial, key), primary="gee", missing_answers="counted_wrong")
    assert (complete.n, wrong.n, complete.missing, wrong.missing) == (117, 120, 3, 3)
    assert wrong.correct == complete.correct and wrong.estimate < complete.estimate
    # Counted wrong, a malignant case has the lowest rating and a benign one the highest.
    truth = key.set_index("case_number")["truth"]
    extreme = pd.DataFrame(
        [
            {"code": "R0", "case_number": n, "repeat": False}
            | {"answer": 1 if truth[n] == "malignant" else 6}
            for n in (2, 5, 11)
        ]
    )
    filled = analyse((pd.concat([partial, extreme]), key), primary="auc")
    auc = analyse((partial, key), primary="auc", missing_answers="counted_wrong")
    assert auc.estimate == pytest.approx(filled.estimate)
    got = score_study(partial, key, design_preset("Recommended", arms=ARMS))
    assert [a.missing_rule for a in got.missing_analyses] == ["counted_wrong", "counted_correct"]
    assert got.missing_analyses[0].estimate == pytest.approx(auc.estimate)
    assert "Missing answers: 3, left out as prespecified" in narrative(got)
    assert score_study(answers, key, got.design).missing_analyses == ()


def test_levels_of_interim_looks():
    """Boundaries of five looks at one-sided .025, as printed by Reboussin et al. 2000."""
    for rule, printed in (
        ("obrien_fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ):
        levels = nominal_levels(5, 0.025, rule)
        assert scipy.stats.norm.isf(levels) == pytest.approx(printed, abs=2e-4)
    assert nominal_levels(1, 0.04) == (0.04,)
    with pytest.raises(ValueError, match="alpha"):
        nominal_levels(2, 0.6)
    with pytest.raises(ValueError, match="spending"):
        nominal_levels(2, 0.05, "even")


def test_levels_of_looks_hold_alpha_in_simulation():
    """The product's levels on simulated sums of normal increments, 200,000 studies."""
    levels = nominal_levels(3, 0.05, "pocock")
    steps = np.random.default_rng(5).normal(size=(200_000, 3)).cumsum(axis=1)
    z = steps / np.sqrt([1, 2, 3])
    rate = (z > scipy.stats.norm.isf(levels)).any(axis=1).mean()
    assert rate == pytest.approx(0.05, abs=0.002)


def test_final_look_spends_what_is_left(study):
    design = design_preset("Recommended", looks=3, side="two-sided")
    assert final_alpha(design) == pytest.approx(2 * nominal_levels(3, 0.025)[-1])
    assert final_alpha(design, 1) < final_alpha(design, 2) < final_alpha(design) < 0.05
    planned = analyse(study, primary="auc", looks=3, spending="pocock")
    assert planned.final_alpha == pytest.approx(nominal_levels(3, 0.05, "pocock")[-1])
    assert planned.level == pytest.approx(1 - planned.final_alpha) and planned.alpha == 0.05


def test_one_sided_proportions_have_one_bound():
    """By hand: 8 of 10 correct; the one-sided Clopper-Pearson bound is a beta quantile."""
    answers, key = three_arms(1, 10)
    truth = key.set_index("case_number")["truth"] == "malignant"
    right = [6 if truth[n] else 1 for n in range(1, 9)] + [1 if truth[n] else 6 for n in (9, 10)]
    given = answers[answers["case_number"] <= 10].assign(answer=right)
    result = analyse((given, key), primary="exact_binomial")
    assert (result.correct, result.n) == (8, 10)
    assert result.low == pytest.approx(scipy.stats.beta.ppf(0.05, 8, 3)) and result.high == 1
    for primary in ("gee", "sign_flip", "exact_binomial"):
        one = analyse((given, key), primary=primary)
        two = analyse((given, key), primary=primary, side="two-sided", alpha=0.1)
        assert one.low == two.low and one.high == 1 >= two.high


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"primary": "auc"}, "distinguished malignant from benign cases better than chance."),
        ({"primary": "auc_difference"}, "did not show that accuracy in the arm explanation"),
        (
            {"primary": "auc_difference", "goal": "noninferiority", "margin": 0.3},
            "The arm explanation text was not inferior to the arm image by more than the margin of"
            " .300",
        ),
        (
            {"primary": "auc_difference", "goal": "equivalence", "margin": 0.01}
            | {"side": "two-sided"},
            "did not show that the arms explanation text and image were equivalent"
            " within the margin",
        ),
        (
            {"primary": "auc_difference", "multiplicity": "holm"},
            "Accuracy in the arm explanation text was higher than in the arm shuffled explanation.",
        ),
    ],
)
def test_verdict_in_plain_language(study, changes, words):
    answers, key = study
    got = score_study(answers, key, design_preset("Recommended", arms=ARMS, **changes))
    assert words in verdict(got)
    text = narrative(got)
    # The conclusion comes first, then the prespecified result, then everything else.
    assert text.index(words) < text.index("Prespecified analysis") < text.index("3 readers gave")


def test_exploratory_differences_use_the_pairs_of_their_test(study):
    """Interval and P concern the same answers, and the P values of all arms are adjusted."""
    answers, key = study
    # The arm shuffled was read for every second image only.
    is_unread = (key["arm"] == "shuffled") & (key["case_number"] % 2 == 0)
    unread = set(key.loc[is_unread, "case_number"])
    partial = answers[~answers["case_number"].isin(unread)]
    design = design_preset("Recommended", arms=ARMS)
    got = score_study(partial, key, design)
    image, shuffled = got.comparisons
    joined = join_answers(partial, key, design).pivot(
        index=["code", "mammogram_id"], columns="arm", values="correct"
    )
    pairs = joined.dropna().astype(float)
    assert shuffled.pairs == len(pairs) == 60 and image.pairs == 120
    expected = (pairs["explanation"] - pairs["shuffled"]).mean()
    assert shuffled.difference.estimate == pytest.approx(expected)
    assert shuffled.difference.low < expected < shuffled.difference.high
    # Two comparisons: the smaller P counts twice.
    raw = [image.sign_flip_p_two_sided, shuffled.sign_flip_p_two_sided]
    assert raw[1] < raw[0]
    assert shuffled.adjusted_p_two_sided == pytest.approx(2 * raw[1])
    assert image.adjusted_p_two_sided == pytest.approx(min(1, max(raw[0], 2 * raw[1])))
    assert "(adjusted by Holm's method" in shuffled.sentence()


def test_the_named_method_is_the_one_that_was_used(study):
    """A sign-flip test has Korn and Graubard's interval; without variance others are named."""
    answers, key = study
    joined = join_answers(answers, key, design_preset("Recommended", arms=ARMS))
    arm = joined[joined["arm"] == "explanation"]
    flips = analyse(study, primary="sign_flip", side="two-sided")
    wanted = korn_graubard_interval(arm["correct"], arm["patient_id"])
    assert (flips.low, flips.high) == (wanted.low, wanted.high)
    assert flips.method.endswith("Korn-Graubard interval")
    truth = key.set_index("case_number")["truth"] == "malignant"
    right = answers.assign(answer=[6 if truth[n] else 1 for n in answers["case_number"]])
    for primary, method in (
        ("auc", "Newcombe's score interval on the number of patients"),
        ("gee", "Clopper-Pearson on the number of patients"),
        ("sign_flip", "Clopper-Pearson on the number of patients"),
    ):
        result = analyse((right, key), primary=primary)
        assert result.method.endswith(method) and 0.5 < result.low < 1
    assert clustered_proportion([1, 1, 1], list("abb")).gee_p_values == (None, None)
