"""Randomisation tests with the patient as the unit: permutation of patients, and sign-flipping."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from evaluation.validation import Array, cluster_codes

TEST_PERMUTATIONS = 4_999
# Up to this sum of |right - wrong| the sign-flip distribution is enumerated. Above it the normal
# approximation agrees to many digits.
EXACT_SIGN_FLIP_LIMIT = 20_000


@dataclass(frozen=True)
class Association:
    """Association of a field with a binary truth.

    Attributes
    ----------
    auc : float or None
        AUC of the field; above .5 when larger values go with positives. None where the test has no
        direction, or where field or truth do not vary.
    p : float or None
        Two-sided permutation P value.
    """

    auc: float | None
    p: float | None


class PatientPermutations:
    """Permutations that exchange whole patients, so that dependence within a patient is kept.

    Parameters
    ----------
    patient : sequence of hashable, shape (n,)
        Patient of each row.
    seed : int
        Seed of the random generator.
    permutations : int
        Number of permutations.

    Attributes
    ----------
    rows : ndarray of int32, shape (permutations, n)
        Row orders. Patients are exchanged with patients that have the same number of rows. A
        patient whose number of rows is unique stays in place, which makes a test conservative.

    Notes
    -----
    P = (1 + permutations at least as extreme) / (1 + permutations), which is never 0.

    References
    ----------
    Phipson B, Smyth GK. Permutation P-values should never be zero. Stat Appl Genet Mol Biol
    2010;9:39.

    Examples
    --------
    >>> tests = PatientPermutations(["a", "a", "b", "b", "c", "c"], seed=1, permutations=999)
    >>> truth = np.array([True, True, False, False, False, False])
    >>> result = tests.ordinal_association(np.array([5.0, 6, 1, 2, 3, 4]), truth)
    >>> result.auc, round(result.p, 2)
    (1.0, 0.68)
    """

    def __init__(self, patient: Any, seed: int, permutations: int = TEST_PERMUTATIONS) -> None:
        codes, clusters = cluster_codes(patient, len(patient))
        self.codes, self.clusters, self.seed = codes, clusters, seed
        sizes = np.bincount(codes, minlength=clusters)
        members = (
            np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1]) if clusters else []
        )
        generator = np.random.default_rng(seed)
        # int32 halves the memory of the largest array here.
        self.rows = np.tile(np.arange(len(codes), dtype=np.int32), (permutations, 1))
        for size in np.unique(sizes):
            block = np.array([rows for rows in members if len(rows) == size])
            # The argsort of random numbers is one permutation per row, without a Python loop.
            orders = np.argsort(generator.random((permutations, len(block))), axis=1)
            self.rows[:, block.ravel()] = block[orders].reshape(permutations, -1)

    def permuted_truth(self, truth: Array) -> Array:
        """Return permuted truth, bool [permutations, n].

        Where every patient has a single truth, it is exchanged between all patients, whatever
        their number of rows; otherwise rows are exchanged as in `rows`.
        """
        first = np.zeros(self.clusters, dtype=bool)
        first[self.codes] = truth
        if (first[self.codes] != truth).any():
            return truth[self.rows]
        return first[self._patient_orders][:, self.codes]

    @cached_property
    def _patient_orders(self) -> Array:
        """Orders of all patients, int32 [permutations, patients]."""
        # A seed of its own, so that these orders are independent of those in `rows`.
        generator = np.random.default_rng(self.seed + 1)
        return np.argsort(generator.random((len(self.rows), self.clusters)), axis=1).astype(
            np.int32
        )

    def p_value(self, observed: float, permuted: Array) -> float:
        """Return (1 + permutations at least as extreme) / (1 + permutations)."""
        # The tolerance counts ties that differ by rounding only.
        return float(
            (1 + (permuted >= observed - 1e-9 * max(1.0, abs(observed))).sum())
            / (1 + len(permuted))
        )

    def ordinal_association(self, values: Array, truth: Array) -> Association:
        """Test an ordered field against a binary truth (rank-sum statistic, two-sided).

        Parameters
        ----------
        values : ndarray of float, shape (n,)
        truth : ndarray of bool, shape (n,)
        """
        positives, negatives = int(truth.sum()), int((~truth).sum())
        if not positives or not negatives or np.ptp(values) == 0:
            return Association(None, None)
        # Midranks, so that ties count one half in the AUC.
        ranks = scipy.stats.rankdata(values)
        area = (ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives)
        # Centred ranks: the sum over positives is then 0 on average under permutation.
        centred = ranks - ranks.mean()
        permuted = np.abs(self.permuted_truth(truth) @ centred)
        return Association(float(area), self.p_value(abs(float(centred[truth].sum())), permuted))

    def categorical_association(self, codes: Array, truth: Array) -> Association:
        """Test an unordered field against a binary truth (between-category sum of squares).

        The AUC is that of each category's proportion of positives. It exceeds .5 by chance as well,
        because the categories are ordered by the same data; the P value allows for that.

        Parameters
        ----------
        codes : ndarray of int, shape (n,)
            Category of each row.
        truth : ndarray of bool, shape (n,)
        """
        codes = np.unique(codes, return_inverse=True)[1]
        if not truth.any() or truth.all() or codes.max(initial=0) == 0:
            return Association(None, None)
        sizes = np.bincount(codes)
        table = np.eye(len(sizes))[codes]
        proportions = (truth @ table) / sizes
        # The squared total is subtracted because the number of positives differs between
        # permutations where patients have several cases.
        observed = float(((truth @ table) ** 2 / sizes).sum() - truth.sum() ** 2 / len(truth))
        labels = self.permuted_truth(truth).astype(float)
        permuted = ((labels @ table) ** 2 / sizes).sum(axis=1) - labels.sum(axis=1) ** 2 / len(
            truth
        )
        ranks = scipy.stats.rankdata(proportions[codes])
        m = int(truth.sum())
        area = (ranks[truth].sum() - m * (m + 1) / 2) / (m * (len(truth) - m))
        return Association(float(area), self.p_value(observed, permuted))

    def score_correlation(self, values: Array, score: Array) -> Association:
        """Test an ordered field against a numeric score (rank correlation, two-sided).

        The AUC is that of the field for a score above its median.

        Parameters
        ----------
        values, score : ndarray of float, shape (n,)
        """
        high = score > np.median(score)
        if np.ptp(values) == 0 or np.ptp(score) == 0 or not high.any():
            return Association(None, None)
        first, second = scipy.stats.rankdata(values), scipy.stats.rankdata(score)
        first, second = first - first.mean(), second - second.mean()
        permuted = np.abs(second[self.rows] @ first)
        m = int(high.sum())
        area = (scipy.stats.rankdata(values)[high].sum() - m * (m + 1) / 2) / (m * (len(high) - m))
        return Association(float(area), self.p_value(abs(float(first @ second)), permuted))

    def runs_test(self, truth: Array) -> Association:
        """Test how often truth changes between neighbouring rows (two-sided).

        Detects an order that alternates or has blocks although its AUC is .5. The rows must be in
        the order of display.

        Parameters
        ----------
        truth : ndarray of bool, shape (n,)
        """
        if not truth.any() or truth.all():
            return Association(None, None)
        changes = np.diff(self.permuted_truth(truth).astype(int), axis=1)
        permuted = (changes != 0).sum(axis=1).astype(float)
        observed = float((np.diff(truth.astype(int)) != 0).sum())
        centre = permuted.mean()
        return Association(None, self.p_value(abs(observed - centre), np.abs(permuted - centre)))


def sign_flip(differences: Any) -> tuple[float, float, str]:
    """Test right against wrong answers by flipping the sign of each patient.

    Under the null hypothesis each patient's (right - wrong) is as likely with the opposite sign.

    Parameters
    ----------
    differences : array_like of int, shape (m,)
        Right minus wrong answers of each patient.

    Returns
    -------
    p_greater : float
        P(T >= t) for the sum t of the differences.
    p_two_sided : float
        P(|T| >= |t|).
    method : str
        "exact", or "normal approximation" above `EXACT_SIGN_FLIP_LIMIT`.

    Notes
    -----
    The distribution of T is the convolution of the patients' two-point distributions, those of
    equal size together. The cost is linear in the sum of |differences| and not 2^m.

    Checked against: enumeration of all 2^m sign patterns (1e-12).

    References
    ----------
    Fisher RA. The Design of Experiments. Oliver and Boyd 1935 (section 21).

    Examples
    --------
    >>> sign_flip([1, 1, 1, 2])
    (0.0625, 0.125, 'exact')
    """
    # The sums are floats; rint restores the whole numbers that index the exact distribution.
    values = np.asarray(np.rint(differences), dtype=np.int64)
    # A patient with as many right as wrong answers does not change T.
    observed, sizes = int(values.sum()), np.abs(values[values != 0])
    total = int(sizes.sum())
    if total > EXACT_SIGN_FLIP_LIMIT:
        # Under random signs T has mean 0 and variance sum d^2.
        z = observed / np.sqrt((sizes.astype(float) ** 2).sum())
        return (
            float(scipy.stats.norm.sf(z)),
            float(2 * scipy.stats.norm.sf(abs(z))),
            "normal approximation",
        )
    # The sum of the patients with a plus sign runs from 0 to total, and T = 2 x that sum - total.
    distribution = np.ones(1)
    for size, count in zip(*np.unique(sizes, return_counts=True)):
        kernel = np.zeros(size * count + 1)
        kernel[::size] = scipy.stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, kernel)
    sums = 2 * np.arange(total + 1) - total
    greater = float(distribution[sums >= observed].sum())
    two_sided = float(distribution[np.abs(sums) >= abs(observed)].sum())
    return min(1.0, greater), min(1.0, two_sided), "exact"
