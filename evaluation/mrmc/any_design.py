"""Multi-reader analysis of readings that are not fully crossed, by U-statistics (Gallas)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text
from evaluation.mrmc.covariances import disjoint_products
from evaluation.mrmc.reader_mean import (
    DESIGNS,
    NEGLIGIBLE_VARIANCE,
    NO_VARIANCE,
    ONE_READER,
    combined_df,
    t_law,
)
from evaluation.roc.auc_variance import pair_wins
from evaluation.validation import Array, check_level

COLUMNS = ("reader", "case", "modality", "score", "truth")


@dataclass(frozen=True, kw_only=True)
class AnyDesign:
    """Mean AUC of one or two modalities, and their difference, for any assignment of readings.

    Attributes
    ----------
    modalities : tuple of str
        The modalities in the order of the analysis.
    means : tuple of Interval
        Mean AUC of each modality over its readers, weighted by their numbers of comparisons.
    difference, standard_error, df, statistic : float or None
        First minus second modality, its standard error, degrees of freedom, and their ratio.
    low, high, p_value : float or None
        Confidence bounds of the difference, and two-sided P of equal modalities.
    reader_variance, case_variance : float or None
        Parts of the squared standard error; the second is the one that remains with infinitely many
        readers.
    readers, cases, patients : int
        Numbers of readers, cases and patients with a score.
    design, level : str, float
        Arguments of `any_design`.
    reason : str or None
        Why there is no test.
    """

    modalities: tuple[str, ...]
    means: tuple[Interval, ...] = ()
    difference: float | None = None
    standard_error: float | None = None
    df: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    reader_variance: float | None = None
    case_variance: float | None = None
    readers: int
    cases: int
    patients: int
    design: str
    level: float
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        method = f"U-statistics for readings that are not fully crossed, {DESIGNS[self.design]}"
        means = "; ".join(
            f"{name}: {mean.sentence()}"
            for name, mean in zip(self.modalities, self.means, strict=True)
        )
        if self.p_value is None:
            difference = f"difference of modalities {not_estimable(self.reason)}"
        else:
            difference = (
                f"difference of mean AUC {decimal(self.difference)}"
                f" ({interval_text(self.low, self.high, self.level)}), two-sided"
                f" {p_text(self.p_value)}"
            )
        return f"{method}: {difference}." + (f" {means}." if means else "")


@dataclass(frozen=True)
class _Readings:
    """Comparisons of one modality.

    wins, pairs: [reader, patient, patient], the sums of comparisons won by one patient's positives
    against another's negatives, and their numbers, both divided by the number of all comparisons.
    """

    wins: Array
    pairs: Array

    @property
    def auc(self) -> float:
        return float(self.wins.sum())

    @property
    def readers(self) -> int:
        return int((self.pairs.sum(axis=(1, 2)) > 0).sum())

    @property
    def case_df(self) -> int:
        """Number of patients of the class that fewer patients have, less 1."""
        any_reader = self.pairs.sum(axis=0)
        return int(min((any_reader.sum(axis=1) > 0).sum(), (any_reader.sum(axis=0) > 0).sum())) - 1


def any_design(scores: pd.DataFrame, design: str = "rrrc", level: float = 0.95) -> AnyDesign:
    """Compare one or two modalities where not every reader read every case in every modality.

    Parameters
    ----------
    scores : DataFrame
        One row a reading: reader, case, modality, score and truth (0 or 1); with a column patient
        where patients have several cases. At most one score of a reader for a case and modality.
    design : {"rrrc", "rrfc", "frrc"}
        Random readers and cases; random readers, fixed cases; fixed readers, random cases.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    AnyDesign
        With one modality only its mean.

    Raises
    ------
    ValueError
        If a column is missing, there are more than two modalities, a value is missing, a reading
        occurs twice, or a case has two truths; the message names the row.

    Notes
    -----
    A modality's AUC is the mean over all comparisons of a positive with a negative case that were
    read by one reader. The covariance of two AUCs is their product less the mean product of
    comparisons that share neither reader nor patient, which estimates the product of the two true
    AUCs without bias for independent readers and patients. For fixed cases the comparisons share no
    reader; for fixed readers they share no patient, separately for each pair of readers.

    The degrees of freedom are those of `combined_df`: number of readers less 1 for the part of the
    variance between readers, patients of the rarer class less 1 for the part between cases. The
    intervals of the means are on the logit scale.

    Checked against: `obuchowski_rockette` with unbiased covariances on fully crossed readings
    (1e-12), and enumeration of all pairs of comparisons on readings that are not crossed.

    References
    ----------
    Gallas BD. One-shot estimate of MRMC variance: AUC. Acad Radiol 2006;13:353-362. Gallas BD,
    Brown DG. Reader studies for validation of CAD systems. Neural Netw 2008;21:387-397.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rows = pd.DataFrame(
    ...     [(r, c, m, c % 2) for r in range(4) for c in range(60) for m in "AB"],
    ...     columns=["reader", "case", "modality", "truth"],
    ... )
    >>> rows["score"] = rows["truth"] * (1 + (rows["modality"] == "A")) + rng.normal(size=480)
    >>> split_plot = rows[rows["reader"] % 2 == (rows["case"] >= 30)]
    >>> result = any_design(split_plot)
    >>> round(result.difference, 3), round(result.p_value, 3)
    (0.163, 0.004)
    """
    check_level(level)
    if design not in DESIGNS:
        raise ValueError(f"{design!r}: the design must be one of {', '.join(DESIGNS)}")
    table = _checked(scores)
    modalities = tuple(map(str, sorted(table["modality"].unique())))
    if len(modalities) > 2:
        raise ValueError(f"{len(modalities)} modalities: give the readings of two of them")
    counts: dict[str, Any] = {
        "modalities": modalities,
        "readers": table["reader"].nunique(),
        "cases": table["case"].nunique(),
        "patients": table["patient"].nunique(),
        "design": design,
        "level": level,
    }
    if table.empty:
        return AnyDesign(reason="there are no readings", **counts)
    readings, reason = _all_readings(table)
    if reason:
        return AnyDesign(reason=reason, **counts)
    counts["means"] = tuple(_mean(reading, design, level) for reading in readings)
    if len(readings) < 2:
        return AnyDesign(reason="one modality: there is nothing to compare", **counts)
    return _difference(readings[0], readings[1], counts)


def _checked(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the readings with a column patient; ValueError names the first row that is wrong."""
    missing = [name for name in COLUMNS if name not in scores.columns]
    if missing:
        raise ValueError(
            f"the readings have no column {missing[0]!r}; needed: {', '.join(COLUMNS)}"
        )
    table = scores.reset_index(drop=True)
    if "patient" not in table.columns:
        table = table.assign(patient=table["case"])
    table = table[[*COLUMNS, "patient"]]
    incomplete = table.isna().any(axis=1)
    if incomplete.any():
        row = int(np.flatnonzero(incomplete)[0])
        name = table.columns[table.loc[row].isna()][0]
        raise ValueError(f"row {row + 1} of the readings has no {name}")
    table = table.assign(score=table["score"].astype(float))
    if not table["truth"].isin((0, 1)).all():
        row = int(np.flatnonzero(~table["truth"].isin((0, 1)))[0])
        raise ValueError(f"row {row + 1} of the readings has the truth {table['truth'][row]!r}")
    twice = table.duplicated(["reader", "case", "modality"])
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        raise ValueError(
            f"row {row + 1} is a second score of reader {table['reader'][row]} for case"
            f" {table['case'][row]}, modality {table['modality'][row]}"
        )
    for name in ("truth", "patient"):
        values = table.groupby("case")[name].nunique()
        if (values > 1).any():
            raise ValueError(f"case {values.idxmax()} has {values.max()} values of {name}")
    return table


def _all_readings(table: pd.DataFrame) -> tuple[list[_Readings], str | None]:
    """Return the comparisons of each modality, or why there are none."""
    patients, count = pd.factorize(table["patient"], sort=True)
    readers, names = pd.factorize(table["reader"], sort=True)
    table = table.assign(patient=patients, reader=readers)
    readings = []
    for modality, rows in sorted(table.groupby("modality"), key=lambda item: str(item[0])):
        wins = np.zeros((len(names), len(count), len(count)))
        pairs = np.zeros_like(wins)
        for reader, own in rows.groupby("reader"):
            labels, codes = own["truth"].to_numpy(bool), own["patient"].to_numpy()
            pairs[reader] = np.outer(
                np.bincount(codes[labels], minlength=len(count)),
                np.bincount(codes[~labels], minlength=len(count)),
            )
            if pairs[reader].any():
                wins[reader] = pair_wins(labels, own["score"].to_numpy(), codes, len(count))
        total = pairs.sum()
        if not total:
            return [], f"no reader of modality {modality} read cases of both classes"
        readings.append(_Readings(wins / total, pairs / total))
    return readings, None


def _covariance(first: _Readings, second: _Readings, design: str) -> tuple[float, float] | None:
    """Return the covariance of two AUCs and its part between cases; None where not estimable."""
    product = first.auc * second.auc
    readers = range(len(first.wins))
    if design == "frrc":
        expected = 0.0
        for r in readers:
            for s in readers:
                weight = float(first.pairs[r].sum() * second.pairs[s].sum())
                mean = _mean_disjoint(
                    (first.wins[r], second.wins[s]), (first.pairs[r], second.pairs[s])
                )
                if mean is not None:
                    expected += weight * mean
                elif weight:
                    return None
        return product - expected, product - expected
    won = first.wins.sum(axis=(1, 2)), second.wins.sum(axis=(1, 2))
    read = first.pairs.sum(axis=(1, 2)), second.pairs.sum(axis=(1, 2))
    # Sums over pairs of different readers: all pairs less those of a reader with itself.
    pairs = read[0].sum() * read[1].sum() - (read[0] * read[1]).sum()
    if pairs <= NEGLIGIBLE_VARIANCE:
        return None
    other_reader = float((won[0].sum() * won[1].sum() - (won[0] * won[1]).sum()) / pairs)
    if design == "rrfc":
        return product - other_reader, 0.0
    totals = [
        disjoint_products(a.sum(axis=0), b.sum(axis=0))
        - sum(disjoint_products(a[r], b[r]) for r in readers)
        for a, b in ((first.wins, second.wins), (first.pairs, second.pairs))
    ]
    if totals[1] <= NEGLIGIBLE_VARIANCE:
        return None
    expected = totals[0] / totals[1]
    return product - expected, other_reader - expected


def _mean_disjoint(wins: tuple[Array, Array], pairs: tuple[Array, Array]) -> float | None:
    count = disjoint_products(*pairs)
    return disjoint_products(*wins) / count if count > NEGLIGIBLE_VARIANCE else None


def _reason(readings: tuple[_Readings, ...], design: str) -> str:
    if design != "frrc" and min(reading.readers for reading in readings) < 2:
        return ONE_READER
    return "too few readers or patients share no comparison: the variance cannot be estimated"


def _degrees_of_freedom(
    readings: tuple[_Readings, ...], variance: float, case_variance: float, design: str
) -> float:
    readers = min(reading.readers for reading in readings)
    case_df = float(max(min(reading.case_df for reading in readings), 1))
    if design == "frrc":
        return case_df
    # A part that is estimated as negative counts as 0, and the other one as the whole.
    case_part = min(max(case_variance, 0.0), variance)
    return combined_df(variance - case_part, max(readers - 1, 1), case_part, case_df)


def _mean(reading: _Readings, design: str, level: float) -> Interval:
    """Return a modality's AUC with an interval on the logit scale."""
    estimated = _covariance(reading, reading, design)
    low, high, reason = None, None, None
    if estimated is None:
        reason = _reason((reading,), design)
    elif estimated[0] <= NEGLIGIBLE_VARIANCE:
        reason = NO_VARIANCE
    else:
        auc = reading.auc
        df = _degrees_of_freedom((reading,), *estimated, design)
        half = float(t_law(df).isf((1 - level) / 2)) * np.sqrt(estimated[0]) / (auc * (1 - auc))
        center = scipy.special.logit(auc)
        low, high = (float(scipy.special.expit(center + sign * half)) for sign in (-1, 1))
    return Interval(
        estimate=reading.auc,
        low=low,
        high=high,
        level=level,
        method=f"U-statistics, {DESIGNS[design]}, logit scale",
        reason=reason,
        unit="reader and case",
    )


def _difference(first: _Readings, second: _Readings, counts: dict[str, Any]) -> AnyDesign:
    design, level = counts["design"], counts["level"]
    both = (first, second)
    parts = [
        _covariance(*pair, design) for pair in ((first, first), (second, second), (first, second))
    ]
    difference = first.auc - second.auc
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return AnyDesign(difference=difference, reason=_reason(both, design), **counts)
    variance, case_variance = (known[0][i] + known[1][i] - 2 * known[2][i] for i in range(2))
    if variance <= NEGLIGIBLE_VARIANCE:
        return AnyDesign(
            difference=difference,
            reason="the variance of the difference is estimated as 0 or less",
            **counts,
        )
    error = float(np.sqrt(variance))
    df = _degrees_of_freedom(both, variance, case_variance, design)
    law = t_law(df)
    half = float(law.isf((1 - level) / 2)) * error
    return AnyDesign(
        difference=difference,
        standard_error=error,
        df=df,
        statistic=difference / error,
        p_value=float(2 * law.sf(abs(difference) / error)),
        low=difference - half,
        high=difference + half,
        reader_variance=variance - case_variance,
        case_variance=case_variance,
        **counts,
    )
