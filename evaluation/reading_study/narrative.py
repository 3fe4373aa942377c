"""Results of a reading study as one paragraph for a results section."""

from __future__ import annotations

from evaluation.intervals import (
    count_text,
    decimal,
    display_name,
    interval_text,
    not_estimable,
    p_text,
    percent,
)
from evaluation.reading_study.results import ReadingScore

SIDE_NAMES = {"greater": "one-sided", "two-sided": "two-sided"}


def narrative(score: ReadingScore) -> str:
    """Return the results as one paragraph.

    The paragraph states result, interval and prespecified P, clustering, the test that assumes
    independence, other truth rules, the network and the limitations. Simulated answers, mammograms
    or labels are declared first.

    Parameters
    ----------
    score : ReadingScore
        The scored study.

    Returns
    -------
    str
    """
    if not score.primary.n:
        return _declare_simulation(score, "No answers have been given: there is nothing to report.")
    sentences = [*_primary_sentences(score), *_sensitivity_sentences(score), _limitations(score)]
    return _declare_simulation(score, " ".join(sentences))


def _declare_simulation(score: ReadingScore, text: str) -> str:
    # At the start, so that a quotation of the first sentence keeps the declaration.
    if score.simulated:
        return f"SIMULATED ANSWERS, not a result about people. {text}"
    if score.synthetic:
        return f"SIMULATED MAMMOGRAMS OR LABELS, not a result about patients. {text}"
    return text


def conclusion(score: ReadingScore) -> str:
    """Return the conclusion of the primary analysis.

    The reason why a result is not estimable belongs to the sentence before.
    """
    primary = score.primary
    test = f"{SIDE_NAMES[primary.side]} {p_text(primary.p_value)}"
    if primary.significant is None:
        return "Whether this is better than chance is not estimable."
    if primary.significant and primary.side == "two-sided" and (primary.estimate or 0) < 0.5:
        return f"By the prespecified test this is worse than chance ({test})."
    if primary.significant:
        # A one-sided test can be significant although the two-sided interval includes .5.
        qualification = (
            ""
            if primary.low is None or primary.low > 0.5
            else ", although the two-sided interval includes chance"
        )
        return f"By the prespecified test ({test}) this is better than chance{qualification}."
    return (
        # Absence of evidence is not evidence of absence (Altman and Bland 1995).
        f"The prespecified test ({test}) did not show that this is better than chance. This does"
        f" not establish that the {_stimuli(score)} are uninformative."
    )


def _stimuli(score: ReadingScore) -> str:
    """Return what the readers judged in the primary arm."""
    return {
        "class_map": "class maps",
        "image": "images",
        "image_explanation": "images with texts",
    }.get(score.design.arms[0], "texts")


def _primary_sentences(score: ReadingScore) -> list[str]:
    sentences = [
        _opening(score),
        conclusion(score),
        _capitalize(score.clusters.clustering_text(score.primary.reason)),
        _binomial_sentence(score),
    ]
    if score.design.primary == "exact_binomial":
        # The prespecified test comes directly after the count it is based on.
        opening, verdict, clustering, binomial = sentences
        return [opening, binomial, verdict, clustering]
    return sentences


def _opening(score: ReadingScore) -> str:
    """Return the count and the estimate of the primary analysis."""
    primary, readers = score.primary, len(score.readers)
    # Several readers answer on the same texts, so answers and texts differ in number.
    counts = (
        f"One reader classified {primary.correct} of {primary.n} {_stimuli(score)}"
        f" ({score.patients} patients) correctly"
        if readers == 1
        else (
            f"{readers} readers gave {primary.n} answers on {_stimuli(score)} of {score.patients}"
            f" patients, {primary.correct} of them correct"
        )
    )
    interval = interval_text(primary.low, primary.high, 1 - primary.alpha, primary.reason)
    estimate = (
        f", {not_estimable(primary.reason)}"
        if primary.p_value is None
        else f": {decimal(primary.estimate)}, {interval}"
    )
    return f"{counts} ({percent(primary.correct / primary.n)}; {primary.method}{estimate})."


def _binomial_sentence(score: ReadingScore) -> str:
    test = score.binomial
    p_values = (
        "Assuming independent answers, the exact binomial test gives one-sided"
        f" {p_text(test.p_value)}, two-sided {p_text(score.binomial_two_sided.p_value)}"
    )
    if test.answers_to_flip is None:
        return f"{p_values}. No number of correct answers would be significant."
    answers = "one answer" if test.answers_to_flip == 1 else f"{test.answers_to_flip} answers"
    return (
        f"{p_values} (critical count {test.critical_count}). Changing {answers} would change the"
        " one-sided conclusion."
    )


def _capitalize(text: str) -> str:
    """Return a clause as a sentence; str.capitalize would lower the rest."""
    return f"{text[0].upper()}{text[1:]}."


def _sensitivity_sentences(score: ReadingScore) -> list[str]:
    """Return accuracy, mean reader AUC, other truth rules, arms and network."""
    table, roc = score.table, score.roc
    sentences = [
        f"Sensitivity {decimal(table.sensitivity.estimate)}, specificity"
        f" {decimal(table.specificity.estimate)}, AUC of the ratings {decimal(roc.estimate)}"
        f" ({interval_text(roc.low, roc.high, roc.level, roc.reason)})."
    ]
    mean = score.readers_auc
    # An interval for random readers needs several readers.
    if len(score.readers) > 1 and mean is not None and mean.estimate is not None:
        sentences.append(
            f"Mean AUC over readers {decimal(mean.estimate)}"
            f" ({interval_text(mean.low, mean.high, mean.level, mean.reason)}, Obuchowski-Rockette,"
            " random readers and cases)."
        )
    others = [rule for rule in score.rules if rule.rule != score.design.truth_rule]
    # The published count depends on the rule (182 or 181 of 330), so every rule is stated.
    if others:
        results = "; ".join(
            f"{display_name(rule.rule)} {rule.correct} of {rule.n}, {p_text(rule.binomial.p_value)}"
            for rule in others
        )
        sentences.append(
            f"Truth rule {display_name(score.design.truth_rule)}; by other rules: {results} (exact"
            f" binomial, one-sided; {len(score.discrepant)} cases differ)."
        )
    sentences += [comparison.sentence() for comparison in score.comparisons]
    auc = score.network.auc
    if auc.estimate is not None:
        sentences.append(
            f"On the same cases the network alone has AUC {decimal(auc.estimate)} "
            f"({interval_text(auc.low, auc.high, auc.level, auc.reason)})."
        )
    return sentences


def _limitations(score: ReadingScore) -> str:
    limitations = []
    if len(score.readers) == 1:
        limitations.append("one reader, so the result does not generalise to readers")
    elif score.readers:
        limitations.append(
            f"{len(score.readers)} readers, treated as fixed in the primary analysis"
        )
    if score.readers and len(score.readers) != score.design.readers:
        limitations.append(f"the protocol planned {count_text(score.design.readers, 'reader')}")
    missing = sum(reader.missing for reader in score.readers)
    if missing:
        limitations.append(f"{missing} answers are missing")
    if score.clusters.n > score.clusters.clusters:
        limitations.append("several answers a patient")
    if score.information is not None and score.repeats is not None:
        limitations.append(
            f"{score.repeats.ordered} distinct texts for {score.information.n} cases"
        )
    return f"Limitations: {'; '.join(limitations)}." if limitations else ""
