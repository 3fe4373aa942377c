"""AUCs of subgroups, and tests whether they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy

from evaluation.intervals import p_text
from evaluation.proportion import adjust
from evaluation.roc.auc_estimates import AucInterval
from evaluation.roc.auc_variance import bootstrap_aucs
from evaluation.validation import Array, cluster_codes


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """AUC in one value of a variable.

    Attributes
    ----------
    variable, value : str
        Variable and its value, such as "density" and "3".
    auc : AucInterval
    n, patients : int
        Numbers of images and patients.
    truth : ndarray of bool, shape (n,)
    score : ndarray of float, shape (n,)
    patient : ndarray, shape (n,)
        Observations of the subgroup.
    """

    variable: str
    value: str
    auc: AucInterval
    n: int
    patients: int
    truth: Array = field(repr=False)
    score: Array = field(repr=False)
    patient: Array = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Test whether the AUC differs between the subgroups of a variable.

    Attributes
    ----------
    variable : str
    groups : int
        Number of subgroups.
    statistic : float or None
        Wald chi-square.
    df : int
        Degrees of freedom, groups - 1.
    p_value : float or None
    reason : str or None
        Why there is no test.
    """

    variable: str
    groups: int
    statistic: float | None = None
    df: int
    p_value: float | None = None
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as text for a caption."""
        if self.p_value is None:
            return f"{self.variable}: not estimable, {self.reason}"
        return (
            f"{self.variable}: chi-square {self.statistic:.2f}, {self.df} df,"
            f" {p_text(self.p_value)}"
        )


def interactions(
    groups: Sequence[Subgroup], resamples: int = 500, seed: int = 1
) -> list[Interaction]:
    """Test for each variable whether the AUCs of its subgroups differ.

    Parameters
    ----------
    groups : sequence of Subgroup
        Subgroups of any number of variables.
    resamples, seed : int
        Bootstrap samples of patients, and seed.

    Returns
    -------
    list of Interaction
        One per variable with at least two estimable subgroups.

    Notes
    -----
    Wald's chi-square of the contrasts A_g - A_1, with their covariance from resampled patients. A
    patient's images may be in several subgroups, so the subgroups are not independent; the same
    patients are drawn for all of them.

    Examples
    --------
    >>> from evaluation.roc.auc_estimates import auc_interval
    >>> rng = np.random.default_rng(1)
    >>> def group(value, shift):
    ...     truth, patient = np.repeat([False, True], 40), np.arange(80)
    ...     score = shift * truth + rng.normal(size=80)
    ...     return Subgroup(variable="density", value=value, auc=auc_interval(truth, score), n=80,
    ...                     patients=80, truth=truth, score=score, patient=patient)
    >>> test = interactions([group("1", 3.0), group("2", 0.5)])[0]
    >>> test.df, test.p_value < 0.01
    (1, True)
    """
    tests = []
    for variable in dict.fromkeys(group.variable for group in groups):
        estimable = [
            group
            for group in groups
            if group.variable == variable and group.auc.estimate is not None
        ]
        if len(estimable) >= 2:
            tests.append(_interaction(variable, estimable, resamples, seed))
    return tests


def adjusted_sentences(tests: Sequence[Interaction]) -> str:
    """Return tests of differences between subgroups as text, adjusted for their number by Holm.

    Parameters
    ----------
    tests : sequence of Interaction
        Every test of one study.

    Returns
    -------
    str
        "" without tests.

    Examples
    --------
    >>> print(adjusted_sentences([
    ...     Interaction(variable="density", groups=2, statistic=6.0, df=1, p_value=0.0143),
    ...     Interaction(variable="view", groups=2, df=1, reason="one patient"),
    ...     Interaction(variable="scanner", groups=2, statistic=0.1, df=1, p_value=0.752),
    ... ]).replace("; ", "\\n"))
    density: chi-square 6.00, 1 df, P = .014 (adjusted P = .029)
    view: not estimable, one patient
    scanner: chi-square 0.10, 1 df, P = .752
    """
    adjusted = adjust([test.p_value for test in tests], "holm")
    texts = []
    for test, p in zip(tests, adjusted):
        # A missing P is nan in the result of `adjust`.
        is_changed = not np.isnan(p) and p != test.p_value
        texts.append(test.sentence() + (f" (adjusted {p_text(float(p))})" if is_changed else ""))
    return "; ".join(texts)


def _interaction(
    variable: str, groups: Sequence[Subgroup], resamples: int, seed: int
) -> Interaction:
    # Codes over all groups together: a patient has the same code, and the same weight, in each.
    codes, patients = cluster_codes(
        np.concatenate([group.patient for group in groups]),
        sum(len(group.patient) for group in groups),
    )
    ends = np.cumsum([len(group.patient) for group in groups])[:-1]
    areas = np.stack(
        [
            bootstrap_aucs(group.truth, group.score, part, patients, resamples, seed)
            for group, part in zip(groups, np.split(codes, ends))
        ]
    )
    # A sample counts only if every group has both classes in it.
    areas = areas[:, ~np.isnan(areas).any(0)]
    # `interactions` selects groups with an estimate; `or 0.0` serves the type only.
    contrast = np.array(
        [(group.auc.estimate or 0.0) - (groups[0].auc.estimate or 0.0) for group in groups[1:]]
    )
    df = len(contrast)
    # A covariance matrix of df contrasts from fewer samples would be unstable.
    if areas.shape[1] < 10 * (df + 1):
        reason = "too few resamples of patients hold both classes in every group"
        return Interaction(variable=variable, groups=len(groups), df=df, reason=reason)
    # np.cov returns a scalar for a single contrast.
    covariance = np.atleast_2d(np.cov(areas[1:] - areas[0]))
    if np.linalg.matrix_rank(covariance) < df:
        reason = "the AUCs of the groups do not vary between resamples of patients"
        return Interaction(variable=variable, groups=len(groups), df=df, reason=reason)
    statistic = float(contrast @ np.linalg.solve(covariance, contrast))
    return Interaction(
        variable=variable,
        groups=len(groups),
        statistic=statistic,
        df=df,
        p_value=float(scipy.stats.chi2.sf(statistic, df)),
    )
