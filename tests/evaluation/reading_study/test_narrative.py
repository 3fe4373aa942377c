"""Results of a reading study in words, word for word, with numbers that all differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evaluation.intervals import Interval
from evaluation.proportion import exact_binomial_test
from evaluation.reading_study import design_preset, score_study
from evaluation.reading_study.design import Design
from evaluation.reading_study.narrative import (
    narrative,
    narrative_paragraphs,
    primary_sentences,
    stimuli,
    verdict,
)
from evaluation.reading_study.primary import (
    ArmHypothesis,
    InterimLook,
    PrimaryResult,
    comparison_name,
    primary_interval_text,
)
from evaluation.reading_study.primary.record import FIRST_ANSWERS
from evaluation.reading_study.results import ReadingScore
from support.hand_counted_study import hand_counted_answers, hand_counted_key

PRIMARY = PrimaryResult(
    correct=21,
    n=34,
    estimate=0.618,
    low=0.512,
    high=0.713,
    p_value=0.0314,
    p_one_sided=0.0157,
    p_two_sided=0.0314,
    side="two-sided",
    alpha=0.05,
    method="a method",
    significant=True,
)


def between(estimate: float | None, low: float, high: float, level: float = 0.9) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, level=level, method="wilson")


@pytest.fixture(scope="module")
def base() -> ReadingScore:
    """A score of which the tests replace what a text states."""
    design = design_preset("Recommended", primary="gee")
    score = score_study(hand_counted_answers(), hand_counted_key(), design, threshold=0.5)
    area = {"low": 0.503, "high": 0.802, "level": 0.9, "reason": None}
    table = replace(
        score.table,
        sensitivity=between(0.707, 0.505, 0.853),
        specificity=between(0.604, 0.404, 0.754),
    )
    return replace(
        score,
        primary=PRIMARY,
        proportion=between(0.618, 0.433, 0.777),
        binomial=exact_binomial_test(15, 20),
        binomial_two_sided=exact_binomial_test(15, 20, alternative="two-sided"),
        table=table,
        roc=replace(score.roc, estimate=0.656, **area),
        readers_auc=between(0.671, 0.441, 0.881),
        network=replace(score.network, auc=replace(score.network.auc, estimate=0.759, **area)),
        missing_analyses=(),
        comparisons=(),
        conduct=replace(score.conduct, missing=None),
    )


def planned(score: ReadingScore, **changes: Any) -> ReadingScore:
    return replace(score, design=replace(score.design, **changes))


def result(score: ReadingScore, **changes: Any) -> ReadingScore:
    return replace(score, primary=replace(score.primary, **changes))


def test_whole_paragraph_of_two_readers(base: ReadingScore) -> None:
    conclusion, prespecified, rest = narrative_paragraphs(base)
    assert conclusion == (
        "The readers of the texts distinguished malignant from benign cases better than chance."
    )
    assert prespecified == (
        "Prespecified analysis: proportion correct .618 (95 % CI .512 to .713; a method), two-sided"
        " P = .031."
    )
    clusters = base.clusters.clustering_text(None)
    assert rest == (
        "2 readers gave 34 answers on texts of 6 patients, 21 of them correct (61.8 %)."
        f" I{clusters[1:]}."
        " Assuming independent answers, the exact binomial test gives one-sided P = .021, two-sided"
        " P = .041. The exact test is significant from 15 correct answers; changing one answer"
        " would change the one-sided conclusion."
        " Sensitivity .707 (90 % CI .505 to .853) and specificity .604 (90 % CI .404 to .754),"
        " where answers of 4 or higher mean malignant; intervals clustered by patient."
        " AUC of the ratings .656 (90 % CI .503 to .802)."
        " Mean AUC over readers .671 (90 % CI .441 to .881, Obuchowski-Rockette, random readers"
        " and cases)."
        " Truth rule any malignant; by other rules: folder 8 of 10, P = .055; first abnormality 7"
        " of 13, P = .500 (exact binomial, one-sided, not adjusted; 4 cases differ)."
        " On the same cases the network alone has AUC .759 (90 % CI .503 to .802)."
        " Limitations: 2 readers, treated as fixed in the primary analysis; the protocol planned 3"
        " readers; several answers a patient; 5 distinct texts for 7 cases."
    )
    assert narrative(base) == " ".join((conclusion, prespecified, rest))


def test_one_reader_whose_exact_test_is_prespecified(base: ReadingScore) -> None:
    one = planned(base, primary="exact_binomial", readers=1)
    one = replace(
        one,
        readers=one.readers[:1],
        rules=one.rules[2:],
        repeats=None,
        network=replace(one.network, auc=replace(one.network.auc, estimate=None)),
        clusters=replace(one.clusters, n=6),
    )
    _, _, rest = narrative_paragraphs(one)
    assert rest.startswith("One reader classified 21 of 34 texts (6 patients) correctly (61.8 %).")
    assert "Assuming" not in rest and "Mean AUC" not in rest and "Truth rule" not in rest
    assert "network" not in rest and "The exact test is significant from 15 correct" in rest
    assert rest.endswith(" Limitations: one reader, so the result does not generalise to readers.")
    hopeless = replace(one, binomial=exact_binomial_test(2, 3))
    assert "The exact test" not in narrative(hopeless)
    gee = planned(hopeless, primary="gee")
    assert "two-sided P = .041. No number of correct answers would be significant." in narrative(
        gee
    )


def test_auc_as_the_endpoint(base: ReadingScore) -> None:
    text = narrative(result(base, endpoint="auc"))
    assert "AUC of the ratings .618 (95 % CI .512 to .713; a method)" in text
    assert text.count("AUC of the ratings") == 1
    # The proportion is another number then, with its own interval.
    assert "21 of them correct (61.8 %; 90 % CI .433 to .777, wilson)." in text
    bare = replace(base, proportion=replace(base.proportion, low=None))
    assert "21 of them correct (61.8 %)." in narrative(result(bare, endpoint="auc"))


def test_missing_answers(base: ReadingScore) -> None:
    others = (
        replace(PRIMARY, missing_rule="counted_wrong", estimate=0.515, p_value=0.4),
        replace(PRIMARY, missing_rule="counted_correct", estimate=0.727, p_value=0.0002),
    )
    text = narrative(replace(result(base, missing=1234), missing_analyses=others))
    assert (
        " Missing answers: 1,234, left out as prespecified; sensitivity analysis: counted as wrong:"
        " .515, P = .400; counted as correct: .727, P < .001."
    ) in text
    assert "; 1,234 assigned answers missing;" in text
    filled = narrative(result(base, filled=3, missing_rule="counted_wrong"))
    assert (
        " 2 readers gave 31 answers on texts of 6 patients; with 3 missing answers counted as"
        " wrong, 21 of 34 are correct (61.8 %)."
    ) in filled
    known = replace(base, conduct=replace(base.conduct, missing=5))
    assert "; 5 assigned answers missing; several" in narrative(known)
    # What was not read when a look stopped the study is not missing.
    stopped = planned(known, looks=2)
    assert "assigned answers missing" not in narrative(stopped)
    assert "5 assigned answers missing" in narrative(result(stopped, look=2))


def test_no_answers(base: ReadingScore) -> None:
    empty = result(base, n=0, correct=0)
    sentence = "No answers have been given: there is no result."
    assert narrative_paragraphs(empty) == [sentence]
    assert narrative(replace(empty, simulated=True)) == (
        f"SIMULATED ANSWERS, not a result about people. {sentence}"
    )
    assert narrative(replace(empty, synthetic=True)) == (
        f"SIMULATED MAMMOGRAMS OR LABELS, not a result about patients. {sentence}"
    )
    assert narrative(replace(empty, synthetic=True, simulated=True)) == (
        f"SIMULATED ANSWERS, SIMULATED MAMMOGRAMS OR LABELS, not a result about people. {sentence}"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "The readers of the texts distinguished {} better than chance."),
        (
            {"low": 0.5},
            "The readers of the texts distinguished {} better than chance, although the interval"
            " includes chance.",
        ),
        ({"estimate": 0.5}, "The readers of the texts distinguished {} better than chance."),
        ({"estimate": 0.4, "low": 0.3}, "The readers of the texts distinguished {} worse than"),
        ({"estimate": 0.4, "side": "greater", "low": 0.51}, "distinguished {} better than chance."),
        (
            {"significant": None},
            "Whether the readers of the texts distinguished {} better than chance is not"
            " estimable.",
        ),
        (
            {"significant": False},
            "The study did not show that the readers of the texts distinguished {} better than"
            " chance. This does not establish that the texts are uninformative.",
        ),
    ],
)
def test_conclusions_about_one_arm(
    base: ReadingScore, changes: dict[str, Any], expected: str
) -> None:
    text = verdict(result(base, **changes))
    assert expected.format("malignant from benign cases") in text
    assert ("although" in text) == (changes.get("low") == 0.5)
    alone = replace(result(base, **changes), readers=base.readers[:1])
    assert "the reader of" in verdict(alone).lower()


def test_what_readers_judge(base: ReadingScore) -> None:
    judged = {
        "explanation": "texts",
        "random_units": "texts",
        "class_map": "class maps",
        "image": "images",
        "image_explanation": "images with texts",
    }
    assert {arm: stimuli(planned(base, arms=(arm,))) for arm in judged} == judged
    exams = planned(base, arms=("image",), case_unit="exam", single_films="in")
    assert stimuli(exams) == "exams"
    advice = replace(base, design=design_preset("Reading with advice"))
    assert stimuli(advice) == "images with advice"


def hypothesis(other: str, **changes: Any) -> ArmHypothesis:
    values: dict[str, Any] = {
        "other": other,
        "estimate": 0.123,
        "low": 0.045,
        "high": 0.201,
        "p_value": 0.0071,
        "adjusted_p_value": 0.0142,
        "significant": True,
        "images": 61,
        "readers": 4,
    }
    return ArmHypothesis(**(values | changes))


def compared(base: ReadingScore, *tests: ArmHypothesis, **settings: Any) -> ReadingScore:
    arms = ("explanation", "image", "shuffled")
    design = design_preset("Recommended", primary="auc_difference", arms=arms, **settings)
    primary = replace(
        PRIMARY, endpoint="auc_difference", comparisons=tests, side=design.side, level=0.95
    )
    return replace(base, design=design, primary=primary)


def test_prespecified_result_of_several_arms(base: ReadingScore) -> None:
    tests = (hypothesis("image"), hypothesis("shuffled", estimate=-0.2, images=1, readers=1))
    score = compared(base, *tests, multiplicity="holm")
    assert primary_sentences(score) == [
        "Prespecified analysis: mean AUC in the arm explanation text minus that in the arm image:"
        " .123 (one-sided 95 % CI from .045; a method; 61 images and 4 readers), one-sided"
        " P = .007, adjusted by Holm's method P = .014.",
        "Prespecified analysis: mean AUC in the arm explanation text minus that in the arm"
        " shuffled explanation: −.200 (one-sided 95 % CI from .045; a method; 1 image and 1"
        " reader), one-sided P = .007, adjusted by Holm's method P = .014.",
    ]
    assert verdict(score) == (
        "Accuracy in the arm explanation text was higher than in the arm image. Accuracy in the arm"
        " explanation text was higher than in the arm shuffled explanation."
    )
    assert "2 readers, treated as random in the primary analysis" in narrative(score)
    sequence = compared(base, hypothesis("image"), multiplicity="fixed_sequence")
    assert primary_sentences(sequence)[0].endswith(", adjusted by the fixed sequence P = .014.")
    single = compared(base, hypothesis("image"), side="two-sided")
    assert primary_sentences(single)[0].endswith(
        ".123 (95 % CI .045 to .201; a method; 61 images and 4 readers), two-sided P = .007."
    )
    unknown = compared(base, hypothesis("image", adjusted_p_value=None), multiplicity="holm")
    assert primary_sentences(unknown)[0].endswith("one-sided P = .007.")


@pytest.mark.parametrize(
    ("settings", "changes", "expected"),
    [
        ({}, {"significant": None}, "Whether the arms {} and {} differ is not estimable."),
        (
            {},
            {"significant": False},
            "The study did not show that accuracy in the arm {} was higher than in the arm {}. This"
            " does not establish that the arms are equally accurate.",
        ),
        (
            {"margin": 0.05},
            {},
            "Accuracy in the arm {} was higher than in the arm {} by more than the margin of .050.",
        ),
        (
            {"side": "two-sided"},
            {"estimate": -0.1},
            "Accuracy in the arm {} was lower than in the arm {}.",
        ),
        (
            {"side": "two-sided"},
            {"estimate": 0.0},
            "Accuracy in the arm {} was higher than in the arm {}.",
        ),
        ({}, {"estimate": -0.1}, "Accuracy in the arm {} was higher than in the arm {}."),
        (
            {"goal": "noninferiority", "margin": 0.07},
            {"estimate": -0.01},
            "The arm {} was not inferior to the arm {} by more than the margin of .070.",
        ),
        (
            {"goal": "equivalence", "margin": 0.08, "side": "two-sided"},
            {"estimate": -0.01},
            "The arms {} and {} were equivalent within the margin of .080.",
        ),
        (
            {"goal": "equivalence", "margin": 0.08, "side": "two-sided"},
            {"significant": False},
            "The study did not show that the arms {} and {} were equivalent within the margin of"
            " .080.",
        ),
    ],
)
def test_conclusions_about_two_arms(
    base: ReadingScore, settings: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    score = compared(base, hypothesis("image", **changes), **settings)
    assert verdict(score) == expected.format("explanation text", "image")
    goals = {"noninferiority": "non-inferiority, one-sided P = .007"}
    goals["equivalence"] = "equivalence, two one-sided tests, P = .007"
    named = goals.get(score.design.goal, "sided P = .007")
    assert primary_sentences(score)[0].endswith(f"{named}.")


def changed(base: ReadingScore, **changes: Any) -> ReadingScore:
    design: Design = design_preset("Reading with advice")
    primary = replace(
        PRIMARY, endpoint="advice_change", comparisons=(hypothesis(FIRST_ANSWERS),), **changes
    )
    return replace(base, design=design, primary=primary)


def test_conclusions_about_first_and_final_answers(base: ReadingScore) -> None:
    arm = "advice with named units"
    start = f"In the arm {arm} the accuracy of final answers was"
    assert verdict(changed(base)) == f"{start} higher than of first ones."
    assert verdict(changed(base, estimate=-0.01)) == f"{start} lower than of first ones."
    assert verdict(changed(base, estimate=0.0)) == f"{start} lower than of first ones."
    assert verdict(changed(base, significant=None)) == (
        f"Whether advice changed the accuracy in the arm {arm} is not estimable."
    )
    assert verdict(changed(base, significant=False)) == (
        f"The study did not show that advice in the arm {arm} changed accuracy. This does not"
        " establish that it has no effect."
    )
    assert primary_sentences(changed(base)) == [
        f"Prespecified analysis: mean AUC of final minus first answers in the arm {arm}: .123"
        " (95 % CI .045 to .201; a method; 61 images and 4 readers), one-sided P = .007."
    ]


def test_interim_looks(base: ReadingScore) -> None:
    two = result(planned(base, looks=3), final_alpha=0.01234, look=3)
    assert primary_sentences(two)[0].endswith(
        "two-sided P = .031, tested at .0123 as the last of 3 looks."
    )
    assert (
        " The design planned 2 interim looks, and none was taken; the level of the final analysis"
        " remains that of the plan."
    ) in narrative(two)
    looks = (
        InterimLook(number=1, information=0.345, answers=11, boundary=0.00123, stops=False),
        InterimLook(number=2, information=0.678, answers=21, boundary=0.0234, stops=True),
    )
    stopped = replace(result(two, look=2), looks=looks)
    assert primary_sentences(stopped)[0].endswith(
        "two-sided P = .031, tested at .0123 at look 2 of 3, which stopped the study."
    )
    assert (
        " Of 2 planned interim looks, 2 taken: look 1 at 34 % of the planned answers, boundary P"
        " .0012: continue; look 2 at 68 % of the planned answers, boundary P .0234: stop."
    ) in narrative(stopped)
    assert "look" not in narrative(base)


def test_sentence_and_interval_of_the_primary_result() -> None:
    assert PRIMARY.sentence() == (
        "21 of 34 correct; proportion correct .618 (95 % CI .512 to .713; a method), prespecified"
        " two-sided P = .031."
    )
    one = replace(PRIMARY, side="greater", level=0.975, filled=5)
    assert one.sentence() == (
        "21 of 34 correct; proportion correct .618 (one-sided 97.5 % CI from .512; a method),"
        " prespecified one-sided P = .031."
    )
    assert (one.given, PRIMARY.given) == (29, 34)
    missing = replace(PRIMARY, p_value=None, reason="one class", endpoint="advice_change")
    assert missing.sentence() == (
        "21 of 34 correct; the primary analysis (change in mean AUC) is not estimable: one class."
    )
    names = {"auc_difference": "difference in mean AUC", "auc": "AUC of the ratings"}
    assert {e: replace(PRIMARY, endpoint=e).endpoint_name for e in names} == names
    assert primary_interval_text(0.1, None, 0.95, "greater", "r") == ("95 % CI not estimable: r")
    assert primary_interval_text(None, 0.1, 0.95, "two-sided", "r") == ("95 % CI not estimable: r")
    assert primary_interval_text(0.1, 0.2, 0.9, "two-sided", "r") == "90 % CI .100 to .200; r"
    assert primary_interval_text(0.1, 0.2, 0.9, "greater", "r") == (
        "one-sided 90 % CI from .100; r"
    )
    assert comparison_name("image", "shuffled") == "image minus shuffled explanation"
    assert comparison_name("advice", FIRST_ANSWERS) == "final minus first answers, advice"
