"""What the advice of a case states, and what the instructions state about advice."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from core.sessions.arms import shows_advice, shows_advice_map, shows_texts

ADVICE_KINDS = ("none", "class", "probability_band")
# Limits of the bands, in percent. One of them is 50, so that a band never contradicts the decision.
_BAND_LIMITS = (0, 10, 30, 50, 70, 90, 100)
CONTROL_NOTICE = "This case has no advice. Look again and give your final answer."
PREDICTION_QUESTION = "What will the network decide?"
FIRST_ANSWER = (
    "Read the images of each case and give your first answer. It is saved and cannot be changed."
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


def map_paragraph(design: Mapping[str, Any]) -> str:
    """Return what the colours of a class map mean, for the positive class of a stored design."""
    positive = str(design.get("positive", "malignant"))
    signs = "malignancy" if positive == "malignant" else f"the class {positive}"
    return (
        f"The map shows where the program found signs of {signs}: dark violet stands for few signs,"
        " red for more, light yellow for many. The scale is the same for every case."
    )


def advice_paragraphs(design: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the instructions about the two answers and the advice of a stored design."""
    paragraphs = [FIRST_ANSWER, _advice_content(design)]
    if design.get("predict_network"):
        paragraphs.insert(1, "After the first answer, state what you expect the program to decide.")
    if any(map(shows_advice_map, design.get("arms", ()))):
        paragraphs.append(f"{map_paragraph(design)} The key M hides and shows it.")
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


def _advice_content(design: Mapping[str, Any]) -> str:
    """Return what the advice shows in the arms of a design, and whether some cases have none."""
    arms = design.get("arms", ())
    advised = [arm for arm in arms if shows_advice(arm)]
    parts = [
        (shows_texts, "short descriptions of what it found"),
        (shows_advice_map, "a map of where it found it"),
    ]
    shown = [text for shows, text in parts if any(map(shows, advised))]
    is_everywhere = all(shows(arm) for arm in advised for shows, text in parts if text in shown)
    program = "a computer program (a neural network)"
    if design["advice"] == "class":
        statement = f"Then the decision of {program} is shown"
    else:
        positive = design.get("positive", "malignant")
        statement = f"Then the probability of {positive} by {program} is shown as a range"
    if shown and is_everywhere:
        statement += f", together with {' and '.join(shown)}"
    elif shown:
        statement += f", in some cases together with {' or '.join(shown)}"
    sentences = [statement]
    if len(advised) < len(arms):
        sentences.append("Some cases have no advice")
    sentences.append("Look again and give your final answer, which may be the same.")
    return ". ".join(sentences)
