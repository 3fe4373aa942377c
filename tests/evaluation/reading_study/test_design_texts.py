"""Texts and numbers that follow from a design, and the selection of cases, counted by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core.errors import UserError
from evaluation.power import AnswerCorrelations
from evaluation.reading_study import Design, choose_cases, design_preset, planned_power
from evaluation.reading_study.case_selection import CaseFlow, stored_blocks
from evaluation.reading_study.case_texts import (
    explaining_units,
    explanation_texts,
    label_texts,
    name_drawn_films,
    name_own_films,
    shuffled_texts,
)
from evaluation.reading_study.design import (
    Question,
    design_for_classes,
    design_power,
    least_patients,
    questions_from_lines,
)
from evaluation.reading_study.design.planned_power import power_assumption

ADVICE = "Reading with advice"
ARMS = ("explanation", "image", "class_map")


@pytest.mark.parametrize(
    ("settings", "hypothesis"),
    [
        (
            {},
            "Readers of the explanations alone tell malignant from benign cases better than"
            " chance.",
        ),
        (
            {"arms": ("class_map",)},
            "Readers of the arm class map alone tell malignant from benign cases better than"
            " chance.",
        ),
        (
            {"primary": "auc_difference", "arms": ARMS},
            "Readers are more accurate in the arm explanation than in the arm image.",
        ),
        (
            {"primary": "auc_difference", "arms": ARMS, "side": "two-sided"},
            "Readers are more or less accurate in the arm explanation than in the arm image.",
        ),
        (
            {"primary": "auc_difference", "arms": ARMS, "multiplicity": "holm"},
            "Readers are more accurate in the arm explanation than in the arm image and class map.",
        ),
        (
            {"primary": "auc_difference", "goal": "noninferiority", "margin": 0.1},
            "Readers are not less accurate by the margin in the arm explanation than in the arm"
            " shuffled.",
        ),
        (
            {"primary": "auc_difference", "goal": "equivalence", "margin": 0.1}
            | {"side": "two-sided"},
            "Readers are as accurate within the margin in the arm explanation as in the arm"
            " shuffled.",
        ),
        ({"primary": "auc_difference", "hypothesis": "Own."}, "Own."),
    ],
)
def test_hypothesis_follows_from_the_test(settings: dict[str, Any], hypothesis: str) -> None:
    assert design_preset("Recommended", **settings).hypothesis == hypothesis


def test_hypothesis_and_stopping_rule_of_presets() -> None:
    assert design_preset(ADVICE, arms=("advice_map", "no_advice")).hypothesis == (
        "Final answers in the arm advice with class map are more accurate than first answers."
    )
    looks = design_preset("Recommended", looks=2)
    assert looks.stopping == (
        "Every reader reads every case unless a planned interim look crosses its boundary; no"
        " estimate is seen before closing."
    )
    assert design_preset("Recommended", looks=1).stopping == Design().stopping
    crossed = {"washout_days": 30, "duration_days": 90, "primary": "auc"}
    assert design_preset(ADVICE, **crossed).expected_first_share is None
    cats = design_for_classes(design_preset("DeepMiner 2021"), "cat", "dog")
    assert (cats.positive, cats.comparison, cats.influence_class) == ("cat", "dog", "cat")
    assert cats.hypothesis == (
        "Readers of the explanations alone tell cat from dog cases better than chance."
    )
    assert design_for_classes(Design(), "cat", "dog").influence_class == "predicted"


def test_properties_of_a_design() -> None:
    holm = design_preset("Recommended", primary="auc_difference", arms=ARMS, multiplicity="holm")
    assert holm.compared_arms == ("image", "class_map")
    assert design_preset("Recommended", primary="auc_difference", arms=ARMS).compared_arms == (
        "image",
    )
    assert design_preset("Recommended", arms=ARMS).compared_arms == ()
    assert (Design(scale=2).threshold, Design().threshold) == (2, 4)
    remark = Question(text="Remarks", kind="text")
    for stages in ({"questions": (remark,)}, {"questionnaire": (remark,)}):
        assert Design(**stages).has_stages
    assert design_preset(ADVICE).has_stages and not Design().has_stages
    with pytest.raises(UserError, match="The preset DeepMiner 2021 tests one side"):
        design_preset("DeepMiner 2021", side="two-sided")
    assert design_preset("DeepMiner 2021", side="two-sided", primary="gee").side == "two-sided"
    assert Design(side="two-sided", primary="exact_binomial").side == "two-sided"
    with pytest.raises(UserError, match="The design effect is nan"):
        Design(design_effect=float("nan"))


def test_power_that_a_design_plans_for() -> None:
    """275 effective answers; a two-sided design spends half of its alpha on the upper side."""
    design = design_preset("Recommended", design_effect=1.2, side="two-sided", alpha=0.04)
    power, size = planned_power(design, 331)
    critical = next(k for k in range(276) if stats.binom.sf(k - 1, 275, 0.5) <= 0.02)
    assert power.power == pytest.approx(stats.binom.sf(critical - 1, 275, 0.55))
    assert (size.alpha, size.design_effect, size.p1) == (0.02, 1.2, 0.55)
    one = planned_power(design_preset("Recommended", alpha=0.04), 275)[0]
    assert one.alpha == 0.04 and planned_power(design, 1)[0].n == 1
    assert power_assumption(design) == "55 % correct"
    assert power_assumption(design_preset(ADVICE, expected_share=0.9)) == (
        "90 % correct final answers after 75 % correct first answers"
    )
    paired = design_preset("Recommended", primary="auc_difference")
    least = [least_patients(d) for d in (design, paired, design_preset(ADVICE))]
    assert least == [2, 4, 4]


def auc_of(share: float) -> float:
    return float(stats.norm.cdf(np.sqrt(2) * stats.norm.ppf(share)))


def test_assumptions_of_the_power_of_a_design() -> None:
    gap = design_power(
        design_preset("Recommended", primary="auc_difference", readers=4, alpha=0.04), 60, 150
    )
    assert (gap.endpoint, gap.side, gap.readers, gap.patients) == (
        *("auc_difference", "two-sided"),
        *(4, 60),
    )
    # 150 images of 60 patients are 2 a patient (2.5 rounded to even).
    assert (gap.images_per_patient, gap.alpha, gap.exact) == (2, 0.04, False)
    assert gap.expected == pytest.approx(auc_of(0.55) - 0.5)
    assert gap.auc == pytest.approx((auc_of(0.55) + 0.5) / 2)
    assert gap.correlations == AnswerCorrelations()
    change = design_power(design_preset(ADVICE), 60, 60)
    assert change.expected == pytest.approx(auc_of(0.8) - auc_of(0.75))
    assert change.auc == pytest.approx((auc_of(0.8) + auc_of(0.75)) / 2)
    share = design_power(design_preset("Recommended", primary="gee", design_effect=9.0), 50, 150)
    # (9 - 1) / (3 - 1) is no correlation.
    assert share.correlations == AnswerCorrelations(AnswerCorrelations().same_image, 1.0)
    assert (share.expected, share.side, share.endpoint) == (0.55, "greater", "proportion")
    single = design_power(design_preset("Recommended", primary="gee", design_effect=1.3), 50, 50)
    assert single.correlations == AnswerCorrelations()
    exact = design_power(design_preset("DeepMiner 2021", readers=2), 100, 150)
    assert (exact.exact, exact.patients) == (False, 100)
    alone = design_power(design_preset("DeepMiner 2021"), 100, 150)
    assert (alone.exact, alone.patients, alone.images_per_patient) == (True, 150, 1)


def test_limits_of_questions() -> None:
    nine = tuple("abcdefghi")
    assert Question(text="x" * 300, options=nine).options == nine
    for values, message in (
        ({"text": "x" * 301, "options": nine}, "needs a text of at most 300 characters"),
        ({"text": "a", "options": (*nine, "j")}, "has 10 options; a scale needs 2 to 9"),
        ({"text": "a", "kind": "choice", "options": ("b",)}, "has 1 option; a choice needs 2"),
        ({"text": "a", "options": ("b", " ")}, "an empty or a repeated option"),
        ({"text": "a", "options": ("b", "b ")}, "an empty or a repeated option"),
        ({"text": "x" * 70, "kind": "k"}, f"The question '{'x' * 60}' is of the kind 'k'"),
    ):
        with pytest.raises(UserError, match=message):
            Question(**values)
    lines = "\n\nchoice: One? | a | b\n TEXT : Two\n"
    first, second = questions_from_lines(lines)
    assert (first.kind, first.text, first.options) == ("choice", "One?", ("a", "b"))
    assert (second.kind, second.text, second.options) == ("text", "Two", ())
    with pytest.raises(UserError, match="Line 2 of the questions: The question 'One\\?' has 1"):
        questions_from_lines("\nscale: One? | a")
    assert Design(questions=(first, second)).questions == (first, second)
    assert design_preset(ADVICE, washout_days=30, duration_days=61).washout_days == 30
    assert design_preset(ADVICE, washout_days=1, duration_days=3650).duration_days == 3650


def test_units_behind_the_texts() -> None:
    labels = {1: " ", 2: "Mass, suspicious", 3: "Mass", 4: "Skin", 5: "suspicious"}
    order = [9, 1, 5, 2, 3, 4]
    assert explaining_units(order, labels, Design(texts=2)) == [(2, "Mass"), (3, "Mass")]
    merged = Design(merge_duplicates=True)
    assert explaining_units(order, labels, merged) == [(2, "Mass"), (4, "Skin")]
    words = Design(association_words=True, texts=2, depth=4)
    assert explanation_texts(order, labels, words) == ("suspicious", "Mass, suspicious")
    assert explanation_texts(order, labels, Design(depth=3)) == ()


class InOrder:
    """Stands for a random generator: keeps every order and takes the first of what is drawn."""

    def permutation(self, n: int) -> np.ndarray:
        return np.arange(n)

    def choice(self, values: Any, size: int) -> list[str]:
        return [values[k % len(values)] for k in range(size)]


def test_texts_of_other_patients() -> None:
    donors = pd.DataFrame({"patient_id": list("abc"), "texts": [["A"], ["B"], ["C"]]})
    table = pd.DataFrame({"patient_id": list("abac")})
    # Without replacement until no donor of another patient is left, then all again.
    assert shuffled_texts(table, donors, InOrder()) == [("B",), ("A",), ("C",), ("A",)]
    with pytest.raises(UserError, match="All cases are of one patient; an arm with shuffled"):
        shuffled_texts(table[:1], donors[:1], InOrder())
    films = pd.DataFrame(
        {
            "texts": [("A", "B"), ()],
            "text_films": [("left CC", "right CC"), ()],
            "films": [("left CC", "left MLO"), ("right CC",)],
        }
    )
    assert name_own_films(films) == [("A (left CC)", "B (right CC)"), ()]
    assert name_own_films(films[["texts"]]) == [("A", "B"), ()]
    drawn = name_drawn_films(films, [["X", "Y", "Z"], ["W"]], InOrder())
    assert drawn == [("X (left CC)", "Y (left MLO)", "Z (left CC)"), ("W (right CC)",)]
    assert name_drawn_films(films[["texts"]], [["X"], ["W"]], InOrder()) == [("X",), ("W",)]
    cases = pd.DataFrame({"texts": drawn})
    assert label_texts(cases, Design()) == drawn
    assert label_texts(cases, Design(case_unit="exam")) == [("X", "Y", "Z"), ("W",)]


def eligible(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    names = ["patient_id", "split", "any_malignant", "folder", "texts"]
    table = pd.DataFrame(rows, columns=names)
    table["mammogram_id"] = [f"m{k:02d}" for k in range(len(table))]
    return table.assign(network_score=np.arange(len(table)) / 20, predicted="malignant")


M, B = "malignant", "benign"
ROWS = [
    *[("a", "test", M, M, ("x",))] * 3,
    ("b", "test", M, M, ("y",)),
    ("c", "test", M, B, ("z",)),
    ("d", "test", B, B, ("v",)),
    ("d", "test", B, B, ()),
    ("e", "test", B, B, ("w",)),
    ("f", "test", B, None, ("u",)),
    ("g", "test", B, B, ("t",)),
    ("h", "train", M, M, ("s",)),
    ("i", "test", "unproven", B, ("r",)),
    ("j", "test", None, B, ("q",)),
]


def test_steps_of_the_selection() -> None:
    design = design_preset("Recommended", comparison_share=0.5)
    cases, flow = choose_cases(eligible(ROWS), design)
    assert flow.steps == (
        ("test split", 12, 9),
        ("malignant or benign finding", 10, 7),
        ("truth rules agree", 8, 5),
        ("an annotated unit explains it", 7, 5),
        # Of each patient one image: a and b against two of d, e and g.
        ("chosen, as many of each class", 4, 4),
    )
    assert flow.sentence() == (
        "test split: 12 images of 9 patients; malignant or benign finding: 10 images of 7 patients;"
        " truth rules agree: 8 images of 5 patients; an annotated unit explains it: 7 images of 5"
        " patients; chosen, as many of each class: 4 images of 4 patients."
    )
    assert CaseFlow((("one", 1, 1),)).sentence() == "one: 1 images of 1 patients."
    # Half of the two cases of each class again in the other arm.
    assert cases.groupby(["arm", "truth"]).size().to_dict() == {
        ("explanation", B): 2,
        ("explanation", M): 2,
        ("shuffled", B): 1,
        ("shuffled", M): 1,
    }
    assert list(cases.columns) == [
        *("case_number", "mammogram_id", "patient_id", "arm", "texts", "truth", "network_score"),
        *("predicted", "block", "folder", "any_malignant"),
    ]
    assert cases["case_number"].tolist() == list(range(1, 7))
    own = dict(zip(eligible(ROWS)["mammogram_id"], eligible(ROWS)["texts"]))
    for row in cases.itertuples():
        assert (tuple(row.texts) == own[row.mammogram_id]) == (row.arm == "explanation")
        assert row.network_score == int(row.mammogram_id[1:]) / 20
    few = choose_cases(eligible(ROWS), design_preset("Recommended", comparison_share=0.01))[0]
    # At least one case of each class.
    assert (few["arm"] == "shuffled").sum() == 2
    everything = Design(discrepant="in", images_per_patient=None, arms=("image",))
    assert choose_cases(eligible(ROWS), everything)[1].steps == (
        ("test split", 12, 9),
        ("malignant or benign finding", 10, 7),
        ("chosen, as many of each class", 10, 7),
    )
    two = Design(discrepant="in", images_per_patient=2, arms=("image",))
    assert choose_cases(eligible(ROWS), two)[1].steps[-1][1] == 8
    train = Design(split="train", arms=("image",))
    with pytest.raises(UserError, match="The train split has 1 malignant and 0 benign eligible"):
        choose_cases(eligible(ROWS), train)


def test_number_of_cases_that_is_asked_for() -> None:
    exact = design_preset("Recommended", cases_per_class=2, arms=("explanation",))
    assert len(choose_cases(eligible(ROWS), exact)[0]) == 4
    with pytest.raises(UserError) as caught:
        choose_cases(eligible(ROWS), design_preset("Recommended", cases_per_class=3))
    assert str(caught.value) == (
        "The test split has 2 malignant and 3 benign eligible images, and the design requires 3 of"
        " each; ask for at most 2, allow more images a patient, or annotate more units."
    )
    for name in ("mammogram_id", "any_malignant", "predicted"):
        with pytest.raises(UserError, match=f"The table of images lacks '{name}'; choosing cases"):
            choose_cases(eligible(ROWS).drop(columns=name), exact)


@pytest.mark.parametrize(("patients", "ending"), [(20, "P19"), (21, "P19, ...")])
def test_patients_with_a_single_film_are_listed(patients: int, ending: str) -> None:
    table = eligible([(f"P{k:02d}", "test", M, M, ("x",)) for k in range(patients)])
    table = table.assign(films=[("left CC",)] * patients, fits=True)
    with pytest.raises(
        UserError, match=rf"{patients} of {patients} exams .*{re.escape(ending)}\)\. State"
    ):
        choose_cases(table, Design(case_unit="exam"))


def test_blocks_of_old_protocols() -> None:
    assert stored_blocks(pd.DataFrame({"case_number": [1, 2]})) == [None, None]
    assert stored_blocks(pd.DataFrame({"block": [3.0, None]})) == [3, None]
