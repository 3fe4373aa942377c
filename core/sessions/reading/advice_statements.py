"""What the advice of a case states, and what the instructions state about advice."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

ADVICE_KINDS = ("none", "class", "probability_band")
# Limits of the bands, in percent. One of them is 50, so that a band never contradicts the decision.
_BAND_LIMITS = (0, 10, 30, 50, 70, 90, 100)
CONTROL_NOTICE = "This case has no advice. Look again and give your final answer."
PREDICTION_QUESTION = "What will the network decide?"
ADVICE_INSTRUCTIONS = (
    "Read the images of each case and give your first answer. It is saved and cannot be changed.",
    "Then the decision of a computer program (a neural network) is shown, in some cases together"
    " with short descriptions of what it found or a map of where it found it. Some cases have no"
    " advice. Look again and give your final answer, which may be the same.",
    "On a mammogram: the wheel zooms, dragging changes window and level, dragging with Shift moves,"
    " a double click resets; the keys Z, W, L and R do the same.",
    "Press a number key or click. Every answer is saved at once.",
    "Practice comes first; it does not count, and there is no feedback.",
)


def gives_advice(design: Mapping[str, Any]) -> bool:
    """Return whether a stored design gives advice."""
    return design.get("advice", ADVICE_KINDS[0]) != ADVICE_KINDS[0]


def probability_band(probability: float, is_positive: bool) -> str:
    """Return the band of a probability of the positive class, such as "70-90".

    probability: of the positive class among the two that are compared. is_positive: the decision;
    the band lies on its side of one half.

    Examples
    --------
    >>> probability_band(0.8, True), probability_band(0.5, True), probability_band(0.5, False)
    ('70-90', '50-70', '30-50')
    """
    percent = 100 * probability
    percent = max(percent, 50.0) if is_positive else min(percent, 49.999)
    for low, high in pairwise(_BAND_LIMITS):
        if percent < high or high == _BAND_LIMITS[-1]:
            return f"{low}-{high}"
    raise AssertionError("the last band has no upper limit")


def advice_statement(design: Mapping[str, Any], advice: str) -> str:
    """Return what the advice of a case states, from its stored value: a class or a band.

    Examples
    --------
    >>> advice_statement({"advice": "class"}, "malignant")
    "The network's decision: malignant"
    >>> advice_statement({"advice": "probability_band"}, "70-90")
    "The network's probability of malignant: 70 to 90 %"
    """
    if design["advice"] == "class":
        return f"The network's decision: {advice}"
    low, high = advice.split("-")
    positive = design.get("positive", "malignant")
    return f"The network's probability of {positive}: {low} to {high} %"


def advice_paragraphs(design: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the instructions of a stored design with advice."""
    paragraphs = list(ADVICE_INSTRUCTIONS)
    if design.get("predict_network"):
        paragraphs.insert(1, "After the first answer, state what you expect the program to decide.")
    if design.get("wrong_advice_told"):
        percentage = 100 * float(design["wrong_advice"])
        paragraphs.append(
            f"Of every 100 decisions of the program, about {percentage:.0f} are wrong."
        )
    if design.get("washout_days"):
        paragraphs.append(
            "The cases are read in several parts with pauses of at least"
            f" {design['washout_days']} days between them; the page opens the next part."
        )
    return tuple(paragraphs)
