"""Which settings of a reading study with advice fit together.

Readers answer on the image alone, the answer is stored, advice is shown, and they answer again. The
first arm shows advice; a control arm or a sham arm (`core.sessions.arms.CONTROL_ARMS`) shows what
the answers would be without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.sessions.arms import ADVICE_ARMS, CONTROL_ARMS
from core.sessions.reading.advice_statements import ADVICE_KINDS

NO_ADVICE = ADVICE_KINDS[0]
# Ten years; the end of a washout must be a date.
MAX_DAYS = 3650


def advice_conflicts(design: Any) -> Iterator[tuple[bool, str]]:
    """Yield whether settings of advice contradict each other, with the sentence that says so.

    design: a `Design`.
    """
    has_advice = design.advice != NO_ADVICE
    yield from _arm_conflicts(design, has_advice)
    yield from _share_conflicts(design, has_advice)
    yield from _crossover_conflicts(design, has_advice)
    yield from _change_conflicts(design, has_advice)


def _arm_conflicts(design: Any, has_advice: bool) -> Iterator[tuple[bool, str]]:
    with_advice = [arm for arm in design.arms if arm in ADVICE_ARMS]
    yield (
        not has_advice and bool(with_advice),
        f"The design's arm {(with_advice or [''])[0]} belongs to a study with advice, but its"
        f" design gives no advice; set advice to {' or '.join(ADVICE_KINDS[1:])}, or choose other"
        " arms.",
    )
    others = [arm for arm in design.arms if arm not in ADVICE_ARMS]
    yield (
        has_advice and bool(others),
        f"The design gives advice, but its arm {(others or [''])[0]} has a single answer; choose"
        f" from {', '.join(ADVICE_ARMS)}.",
    )
    yield (
        has_advice and not set(design.arms) & set(CONTROL_ARMS),
        "The design gives advice without a control; add the arm no_advice (the same two answers"
        " without advice) or advice_shuffled (the sham of advice_units).",
    )
    yield (
        has_advice and design.arms[0] in CONTROL_ARMS,
        f"The design's first arm, {design.arms[0]}, is a control; name an arm with advice first.",
    )
    yield (
        has_advice and design.repeats > 0,
        f"The design has {design.repeats} hidden repeats, but a repeated case would be read after"
        " its own advice; set repeats to 0.",
    )
    yield (
        design.predict_network and not has_advice,
        "The design asks readers to predict the network's decision, but gives no advice; set"
        " advice, or predict_network to no.",
    )


def _share_conflicts(design: Any, has_advice: bool) -> Iterator[tuple[bool, str]]:
    share = design.wrong_advice
    yield (
        share is not None and not has_advice,
        "The design fixes the share of wrong advice, but gives no advice; set advice, or remove"
        " wrong_advice.",
    )
    yield (
        # bool is a subclass of int; the comparison is negated so that NaN is refused as well.
        share is not None
        and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1),
        f"The design's share of wrong advice is {share!r}; it must lie strictly between 0 and 1, or"
        " be none for the share that the network has by nature. With 0 or 1 one kind of"
        " reliance could not be estimated.",
    )
    yield (
        design.wrong_advice_told and share is None,
        "The design tells readers the share of wrong advice, but does not fix it; set wrong_advice"
        " to a share, or wrong_advice_told to no.",
    )


def _crossover_conflicts(design: Any, has_advice: bool) -> Iterator[tuple[bool, str]]:
    washout, duration = design.washout_days, design.duration_days
    for name, days in (("washout_days", washout), ("duration_days", duration)):
        yield (
            days is not None
            # bool is a subclass of int.
            and (isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MAX_DAYS),
            f"The design's {name} is {days!r}; it must be a whole number of days from 1 to"
            f" {MAX_DAYS:,}, or none.",
        )
    yield (
        washout is not None and not has_advice,
        "The design has a washout, but gives no advice; set advice, or remove washout_days.",
    )
    yield (
        (washout is None) != (duration is None),
        "A crossover needs both washout_days (days between the readings of a case) and"
        " duration_days (days that the whole study may take); give both or neither.",
    )
    total = (washout or 0) * (len(design.arms) - 1)
    yield (
        duration is not None and washout is not None and total >= duration,
        f"The design's washout of {washout} days between {len(design.arms)} periods takes {total}"
        f" days, but the whole study takes {duration}; shorten washout_days, lengthen"
        " duration_days, or choose fewer arms.",
    )
    yield (
        has_advice and design.primary == "auc_difference" and washout is None,
        "The design compares arms by auc_difference, which needs the same images in both arms; plan"
        " a crossover (washout_days, duration_days), or set primary to advice_change.",
    )


def _change_conflicts(design: Any, has_advice: bool) -> Iterator[tuple[bool, str]]:
    changes = design.primary == "advice_change"
    first = design.expected_first_share
    yield (
        changes and not has_advice,
        "The design's primary analysis is advice_change, but it gives no advice; set advice, or"
        " choose another primary analysis.",
    )
    yield (
        changes and design.missing_answers != "complete_case",
        "The design's primary analysis advice_change leaves out cases without both answers; set"
        " missing_answers to complete_case. The results show the other rules beside it.",
    )
    yield (
        changes and design.looks > 1,
        "The design's primary analysis advice_change has no interim looks; set looks to 1.",
    )
    yield (
        (first is not None) != changes,
        "expected_first_share, the expected proportion correct of first answers, belongs to the"
        " primary analysis advice_change; give both or neither.",
    )
    yield (
        first is not None and (isinstance(first, bool) or not 0 < first < design.expected_share),
        f"The design's expected_first_share is {first!r}; it must lie between 0 and expected_share"
        f" ({design.expected_share!r}), the expected proportion correct with advice.",
    )
