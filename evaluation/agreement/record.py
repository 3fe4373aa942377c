"""The result of an agreement analysis."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.intervals import count_text, decimal, interval_text, not_estimable, p_text


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A chance-corrected agreement coefficient.

    Attributes
    ----------
    estimate : float or None
        Coefficient; 1 is perfect agreement, 0 is agreement expected by chance.
    standard_error : float or None
        Large-sample standard error. For Fleiss' kappa it is the one under no agreement.
    low, high : float or None
        Confidence bounds.
    reason : str or None
        Why the estimate or its interval is missing.
    method : str
        Coefficient in words.
    level : float
        Confidence level.
    n : int
        Number of rated items.
    observed, expected : float or None
        Observed and chance agreement; disagreement for Krippendorff's alpha.
    z, p_value : float or None
        Test against no agreement, two-sided (Fleiss only).
    unit : str
        Unit of analysis.
    """

    estimate: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    reason: str | None = None
    method: str = ""
    level: float = 0.95
    n: int = 0
    observed: float | None = None
    expected: float | None = None
    z: float | None = None
    p_value: float | None = None
    unit: str = "rated item, taken as independent"

    @classmethod
    def without_interval(
        cls,
        method: str,
        reason: str,
        level: float,
        n: int,
        estimate: float | None = None,
        standard_error: float | None = None,
        observed: float | None = None,
        expected: float | None = None,
    ) -> Agreement:
        """Return a result without an interval, or without an estimate as well."""
        return cls(
            estimate=estimate,
            standard_error=standard_error,
            low=None,
            high=None,
            reason=reason,
            method=method,
            level=level,
            n=n,
            observed=observed,
            expected=expected,
        )

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.estimate is None:
            return f"{self.method} {not_estimable(self.reason)}."
        test = f", against no agreement {p_text(self.p_value)}" if self.p_value is not None else ""
        return (
            f"{self.method} {decimal(self.estimate)}"
            f" ({interval_text(self.low, self.high, self.level, self.reason)};"
            f" {count_text(self.n, 'item')}{test})."
        )
