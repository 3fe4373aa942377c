"""Result of the primary analysis of a reading study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from core.sessions.arms import ARM_TITLES
from evaluation.intervals import decimal, not_estimable, p_text

# Stands for the other arm where final answers are compared with the first ones of the same arm.
FIRST_ANSWERS = "first answers"
_ENDPOINT_NAMES = {
    "proportion": "proportion correct",
    "auc": "AUC of the ratings",
    "auc_difference": "difference in mean AUC",
    "advice_change": "change in mean AUC",
}
MISSING_NAMES = {
    "complete_case": "left out",
    "counted_wrong": "counted as wrong",
    "counted_correct": "counted as correct",
}


class EndpointEstimate(NamedTuple):
    """Estimate, bounds at a two-sided level, P values on both sides, method and reason."""

    estimate: float | None
    low: float | None
    high: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    method: str
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class ArmHypothesis:
    """The comparison of the first arm with one other arm, as a primary hypothesis.

    Parameters
    ----------
    other : str
        The other arm, or `FIRST_ANSWERS`.
    estimate, low, high : float or None
        Difference in mean AUC, first minus other arm, and its interval.
    p_value : float or None
        P for the prespecified goal and side.
    adjusted_p_value : float or None
        P adjusted by the prespecified multiplicity rule.
    significant : bool or None
        Whether the hypothesis is shown under that rule; None without a P.
    images, readers : int
        Images that every reader read in both arms, and readers.
    reason : str or None
        Why numbers are missing.
    """

    other: str
    estimate: float | None
    low: float | None
    high: float | None
    p_value: float | None
    adjusted_p_value: float | None
    significant: bool | None
    images: int
    readers: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class PrimaryResult:
    """Result of the prespecified analysis.

    Parameters
    ----------
    correct, n : int
        Correct answers and all answers of the primary arm, without hidden repeats.
    estimate, low, high : float or None
        Estimate of the endpoint with its interval. The interval has the side of the test: of a
        one-sided test, `low` is the lower bound of level 1 - alpha, and `high` the largest possible
        value.
    p_value : float or None
        P for the prespecified side and goal; p_one_sided and p_two_sided give both sides against
        the null value.
    side, alpha, method
        As prespecified in the design.
    significant : bool or None
        Whether p_value is at most the level of this look; None without a P.
    endpoint : {"proportion", "auc", "auc_difference", "advice_change"}
        What is estimated.
    null : float
        Value under the null hypothesis, margin included.
    level : float
        Confidence level of the interval.
    final_alpha : float
        Significance level of this look; less than alpha where several looks are planned.
    look : int
        Number of the look among the planned ones.
    comparisons : tuple of ArmHypothesis
        Every primary hypothesis of a comparison of arms; the first one is that of the estimate.
    filled : int
        Missing answers of the primary arm that a rule counts, among `n`.
    missing : int
        Assigned answers of the analysed arms that are missing.
    missing_rule : str
        What the analysis does with them.
    reason : str or None
        Why P or interval is missing.
    unit : str
        Unit of analysis.
    """

    correct: int
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    side: str
    alpha: float
    method: str
    significant: bool | None
    endpoint: str = "proportion"
    null: float = 0.5
    level: float = 0.95
    final_alpha: float = 0.05
    look: int = 1
    comparisons: tuple[ArmHypothesis, ...] = ()
    filled: int = 0
    missing: int = 0
    missing_rule: str = "complete_case"
    reason: str | None = None
    unit: str = "patient"

    @property
    def given(self) -> int:
        """Answers of the primary arm that were given."""
        return self.n - self.filled

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint in print."""
        return _ENDPOINT_NAMES[self.endpoint]

    @property
    def interval(self) -> str:
        """Text of the interval, or the reason why there is none."""
        return primary_interval_text(self.low, self.high, self.level, self.side, self.reason)

    def sentence(self) -> str:
        """Return the result as one sentence."""
        if self.p_value is None:
            return (
                f"{self.correct} of {self.n} correct; the primary analysis"
                f" ({self.endpoint_name}) is {not_estimable(self.reason)}."
            )
        side = "one-sided" if self.side == "greater" else "two-sided"
        return (
            f"{self.correct} of {self.n} correct; {self.endpoint_name} {decimal(self.estimate)}"
            f" ({self.interval}; {self.method}), prespecified {side} {p_text(self.p_value)}."
        )


def primary_interval_text(
    low: float | None, high: float | None, level: float, side: str, reason: str | None
) -> str:
    """Return the interval of a primary estimate as text, or the reason why there is none.

    >>> primary_interval_text(0.53, 1.0, 0.95, "greater", None)
    'one-sided 95 % CI from .530'
    """
    name = f"{100 * level:.3g} % CI"
    if low is None or high is None:
        return f"{name} {not_estimable(reason)}"
    caveat = f"; {reason}" if reason else ""
    if side == "greater":
        return f"one-sided {name} from {decimal(low)}{caveat}"
    return f"{name} {decimal(low)} to {decimal(high)}{caveat}"


def comparison_name(first: str, other: str) -> str:
    """Return the printed name of a comparison of two arms, or of final with first answers."""
    if other == FIRST_ANSWERS:
        return f"final minus first answers, {ARM_TITLES[first]}"
    return f"{ARM_TITLES[first]} minus {ARM_TITLES[other]}"
