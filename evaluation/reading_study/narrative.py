"""The reading study in words: one paragraph that claims what was shown and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.intervals import (
    counted,
    decimal,
    interval_text,
    not_estimable,
    p_text,
    percent,
    words,
)

if TYPE_CHECKING:
    from evaluation.reading_study.scoring import ReadingScore

SIDES = {"greater": "one-sided", "two-sided": "two-sided"}


def paragraph(score: ReadingScore) -> str:
    """PAGES, Print: result, interval, prespecified P, clustering, independence, other truth rules,
    network, limitations.
    """
    if not score.primary.n:
        return _marked(score, "No answers have been given: there is nothing to report.")
    return _marked(score, " ".join([*_result(score), *_checks(score), _limits(score)]))


def _marked(score: ReadingScore, text: str) -> str:
    if score.simulated:
        return f"SIMULATED ANSWERS, not a result about people. {text}"
    return (
        f"SIMULATED FILMS OR LABELS, not a result about patients. {text}"
        if score.synthetic
        else text
    )


def verdict(score: ReadingScore) -> str:
    """The primary result in one plain sentence; why it cannot be estimated stands before it."""
    primary = score.primary
    if primary.significant is None:
        return "Whether this is better than chance is not estimable."
    if primary.significant and primary.side == "two-sided" and (primary.estimate or 0) < 0.5:
        return (
            "By the prespecified test this is worse than chance (two-sided"
            f" {p_text(primary.p_value)})."
        )
    if primary.significant:
        weak = (
            ""
            if primary.low is None or primary.low > 0.5
            else ", although the two-sided interval includes chance"
        )
        return (
            f"By the prespecified test ({SIDES[primary.side]} {p_text(primary.p_value)}) this is"
            f" better than chance{weak}."
        )
    return (
        f"The prespecified test ({SIDES[primary.side]} {p_text(primary.p_value)}) did not show that"
        f" this is better than chance, which does not show that the {_shown(score)} carry nothing."
    )


def _shown(score: ReadingScore) -> str:
    """What the primary arm's readers judged."""
    return {
        "class_map": "class maps",
        "image": "images",
        "image_explanation": "images with texts",
    }.get(score.design.arms[0], "texts")


def _result(score: ReadingScore) -> list[str]:
    primary, clusters, readers = score.primary, score.clusters, len(score.readers)
    share = primary.correct / primary.n
    # Several readers answer on the same texts: their answers are not so many texts.
    opening = (
        f"One reader classified {primary.correct} of {primary.n} {_shown(score)} ({score.patients}"
        " patients) correctly"
        if readers == 1
        else (
            f"{readers} readers gave {primary.n} answers on {_shown(score)} of {score.patients}"
            f" patients, {primary.correct} of them right"
        )
    )
    interval = interval_text(primary.low, primary.high, 1 - primary.alpha, primary.reason)
    found = (
        f", {not_estimable(primary.reason)}"
        if primary.p_value is None
        else f": {decimal(primary.estimate)}, {interval}"
    )
    opening += f" ({percent(share)}; {primary.method}{found})."
    effect = _sentence(clusters.clustering(primary.reason))
    exact = (
        "Assuming independent answers, the exact binomial test gives one-sided"
        f" {p_text(score.binomial.p_value)}, two-sided {p_text(score.binomial_two_sided.p_value)}"
        f" (critical count {score.binomial.critical_count}; {score.binomial.answers_to_flip} other"
        " answers would turn its one-sided verdict)."
    )
    return (
        [opening, verdict(score), effect, exact]
        if score.design.primary != "exact_binomial"
        else [opening, exact, verdict(score), effect]
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _checks(score: ReadingScore) -> list[str]:
    table, parts = score.table, []
    parts.append(
        f"Sensitivity {decimal(table.sensitivity.estimate)}, specificity"
        f" {decimal(table.specificity.estimate)}, AUC of the ratings {decimal(score.roc.estimate)}"
        f" ({interval_text(score.roc.low, score.roc.high, score.roc.level, score.roc.reason)})."
    )
    mean = score.readers_auc
    if len(score.readers) > 1 and mean is not None and mean.estimate is not None:
        parts.append(
            f"Mean AUC over readers {decimal(mean.estimate)}"
            f" ({interval_text(mean.low, mean.high, mean.level, mean.reason)}, Obuchowski-Rockette,"
            " random readers and cases)."
        )
    others = [rule for rule in score.rules if rule.rule != score.design.truth_rule]
    if others:
        told = "; ".join(
            f"{words(rule.rule)} {rule.correct} of {rule.n}, {p_text(rule.binomial.p_value)}"
            for rule in others
        )
        parts.append(
            f"Truth rule {words(score.design.truth_rule)}; by other rules: {told} (exact binomial,"
            f" one-sided; {len(score.discrepant)} cases differ)."
        )
    parts += [comparison.sentence() for comparison in score.comparisons]
    network = score.network
    if network.auc.estimate is not None:
        low, high = network.auc.low, network.auc.high
        parts.append(
            f"On the same cases the network alone has AUC {decimal(network.auc.estimate)} "
            f"({interval_text(low, high, network.auc.level, network.auc.reason)})."
        )
    return parts


def _limits(score: ReadingScore) -> str:
    limits = []
    if len(score.readers) == 1:
        limits.append("one reader, so the result does not generalise to readers")
    elif score.readers:
        limits.append(f"{len(score.readers)} readers, treated as fixed in the primary analysis")
    if score.readers and len(score.readers) != score.design.readers:
        limits.append(f"the protocol planned {counted(score.design.readers, 'reader')}")
    missing = sum(reader.missing for reader in score.readers)
    if missing:
        limits.append(f"{missing} answers are missing")
    if score.clusters.n > score.clusters.clusters:
        limits.append("several answers a patient")
    if score.information is not None and score.repeats is not None:
        limits.append(f"{score.repeats.ordered} distinct texts for {score.information.n} cases")
    return f"Limitations: {'; '.join(limits)}." if limits else ""
