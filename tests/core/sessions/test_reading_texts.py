"""Whole instructions, advice and notes of readers, for designs that differ in one property."""

from __future__ import annotations

from typing import Any

import pytest

from core.images.blinded_rendering import CLASS_MAP, MAMMOGRAM
from core.sessions import reading_instructions as texts
from core.sessions.reading import practice_notes
from core.sessions.reading.advice_statements import (
    FIRST_ANSWER,
    advice_paragraphs,
    advice_statement,
    gives_advice,
    map_paragraph,
    probability_band,
)
from core.sessions.reading.displayed_case import DisplayedAdvice, DisplayedCase
from core.sessions.reading_instructions import reading_instructions

COLOURS = (
    "dark violet stands for few signs, red for more, light yellow for many. The scale is the same"
    " for every case."
)
MAP = f"The map shows where the program found signs of malignancy: {COLOURS}"
AGAIN = "Look again and give your final answer, which may be the same."
PROGRAM = "Then the decision of a computer program (a neural network) is shown"
SCALE = {"text": "How sure?", "kind": "scale", "options": ["not", "very"]}


def paragraphs(design: dict[str, Any], has_images: bool = True) -> tuple[str, ...]:
    return reading_instructions(design, has_images).paragraphs


def test_instructions_of_texts_and_images() -> None:
    keys = (texts._ANSWER_KEYS, texts._REOPENING, texts._PRACTICE)
    assert paragraphs({}, False) == (texts._TEXT_CASES, *keys)
    assert paragraphs({}) == (texts._IMAGE_CASES, texts._VIEWER, *keys)
    assert paragraphs({"arms": ["image", "class_map"], "told": "A third."}) == (
        *(texts._IMAGE_CASES, texts._VIEWER, MAP),
        *(*keys, "A third."),
    )
    exam = {"case_unit": "exam", "arms": ["image"]}
    films = texts.EXAM_INSTRUCTION
    assert paragraphs(exam) == (texts._IMAGE_CASES, films, texts._VIEWER, *keys)
    assert paragraphs(exam, False) == (texts._TEXT_CASES, *keys)
    named = f"{films} Each description names its film."
    assert paragraphs(exam | {"arms": ["image", "shuffled"]})[1] == named
    assert paragraphs({"arms": ["image", "shuffled"]}) == (
        *(texts._IMAGE_CASES, texts._VIEWER),
        *keys,
    )


def test_instructions_of_questions() -> None:
    def keys(**design: object) -> tuple[str, ...]:
        return paragraphs(design, False)[1:-1]

    end = " saved with it; Esc goes back until then. After that the case cannot be changed."
    start = "Press a number key or click."
    follow = "question follows your"
    one = f"{start} A further {follow} answer to each case and is{end}"
    two = f"{start} Two further questions follow your answer to each case and are{end}"
    assert keys(questions=[SCALE]) == (one,) and keys(questions=[SCALE] * 2) == (two,)
    closing = " After the last case you answer {} about the study."
    assert keys(questions=[SCALE], questionnaire=[SCALE]) == (one + closing.format("one question"),)
    assert keys(questionnaire=[SCALE] * 3) == (
        texts._ANSWER_KEYS,
        texts._REOPENING + closing.format("3 questions"),
    )
    advice = {"advice": "class", "arms": ["advice"]}
    final = f"{start} A further {follow} final answer to each case and is{end}"
    assert paragraphs(advice | {"questions": [SCALE]})[-2] == final
    assert paragraphs(advice | {"questionnaire": [SCALE]})[-2] == (
        f"{start} Every answer is saved at once." + closing.format("one question")
    )


def test_questions_and_answers() -> None:
    def shown(has_images: bool = True, **design: object) -> tuple[str, tuple[str, ...]]:
        found = reading_instructions(design, has_images)
        return found.question, found.answers

    six = ("Definitely benign", "Probably benign", "Possibly benign")
    six += ("Possibly malignant", "Probably malignant", "Definitely malignant")
    for has_images in (False, True):
        assert shown(has_images) == (texts.SIX_POINT_QUESTION, six)
        assert shown(has_images, case_unit="exam") == (texts.SIX_POINT_EXAM_QUESTION, six)
    two = ("Benign", "Malignant")
    assert shown(False, scale=2) == (texts.TWO_POINT_QUESTION, two)
    assert shown(True, scale=2) == (texts.TWO_POINT_IMAGE_QUESTION, two)
    assert shown(True, scale=2, question="Is it?") == ("Is it?", two)
    assert shown(True, question="") == (texts.SIX_POINT_QUESTION, six)
    pets = {"positive": "cat", "comparison": "dog"}
    pet_answers = ("Definitely dog", "Probably dog", "Possibly dog")
    pet_answers += ("Possibly cat", "Probably cat", "Definitely cat")
    assert shown(True, **pets) == ("Does this case indicate dog or cat?", pet_answers)
    assert shown(False, **pets) == ("Do these texts indicate dog or cat?", pet_answers)
    assert shown(False, **pets, scale=2)[1] == ("Dog", "Cat")
    assert shown(True, positive="abnormal")[0] == "Does this case indicate benign or abnormal?"
    assert shown(True, comparison="normal")[0] == "Does this case indicate normal or malignant?"


def test_advice_of_designs_that_differ_in_one_property() -> None:
    def content(*arms: str, **design: object) -> str:
        first, second, *others = advice_paragraphs({"advice": "class", "arms": arms, **design})
        assert first == FIRST_ANSWER and not others
        return second

    def shown(*arms: str) -> str:
        return content(*arms).removesuffix(AGAIN)

    assert content("advice") == f"{PROGRAM}. {AGAIN}" and content() == f"{PROGRAM}. {AGAIN}"
    descriptions = "short descriptions of what it found"
    assert shown("advice_units") == f"{PROGRAM}, together with {descriptions}. "
    assert shown("advice", "advice_units") == (
        f"{PROGRAM}, in some cases together with {descriptions}. "
    )
    assert shown("advice_units", "no_advice") == (
        f"{PROGRAM}, together with {descriptions}. Some cases have no advice. "
    )
    assert shown("advice", "no_advice") == f"{PROGRAM}. Some cases have no advice. "
    band = {"advice": "probability_band"}
    range_of = "by a computer program (a neural network) is shown as a range"
    assert content("advice", **band) == f"Then the probability of malignant {range_of}. {AGAIN}"
    assert content("advice", **band, positive="cat") == (
        f"Then the probability of cat {range_of}. {AGAIN}"
    )


def test_advice_with_maps_and_further_properties() -> None:
    design: dict[str, Any] = {"advice": "class", "arms": ["advice_units_map", "advice_map"]}
    where = "a map of where it found it"
    some = f"{PROGRAM}, in some cases together with short descriptions of what it found or {where}"
    key = f"{MAP} The key M hides and shows it."
    assert advice_paragraphs(design) == (FIRST_ANSWER, f"{some}. {AGAIN}", key)
    whole = {
        "predict_network": True, "wrong_advice": 0.444, "wrong_advice_told": True,
        "washout_days": 28, "positive": "cat",
    }  # fmt: skip
    design["arms"] = ["advice_units_map"]
    both = f"{PROGRAM}, together with short descriptions of what it found and {where}. {AGAIN}"
    assert advice_paragraphs(design | whole) == (
        FIRST_ANSWER,
        "After the first answer, state what you expect the program to decide.",
        both,
        f"{map_paragraph({'positive': 'cat'})} The key M hides and shows it.",
        "Of every 100 decisions of the program, about 44 are wrong.",
        "The cases are read in several parts with pauses of at least 28 days between them; the"
        " page opens the next part.",
    )
    assert map_paragraph({"positive": "cat"}) == MAP.replace("malignancy", "the class cat")
    assert map_paragraph({"positive": "malignant"}) == map_paragraph({}) == MAP
    # The share of wrong advice is stated only where the design says so.
    assert advice_paragraphs({**design, "wrong_advice": 0.3}) == (FIRST_ANSWER, both, key)
    films = texts.EXAM_INSTRUCTION + texts._NAMED_FILMS
    assert paragraphs({**design, "case_unit": "exam"}) == (
        *(FIRST_ANSWER, films, both, key, texts._VIEWER, texts._ADVICE_KEYS),
        texts._PRACTICE,
    )


def test_which_designs_give_advice_and_what_it_states() -> None:
    given = [gives_advice({"advice": kind}) for kind in ("none", "class", "probability_band")]
    assert given == [False, True, True] and not gives_advice({})
    assert advice_statement({"advice": "class"}, "cat") == "The network's decision: cat"
    band = {"advice": "probability_band"}
    start = "The network's probability of"
    assert advice_statement(band, "10-30") == f"{start} malignant: 10 to 30 %"
    assert advice_statement(band | {"positive": "cat"}, "0-10") == f"{start} cat: 0 to 10 %"


@pytest.mark.parametrize(
    ("percent", "negative", "positive"),
    [
        (0, "0-10", "50-70"), (9.9, "0-10", "50-70"), (10, "10-30", "50-70"),
        (29.9, "10-30", "50-70"), (30, "30-50", "50-70"), (50, "30-50", "50-70"),
        (69.9, "30-50", "50-70"), (70, "30-50", "70-90"), (90, "30-50", "90-100"),
        (100, "30-50", "90-100"),
    ],
)  # fmt: skip
def test_bands_of_both_decisions(percent: float, negative: str, positive: str) -> None:
    bands = [probability_band(percent / 100, is_positive) for is_positive in (False, True)]
    assert bands == [negative, positive]


def case_of(step: str | None = None, **changes: Any) -> DisplayedCase:
    values: dict[str, Any] = {
        "token": "t", "texts": (), "number": 1, "total": 2, "practice": True, "answer": 3,
        "position": 1, "can_reopen": False, "step": step,
    }  # fmt: skip
    return DisplayedCase(**(values | changes))


def test_notes_after_practice_with_advice() -> None:
    note, both = practice_notes.practice_note, practice_notes._BOTH_ANSWERS
    plain = "This was practice: the image is not part of the study."
    decided = (
        "The advice is what the network decided on this image, right or wrong. Which of the two is"
        " not shown, because feedback would change later answers."
    )
    no_advice = practice_notes._NO_ADVICE
    assert note({}, case_of("final")) == (plain, no_advice, both)
    empty = DisplayedAdvice("s", ("", ""), ())
    assert note({}, case_of("final", advice=empty)) == (f"{plain} {decided}", both)
    worded = DisplayedAdvice("s", ("", "Mass"), ())
    assert note({}, case_of("final", advice=worded))[1:] == (practice_notes._TEXTS, both)
    mapped = DisplayedAdvice("s", (), ((4, CLASS_MAP, "m"),))
    exam = {"case_unit": "exam", "positive": "cat"}
    assert note(exam, case_of("final", advice=mapped)) == (
        f"{plain} {decided}".replace("image", "exam"),
        map_paragraph(exam),
        both,
    )


def test_notes_after_practice_with_one_answer() -> None:
    film, heat_map = (0, MAMMOGRAM, "m"), (0, CLASS_MAP, "m")
    practice = "This was practice: the exam is not part of the study."
    described = f"{practice_notes._TEXTS} The descriptions of practice are examples."

    def judged(shown: str) -> str:
        return (
            f"You judge from {shown} alone: the study measures how much a reader can tell from"
            " them. Whether an answer is right is not shown, because feedback would change later"
            " answers."
        )

    def note(*pictures: tuple[int, str, str], texts: tuple[str, ...] = ()) -> tuple[str, ...]:
        design = {"case_unit": "exam"}
        return practice_notes.practice_note(design, case_of(texts=texts, pictures=pictures))

    assert note(texts=("", "Mass")) == (described, judged("the descriptions"))
    assert note(film, texts=("", "")) == (practice, judged("the image"))
    assert note(heat_map) == (practice, MAP, judged("the map"))
    assert note(film, heat_map, texts=("Mass",)) == (
        *(practice, described, MAP),
        judged("the image and the descriptions and the map"),
    )
