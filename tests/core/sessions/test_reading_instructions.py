"""Question, answers and instructions of a reading study, for each scale and kind of case."""

from __future__ import annotations

import pytest

from core.sessions.arms import (
    ADVICE_ARMS,
    ARMS,
    shows_advice,
    shows_advice_map,
    shows_images,
    shows_texts,
)
from core.sessions.reading_instructions import design_shows_images, reading_instructions

# Key 1 is the first answer: an exchanged order would turn every answer into its opposite.
SIX = ("Definitely", "Probably", "Possibly")


@pytest.mark.parametrize("has_images", [False, True])
def test_answers_run_from_benign_to_malignant(has_images: bool) -> None:
    two = reading_instructions({"scale": 2}, has_images)
    assert two.answers == ("Benign", "Malignant")
    six = reading_instructions({"scale": 6}, has_images)
    assert six.answers == (
        *(f"{word} benign" for word in SIX),
        *(f"{word} malignant" for word in SIX[::-1]),
    )


def test_question_fits_the_scale_and_the_cases() -> None:
    questions = {
        (scale, has_images): reading_instructions({"scale": scale}, has_images).question
        for scale in (2, 6)
        for has_images in (False, True)
    }
    assert "these texts" in questions[2, False] and "this case" in questions[2, True]
    assert questions[6, False] == questions[6, True] and "How likely" in questions[6, True]
    own = reading_instructions({"scale": 2, "question": "Is it cancer?"}, True)
    assert own.question == "Is it cancer?"


def test_instructions_describe_the_cases_and_end_with_the_prevalence() -> None:
    texts, images = (reading_instructions({"scale": 6}, has).paragraphs for has in (False, True))
    assert "list of short descriptions" in texts[0] and "mammogram" not in " ".join(texts)
    assert "shows a mammogram" in images[0] and texts[1:] == images[2:]
    assert [text.split()[0] for text in texts] == ["Each", "Press", "Backspace", "Practice"]
    stated = reading_instructions({"scale": 6, "told": "Half are malignant."}, False).paragraphs
    assert stated == (*texts, "Half are malignant.")


@pytest.mark.parametrize(
    ("arms", "has_images"),
    [
        (["explanation", "shuffled"], False),
        (["explanation", "image"], True),
        (["class_map", "explanation", "random_units"], True),
        (["image_explanation"], True),
        ([], False),
    ],
)
def test_one_arm_with_images_suffices(arms: list[str], has_images: bool) -> None:
    assert design_shows_images({"arms": arms}) is has_images


def test_what_each_arm_shows() -> None:
    assert {arm: (shows_texts(arm), shows_images(arm)) for arm in ARMS} == {
        "explanation": (True, False),
        "shuffled": (True, False),
        "random_units": (True, False),
        "class_map": (False, True),
        "image": (False, True),
        "image_explanation": (True, True),
        "advice": (False, True),
        "advice_units": (True, True),
        "advice_map": (False, True),
        "advice_units_map": (True, True),
        "advice_shuffled": (True, True),
        "no_advice": (False, True),
    }
    assert [arm for arm in ARMS if shows_advice(arm)] == list(ADVICE_ARMS[:-1])
    assert [arm for arm in ARMS if shows_advice_map(arm)] == ["advice_map", "advice_units_map"]


def test_instructions_of_a_study_with_advice() -> None:
    plain = {"scale": 6, "advice": "class"}
    texts = reading_instructions(plain, True).paragraphs
    assert "cannot be changed" in texts[0] and "neural network" in texts[1]
    told = plain | {
        "predict_network": True,
        "wrong_advice": 0.25,
        "wrong_advice_told": True,
        "washout_days": 14,
        "told": "Half are malignant.",
    }
    added = [text for text in reading_instructions(told, True).paragraphs if text not in texts]
    assert len(added) == 4 and "expect the program" in added[0]
    assert "about 25 are wrong" in added[1] and "14 days" in added[2]
    assert added[3] == "Half are malignant."
