"""Arms of a reading study: what a case shows in each arm.

A case shows up to three texts, one image, or both. Every module that has to know takes it from
here, so that the design, the leakage checks and the reader's page cannot disagree.
"""

from __future__ import annotations

# In the order in which a design may list them.
ARMS = ("explanation", "shuffled", "random_units", "class_map", "image", "image_explanation")
WORDLESS_ARMS = ("class_map", "image")
IMAGE_ARMS = ("class_map", "image", "image_explanation")
# Arms whose image is the mammogram itself; a class map shows the heat map without it.
MAMMOGRAM_ARMS = ("image", "image_explanation")


def shows_texts(arm: str) -> bool:
    """Return whether the cases of an arm show texts."""
    return arm not in WORDLESS_ARMS


def shows_images(arm: str) -> bool:
    """Return whether the cases of an arm show an image."""
    return arm in IMAGE_ARMS
