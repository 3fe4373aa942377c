"""The result of an analysis of one proportion with patients as clusters."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.intervals import (
    count_text,
    decimal,
    interval_text,
    not_estimable,
    p_text,
    percent,
)


@dataclass(frozen=True, kw_only=True)
class ClusteredProportion:
    """A proportion with patients as clusters, by several methods.

    A number that is not estimable has the value None, and `reason` states why.

    Attributes
    ----------
    estimate : float or None
        Proportion of right answers (ratio estimator).
    n, clusters, successes : int
        Numbers of answers, patients and right answers.
    icc : float or None
        Intraclass correlation by one-way analysis of variance.
    design_effect, effective_n : float or None
        Variance relative to independent answers, and n divided by it.
    standard_error : float or None
        Square root of the linearised variance.
    rao_scott_p_greater : float or None
        One-sided P of the score test with the null variance times the design effect.
    low, high : float or None
        The interval to print: GEE on the logit scale with a small-sample t quantile. Where the
        variance between patients is 0 or the GEE does not exist, see `clustered_proportion`.
    p_greater, p_two_sided : float or None
        The P values that belong to it.
    gee_estimate, gee_low, gee_high : float or None
        GEE proportion with its Wald interval on the logit scale, as geepack gives it.
    gee_p_greater, gee_p_two_sided : float or None
        Wald P values of the GEE, as geepack gives them.
    gee_logit, gee_standard_error, working_correlation : float or None
        GEE intercept, its robust standard error, and the exchangeable correlation.
    sign_flip_p_greater, sign_flip_p_two_sided : float or None
        Patient sign-flip test against 1/2.
    sign_flip_method : str
        "exact" or "normal approximation".
    patient_weighted_estimate, patient_weighted_standard_error : float or None
        Mean of the patients' proportions and its standard error.
    patient_weighted_p_greater : float or None
        One-sided t test of the patients' proportions.
    korn_graubard_low, korn_graubard_high : float or None
        Clopper-Pearson bounds on the effective sample size; on the number of patients where the
        variance between them is 0.
    p0, level : float
        Proportion under the null hypothesis; confidence level.
    method, unit : str
        Methods of the sentence and unit of analysis.
    reason : str or None
        Why numbers are missing.
    """

    estimate: float | None
    n: int
    clusters: int
    icc: float | None = None
    design_effect: float | None = None
    effective_n: float | None = None
    low: float | None = None
    high: float | None = None
    p_greater: float | None = None
    p_two_sided: float | None = None
    rao_scott_p_greater: float | None = None
    gee_estimate: float | None = None
    gee_low: float | None = None
    gee_high: float | None = None
    gee_p_greater: float | None = None
    gee_p_two_sided: float | None = None
    sign_flip_p_greater: float | None = None
    sign_flip_p_two_sided: float | None = None
    patient_weighted_estimate: float | None = None
    patient_weighted_p_greater: float | None = None
    standard_error: float | None = None
    korn_graubard_low: float | None = None
    korn_graubard_high: float | None = None
    working_correlation: float | None = None
    gee_logit: float | None = None
    gee_standard_error: float | None = None
    patient_weighted_standard_error: float | None = None
    successes: int = 0
    p0: float = 0.5
    level: float = 0.95
    sign_flip_method: str = "exact"
    method: str = "GEE, exchangeable, small-sample robust variance; patient sign-flip"
    unit: str = "patient"
    reason: str | None = None

    @property
    def gee_p_values(self) -> tuple[float | None, float | None]:
        """One-sided and two-sided P of the GEE with small-sample t; None where there is no GEE."""
        # `p_greater` exists without a GEE too: where all answers are equal it counts patients.
        return (None, None) if self.gee_p_greater is None else (self.p_greater, self.p_two_sided)

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.estimate is None:
            return f"Proportion {not_estimable(self.reason)}."
        text = (
            f"{self.successes} of {count_text(self.n, 'answer')} from"
            f" {count_text(self.clusters, 'patient')} ({percent(self.estimate)}) were right"
        )
        if self.low is None:
            return f"{text}; cluster-robust inference {not_estimable(self.reason)}."
        bounds = interval_text(self.low, self.high, self.level)
        if self.gee_p_greater is None:
            return f"{text}; {bounds}, from the number of patients: {self.reason}."
        return (
            f"{text}; GEE with exchangeable correlation and small-sample robust variance"
            f" {decimal(self.gee_estimate)} ({bounds}), one-sided {p_text(self.p_greater)},"
            f" two-sided {p_text(self.p_two_sided)}; patient sign-flip ({self.sign_flip_method}),"
            f" one-sided {p_text(self.sign_flip_p_greater)}; {self.clustering_text(self.reason)}."
        )

    def clustering_text(self, stated_reason: str | None = None) -> str:
        """Return intraclass correlation and design effect as text.

        With equally many answers per patient a positive correlation implies a design effect above
        1. Otherwise the two can differ in direction, which the text then states.

        With one answer per patient the design effect is m / (m - 1) for m patients. This is the
        small-sample factor of the linearised variance and not a sign of dependence.

        Parameters
        ----------
        stated_reason : str, optional
            A reason that the surrounding text contains already; it is not repeated.
        """
        if self.design_effect is None:
            why = f": {self.reason}" if self.reason and self.reason != stated_reason else ""
            return f"intraclass correlation and design effect not estimable{why}"
        if self.n == self.clusters:
            return (
                "no patient has two answers: clustering plays no part (the design effect,"
                f" {decimal(self.design_effect, 2)}, is the variance's small-sample factor)"
            )
        why = f" ({self.reason})" if self.reason and self.reason != stated_reason else ""
        if self.icc is not None and self.icc * (self.design_effect - 1) < 0:
            why += (
                "; they are estimated separately, the first within patients, the second from the"
                " variance between patients of different size, and near independence can differ in"
                " direction"
            )
        return (
            f"intraclass correlation {decimal(self.icc, 2)}, design effect"
            f" {decimal(self.design_effect, 2)}{why}"
        )
