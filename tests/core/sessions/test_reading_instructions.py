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
from core.sessions.reading.displayed_case import DisplayedAdvice, DisplayedCase
from core.sessions.reading.practice_notes import practice_note
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
    assert "zooms" in images[1] and "map shows" not in " ".join(images)
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


def test_instructions_contain_what_the_design_has_and_nothing_else() -> None:
    question = {"text": "How sure?", "kind": "scale", "options": ["not", "very"]}

    def text(**design: object) -> str:
        return " ".join(reading_instructions(design, True).paragraphs)

    plain = text(advice="class", arms=["advice", "advice_shuffled"])
    assert "short descriptions" in plain and "in some cases" in plain
    for absent in ("map", "no advice", "question"):
        assert absent not in plain
    full = text(
        advice="class",
        arms=["advice_units_map", "no_advice"],
        questions=[question],
        questionnaire=[question, question],
    )
    assert "together with short descriptions of what it found and a map" in full
    assert "in some cases" not in full and "Some cases have no advice" in full
    assert "dark violet" in full and "key M" in full
    assert "A further question follows your final answer" in full and "2 questions about" in full
    band = text(advice="probability_band", arms=["advice", "no_advice"], positive="abnormal")
    assert "probability of abnormal" in band and "descriptions" not in band
    # An answer that is saved with questions cannot be reopened.
    asked = text(arms=["class_map"], questions=[question, question])
    assert "Backspace" not in asked and "Two further questions follow your answer" in asked
    assert "dark violet" in asked and "Backspace" in text(arms=["class_map"])
    exam = text(case_unit="exam", arms=["image"])
    assert "names its film" not in exam
    assert "names its film" in text(case_unit="exam", arms=["image_explanation"])


def shown_case(**changes: object) -> DisplayedCase:
    """Return a practice case with an image."""
    return DisplayedCase(
        token="t",
        number=1,
        total=2,
        practice=True,
        answer=None,
        position=1,
        can_reopen=False,
        **{"texts": (), "pictures": ((0, "film", "{}"),)} | changes,
    )


def test_practice_notes_explain_what_the_case_shows() -> None:
    design = {"advice": "class", "arms": ["advice_units_map", "no_advice"]}
    both = DisplayedAdvice("The network's decision: benign", ("Mass",), ((4, "class_map", "{}"),))
    note = " ".join(practice_note(design, shown_case(step="final", advice=both)))
    assert "not part of the study" in note and "right or wrong" in note
    assert "most influential unit" in note and "dark violet" in note
    alone = DisplayedAdvice("The network's decision: benign", (), ())
    note = " ".join(practice_note(design, shown_case(step="final", advice=alone)))
    assert "most influential unit" not in note and "violet" not in note
    note = " ".join(practice_note(design, shown_case(step="final")))
    assert "no advice" in note and "right or wrong" not in note
    exam = {**design, "case_unit": "exam"}
    assert "the exam is not" in practice_note(exam, shown_case(step="final"))[0]
    # One answer: texts alone, a map alone, and an image with texts.
    texts = practice_note({}, shown_case(texts=("Mass", ""), pictures=()))
    assert "from the descriptions alone" in texts[-1] and len(texts) == 2
    mapped = practice_note({}, shown_case(pictures=((0, "class_map", "{}"),)))
    assert "from the map alone" in mapped[-1] and "dark violet" in mapped[1]
    image = practice_note({}, shown_case(texts=("Mass",)))
    assert "from the image and the descriptions alone" in image[-1]
