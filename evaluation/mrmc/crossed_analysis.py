"""Fully crossed multi-reader multi-case analysis (Obuchowski-Rockette, Hillis)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text
from evaluation.mrmc.covariances import COVARIANCES, auc_covariance
from evaluation.mrmc.reader_mean import (
    DESIGNS,
    NEGLIGIBLE_VARIANCE,
    ONE_READER,
    combined_df,
    modality_mean,
    t_law,
)
from evaluation.roc.auc_variance import placements
from evaluation.validation import (
    Array,
    binary_labels,
    check_level,
    cluster_codes,
    float_array,
    one_class_reason,
)

CONVENTIONS = ("rjafroc", "mrmcaov")


@dataclass(frozen=True, kw_only=True)
class ObuchowskiRockette:
    """Test that all modalities have the same mean AUC over readers.

    Attributes
    ----------
    auc : ndarray of float or None, shape (modalities, readers)
        Empirical AUCs.
    difference : float or None
        Mean AUC of the first minus that of the second modality.
    standard_error, low, high : float or None
        Standard error and confidence bounds of the difference.
    df, statistic : float or None
        Degrees of freedom, and the difference divided by its standard error.
    f, df1 : float or None, int or None
        F statistic (chi-square for fixed readers) with its numerator degrees of freedom.
    p_value : float or None
        Two-sided P of equal modalities.
    design, covariance, convention, level : str, str, str, float
        Arguments of `obuchowski_rockette`.
    patients : int or None
        Number of patients where patients have several cases.
    modality_means : tuple of Interval
        Mean AUC of each modality.
    ms_t, ms_r, ms_tr : float or None
        Mean squares of modality, reader and their interaction.
    var_error, cov1, cov2, cov3 : float or None
        Error variance, and covariances of AUCs of one reader in two modalities, two readers in one
        modality, and two readers in two modalities.
    var_reader, var_modality_reader : float or None
        Method-of-moments variance components; they may be negative and are not truncated.
    unit : str
        Unit of analysis.
    reason : str or None
        Why there is no test.
    """

    auc: Array | None = None
    difference: float | None = None
    standard_error: float | None = None
    df: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    design: str = "rrrc"
    covariance: str = "jackknife"
    convention: str = "rjafroc"
    level: float = 0.95
    patients: int | None = None
    statistic: float | None = None
    f: float | None = None
    df1: int | None = None
    modality_means: tuple[Interval, ...] = ()
    ms_t: float | None = None
    ms_r: float | None = None
    ms_tr: float | None = None
    var_error: float | None = None
    cov1: float | None = None
    cov2: float | None = None
    cov3: float | None = None
    var_reader: float | None = None
    var_modality_reader: float | None = None
    unit: str = "reader and case"
    reason: str | None = None

    @property
    def law(self) -> Any:
        """Return the distribution of the statistic under the null hypothesis."""
        if self.df is None or (self.design == "frrc" and self.patients is None):
            return scipy.stats.norm
        return t_law(self.df)

    @property
    def method(self) -> str:
        """Return the method in words."""
        degrees = (
            "Hillis' degrees of freedom"
            if self.patients is None
            else f"{self.patients} patients as clusters"
        )
        return (
            f"Obuchowski-Rockette, {DESIGNS[self.design]}, {self.covariance} covariances, {degrees}"
        )

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.p_value is None:
            means = ", ".join(mean.sentence() for mean in self.modality_means)
            return f"{self.method}: difference of modalities {not_estimable(self.reason)}." + (
                f" Mean AUC {means}." if means else ""
            )
        return (
            f"{self.method}: difference of mean AUC {decimal(self.difference)}"
            f" ({interval_text(self.low, self.high, self.level)}), two-sided"
            f" {p_text(self.p_value)}."
        )


def obuchowski_rockette(
    scores: Any,
    truth: Any,
    design: str = "rrrc",
    covariance: str = "jackknife",
    level: float = 0.95,
    cluster: Any = None,
    convention: str = "rjafroc",
) -> ObuchowskiRockette:
    """Compare modalities by their empirical AUCs over several readers on the same cases.

    Parameters
    ----------
    scores : array_like of float, shape (modalities, readers, cases)
        Rating of every case by every reader in every modality (fully crossed).
    truth : array_like of {0, 1}, shape (cases,)
    design : {"rrrc", "rrfc", "frrc"}
        Random readers and cases; random readers, fixed cases; fixed readers, random cases.
    covariance : {"jackknife", "delong", "unbiased"}
        Estimator of the covariances of the AUCs, see `auc_covariance`.
    level : float
        Confidence level in (0, 1).
    cluster : array_like, shape (cases,), optional
        Patient of each case. Where patients have several cases the covariances are estimated
        between patients, see `auc_covariance`, and the degrees of freedom account for the number
        of patients.
    convention : {"rjafroc", "mrmcaov"}
        Whether Cov2 - Cov3 is truncated at 0 for fixed readers too, as in RJafroc, or for random
        readers only, as in MRMCaov.

    Returns
    -------
    ObuchowskiRockette
        With one modality only its mean over readers. One reader is estimable as a fixed reader
        only.

    Raises
    ------
    ValueError
        If a score is missing, shapes differ, or design, covariance or convention is unknown.

    Notes
    -----
    With t modalities and r readers:

    - rrrc: F = MS(T) / D, D = MS(T:R) + r max(Cov2 - Cov3, 0),
      df2 = D^2 / (MS(T:R)^2 / ((t - 1)(r - 1)));
    - rrfc: F = MS(T) / MS(T:R);
    - frrc: chi-square = (t - 1) MS(T) / (Var - Cov1 + (r - 1) max(Cov2 - Cov3, 0)).

    The standard error of a difference of two means is sqrt(2 D / r).

    With `cluster` and I patients, df2 = D^2 / (MS(T:R)^2 / ((t - 1)(r - 1)) + B^2 / (I - 1)), where
    B = r max(Cov2 - Cov3, 0), and fixed readers have F = MS(T) / D with I - 1 degrees of freedom.
    Analyzing images of one patient as independent cases has a type I error of up to .21 where .05
    is intended (40 patients with 4 images each, intraclass correlation .5).

    The intervals of `modality_means` are on the logit scale, see `modality_mean`.

    Checked against: R 4.2 MRMCaov 0.3.0 on synthetic data and on the Van Dyke data set (1e-9), and
    the values that RJafroc and MRMCaov publish for the Van Dyke, Franken and Kundel data sets.

    References
    ----------
    Obuchowski NA, Rockette HE. Commun Stat Simul Comput 1995;24:285-308. Hillis SL. A comparison of
    denominator degrees of freedom methods for multiple observer ROC analysis. Stat Med
    2007;26:596-619.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> truth = np.repeat([0, 1], 30)
    >>> signal = np.array([1.5, 1.0])[:, None, None] * truth
    >>> result = obuchowski_rockette(signal + rng.normal(size=(2, 4, 60)), truth)
    >>> round(result.difference, 3), round(result.df, 1), round(result.p_value, 3)
    (0.082, 3.0, 0.138)
    """
    values, labels = float_array(scores, "scores"), binary_labels(truth)
    check_level(level)
    _check_arguments(values, labels, design, covariance, convention)
    t, r, _ = values.shape
    shared: dict[str, Any] = {
        "design": design,
        "covariance": covariance,
        "convention": convention,
        "level": level,
    }
    patients = patients_with_several_cases(cluster, len(labels))
    reason = two_patients_reason(labels, patients)
    if reason or not t * r:
        return ObuchowskiRockette(reason=reason or "there are no readers", **shared)
    if patients is not None:
        shared["patients"] = int(patients.max()) + 1
    return _analyse(values, labels, patients, shared)


def _analyse(
    values: Array, labels: Array, patients: Array | None, shared: dict[str, Any]
) -> ObuchowskiRockette:
    """Analyse checked scores [modality, reader, case]; shared: fields copied into the result."""
    t, r, _ = values.shape
    design = shared["design"]
    flat = values.reshape(t * r, -1)
    auc = placements(labels, flat).auc.reshape(t, r)
    matrix = auc_covariance(labels, flat, shared["covariance"], patients)
    components = variance_components(auc, matrix)
    # Scores are flattened modality by modality: the readers of one form a diagonal block.
    means = tuple(
        modality_mean(
            auc[i],
            matrix[i * r : (i + 1) * r, i * r : (i + 1) * r],
            design,
            shared["level"],
            rarer_class_df(labels, patients),
        )
        for i in range(t)
    )
    # Components and means are reported even where there is no test.
    shared |= {**components, "modality_means": means}
    reason = None
    if t < 2:
        reason = "one modality: there is nothing to compare"
    elif r < 2 and design != "frrc":
        reason = ONE_READER
    if reason:
        return ObuchowskiRockette(auc=auc, reason=reason, **shared)
    return modality_test(auc, components, shared)


def _check_arguments(
    values: Array, labels: Array, design: str, covariance: str, convention: str
) -> None:
    if design not in DESIGNS or covariance not in COVARIANCES or convention not in CONVENTIONS:
        raise ValueError(
            f"{design!r} with {covariance!r} and {convention!r}: the design must be one of"
            f" {', '.join(DESIGNS)}, the covariance of {', '.join(COVARIANCES)}, the convention of"
            f" {', '.join(CONVENTIONS)}"
        )
    if values.ndim != 3 or values.shape[2] != len(labels):
        raise ValueError(
            f"scores of shape {values.shape} for {len(labels)} cases: [modality, reader, case] is"
            " needed"
        )
    if np.isnan(values).any():
        modality, reader, case = np.argwhere(np.isnan(values))[0] + 1
        raise ValueError(
            f"modality {modality}, reader {reader}, case {case} has no score: every reader must"
            " have read every case in every modality"
        )


def patients_with_several_cases(cluster: Any, length: int) -> Array | None:
    """Return the patient of each case as codes from 0; None where every case is a patient.

    >>> patients_with_several_cases(["b", "a", "b"], 3).tolist()
    [1, 0, 1]
    >>> patients_with_several_cases(["b", "a", "c"], 3)
    """
    if cluster is None:
        return None
    codes, count = cluster_codes(cluster, length)
    return codes if count < length else None


def two_patients_reason(labels: Array, patients: Array | None = None) -> str | None:
    """Return why these labels give no variance of an AUC; None with two patients of each class.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
    patients : ndarray of int, shape (n,), optional
        Patient of each case; without it every case is a patient of its own.

    Examples
    --------
    >>> two_patients_reason(np.array([True, False, False]))
    'one class has a single case: its variance cannot be estimated'
    >>> two_patients_reason(np.array([True, True, False, False]), np.array([0, 0, 1, 2]))
    'all cases of one class come from one patient: their variance cannot be estimated'
    """
    reason = one_class_reason(labels)
    if reason:
        return reason
    if min(labels.sum(), (~labels).sum()) < 2:
        return "one class has a single case: its variance cannot be estimated"
    if rarer_class_df(labels, patients) < 1:
        return "all cases of one class come from one patient: their variance cannot be estimated"
    return None


def rarer_class_df(labels: Array, patients: Array | None) -> int:
    """Return the number of patients of the class that fewer patients have, less 1."""
    if patients is None:
        return int(min(labels.sum(), (~labels).sum())) - 1
    return min(len(np.unique(patients[labels])), len(np.unique(patients[~labels]))) - 1


def variance_components(auc: Array, matrix: Array) -> dict[str, float | None]:
    """Compute mean squares and (co)variances of the Obuchowski-Rockette model.

    Parameters
    ----------
    auc : ndarray, shape (t, r)
        AUC of each modality and reader.
    matrix : ndarray, shape (t r, t r)
        Covariances of the AUCs, modality by modality.

    Returns
    -------
    dict
        The fields `ms_t` to `var_modality_reader` of `ObuchowskiRockette`. A mean square has the
        value None where it needs a second modality or reader.

    References
    ----------
    Hillis SL. Stat Med 2007;26:596-619.
    """
    t, r = auc.shape
    # block[i, j, k, l] is the covariance of modality i, reader j with modality k, reader l.
    block = matrix.reshape(t, r, t, r)
    same_modality = np.eye(t, dtype=bool)[:, None, :, None]
    same_reader = np.eye(r, dtype=bool)[None, :, None, :]

    def mean_over(mask: Array) -> float:
        """Return the mean covariance over the pairs of a mask."""
        selected = block[np.broadcast_to(mask, block.shape)]
        # With one modality or one reader a kind of pair is missing; no test gives it weight then.
        return float(selected.mean()) if len(selected) else 0.0

    rows, columns, grand = auc.mean(axis=1), auc.mean(axis=0), auc.mean()
    ms_t = float(r * ((rows - grand) ** 2).sum() / (t - 1)) if t > 1 else None
    ms_r = float(t * ((columns - grand) ** 2).sum() / (r - 1)) if r > 1 else None
    rest = ((auc - rows[:, None] - columns[None, :] + grand) ** 2).sum()
    ms_tr = float(rest / ((t - 1) * (r - 1))) if t > 1 and r > 1 else None
    var, cov1 = mean_over(same_modality & same_reader), mean_over(~same_modality & same_reader)
    cov2, cov3 = mean_over(same_modality & ~same_reader), mean_over(~same_modality & ~same_reader)
    var_reader, var_modality_reader = None, None
    if ms_r is not None and ms_tr is not None:
        var_reader = (ms_r - ms_tr) / t - cov1 + cov3
        var_modality_reader = ms_tr - var + cov1 + max(cov2 - cov3, 0)
    return {
        "ms_t": ms_t,
        "ms_r": ms_r,
        "ms_tr": ms_tr,
        "var_error": var,
        "cov1": cov1,
        "cov2": cov2,
        "cov3": cov3,
        "var_reader": var_reader,
        "var_modality_reader": var_modality_reader,
    }


def modality_test(
    auc: Array, components: dict[str, Any], shared: dict[str, Any]
) -> ObuchowskiRockette:
    """Test equal modalities from AUCs and variance components.

    Parameters
    ----------
    auc : ndarray, shape (t, r)
        AUC of each modality and reader, with t >= 2.
    components : dict
        As returned by `variance_components`.
    shared : dict
        Fields that are copied into the result, among them `design`, `level`, `convention` and,
        where patients are clusters, `patients`.
    """
    t, r = auc.shape
    design, level = shared["design"], shared["level"]
    patients = shared.get("patients")
    case_df = np.inf if patients is None else float(patients - 1)
    between = components["cov2"] - components["cov3"]
    if design != "frrc" or shared.get("convention", "rjafroc") == "rjafroc":
        # Hillis: a negative estimate would make the test liberal.
        between = max(between, 0.0)
    if design == "frrc":
        denominator = components["var_error"] - components["cov1"] + (r - 1) * between
        df = case_df
    else:
        case_part = r * between if design == "rrrc" else 0.0
        denominator = components["ms_tr"] + case_part
        df = combined_df(components["ms_tr"], (t - 1) * (r - 1), case_part, case_df)
    # The difference concerns the first two modalities; the F test covers all of them.
    difference = float(auc[0].mean() - auc[1].mean())
    if denominator <= NEGLIGIBLE_VARIANCE:
        return ObuchowskiRockette(
            auc=auc, difference=difference, reason="the variance of the difference is 0", **shared
        )
    ratio, error = components["ms_t"] / denominator, float(np.sqrt(2 / r * denominator))
    # scipy's F distribution does not accept infinite degrees of freedom; its limit is chi-square.
    p = float(
        scipy.stats.chi2.sf((t - 1) * ratio, t - 1)
        if np.isinf(df)
        else scipy.stats.f.sf(ratio, t - 1, df)
    )
    law = t_law(df)
    half = float(law.isf((1 - level) / 2)) * error
    return ObuchowskiRockette(
        auc=auc,
        difference=difference,
        standard_error=error,
        # Fixed readers and independent cases: a chi-square test with t - 1 degrees of freedom.
        df=float(t - 1 if design == "frrc" and patients is None else df),
        p_value=p,
        low=difference - half,
        high=difference + half,
        statistic=difference / error,
        f=float(ratio * (t - 1) if design == "frrc" and patients is None else ratio),
        df1=t - 1,
        **shared,
    )
