"""Sentences and remaining fields of statistics, with numbers that all differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.clustered import clustered_proportion
from evaluation.intervals import Interval
from evaluation.mrmc import any_design, obuchowski_rockette
from evaluation.mrmc.standalone import StandaloneComparison, compare_with_standalone
from evaluation.paired_proportions import mcnemar
from evaluation.power import (
    AnswerCorrelations,
    ComparisonVariances,
    StudyPower,
    answer_correlations,
    auc_power,
    binomial_power,
    binomial_sample_size,
    mrmc_sample_size,
    patients_needed,
    pilot_plan,
    power_table,
    proportion_power,
    read_plan,
)
from evaluation.proportion import exact_binomial_test, noninferiority
from evaluation.roc import (
    calibration,
    multiclass_auc,
    net_benefit,
    operating_point,
    partial_auc,
    partial_auc_low_fpr,
    specificity_at,
)
from evaluation.roc.ablated_scores import auc_drop, share_above_chance
from evaluation.roc.subgroups import Interaction, adjusted_sentences

Y = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0])
SCORE = np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.1])


def between(estimate: float | None, low: float | None, high: float | None) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, level=0.9, method="wilson", reason="r")


def test_partial_areas_and_specificity() -> None:
    area = replace(partial_auc(Y, SCORE), raw=0.0812, fraction=0.406, mcclish=0.623)
    assert area.sentence() == (
        f"Partial AUC over {area.band}: .081, .406 of its maximum, McClish .623."
    )
    assert replace(area, raw=None, reason="r").sentence() == (
        f"Partial AUC ({area.band}) not estimable: r."
    )
    assert ".8" in area.band and area.band != partial_auc_low_fpr(Y, SCORE).band
    at = replace(specificity_at(Y, SCORE, 0.9), interpolated=0.412, attainable=0.333)
    assert at.sentence() == "Specificity at sensitivity .90: .412 (attainable .333)."
    none = replace(at, interpolated=None, reason="r")
    assert none.sentence() == "Specificity at sensitivity .90 not estimable: r."
    assert specificity_at(Y, SCORE).sensitivity == 0.8
    for default, explicit in (
        (partial_auc(Y, SCORE), partial_auc(Y, SCORE, 0.8)),
        (partial_auc_low_fpr(Y, SCORE), partial_auc_low_fpr(Y, SCORE, 0.2)),
    ):
        assert default == explicit


def test_table_of_an_operating_point() -> None:
    point = operating_point(Y, SCORE, 0.5, level=0.9)
    assert (point.rule, point.threshold) == ("fixed on hold-out", 0.5)
    table = point.table
    # At .5 itself a score is positive.
    assert (table.tp, table.fn, table.fp, table.tn) == (3, 3, 3, 3)
    table = replace(
        table, sensitivity=between(0.707, 0.505, 0.853), specificity=between(None, None, None)
    )
    table = replace(table, fisher_p_greater=0.0412)
    expected = (
        "sensitivity .707 (90 % CI .505 to .853, wilson); specificity not estimable: r; Fisher's"
        " exact test, one-sided, P = .041."
    )
    assert table.sentence() == expected
    assert replace(point, table=table, threshold=0.123456).sentence() == (
        f"At threshold 0.1235 (fixed on hold-out): {expected}"
    )


def test_calibration_and_net_benefit() -> None:
    fit = replace(
        calibration(Y, SCORE, level=0.9),
        slope=0.812,
        slope_standard_error=0.21,
        intercept=-0.147,
        in_the_large=0.053,
        brier=0.1234,
        ece=0.0567,
        n=123,
        reason=None,
    )
    slope = fit.slope_interval()
    low, high = slope.low, slope.high
    assert fit.sentence() == (
        f"Calibration of 123 probabilities: slope .81 (90 % CI {low:.3f} to {high:.3f}), intercept"
        " −.15, in the large .05; Brier score .123, expected calibration error .057."
    ).replace(" 0.", " .")
    flat = replace(fit, slope=None, reason="r").sentence()
    assert "slope not estimable: r; Brier score .123" in flat
    assert replace(fit, brier=None, reason="r").sentence() == "Calibration not estimable: r."
    benefit = replace(net_benefit(Y, SCORE, 0.25), model=0.123, treat_all=-0.045)
    assert benefit.sentence() == (
        "Net benefit at threshold .25: .123 (acting on all: −.045, on none: 0)."
    )
    none = replace(benefit, model=None, reason="r")
    assert none.sentence() == "Net benefit not estimable: r."


def test_areas_of_several_classes() -> None:
    rng = np.random.default_rng(1)
    truth, rows = np.array([0, 1, 2, 1, 2, 0, 2, 2]), rng.random((8, 3))
    result = multiclass_auc(truth, rows)
    shares = np.bincount(truth) / 8
    assert result.weighted == pytest.approx(shares @ np.array(result.per_class))
    assert result.macro == pytest.approx(np.mean(result.per_class))
    pooled = [(rows[i, c], truth[i] == c) for i in range(8) for c in range(3)]
    wins = [(p > n) + 0.5 * (p == n) for p, t in pooled if t for n, u in pooled if not u]
    assert result.micro == pytest.approx(np.mean(wins))
    pairs = []
    for i in range(3):
        for j in range(3):
            if i != j:
                first, second = rows[truth == i, i], rows[truth == j, i]
                pairs.append(np.mean([(a > b) + 0.5 * (a == b) for a in first for b in second]))
    assert result.hand_till == pytest.approx(np.mean(pairs))
    shown = replace(result, per_class=(0.5, None, 0.75), macro=0.612, hand_till=0.634)
    assert shown.sentence() == "One-vs-rest AUC .500 / – / .750, macro .612, Hand-Till .634."
    assert replace(shown, reason="r").sentence().endswith("Hand-Till .634 (r).")
    lacking = multiclass_auc([0, 0, 2], rows[:3])
    assert lacking.reason == "class 1 has no observation, or no other class has one"
    assert lacking.macro is lacking.hand_till is lacking.micro is None
    for wrong, message in (
        (lambda: multiclass_auc([0, 3], rows[:2]), "class '3' is not one of 0 to 2"),
        (lambda: multiclass_auc([0], rows[:2]), "one row per label"),
        (lambda: multiclass_auc([0, 0], rows[:2, :1]), "one column per class"),
        (lambda: multiclass_auc([0, 1], [[0.5, 0.5], [np.nan, 1]]), "row 2 of 2"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_differences_between_subgroups() -> None:
    test = Interaction(variable="view", groups=3, statistic=6.123, df=2, p_value=0.0468)
    assert test.sentence() == "view: chi-square 6.12, 2 df, P = .047"
    none = Interaction(variable="view", groups=2, df=1, reason="r")
    assert none.sentence() == "view: not estimable, r"
    assert adjusted_sentences([test, none]) == f"{test.sentence()}; {none.sentence()}"
    other = replace(test, p_value=0.3)
    assert adjusted_sentences([test, other]) == (
        f"{test.sentence()} (adjusted P = .094); {other.sentence()}"
    )
    assert adjusted_sentences([]) == ""


def test_changed_scores() -> None:
    """One class, one patient and equal scores have no interval; a comparison cancels the first."""
    labels, patients = Y.astype(bool), np.arange(12) // 2
    after, other = SCORE[::-1].copy(), np.roll(SCORE, 3)
    area = stats.mannwhitneyu(SCORE[labels], SCORE[~labels]).statistic / 36
    fallen = stats.mannwhitneyu(after[labels], after[~labels]).statistic / 36
    rolled = stats.mannwhitneyu(other[labels], other[~labels]).statistic / 36
    drop = auc_drop(labels, SCORE, after, patients)
    assert drop.estimate == pytest.approx(area - fallen) and drop.low < drop.estimate < drop.high
    more = auc_drop(labels, SCORE, after, patients, [other, SCORE])
    assert more.estimate == pytest.approx((rolled + area) / 2 - fallen)
    assert (drop.level, drop.unit) == (0.95, "patient")
    for found, reason, estimate in (
        (auc_drop(np.ones(12, bool), SCORE, after, patients), "one class only", None),
        (
            auc_drop(labels, SCORE, after, [1] * 12),
            "one patient cannot be resampled",
            area - fallen,
        ),
        (auc_drop(labels, SCORE, SCORE, patients), "all patients have the same value", 0.0),
        (share_above_chance(~np.zeros(12, bool), SCORE, after, patients), "one class only", None),
        (
            share_above_chance(labels, after, SCORE, patients),
            "the AUC of the whole network is not above .5",
            None,
        ),
        (
            share_above_chance(labels, SCORE, SCORE, [1] * 12),
            "one patient cannot be resampled",
            1.0,
        ),
        (
            share_above_chance(labels, SCORE, SCORE, patients),
            "the AUC of the whole network is not reliably above .5",
            1.0,
        ),
    ):
        assert (found.reason, found.low) == (reason, None)
        assert found.estimate == (None if estimate is None else pytest.approx(estimate))
    perfect = np.where(labels, 0.9, 0.1) + np.arange(12) / 1000
    same = share_above_chance(labels, perfect, perfect, patients, 0.8)
    assert (same.estimate, same.level) == (1, 0.8)
    assert same.reason == "the value is the same in every resample"
    part = share_above_chance(labels, perfect, SCORE, patients)
    assert part.estimate == pytest.approx((area - 0.5) / 0.5) and part.level == 0.95


def test_sentences_of_several_readers() -> None:
    rng = np.random.default_rng(4)
    truth = np.arange(20) % 2 == 0
    scores = rng.normal(size=(2, 3, 20)) + np.array([0.9, 0.4])[:, None, None] * truth
    result = obuchowski_rockette(scores, truth, level=0.9)
    shown = replace(result, difference=0.123, low=0.012, high=0.234, p_value=0.0412)
    assert shown.sentence() == (
        f"{shown.method}: difference of mean AUC .123 (90 % CI .012 to .234), two-sided P = .041."
    )
    assert shown.method.startswith("Obuchowski-Rockette, ")
    assert shown.method.endswith(" jackknife covariances, Hillis' degrees of freedom")
    assert replace(shown, patients=9).method.endswith("covariances, 9 patients as clusters")
    means = (between(0.8, 0.7, 0.9),)
    none = replace(result, p_value=None, reason="r", modality_means=means)
    assert none.sentence() == (
        f"{none.method}: difference of modalities not estimable: r. Mean AUC {means[0].sentence()}."
    )
    assert replace(none, modality_means=()).sentence().endswith("not estimable: r.")
    table = pd.DataFrame(
        [
            (f"R{r}", c, m, scores[k, r, c], truth[c])
            for k, m in enumerate("ab")
            for r in range(3)
            for c in range(20)
        ],
        columns=["reader", "case", "modality", "score", "truth"],
    )
    found = any_design(table, level=0.9)
    assert found.difference == pytest.approx(result.difference)
    assert (found.readers, found.cases, found.patients) == (3, 20, 20)
    shown = replace(found, difference=0.123, low=0.012, high=0.234, p_value=0.0412, means=means * 2)
    text = means[0].sentence()
    start = shown.sentence().split(":")[0]
    assert start.startswith("U-statistics for readings that are not fully crossed, ")
    assert shown.sentence() == (
        f"{start}: difference of mean AUC .123 (90 % CI .012 to .234), two-sided P = .041."
        f" a: {text}; b: {text}."
    )
    lost = replace(found, p_value=None, reason="r", means=(), modalities=())
    assert lost.sentence() == f"{start}: difference of modalities not estimable: r."


def test_readers_against_a_network() -> None:
    result = StandaloneComparison(
        difference=-0.031,
        low=-0.101,
        high=0.039,
        p_value=0.387,
        readers_auc=between(0.844, 0.7, 0.9),
        standalone_auc=0.875,
        level=0.9,
    )
    assert result.sentence().startswith(
        "Readers' mean AUC .844, network .875: difference −.031 (90 % CI −.101 to .039), two-sided"
        " P = .387 (Obuchowski-Rockette on the differences, "
    )
    none = replace(result, difference=None, reason="r")
    assert none.sentence() == "Readers against the network not estimable: r."
    rng = np.random.default_rng(5)
    truth = np.arange(24) % 2 == 0
    readers, network = rng.normal(size=(3, 24)) + truth, rng.normal(size=24) + 1.5 * truth
    found = compare_with_standalone(readers, network, truth, level=0.9)
    # The readers' differences from the network, as two modalities with one fixed copy of it.
    areas = [stats.mannwhitneyu(s[truth], s[~truth]).statistic / 144 for s in (*readers, network)]
    assert found.standalone_auc == pytest.approx(areas[3])
    assert found.readers_auc.estimate == pytest.approx(np.mean(areas[:3]))
    assert found.difference == pytest.approx(np.mean(areas[:3]) - areas[3])
    assert (found.level, found.design) == (
        0.9,
        "rrrc",
    ) and found.low < found.difference < found.high


def test_proportions_in_words() -> None:
    test = exact_binomial_test(15, 20, p0=0.6, level=0.9)
    low = stats.beta.ppf(0.1, 15, 6)
    p = stats.binom.sf(14, 20, 0.6)
    mid = p - stats.binom.pmf(15, 20, 0.6) / 2
    assert test.sentence() == (
        f"15 of 20 (75.0 %; one-sided (greater) Clopper-Pearson 90 % CI {low:.3f} to 1.000); exact"
        f" binomial test against .60, one-sided (greater), P = {p:.3f}, mid-p P = {mid:.3f}; it"
        " assumes that answers are independent."
    ).replace(" 0.", " .")
    pairs = mcnemar(9, 2)
    exact = stats.binomtest(9, 11).pvalue
    assert pairs.sentence() == (
        f"Discordant pairs 9 against 2; McNemar's exact test, two-sided, P = {exact:.3f} (mid-p P ="
        f" {exact - stats.binom.pmf(9, 11, 0.5):.3f})."
    ).replace(" 0.", " .")
    assert mcnemar(0, 0).sentence() == (
        "The two agree on every pair (McNemar's test: no discordant pairs)."
    )
    worse = noninferiority(43, 70, margin=0.1, level=0.975)
    low = stats.binomtest(43, 70, 0.5, "greater").proportion_ci(0.975, "exact").low - 0.5
    assert worse.sentence() == (
        f"61.4 % against 50.0 %: difference .114, one-sided 97.5 % lower bound"
        f" {low:.3f}; non-inferiority with margin .10 shown (P < .001, exact binomial)."
    ).replace(" -0.", " −.").replace(" 0.", " .")
    failed = replace(worse, low=-0.1)
    assert not failed.noninferior and "margin .10 not shown" in failed.sentence()
    single = clustered_proportion([1, 0, 1, 1, 0, 1, 1], list("aabbccd"), level=0.9)
    assert single.sentence().startswith(
        "5 of 7 answers from 4 patients (71.4 %) were right; GEE with exchangeable correlation and"
        " small-sample robust variance ."
    )
    one = clustered_proportion([1, 0], ["a", "a"])
    assert one.sentence() == (
        "1 of 2 answers from 1 patient (50.0 %) were right; cluster-robust inference not estimable:"
        f" {one.reason}."
    )


def test_power_in_words() -> None:
    power = binomial_power(40, 0.7, p0=0.55, alpha=0.04)
    critical = next(k for k in range(41) if stats.binom.sf(k - 1, 40, 0.55) <= 0.04)
    reached = stats.binom.sf(critical - 1, 40, 0.7)
    assert power.sentence() == (
        f"With 40 independent answers the one-sided exact test at alpha .040 needs {critical} right"
        f" and has power {reached:.3f} if the true share is .700 (chance .550)."
    ).replace(" 0.", " .")
    assert power.size == pytest.approx(stats.binom.sf(critical - 1, 40, 0.55))
    assert binomial_power(3, 0.7).sentence() == (
        "With 3 answers no result reaches one-sided alpha .050: the power is 0."
    )
    size = binomial_sample_size(0.7, design_effect=1.25)
    plain = binomial_sample_size(0.7)
    assert (size.first_effective_n, size.stable_effective_n) == (plain.first_n, plain.stable_n)
    assert size.first_n == int(np.ceil(1.25 * plain.first_n))
    assert size.sentence() == (
        f"{size.stable_n} answers give power of at least .80 to find .700 against .500 (one-sided"
        " exact binomial test, alpha .050, multiplied by a design effect of 1.25 for several"
        f" answers a patient), and so does every larger number; the first number that does is"
        f" {size.first_n}."
    )
    assert "alpha .050), and so" in plain.sentence()
    variances = ComparisonVariances.from_auc(0.8)
    several = mrmc_sample_size(0.05, 6, variances, power=0.75, alpha=0.04)
    assert several.sentence() == (
        f"6 readers and {several.patients} patients, half of them malignant, give a power of .75 to"
        " find a difference in mean AUC of .050 (two-sided, alpha .040)."
    )
    assert (several.alpha, several.power, several.difference) == (0.04, 0.75, 0.05)
    assert mrmc_sample_size(0.05, 6, variances) == mrmc_sample_size(
        0.05, 6, variances, 0.8, 0.05, "rrrc"
    )


def test_defaults_and_tables_of_plans() -> None:
    plan = StudyPower()
    assert (plan.endpoint, plan.expected, plan.patients, plan.readers) == ("auc", 0.65, 100, 3)
    assert (plan.images_per_patient, plan.alpha, plan.side, plan.auc) == (1, 0.05, "greater", 0.75)
    table = power_table(plan, [30, 50], [2, 1], [1, 2])
    assert table[["readers", "patients", "images_per_patient", "answers"]].to_numpy().tolist() == [
        *([2, 30, 1, 60], [2, 30, 2, 120], [2, 50, 1, 100], [2, 50, 2, 200]),
        *([1, 30, 1, 30], [1, 30, 2, 60], [1, 50, 1, 50], [1, 50, 2, 100]),
    ]
    rows = table.set_index(["readers", "patients", "images_per_patient"])["power"]
    assert rows[2, 50, 2] == pytest.approx(auc_power(0.65, 50, 2, 2))
    assert list(power_table(plan, [30], [2])["images_per_patient"]) == [1]
    # Four patients are the least number that is tried.
    assert patients_needed(StudyPower(endpoint="proportion", expected=0.999)) == 4
    assert patients_needed(StudyPower(expected=0.65), 0.8, 20_000) == patients_needed(plan)
    read = read_plan(plan, expected=0.7, same_patient=0.1, alpha=0.02, two_sided=True)
    assert (read.expected, read.alpha, read.side) == (0.7, 0.02, "two-sided")
    assert read.correlations == AnswerCorrelations(plan.correlations.same_image, 0.1)
    with_variances = replace(plan, variances=ComparisonVariances.from_auc(0.8))
    assert read_plan(with_variances).variances is with_variances.variances
    assert read_plan(with_variances, auc=0.9).variances is None
    assert read_plan(with_variances, auc=0.9).auc == 0.9
    assert (read_plan(plan).side, read_plan(plan).alpha) == ("greater", 0.05)
    for endpoint in ("auc_difference", "advice_change"):
        assert read_plan(replace(plan, endpoint=endpoint)).side == "two-sided"
    assert proportion_power(0.6, 50) == proportion_power(
        0.6, 50, 1, 1, AnswerCorrelations(), 0.05, "greater", False
    )
    assert auc_power(0.6, 50) == auc_power(
        0.6, 50, 1, 1, AnswerCorrelations(), 0.05, "greater", 0.5
    )
    # Of five patients at a prevalence of .4 two are malignant, enough for a power.
    assert auc_power(0.9, 5, prevalence=0.4) > 0 == auc_power(0.9, 5, prevalence=0.2)


def test_correlations_of_a_pilot_study_by_hand() -> None:
    """Answers of two readers to the images a and b of one patient, and to c of another."""
    values = np.array([1.0, -2.0, 3.0, 0.5, -1.5, 2.0])
    images, patients = list("aabbcc"), [1, 1, 1, 1, 2, 2]
    square = np.mean(values**2)
    same_image = np.mean([1 * -2, 3 * 0.5, -1.5 * 2.0])
    same_patient = np.mean([x * y for x in (1, -2) for y in (3, 0.5)])
    found = answer_correlations(values, np.array(images), np.array(patients))
    assert found.same_image == max(0.0, same_image / square) == 0
    assert found.same_patient == max(0.0, same_patient / square)
    positive = answer_correlations(np.abs(values), np.array(images), np.array(patients))
    assert positive.same_image == pytest.approx(np.mean([2, 1.5, 3]) / square)
    assert positive.same_patient == pytest.approx(np.mean([3, 0.5, 6, 1]) / square)
    table = pd.DataFrame(
        {
            "code": ["R1", "R2"] * 5,
            "mammogram_id": np.repeat(list("abcde"), 2),
            "patient_id": np.repeat([1, 1, 2, 2, 3], 2),
            "arm": "x",
            "repeat": [False] * 8 + [True, False],
            "malignant": np.repeat([True, True, False, False, True], 2),
            "answer": [6, 5, 4, 2, 1, 3, 3, 2, 6, 6],
            "correct": [True, True, True, False, True, True, False, True, True, True],
        }
    )
    plan = pilot_plan(table, "proportion", ("x",))
    # Hidden repeats do not count: 7 of 9 are right.
    assert (plan.expected, plan.endpoint) == (7 / 9, "proportion")
    assert (plan.patients, plan.readers, plan.images_per_patient) == (3, 2, 2)
    right = pilot_plan(table.assign(correct=True), "proportion", ("x",))
    assert (right.expected, right.correlations) == (0.99, AnswerCorrelations())
    auc = pilot_plan(table, "auc", ("x",))
    positive, negative = [6, 5, 4, 2, 6], [1, 3, 3, 2]
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert auc.expected == pytest.approx(np.mean(pairs))
