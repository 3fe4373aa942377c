"""Pictures of cases and of practice: which films, in which arm, and with which texts."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.images.blinded_rendering import CLASS_MAP, FILM_PLACES, MAMMOGRAM
from core.store.reading.reading_table import CasePicture
from evaluation.reading_study.leakage_issues import WARNING, IssueCode, LeakageIssue
from evaluation.reading_study.workflow import closing, freezing, pictures

STUDY, RUN, SEED = Path("study"), "explain-1", 11
USUAL = (("Mass", "Skin"), ("Vessel",), ("Node",))
EXPLAINED_FILMS = pictures._explained_films
# Patients a to c are in the study; d to g are not. The last film shows no breast.
FILMS = pd.DataFrame(
    {
        "mammogram_id": [f"m{n}" for n in range(8)],
        "patient_id": list("aabcdefg"),
        "film": [f"f{n}.png" for n in range(8)],
        "file": [f"x{n}.npz" for n in range(8)],
        "slot": [0] * 8,
        "whole": [False] * 7 + [True],
    }
)
CASES = pd.DataFrame(
    {
        "case_number": [1, 2, 3, 4],
        "mammogram_id": ["m2", "m0", "m3", "m2"],
        "patient_id": list("bacb"),
        "arm": ["image", "class_map", "explanation", "image_explanation"],
    }
)
NAMES = [place.name for place in FILM_PLACES]


def film_source(number: int) -> dict[str, Any]:
    return {"film": f"f{number}.png"} | ({"whole": True} if number == 7 else {})


def map_source(number: int, output: int = 1) -> dict[str, Any]:
    of_run = {"run": RUN, "maps": f"x{number}.npz", "film": f"f{number}.png"}
    return of_run | {"output": output} | ({"whole": True} if number == 7 else {})


def shown(found: list[CasePicture]) -> list[tuple[int, str, dict[str, Any], int]]:
    return [(one.case_number, one.kind, json.loads(one.source), one.slot) for one in found]


def protocol_of(*arms: str, **design: Any) -> Any:
    return SimpleNamespace(design={"arms": list(arms), "seed": SEED} | design, run=RUN)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    def explained(study: Path, run: str, is_exam: bool) -> tuple[pd.DataFrame, int]:
        assert (study, run, is_exam) == (STUDY, RUN, False)
        return FILMS, 1

    monkeypatch.setattr(pictures, "_explained_films", explained)
    monkeypatch.setattr(pictures, "practice_candidates", lambda study, protocol: None)
    monkeypatch.setattr(pictures, "usual_practice", lambda study: USUAL)


def test_texts_alone_have_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    # No explain run is read: a study of texts has none.
    monkeypatch.delattr(pictures, "_explained_films")
    found = pictures.case_pictures(STUDY, protocol_of("explanation", "shuffled"), CASES)
    assert found == ([list(texts) for texts in USUAL], None, [])


def drawn_films(count: int) -> list[int]:
    """Return the films of the practice: those of other patients, in the order of the draw."""
    order = np.random.default_rng([SEED, 17]).permutation(4)
    return [4 + int(index) for index in order][:count]


def test_pictures_of_cases_and_of_practice() -> None:
    arms = ("explanation", "class_map", "image")
    texts, advice, found = pictures.case_pictures(STUDY, protocol_of(*arms), CASES)
    # Three usual texts and two mammograms for each of the two arms with images.
    assert advice is None and texts == [*map(list, USUAL), [], [], [], []]
    first, second, third, fourth = drawn_films(4)
    # The case of the arm image and explanation is in no arm of this design.
    assert shown(found) == [
        (1, MAMMOGRAM, film_source(2), 0),
        (2, CLASS_MAP, map_source(0), 0),
        (-4, CLASS_MAP, map_source(first), 0),
        (-5, CLASS_MAP, map_source(second), 0),
        (-6, MAMMOGRAM, film_source(third), 0),
        (-7, MAMMOGRAM, film_source(fourth), 0),
    ]


def test_practice_without_texts_and_with_texts_on_images() -> None:
    texts, _, found = pictures.case_pictures(STUDY, protocol_of("image"), CASES)
    assert texts == [[], []]
    first, second = drawn_films(2)
    assert shown(found) == [
        (1, MAMMOGRAM, film_source(2), 0),
        (-1, MAMMOGRAM, film_source(first), 0),
        (-2, MAMMOGRAM, film_source(second), 0),
    ]
    texts, _, found = pictures.case_pictures(STUDY, protocol_of("image_explanation"), CASES)
    assert texts == [*map(list, USUAL), ["Mass", "Skin"], ["Vessel"]]
    assert [one.case_number for one in found] == [4, -4, -5]


def test_practice_without_other_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_explained_films", lambda *named: (FILMS[:4], 1))
    texts, advice, found = pictures.case_pictures(STUDY, protocol_of("image"), CASES)
    assert (texts, advice) == ([["Mass", "Skin"]], None)
    assert [one.case_number for one in found] == [1]


def test_practice_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    advised = pd.DataFrame(
        {"texts": [("A",), ("B", "C"), ("D",)], "predicted": ["malignant", "benign", "benign"]},
        index=["m6", "m4", "m7"],
    )
    monkeypatch.setattr(pictures, "practice_candidates", lambda study, protocol: advised)
    monkeypatch.setattr(pictures, "protocol_design", lambda protocol: "design")
    stated = []
    monkeypatch.setattr(
        pictures,
        "stated_advice",
        lambda rows, design: stated.append((list(rows["arm"]), design)) or list(rows["predicted"]),
    )
    arms = ("advice_units", "no_advice")
    texts, advice, found = pictures.case_pictures(STUDY, protocol_of(*arms), CASES[:0])
    # Film 5 has no advice; of the other three the fourth practice case finds none.
    order = np.random.default_rng([SEED, 17]).permutation(3)
    drawn = [["m4", "m6", "m7"][index] for index in order]
    assert stated == [(["advice_units", "advice_units", "no_advice"], "design")]
    assert advice == [advised.loc[name, "predicted"] for name in drawn]
    of_units = [list(advised.loc[name, "texts"]) for name in drawn[:2]]
    assert texts == [*of_units, []]
    assert [one.case_number for one in found] == [-1, -2, -3]
    nobody = advised[:0]
    monkeypatch.setattr(pictures, "practice_candidates", lambda study, protocol: nobody)
    texts, advice, found = pictures.case_pictures(STUDY, protocol_of(*arms), CASES[:0])
    assert (texts, advice, found) == ([["Mass", "Skin"]], [None], [])


def test_exams_show_every_film_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    films = FILMS.assign(slot=[2, 0, 1, 3, 1, 0, 2, 3])
    asked = []
    monkeypatch.setattr(
        pictures, "_explained_films", lambda *named: asked.append(named[-1]) or (films, -1)
    )
    monkeypatch.setattr(
        pictures, "has_misplaced_films", lambda exam: "m5" in exam["mammogram_id"].tolist()
    )
    cases = CASES.assign(mammogram_id="none")
    protocol = protocol_of("image_explanation", "image", case_unit="exam")
    texts, _, found = pictures.case_pictures(STUDY, protocol, cases[:2].assign(arm="image"))
    assert asked == [True]
    # Patient e has a misplaced film, and patient a two films, sorted by their places.
    order = np.random.default_rng([SEED, 17]).permutation(4)
    drawn = [["c", "d", "f", "g"][index] for index in order]
    numbers = {"c": 3, "d": 4, "f": 6, "g": 7}
    assert shown(found) == [
        (1, MAMMOGRAM, film_source(2), 1),
        (2, MAMMOGRAM, film_source(1), 0),
        (2, MAMMOGRAM, film_source(0), 2),
        *(
            (-4 - place, MAMMOGRAM, film_source(numbers[name]), int(films["slot"][numbers[name]]))
            for place, name in enumerate(drawn)
        ),
    ]
    places = [NAMES[int(films["slot"][numbers[name]])] for name in drawn[:2]]
    assert texts == [
        *map(list, USUAL),
        [f"Mass ({places[0]})", f"Skin ({places[0]})"],
        [f"Vessel ({places[1]})"],
        [],
        [],
    ]


def test_texts_name_the_films_in_turn() -> None:
    films = pd.DataFrame({"slot": [3, 0]})
    assert pictures._with_film_names(["A", "B", "C"], films) == [
        f"A ({NAMES[0]})",
        f"B ({NAMES[3]})",
        f"C ({NAMES[0]})",
    ]
    in_turn = [("image_explanation", films)] * 4
    assert pictures._usual_texts(USUAL, in_turn, False) == [*map(list, USUAL), ["Mass", "Skin"]]


def test_map_of_advice_has_a_place_of_its_own() -> None:
    films = FILMS[:2].assign(slot=[3, 1])
    found = pictures._pictures(5, "advice_map", films, RUN, -1)
    plain = [{"run": RUN, "maps": f"x{n}.npz", "film": f"f{n}.png"} for n in (0, 1)]
    assert shown(found) == [
        (5, MAMMOGRAM, film_source(1), 1),
        (5, MAMMOGRAM, film_source(0), 3),
        (5, CLASS_MAP, plain[1], 5),
        (5, CLASS_MAP, plain[0], 7),
    ]


@pytest.mark.parametrize(("code", "output"), [(2, -1), (1, 1), (0, 0)])
def test_films_of_an_explain_run(monkeypatch: pytest.MonkeyPatch, code: int, output: int) -> None:
    classes = SimpleNamespace(codes=[0, 1, 2], positive_code=code)
    table = FILMS.drop(columns=["slot", "whole"]).assign(
        laterality=["LEFT", "RIGHT"] * 4, view=["CC", "CC", "MLO", "MLO"] * 2
    )
    # A share of exactly 1 is an image without a breast.
    tissue = pd.DataFrame(
        {"mammogram_id": [f"m{n}" for n in range(7, -1, -1)], "tissue": [1, *[0.99] * 6, 0.0]}
    )
    monkeypatch.setattr(pictures.store, "read", lambda study: nullcontext(study))
    for module, name, value in (
        (pictures.unit_table, "load_explanations", table),
        (pictures.run_table, "run_classes", classes),
    ):
        monkeypatch.setattr(
            module, name, lambda con, run, value=value: {(STUDY, RUN): value}[con, run]
        )
    monkeypatch.setattr(pictures.dataset_table, "load_mammograms", lambda con: {STUDY: tissue}[con])
    found, place = EXPLAINED_FILMS(STUDY, RUN, True)
    assert place == output
    assert found["whole"].tolist() == [False] * 7 + [True]
    assert found["slot"].tolist() == [1, 0, 3, 2] * 2
    found, _ = EXPLAINED_FILMS(STUDY, RUN, False)
    assert found["slot"].tolist() == [0] * 8


def warning(field: str, finding: str) -> LeakageIssue:
    return LeakageIssue(field=field, severity=WARNING, finding=finding, code=IssueCode.IMAGE_TRUTH)


def test_reasons_for_warnings() -> None:
    warnings = [warning("images", "f"), warning("arms", "g"), warning("images", "h")]

    def check(reasons: dict[str, str]) -> str:
        with pytest.raises(UserError) as error:
            freezing._check_reasons("Masses", warnings, reasons)
        return str(error.value)

    freezing._check_reasons("Masses", warnings, {"images": "a", "arms": "b"})
    freezing._check_reasons("Masses", warnings, {"images: f": "a", "images: h": "c", "arms": "b"})
    assert check({"images": "a", "image": "x", "arms": "b", "zoo": "y"}) == (
        "The leakage checks gave no warning about 'image'; their warnings are about images, arms."
    )
    assert check({"images": "a", "arms": " "}) == (
        "Masses has 1 warning without a reason: arms: g. Give a reason for each field, such as"
        " --reason 'arms=accepted because ...'."
    )
    assert check({"images: f": "a"}) == (
        "Masses has 2 warnings without a reason: arms: g; images: h. Give a reason for each field,"
        " such as --reason 'arms=accepted because ...'."
    )
    with pytest.raises(UserError, match="their warnings are about nothing"):
        freezing._check_reasons("Masses", [], {"images": "a"})
    freezing._check_reasons("Masses", [], {})


@pytest.mark.parametrize(
    ("missing", "planned", "text"),
    [
        ([0, 0], 2, ""),
        ([3, 0], 2, "Answers are missing: R1 has not answered 3 of 7 cases."),
        ([0, 0], 3, "Answers are missing: 1 of 3 planned readers has not begun."),
        (
            *([1, 2], 4),
            "Answers are missing: R1 has not answered 1 of 7 cases; R2 has not answered 2 of 1"
            " case; 2 of 4 planned readers have not begun.",
        ),
        ([0, 0], 1, ""),
    ],
)
def test_missing_answers_before_closing(
    monkeypatch: pytest.MonkeyPatch, missing: list[int], planned: int, text: str
) -> None:
    progress = pd.DataFrame({"code": ["R1", "R2"], "missing": missing, "total": [7, 1]})
    asked = []
    monkeypatch.setattr(
        closing.reading_table,
        "reading_progress_by_reader",
        lambda *named: asked.append(named) or progress,
    )
    monkeypatch.setattr(
        closing.protocol_table, "find_protocol", lambda *named: asked.append(named) or "protocol"
    )
    monkeypatch.setattr(
        closing, "protocol_design", lambda protocol: SimpleNamespace(readers=planned)
    )
    con: Any = "connection"
    ending = " Analyses of several readers need cases that all of them answered."
    assert closing.unanswered_sentence(con, "Masses", 2) == (text + ending if text else "")
    assert asked == [(con, "Masses", 2)] * 2
