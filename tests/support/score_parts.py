"""Numbers of a reading study's score that all differ, for tables and figures that print them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def bounds(k: int, reason: str | None = None, level: float = 0.95) -> SimpleNamespace:
    """Return an interval whose numbers no other interval has: .k1, .k0 to .k9 of an integer k."""
    return SimpleNamespace(
        estimate=round(k / 100 + 0.005, 3),
        low=round(k / 100 + 0.001, 3),
        high=round(k / 100 + 0.009, 3),
        level=level,
        reason=reason,
        method=f"method {k}",
    )


def row_of(name: str, interval: SimpleNamespace, remark: str = "") -> tuple[Any, ...]:
    """Return the row of a table of results for an interval."""
    return name, interval.estimate, interval.low, interval.high, remark


def primary_result(endpoint: str, **changes: Any) -> SimpleNamespace:
    """Return the prespecified result of an endpoint."""
    values = {
        "endpoint": endpoint,
        "correct": 1234,
        "n": 2345,
        "given": 2222,
        "side": "two-sided",
        "level": 0.9,
        "p_value": 0.012,
        "comparisons": (),
    }
    return SimpleNamespace(**vars(bounds(61)) | values | changes)


def reading_score(**changes: Any) -> Any:
    """Return a score whose prespecified endpoint is the proportion correct."""
    design = SimpleNamespace(
        arms=("explanation", "shuffled"),
        primary="gee",
        truth_rule="any_malignant",
        scale=6,
        threshold=4,
        positive="malignant",
        comparison="benign",
    )
    values = {
        "primary": primary_result("proportion"),
        "design": design,
        "proportion": bounds(31),
        "readers": (),
        "readers_auc": None,
        "network": SimpleNamespace(
            auc=bounds(41),
            right=77,
            n=1200,
            threshold=0.375,
            decision_right=66,
            decision_differs=1,
        ),
        "table": SimpleNamespace(sensitivity=bounds(51), specificity=bounds(52, "small")),
        "roc": bounds(53),
        "advice": None,
        "arms": (),
        "comparisons": (),
        "patients": 91,
    }
    return SimpleNamespace(**values | changes)
