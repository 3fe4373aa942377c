"""Coverage of the 95 % intervals over 1,000 simulated studies: the clustered intervals hold where
the naive ones fail. Printed with `-s`.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evaluation.clustered import gee_exchangeable
from evaluation.proportion import proportion_interval
from evaluation.roc import auc_interval

STUDIES = 1_000


def told(name: str, covered: list[bool], naive: list[bool]) -> tuple[float, float]:
    """Prints and returns both coverages."""
    clustered, plain = 100 * float(np.mean(covered)), 100 * float(np.mean(naive))
    print(
        f"\n{name}: 95 % interval covers in {clustered:.1f} % of {STUDIES} studies (clustered),"
        f" {plain:.1f} % (naive)"
    )
    return clustered, plain


@pytest.mark.parametrize(("icc", "naive_range"), [(0.3, (70, 91)), (0.0, (93, 97))])
def test_proportion(icc, naive_range):
    rng, p, patients = np.random.default_rng(1), 0.55, 185
    covered, naive = [], []
    for _ in range(STUDIES):
        sizes = rng.integers(1, 7, patients).astype(float)
        share = (
            rng.beta(p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc, patients)
            if icc
            else np.full(patients, p)
        )
        sums = rng.binomial(sizes.astype(int), share).astype(float)
        gee, _ = gee_exchangeable(sums, sizes)
        covered.append(
            abs(gee.logit - np.log(p / (1 - p))) <= stats.norm.isf(0.025) * gee.standard_error
        )
        plain = proportion_interval(int(sums.sum()), int(sizes.sum()), "wilson")
        naive.append(plain.low <= p <= plain.high)
    clustered, plain = told(f"proportion right, intraclass correlation {icc}", covered, naive)
    assert 93 <= clustered <= 97 and naive_range[0] <= plain <= naive_range[1]


@pytest.mark.parametrize(("between", "naive_range"), [(1.0, (60, 90)), (0.0, (93, 97))])
def test_auc(between, naive_range):
    rng, shift, patients = np.random.default_rng(2), 1.2, 120
    # A positive and a negative of different patients differ by shift plus two patients' and two
    # images' variation.
    true = stats.norm.cdf(shift / np.sqrt(2 * (between**2 + 1)))
    covered, naive = [], []
    for _ in range(STUDIES):
        patient = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
        y = (rng.random(patients) < 0.5)[patient]
        score = shift * y + between * rng.normal(size=patients)[patient] + rng.normal(size=len(y))
        for kept, interval in (
            (covered, auc_interval(y, score, patient, "obuchowski")),
            (naive, auc_interval(y, score)),
        ):
            kept.append(interval.low <= true <= interval.high)
    clustered, plain = told(f"AUC, spread between patients {between}", covered, naive)
    assert 93 <= clustered <= 97 and naive_range[0] <= plain <= naive_range[1]
