"""Arms of a reading study: what a case shows in each arm.

A case shows up to three texts, one image, or both. Every module that has to know takes it from
here, so that the design, the leakage checks and the reader's page cannot disagree.

In the arms with advice a case shows its image alone until the first answer is stored, and then what
the arm adds to it.
"""

from __future__ import annotations

# In the order in which a design may list them.
SINGLE_ANSWER_ARMS = (
    "explanation",
    "shuffled",
    "random_units",
    "class_map",
    "image",
    "image_explanation",
)
# The network's decision alone, with named units, with a class map, with both, with the named units
# of another patient, and the same two answers without any advice.
ADVICE_ARMS = (
    "advice",
    "advice_units",
    "advice_map",
    "advice_units_map",
    "advice_shuffled",
    "no_advice",
)
# Arms against which the effect of advice, or of its explanation, is measured.
CONTROL_ARMS = ("advice_shuffled", "no_advice")
ARMS = (*SINGLE_ANSWER_ARMS, *ADVICE_ARMS)
# Names in print, by the code that designs, databases and machine-readable files use.
ARM_TITLES = {
    "explanation": "explanation text",
    "shuffled": "shuffled explanation",
    "random_units": "text of random units",
    "class_map": "class map",
    "image": "image",
    "image_explanation": "image and explanation text",
    "advice": "advice",
    "advice_units": "advice with named units",
    "advice_map": "advice with class map",
    "advice_units_map": "advice with named units and class map",
    "advice_shuffled": "advice with shuffled units",
    "no_advice": "no advice",
}
# Each sham arm with the arm whose content it shows, of another case. An arm that shows a map, or
# the decision alone, has no sham: it differs from advice_shuffled in more than what the units mean.
_SHAM_OF = {"advice_shuffled": "advice_units"}
WORDLESS_ARMS = ("class_map", "image", "advice", "advice_map", "no_advice")
# Arms whose image is the mammogram itself; a class map shows the heat map without it.
MAMMOGRAM_ARMS = ("image", "image_explanation", *ADVICE_ARMS)
IMAGE_ARMS = ("class_map", *MAMMOGRAM_ARMS)


def is_sham_of(control: str, arm: str) -> bool:
    """Return whether a control shows what an arm shows, but of another case.

    Examples
    --------
    >>> is_sham_of("advice_shuffled", "advice_units")
    True
    >>> is_sham_of("advice_shuffled", "advice_units_map")
    False
    """
    return _SHAM_OF.get(control) == arm


def shows_texts(arm: str) -> bool:
    """Return whether the cases of an arm show texts."""
    return arm not in WORDLESS_ARMS


def shows_images(arm: str) -> bool:
    """Return whether the cases of an arm show an image."""
    return arm in IMAGE_ARMS


def shows_advice(arm: str) -> bool:
    """Return whether the cases of an arm state the network's decision after the first answer."""
    return arm in ADVICE_ARMS and arm != "no_advice"


def shows_advice_map(arm: str) -> bool:
    """Return whether the cases of an arm show a class map after the first answer."""
    return arm in ("advice_map", "advice_units_map")
