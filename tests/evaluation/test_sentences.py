"""Sentences of results, word for word, with numbers that all differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.annotation.sufficiency import Sufficiency
from evaluation.clustered import clustered_proportion
from evaluation.intervals import Interval, not_estimable
from evaluation.paired_proportions import mcnemar
from evaluation.power import binomial_power, binomial_sample_size
from evaluation.roc import roc_curve
from evaluation.roc.auc_comparison import AucDifference
from evaluation.similarity.text_matching import ConceptF1


def test_difference_of_areas() -> None:
    result = AucDifference(
        difference=0.123,
        standard_error=0.05,
        statistic=2.46,
        p_value=0.014,
        low=0.025,
        high=0.221,
        level=0.9,
        first=0.856,
        second=0.733,
        p_greater=0.007,
    )
    assert result.sentence() == (
        "AUC .856 against .733: difference .123 (90 % CI .025 to .221), two-sided P = .014"
        " (DeLong, paired; unit of analysis: observation)."
    )
    back = result.reversed()
    assert (back.difference, back.statistic, back.low, back.high) == (-0.123, -2.46, -0.221, -0.025)
    assert (back.first, back.second, back.p_value) == (0.733, 0.856, 0.014)
    assert back.p_greater == 1 - 0.007
    missing = replace(result, difference=None, reason="one class only")
    assert missing.sentence() == "Difference of AUCs not estimable: one class only."


def test_band_of_a_curve() -> None:
    y, score = [1, 0, 1, 0, 1, 0], [6, 5, 4, 3, 2, 1]
    alone = roc_curve(y, score, level=0.9, resamples=50)
    assert alone.sentence() == (
        f"ROC curve with a 90 % band, {alone.method}; unit of analysis: observation."
    )
    patients = roc_curve(y, score, cluster=list("aabbcc"), resamples=50)
    assert patients.sentence() == (
        f"ROC curve with a 95 % band, {patients.method}; unit of analysis: patient."
    )
    missing = roc_curve(np.ones(4), np.arange(4))
    assert missing.sentence() == f"ROC curve with no band: {missing.reason}."


def test_concepts() -> None:
    result = ConceptF1(
        f1=0.5, precision=0.375, recall=0.75, unknown_reference=0.1, unknown_hypothesis=0.2
    )
    assert result.sentence() == "Concept F1 .500 (precision .375, recall .750)."
    empty = ConceptF1(unknown_reference=None, unknown_hypothesis=0.2, reason="no concept is named")
    assert empty.sentence() == "Concept F1 not estimable: no concept is named."


def test_short_intervals_and_reasons() -> None:
    interval = Interval(estimate=0.512, low=0.301, high=0.779, level=0.9, method="m")
    assert interval.short() == ".51 (.30 to .78)" and interval.short(3) == ".512 (.301 to .779)"
    assert replace(interval, low=None).short() == ".51"
    assert not_estimable("too few") == "not estimable: too few"
    assert not_estimable(None) == not_estimable("") == "not estimable: no reason recorded"


def sufficiency(**changes: Any) -> Sufficiency:
    values: dict[str, Any] = {
        "class_name": "malignant",
        "subject": "named",
        "units": 17,
        "living": 230,
        "patches": 1234,
        "patients": 41,
        "auc": 0.781,
        "low": 0.702,
        "high": 0.853,
        "whole": 0.894,
        "share": 0.71,
        "share_low": 0.55,
        "share_high": 0.83,
        "random": 0.611,
        "random_low": 0.522,
        "random_high": 0.733,
    }
    return Sufficiency(**(values | changes))


def test_sufficiency_of_units() -> None:
    assert sufficiency().sentence() == (
        "Sufficiency, malignant: alone, with every other unit at its hold-out mean, the 17 named of"
        " 230 living units carry 71 % (95 % CI 55 % to 83 %) of the decision above chance: patch"
        " AUC .781 (95 % CI .702 to .853, patients as clusters) where the whole network has .894"
        " and chance is .5. Random sets of as many units have a median of .611 (95 % of the sets"
        " .522 to .733): the named units carry more than random units do. Test split, 1,234 patches"
        " of 41 patients."
    )
    less = sufficiency(auc=0.5)
    assert "carry less than random units do" in less.sentence()
    assert "carry as much as random units do" in sufficiency(auc=0.733).sentence()
    assert "carry as much as random units do" in sufficiency(auc=0.522).sentence()
    named = sufficiency(
        bottleneck=0.812, bottleneck_units=9, drop=0.082, drop_low=0.011, drop_high=0.144
    )
    assert named.sentence().endswith(
        " A classifier of its own on the named units (sparse logistic regression, which uses 9 of"
        " them) has an AUC of .812; difference of the whole network from it .082 (95 % CI .011 to"
        " .144)."
    )
    missing = sufficiency(auc=None).sentence()
    assert missing == (
        "What the 17 named of 230 living units carry alone is not estimable for malignant."
    )
    assert "a share that is not estimable" in sufficiency(share=None).sentence()


def test_pairs_that_only_one_side_answers_correctly() -> None:
    test = mcnemar(58, 85)
    assert (test.b, test.c) == (58, 85) and (mcnemar(0, 0).b, mcnemar(0, 0).c) == (0, 0)
    assert test.chi_square == 27**2 / 143 and test.corrected_chi_square == 26**2 / 143
    other = mcnemar(85, 58)
    assert (other.exact_p_value, other.mid_p_value) == (test.exact_p_value, test.mid_p_value)


@pytest.mark.parametrize(("right", "outcome"), [(1, "right"), (0, "wrong")])
def test_answers_without_variation(right: int, outcome: str) -> None:
    result = clustered_proportion([right] * 6, list("aabbcc"))
    assert f"all answers are {outcome}: their variance is 0" in str(result.reason)


def test_certain_answers_have_a_sample_size() -> None:
    """Shares of 0 and 1 are possible answers, and a critical count needs five of .5 ** 5 < .05."""
    assert binomial_sample_size(1.0).first_n == 5
    assert binomial_power(5, 1.0) == 1 and binomial_power(5, 0.0) == 0
    for p1 in (-0.01, 1.01):
        with pytest.raises(ValueError, match="they must lie between 0 and 1"):
            binomial_power(5, p1)
