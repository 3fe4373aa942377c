"""The texts of the reading page: scales, questions, consent and instructions.

Studies with images have texts of their own where the difference matters to the reader.
"""

from __future__ import annotations

SIX_POINT_SCALE = (
    "Definitely benign",
    "Probably benign",
    "Possibly benign",
    "Possibly malignant",
    "Probably malignant",
    "Definitely malignant",
)
TWO_POINT_SCALE = ("Benign", "Malignant")
SIX_POINT_QUESTION = "How likely is it that this breast contains a malignant finding?"
TWO_POINT_QUESTION = "Do these texts indicate a benign or a malignant finding?"
TWO_POINT_IMAGE_QUESTION = "Does this case indicate a benign or a malignant finding?"
NEXT_STUDY = "Continue with the next study"
READING_CONSENT = (
    "You will read short descriptions of the image features that a computer program detected in"
    " mammograms, and judge from them whether each breast contains a malignant finding. No images"
    " are shown.",
    "A case takes a few seconds. You can pause at any time and continue later, on any device, with"
    " the same link.",
    "Your answers, the time you take and your experience are stored under a code, never with your"
    " name. They are used for research only.",
    "You receive no feedback on your answers, neither during the study nor from the page."
    " Please do not discuss cases with other readers.",
)
IMAGE_READING_CONSENT = (
    "You will be shown mammograms, maps that a computer program computed from mammograms, or short"
    " descriptions of the image features that it detected, and judge from them whether each breast"
    " contains a malignant finding.",
    *READING_CONSENT[1:],
)
INSTRUCTIONS = (
    "Each case is a list of short descriptions, the most influential first. Base your judgement on"
    " these descriptions only.",
    "Press a number key or click. Your answer is saved at once, and the next case opens when it has"
    " been saved.",
    "Backspace reopens the previous case, and only that one, to correct a mistake. First answers"
    " are kept.",
    "Practice comes first; it does not count, and there is no feedback.",
)
IMAGE_INSTRUCTIONS = (
    "A case shows a mammogram, a map, a list of short descriptions (the most influential first), or"
    " several of these. Base your judgement on the case as shown.",
    "On a mammogram: the wheel zooms, dragging changes window and level, dragging with Shift moves,"
    " a double click resets; the keys Z, W, L and R do the same. A map shows where the program"
    " found signs of malignancy, on the same scale for every case.",
    *INSTRUCTIONS[1:],
)
START_PRACTICE = "Start with five practice texts"
START_IMAGE_PRACTICE = "Start with the practice cases"
