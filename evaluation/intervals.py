"""Confidence intervals, and how numbers, P values and intervals are printed."""

from __future__ import annotations

from dataclasses import dataclass

METHOD_NAMES = {
    "clopper-pearson": "Clopper-Pearson",
    "wilson": "Wilson",
    "wilson-continuity": "Wilson with continuity correction",
    "jeffreys": "Jeffreys",
    "logit": "logit scale, small-sample t",
    "delong": "DeLong",
    "obuchowski": "Obuchowski",
    "bootstrap": "patient bootstrap",
}
# Printed in a table cell where a number does not exist.
DASH = "–"
# U+2212; a hyphen is not a minus sign.
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with a two-sided confidence interval.

    Attributes
    ----------
    estimate : float or None
        Point estimate; None where it is not estimable.
    low, high : float or None
        Confidence bounds; both None where there is no interval.
    level : float
        Confidence level in (0, 1).
    method : str
        Key of `METHOD_NAMES`, or the method in words.
    reason : str or None
        Why a number is missing, or a caveat that is printed behind the bounds.
    unit : str
        Unit of analysis: what is taken as independent.

    Examples
    --------
    >>> interval = Interval(estimate=0.552, low=0.496, high=0.606, level=0.95, method="wilson")
    >>> interval.sentence()
    '.552 (95 % CI .496 to .606, Wilson; unit of analysis: observation)'
    >>> interval.short()
    '.55 (.50 to .61)'
    """

    estimate: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    reason: str | None = None
    unit: str = "observation"

    @classmethod
    def without_bounds(
        cls,
        level: float,
        method: str,
        reason: str | None,
        estimate: float | None = None,
        unit: str = "observation",
    ) -> Interval:
        """Return an interval that has no bounds, with the reason."""
        return cls(
            estimate=estimate,
            low=None,
            high=None,
            level=level,
            method=method,
            reason=reason,
            unit=unit,
        )

    def sentence(self) -> str:
        """Return estimate, interval, method and unit of analysis as text."""
        if self.estimate is None:
            return not_estimable(self.reason)
        bounds = interval_text(self.low, self.high, self.level, self.reason)
        return (
            f"{decimal(self.estimate)} ({bounds}, {METHOD_NAMES.get(self.method, self.method)};"
            f" unit of analysis: {self.unit})"
        )

    def short(self, digits: int = 2) -> str:
        """Return the text of a table cell, such as `.82 (.71 to .90)`.

        The parentheses are missing where there is no interval; a missing estimate gives a dash.
        """
        if self.estimate is None:
            return DASH
        return decimal(self.estimate, digits) + (
            f" ({decimal(self.low, digits)} to {decimal(self.high, digits)})"
            if self.low is not None
            else ""
        )


def interval_with_width(
    estimate: float,
    low: float,
    high: float,
    level: float,
    method: str,
    tolerance: float = 1e-12,
    reason: str = "all patients have the same value",
) -> Interval:
    """Return a patient-level interval; without bounds where its width is at most the tolerance.

    A resampling interval of zero width reflects identical patients, not certainty.

    Examples
    --------
    >>> interval_with_width(0.5, 0.5, 0.5, 0.95, "patient bootstrap").sentence()[:32]
    '.500 (95 % CI not estimable: all'
    """
    if high - low <= tolerance:
        return Interval.without_bounds(level, method, reason, estimate, unit="patient")
    return Interval(
        estimate=estimate, low=low, high=high, level=level, method=method, unit="patient"
    )


def not_estimable(reason: str | None) -> str:
    """Return the text printed in place of a number that does not exist.

    >>> not_estimable("one patient")
    'not estimable: one patient'
    """
    return f"not estimable: {reason or 'no reason recorded'}"


def p_text(p: float | None) -> str:
    """Return a P value in journal style.

    >>> p_text(0.0346), p_text(0.0004), p_text(None)
    ('P = .035', 'P < .001', 'P not estimable')
    """
    if p is None:
        return "P not estimable"
    # Journals print neither P = .000 nor P = 1.000.
    if p < 0.001:
        return "P < .001"
    return f"P = {decimal(p)}" if p < 0.9995 else "P > .999"


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number without a leading zero where it lies inside (-1, 1); a dash for None.

    >>> decimal(0.8619), decimal(1234.5152), decimal(-0.04, 2)
    ('.862', '1,234.515', '−.04')
    """
    if value is None:
        return DASH
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    text = f"{round(value, digits) + 0.0:,.{digits}f}"
    text = text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    # A hyphen is shorter than a minus sign, and a line may be broken behind it.
    return text.replace("-", MINUS)


def display_name(name: str) -> str:
    """Return the printed name of a truth rule, a study arm or an analysis.

    >>> display_name("any_malignant"), display_name("gee")
    ('any malignant', 'GEE')
    """
    return "GEE" if name == "gee" else name.replace("_", " ")


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, whose plural ends in s.

    >>> count_text(1, "reader"), count_text(2000, "image")
    ('1 reader', '2,000 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a proportion as a percentage; a dash for None or nan.

    >>> percent(0.5516), percent(None)
    ('55.2 %', '–')
    """
    # Only nan differs from itself.
    return DASH if value is None or value != value else f"{100 * value:.{digits}f} %"


def percent_range(low: float | None, high: float | None, digits: int = 1) -> str:
    """Return two proportions as a range of percentages, or "not estimable" (None or nan).

    >>> percent_range(0.629, 0.793)
    '62.9 % to 79.3 %'
    """
    return (
        "not estimable"
        if low is None or low != low
        else f"{percent(low, digits)} to {percent(high, digits)}"
    )


def interval_text(
    low: float | None, high: float | None, level: float, reason: str | None = None
) -> str:
    """Return a confidence interval as text, or the reason why it is missing.

    >>> interval_text(0.4961, 0.606, 0.95)
    '95 % CI .496 to .606'
    """
    return f"{100 * level:g} % CI {bounds_text(low, high, reason)}"


def bounds_text(low: float | None, high: float | None, reason: str | None = None) -> str:
    """Return the bounds of an interval without its level, for use below a heading that states it.

    >>> bounds_text(0.4961, 0.606), bounds_text(None, None, "one patient")
    ('.496 to .606', 'not estimable: one patient')
    """
    if low is None or high is None:
        return not_estimable(reason)
    return f"{decimal(low)} to {decimal(high)}" + (f"; {reason}" if reason else "")


def join_reasons(*reasons: str | None) -> str | None:
    """Return the distinct reasons in their order, joined by semicolons; None without reasons.

    >>> join_reasons(None, "one patient", "no answers", "one patient")
    'one patient; no answers'
    """
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None
