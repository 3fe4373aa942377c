"""Exact power and sample sizes against reference answers and enumeration."""

from __future__ import annotations

import math

import pytest

from evaluation.power import binomial_power, binomial_sample_size


def test_reference_power(reference):
    for case in reference("power_exact_binomial")["cases"]:
        i, e = case["inputs"], case["expected"]
        if "p1" not in i:
            powers = [
                binomial_power(i["n"], p, alpha=i["alpha_one_sided"]) for p in (0.55, 0.575, 0.6)
            ]
            assert powers == pytest.approx(
                [e["power_p55"], e["power_p575"], e["power_p60"]], abs=1e-9
            )
            assert powers[0].critical_count == e["critical_x"] and powers[0].size == pytest.approx(
                e["size"], abs=1e-9
            )
            continue
        result = binomial_sample_size(i["p1"], i["p0"], i["alpha_one_sided"], i["power"])
        counts = [e[name] for name in ("first_n", "first_crit", "stable_n", "stable_crit")]
        assert [
            result.first_n,
            result.first_critical,
            result.stable_n,
            result.stable_critical,
        ] == counts
        assert [result.first_power, result.stable_power] == pytest.approx(
            [e["first_power"], e["stable_power"]], abs=1e-9
        )
        after = binomial_power(result.first_n + 1, i["p1"], i["p0"], i["alpha_one_sided"])
        assert after == pytest.approx(e["power_at_first_plus1"], abs=1e-9)


def test_power_by_summation():
    for n in (7, 30, 61):
        mass0, mass1 = (
            [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)] for p in (0.5, 0.65)
        )
        critical = next(x for x in range(n + 2) if sum(mass0[x:]) <= 0.05)
        result = binomial_power(n, 0.65)
        assert result.critical_count == critical and result == pytest.approx(
            sum(mass1[critical:]), abs=1e-12
        )
    size = binomial_sample_size(0.65)
    later = [binomial_power(n, 0.65) for n in range(size.first_n, size.stable_n + 300)]
    assert later[0] >= 0.8 and binomial_power(size.first_n - 1, 0.65) < 0.8
    assert (
        binomial_power(size.stable_n - 1, 0.65) < 0.8
        and min(later[size.stable_n - size.first_n :]) >= 0.8
    )


def test_design_effect_and_inestimable_sizes():
    plain, clustered = binomial_sample_size(0.6), binomial_sample_size(0.6, design_effect=1.5)
    assert (
        clustered.stable_n == math.ceil(1.5 * plain.stable_n)
        and clustered.stable_effective_n == plain.stable_n
    )
    assert clustered.stable_power == plain.stable_power and "1.50" in clustered.sentence()
    assert (
        binomial_sample_size(0.5).first_n is None
        and "does not lie above" in binomial_sample_size(0.5).reason
    )
    assert (
        binomial_sample_size(0.5002).reason
        and "not estimable" in binomial_sample_size(0.5002).sentence()
    )
    assert binomial_sample_size(0.51).stable_n > 10_000
    small = binomial_power(3, 0.9)
    assert small == 0 and small.critical_count is None and "no result" in small.sentence()
    for wrong, message in (
        (lambda: binomial_power(0, 0.6), "number of"),
        (lambda: binomial_sample_size(1.2), "the shares are 1.2 and 0.5"),
        (lambda: binomial_sample_size(0.6, alpha=0), "alpha is 0"),
        (lambda: binomial_sample_size(0.6, design_effect=0.5), "the design effect is 0.5"),
        (lambda: binomial_sample_size(0.6, power=1), "the power is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
