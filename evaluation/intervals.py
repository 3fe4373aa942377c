"""What every result shares: an interval that knows its method, and the few words and numbers a
methods section needs.
"""

from __future__ import annotations

from dataclasses import dataclass

METHOD_NAMES = {
    "clopper-pearson": "Clopper-Pearson",
    "wilson": "Wilson",
    "wilson-continuity": "Wilson with continuity correction",
    "jeffreys": "Jeffreys",
    "delong": "DeLong",
    "obuchowski": "Obuchowski",
    "bootstrap": "patient bootstrap",
}


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with a confidence interval; `reason` is set and the numbers are None where it
    cannot be estimated.
    """

    estimate: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    reason: str | None = None
    unit: str = "observation"

    def sentence(self) -> str:
        """The estimate and its interval in words."""
        if self.estimate is None:
            return not_estimable(self.reason)
        bounds = interval_text(self.low, self.high, self.level, self.reason)
        return (
            f"{decimal(self.estimate)} ({bounds}, {METHOD_NAMES.get(self.method, self.method)};"
            f" unit of analysis: {self.unit})"
        )

    def short(self, digits: int = 2) -> str:
        """`.82 (.71 to .90)` for a cell of a table; without the parentheses where there is no
        interval, a dash where there is no number.
        """
        if self.estimate is None:
            return "–"
        return decimal(self.estimate, digits) + (
            f" ({decimal(self.low, digits)} to {decimal(self.high, digits)})"
            if self.low is not None
            else ""
        )


def not_estimable(reason: str | None) -> str:
    """The words shown in place of a number that does not exist."""
    return f"not estimable: {reason or 'no reason recorded'}"


def p_text(p: float | None) -> str:
    """A p-value as journals print it: `P = .035`, `P < .001`, or `P not estimable`."""
    if p is None:
        return "P not estimable"
    if p < 0.001:
        return "P < .001"
    return f"P = {decimal(p)}" if p < 0.9995 else "P > .999"


def decimal(value: float | None, digits: int = 3) -> str:
    """A number without a leading zero where it lies inside (-1, 1):

    `.862`, `1.215`, `-.04`; a dash for None.
    """
    if value is None:
        return "–"
    text = f"{round(value, digits) + 0.0:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def words(name: str) -> str:
    """The name of a truth rule, an arm or an analysis as people read it:

    `any malignant` for any_malignant, `GEE` for gee.
    """
    return "GEE" if name == "gee" else name.replace("_", " ")


def counted(number: int, noun: str) -> str:
    """`1 reader`, `2 readers`: a number with its noun (whose plural ends in s)."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage: `55.2 %`; a dash for None or NaN."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f} %"


def percent_range(low: float | None, high: float | None, digits: int = 1) -> str:
    """`62.9 % to 79.3 %`, or that there is none (None or NaN)."""
    return (
        "not estimable"
        if low is None or low != low
        else f"{percent(low, digits)} to {percent(high, digits)}"
    )


def interval_text(
    low: float | None, high: float | None, level: float, reason: str | None = None
) -> str:
    """`95 % CI .496 to .606`, or why there is none."""
    return f"{100 * level:g} % CI {bounds_text(low, high, reason)}"


def bounds_text(low: float | None, high: float | None, reason: str | None = None) -> str:
    """`.496 to .606` where a heading says already what it is, or why there is none."""
    if low is None or high is None:
        return not_estimable(reason)
    return f"{decimal(low)} to {decimal(high)}" + (f"; {reason}" if reason else "")


def join_reasons(*reasons: str | None) -> str | None:
    """Distinct reasons in their order, joined by a semicolon; None when there are none."""
    kept = list(dict.fromkeys(reason for reason in reasons if reason))
    return "; ".join(kept) if kept else None
