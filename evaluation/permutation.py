"""Patient-permutation tests of whether something that is shown tells the truth (or the network's
score).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from evaluation.validation import Array, cluster_codes

PERMUTATIONS = 4_999


@dataclass(frozen=True)
class Association:
    """How well a field tells the truth:

    AUC (above .5: larger values with positives) and its two-sided permutation P.
    """

    auc: float | None
    p: float | None


class PatientPermutations:
    """Exchanges whole patients, so that what belongs together stays together.

    `rows` [permutations, n]: row orders that exchange patients with the same number of cases (one
    whose number is unique stays in place, which makes a test conservative, never liberal).
    `truths`: where every patient has one truth, it is exchanged between all patients.
    """

    def __init__(self, patient: Any, seed: int, permutations: int = PERMUTATIONS) -> None:
        codes, clusters = cluster_codes(patient, len(patient))
        self.codes, self.clusters, self.seed = codes, clusters, seed
        sizes = np.bincount(codes, minlength=clusters)
        members = (
            np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1]) if clusters else []
        )
        generator = np.random.default_rng(seed)
        self.rows = np.tile(np.arange(len(codes), dtype=np.int32), (permutations, 1))
        for size in np.unique(sizes):
            block = np.array([rows for rows in members if len(rows) == size])
            orders = np.argsort(generator.random((permutations, len(block))), axis=1)
            self.rows[:, block.ravel()] = block[orders].reshape(permutations, -1)

    def truths(self, truth: Array) -> Array:
        """Permuted truth, bool [permutations, n]."""
        first = np.zeros(self.clusters, dtype=bool)
        first[self.codes] = truth
        if (first[self.codes] != truth).any():
            return truth[self.rows]
        return first[self._patient_orders][:, self.codes]

    @cached_property
    def _patient_orders(self) -> Array:
        """Orders of all patients [permutations, patients]."""
        generator = np.random.default_rng(self.seed + 1)
        return np.argsort(generator.random((len(self.rows), self.clusters)), axis=1).astype(
            np.int32
        )

    def p_value(self, observed: float, permuted: Array) -> float:
        """(1 + permutations at least as extreme) / (1 + permutations)."""
        return float(
            (1 + (permuted >= observed - 1e-9 * max(1.0, abs(observed))).sum())
            / (1 + len(permuted))
        )

    def ordered(self, values: Array, truth: Array) -> Association:
        """A field with an order against 0/1: rank-sum statistic, two-sided.

        `values` float [n], `truth` bool [n].
        """
        positives, negatives = int(truth.sum()), int((~truth).sum())
        if not positives or not negatives or np.ptp(values) == 0:
            return Association(None, None)
        ranks = stats.rankdata(values)
        area = (ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives)
        centred = ranks - ranks.mean()
        permuted = np.abs(self.truths(truth) @ centred)
        return Association(float(area), self.p_value(abs(float(centred[truth].sum())), permuted))

    def categories(self, codes: Array, truth: Array) -> Association:
        """A field without order against 0/1: between-category sum of squares.

        The AUC is that of the categories' own shares of positives, so it is above .5 by chance too;
        the P allows for that.
        """
        codes = np.unique(codes, return_inverse=True)[1]
        if not truth.any() or truth.all() or codes.max(initial=0) == 0:
            return Association(None, None)
        sizes = np.bincount(codes)
        table = np.eye(len(sizes))[codes]
        shares = (truth @ table) / sizes
        # Less the total squared: the number of positives differs between permutations where
        # patients have several cases.
        observed = float(((truth @ table) ** 2 / sizes).sum() - truth.sum() ** 2 / len(truth))
        labels = self.truths(truth).astype(float)
        permuted = ((labels @ table) ** 2 / sizes).sum(axis=1) - labels.sum(axis=1) ** 2 / len(
            truth
        )
        ranks = stats.rankdata(shares[codes])
        m = int(truth.sum())
        area = (ranks[truth].sum() - m * (m + 1) / 2) / (m * (len(truth) - m))
        return Association(float(area), self.p_value(observed, permuted))

    def correlated(self, values: Array, score: Array) -> Association:
        """A field with an order against a number: rank correlation, two-sided; the AUC is that for
        a score above its median.
        """
        high = score > np.median(score)
        if np.ptp(values) == 0 or np.ptp(score) == 0 or not high.any():
            return Association(None, None)
        first, second = stats.rankdata(values), stats.rankdata(score)
        first, second = first - first.mean(), second - second.mean()
        permuted = np.abs(second[self.rows] @ first)
        m = int(high.sum())
        area = (stats.rankdata(values)[high].sum() - m * (m + 1) / 2) / (m * (len(high) - m))
        return Association(float(area), self.p_value(abs(float(first @ second)), permuted))

    def runs(self, truth: Array) -> Association:
        """How often truth changes from one row to the next, against chance, two-sided: finds an
        order that alternates or comes in blocks though its AUC is .5. Rows are in the order shown.
        """
        if not truth.any() or truth.all():
            return Association(None, None)
        changes = np.diff(self.truths(truth).astype(int), axis=1)
        permuted = (changes != 0).sum(axis=1).astype(float)
        observed = float((np.diff(truth.astype(int)) != 0).sum())
        centre = permuted.mean()
        return Association(None, self.p_value(abs(observed - centre), np.abs(permuted - centre)))
