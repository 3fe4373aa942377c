"""Power of the difference in mean AUC between two arms (Obuchowski-Rockette, Hillis)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from evaluation.intervals import decimal, not_estimable
from evaluation.power.readers_and_cases import binormal_auc_variance
from evaluation.validation import whole_number

if TYPE_CHECKING:
    from evaluation.mrmc import ObuchowskiRockette

LARGEST_SEARCHED = 20_000


@dataclass(frozen=True, kw_only=True)
class ComparisonVariances:
    """Variance components of reader AUCs in two arms.

    Attributes
    ----------
    variance : float
        Variance of one reader's AUC in one arm due to the cases, for `patients` patients.
    patients : int
        Number of patients to which `variance` refers; it is inversely proportional to it.
    r1, r2, r3 : float
        Correlations of AUCs due to the cases: one reader in two arms, two readers in one arm, two
        readers in two arms.
    reader_by_arm : float
        Variance of the interaction of reader and arm.

    Notes
    -----
    The default correlations are those that Rockette and others found on average in published
    studies of radiologists.

    References
    ----------
    Rockette HE, Campbell WL, Britton CA, and others. Empiric assessment of parameters that affect
    the design of multireader receiver operating characteristic studies. Acad Radiol
    1999;6:723-729.
    """

    variance: float
    patients: int
    r1: float = 0.47
    r2: float = 0.33
    r3: float = 0.3
    reader_by_arm: float = 0.0

    @classmethod
    def from_auc(
        cls, auc: float, reader_by_arm_sd: float = 0.02, **correlations: float
    ) -> ComparisonVariances:
        """Return the components for a mean AUC of binormal ratings, half of the patients positive.

        Parameters
        ----------
        auc : float
            Expected mean AUC, in (0, 1).
        reader_by_arm_sd : float
            Standard deviation of the difference that the arm makes from reader to reader.
        **correlations : float
            r1, r2, r3.

        Examples
        --------
        >>> round(ComparisonVariances.from_auc(0.8).variance, 6)
        0.001886
        """
        if not 0 < auc < 1:
            raise ValueError(f"the expected AUC is {auc:g}: it must lie between 0 and 1")
        return cls(
            variance=binormal_auc_variance(auc) * 4 / 100,
            patients=100,
            reader_by_arm=reader_by_arm_sd**2,
            **correlations,
        )

    @classmethod
    def from_pilot(cls, result: ObuchowskiRockette, patients: int) -> ComparisonVariances:
        """Return the components of a study that has been read.

        Parameters
        ----------
        result : ObuchowskiRockette
            Analysis of the pilot study with at least two readers in two modalities.
        patients : int
            Patients of the pilot study.

        Raises
        ------
        ValueError
            If the pilot study gives no components.
        """
        if result.var_error is None or result.ms_tr is None:
            raise ValueError(
                "the pilot study gives no variance components: it needs two readers in two arms"
            )
        cov1, cov2, cov3 = result.cov1 or 0.0, result.cov2 or 0.0, result.cov3 or 0.0
        return cls(
            variance=result.var_error,
            patients=patients,
            r1=cov1 / result.var_error,
            r2=cov2 / result.var_error,
            r3=cov3 / result.var_error,
            # A negative estimate of a variance counts as 0.
            reader_by_arm=max(result.var_modality_reader or 0.0, 0.0),
        )


def mrmc_power(
    difference: float,
    readers: int,
    patients: int,
    variances: ComparisonVariances,
    alpha: float = 0.05,
    design: str = "rrrc",
) -> float:
    """Compute the power of the two-sided test of equal mean AUC in two arms.

    Parameters
    ----------
    difference : float
        True difference in mean AUC.
    readers, patients : int
        Every reader reads every patient in both arms; random readers need two.
    variances : ComparisonVariances
    alpha : float
        Two-sided level, in (0, 1).
    design : {"rrrc", "frrc"}
        Random or fixed readers.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    With e the error variance for the number of patients and s2 the interaction variance:
    noncentrality (r d^2 / 2) / D, D = s2 + e (1 - r1 + (r - 1) max(r2 - r3, 0)),
    df2 = D^2 / ((s2 + e (1 - r1 - max(r2 - r3, 0)))^2 / (r - 1)); for fixed readers s2 is 0 and the
    law is chi-square.

    `python -m benchmarks.reader_studies` compares it with simulated studies.

    References
    ----------
    Hillis SL, Obuchowski NA, Berbaum KS. Power estimation for multireader ROC methods: an updated
    and unified approach. Acad Radiol 2011;18:129-142.

    Examples
    --------
    >>> variances = ComparisonVariances.from_auc(0.8)
    >>> round(mrmc_power(0.05, 5, 150, variances), 3)
    0.467
    """
    readers = whole_number(readers, "the number of readers", 2 if design == "rrrc" else 1)
    patients = whole_number(patients, "the number of patients", 4)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha:g}: it must lie between 0 and 1")
    error = variances.variance * variances.patients / patients
    between = max(variances.r2 - variances.r3, 0.0)
    interaction = variances.reader_by_arm if design == "rrrc" else 0.0
    denominator = interaction + error * (1 - variances.r1 + (readers - 1) * between)
    effect = readers * difference**2 / 2 / denominator
    if design == "frrc":
        critical = scipy.stats.chi2.isf(alpha, 1)
        return float(scipy.stats.ncx2.sf(critical, 1, effect))
    spread = interaction + error * max(1 - variances.r1 - between, 0.0)
    df = np.inf if spread <= 0 else denominator**2 / (spread**2 / (readers - 1))
    if np.isinf(df):
        return float(scipy.stats.ncx2.sf(scipy.stats.chi2.isf(alpha, 1), 1, effect))
    return float(scipy.stats.ncf.sf(scipy.stats.f.isf(alpha, 1, df), 1, df, effect))


@dataclass(frozen=True, kw_only=True)
class MrmcSampleSize:
    """Number of patients for the comparison of two arms.

    Attributes
    ----------
    patients : int or None
        Smallest even number of patients that reaches the power.
    readers : int
        Number of readers.
    reached : float or None
        Power with that number.
    difference, alpha, power : float
        Arguments of `mrmc_sample_size`.
    reason : str or None
        Why there is no number.
    """

    patients: int | None
    readers: int
    reached: float | None
    difference: float
    alpha: float
    power: float
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a methods section."""
        if self.patients is None or self.reached is None:
            return f"Sample size {not_estimable(self.reason)}."
        return (
            f"{self.readers} readers and {self.patients} patients, half of them malignant, give a"
            f" power of {decimal(self.reached, 2)} to find a difference in mean AUC of"
            f" {decimal(self.difference)} (two-sided, alpha {decimal(self.alpha)})."
        )


def mrmc_sample_size(
    difference: float,
    readers: int,
    variances: ComparisonVariances,
    power: float = 0.8,
    alpha: float = 0.05,
    design: str = "rrrc",
) -> MrmcSampleSize:
    """Find the number of patients for a difference in mean AUC between two arms.

    Parameters
    ----------
    difference, readers, variances, alpha, design
        As in `mrmc_power`.
    power : float
        Power to reach, in (0, 1).

    Returns
    -------
    MrmcSampleSize
        With `reason` where no number of patients reaches the power, because the readers differ too
        much.

    Examples
    --------
    >>> mrmc_sample_size(0.05, 6, ComparisonVariances.from_auc(0.8)).patients
    470
    """
    shared: dict[str, Any] = {
        "readers": readers,
        "difference": difference,
        "alpha": alpha,
        "power": power,
    }
    if not 0 < power < 1:
        raise ValueError(f"the power is {power:g}: it must lie between 0 and 1")
    if mrmc_power(difference, readers, LARGEST_SEARCHED, variances, alpha, design) < power:
        return MrmcSampleSize(
            patients=None,
            reached=None,
            reason=f"{LARGEST_SEARCHED} patients do not reach it; more readers are needed",
            **shared,
        )
    low, high = 2, LARGEST_SEARCHED // 2
    # Half the number of patients, so that both classes have the same size.
    while low < high:
        middle = (low + high) // 2
        reached = mrmc_power(difference, readers, 2 * middle, variances, alpha, design)
        low, high = (low, middle) if reached >= power else (middle + 1, high)
    return MrmcSampleSize(
        patients=2 * low,
        reached=mrmc_power(difference, readers, 2 * low, variances, alpha, design),
        **shared,
    )
