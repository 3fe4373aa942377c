"""Conclusion of the primary analysis of a reading study in plain language."""

from __future__ import annotations

from core.sessions.arms import ADVICE_ARMS, ARM_TITLES
from evaluation.intervals import count_text, decimal, p_text, percent
from evaluation.reading_study.primary import ArmHypothesis, PrimaryResult, primary_interval_text
from evaluation.reading_study.results import ReadingScore

SIDE_NAMES = {"greater": "one-sided", "two-sided": "two-sided"}
_RULE_NAMES = {"holm": "Holm's method", "fixed_sequence": "the fixed sequence"}
# What the readers of an arm judge; every other arm shows texts.
_STIMULI = {
    "class_map": "class maps",
    "image": "{cases}",
    "image_explanation": "{cases} with texts",
    **dict.fromkeys(ADVICE_ARMS, "{cases} with advice"),
}


def stimuli(score: ReadingScore) -> str:
    """Return what the readers judged in the primary arm."""
    cases = "exams" if score.design.case_unit == "exam" else "images"
    return _STIMULI.get(score.design.arms[0], "texts").format(cases=cases)


def verdict(score: ReadingScore) -> str:
    """Return the conclusion of the primary analysis in plain language.

    Why a result is not estimable is stated with the result.

    Parameters
    ----------
    score : ReadingScore
        The scored study.

    Returns
    -------
    str
        One or several sentences.
    """
    if score.primary.endpoint == "advice_change":
        return _change_verdict(score)
    if score.primary.endpoint == "auc_difference":
        return " ".join(_arm_verdict(score, test) for test in score.primary.comparisons)
    readers = "The reader" if len(score.readers) == 1 else "The readers"
    task = f"distinguished {score.design.positive} from {score.design.comparison} cases"
    primary = score.primary
    if primary.significant is None:
        return (
            f"Whether {readers.lower()} of the {stimuli(score)} {task} better than chance is not"
            " estimable."
        )
    if primary.significant:
        is_worse = primary.side == "two-sided" and (primary.estimate or 0) < primary.null
        # Test and interval use different methods for some analyses and may then disagree.
        includes_chance = primary.low is not None and primary.low <= primary.null and not is_worse
        qualification = ", although the interval includes chance" if includes_chance else ""
        return (
            f"{readers} of the {stimuli(score)} {task} {'worse' if is_worse else 'better'} than"
            f" chance{qualification}."
        )
    return (
        # Absence of evidence is not evidence of absence (Altman and Bland 1995).
        f"The study did not show that {readers.lower()} of the {stimuli(score)} {task} better than"
        f" chance. This does not establish that the {stimuli(score)} are uninformative."
    )


def _change_verdict(score: ReadingScore) -> str:
    """Return the conclusion about final against first answers in the first arm."""
    primary, arm = score.primary, ARM_TITLES[score.design.arms[0]]
    if primary.significant is None:
        return f"Whether advice changed the accuracy in the arm {arm} is not estimable."
    if primary.significant:
        relation = "higher" if (primary.estimate or 0) > 0 else "lower"
        return f"In the arm {arm} the accuracy of final answers was {relation} than of first ones."
    return (
        f"The study did not show that advice in the arm {arm} changed accuracy. This does not"
        " establish that it has no effect."
    )


def _arm_verdict(score: ReadingScore, test: ArmHypothesis) -> str:
    design = score.design
    first, other = ARM_TITLES[design.arms[0]], ARM_TITLES[test.other]
    margin = f"the margin of {decimal(design.margin)}" if design.margin else ""
    if test.significant is None:
        return f"Whether the arms {first} and {other} differ is not estimable."
    claim = {
        "superiority": f"Accuracy in the arm {first} was higher than in the arm {other}"
        + (f" by more than {margin}" if margin else ""),
        "noninferiority": f"The arm {first} was not inferior to the arm {other} by more than"
        f" {margin}",
        "equivalence": f"The arms {first} and {other} were equivalent within {margin}",
    }[design.goal]
    if test.significant:
        is_lower = (
            design.goal == "superiority" and design.side == "two-sided" and (test.estimate or 0) < 0
        )
        return f"{claim.replace('higher', 'lower') if is_lower else claim}."
    if design.goal == "superiority":
        # A failed test of superiority says nothing about equality.
        return (
            f"The study did not show that {claim[0].lower()}{claim[1:]}. This does not establish"
            " that the arms are equally accurate."
        )
    return f"The study did not show that {claim[0].lower()}{claim[1:]}."


def primary_sentences(score: ReadingScore) -> list[str]:
    """Return the prespecified result: endpoint, estimate, interval and P."""
    primary, design = score.primary, score.design
    plan = _look_clause(primary, design.looks)
    if primary.endpoint == "advice_change":
        return [
            f"Prespecified analysis: mean AUC of final minus first answers in the arm"
            f" {ARM_TITLES[design.arms[0]]}: {_hypothesis_text(score, test)}{plan}."
            for test in primary.comparisons
        ]
    if primary.endpoint == "auc_difference":
        return [
            f"Prespecified analysis: mean AUC in the arm {ARM_TITLES[design.arms[0]]} minus that"
            f" in the arm {ARM_TITLES[test.other]}: {_hypothesis_text(score, test)}{plan}."
            for test in primary.comparisons
        ]
    return [
        f"Prespecified analysis: {primary.endpoint_name} {decimal(primary.estimate)}"
        f" ({primary.interval}; {primary.method}), {SIDE_NAMES[primary.side]}"
        f" {p_text(primary.p_value)}{plan}."
    ]


def _look_clause(primary: PrimaryResult, looks: int) -> str:
    """Return at which level the result was tested; "" without planned interim looks."""
    if looks == 1:
        return ""
    level = f", tested at {decimal(primary.final_alpha, 4)}"
    if primary.look < looks:
        return f"{level} at look {primary.look} of {looks}, which stopped the study"
    return f"{level} as the last of {looks} looks"


def interim_sentence(score: ReadingScore) -> str:
    """Return which interim looks were taken; "" where none was planned."""
    planned = score.design.looks - 1
    if not planned:
        return ""
    if not score.looks:
        return (
            f"The design planned {count_text(planned, 'interim look')}, and none was taken; the"
            " level of the final analysis remains that of the plan."
        )
    taken = "; ".join(
        f"look {each.number} at {percent(each.information, 0)} of the planned answers, boundary P"
        f" {decimal(each.boundary, 4)}: {'stop' if each.stops else 'continue'}"
        for each in score.looks
    )
    return f"Of {count_text(planned, 'planned interim look')}, {len(score.looks)} taken: {taken}."


def _hypothesis_text(score: ReadingScore, test: ArmHypothesis) -> str:
    primary, rule = score.primary, score.design.multiplicity
    interval = primary_interval_text(test.low, test.high, primary.level, primary.side, test.reason)
    adjusted = (
        ""
        if rule == "none" or test.adjusted_p_value is None
        else f", adjusted by {_RULE_NAMES[rule]} {p_text(test.adjusted_p_value)}"
    )
    sizes = f"{count_text(test.images, 'image')} and {count_text(test.readers, 'reader')}"
    return (
        f"{decimal(test.estimate)} ({interval}; {primary.method}; {sizes}), {_goal_name(score)}"
        f" {p_text(test.p_value)}{adjusted}"
    )


def _goal_name(score: ReadingScore) -> str:
    return {
        "superiority": SIDE_NAMES[score.design.side],
        "noninferiority": "non-inferiority, one-sided",
        "equivalence": "equivalence, two one-sided tests,",
    }[score.design.goal]
