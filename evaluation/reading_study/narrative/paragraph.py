"""Results of a reading study as one paragraph for a results section."""

from __future__ import annotations

from evaluation.intervals import (
    count_text,
    decimal,
    display_name,
    interval_text,
    p_text,
    percent,
)
from evaluation.proportion import BinomialTest
from evaluation.reading_study.narrative.verdict import (
    interim_sentence,
    primary_sentences,
    stimuli,
    verdict,
)
from evaluation.reading_study.primary import MISSING_NAMES
from evaluation.reading_study.results import ReadingScore


def narrative(score: ReadingScore) -> str:
    """Return the results as one paragraph.

    The paragraph states the conclusion in plain language, the prespecified result with interval and
    P, the counts, missing answers, clustering, the test that assumes independence, accuracy, other
    truth rules, exploratory comparisons, the network and the limitations. Simulated answers,
    mammograms or labels are declared first.

    Parameters
    ----------
    score : ReadingScore
        The scored study.

    Returns
    -------
    str
    """
    return " ".join(narrative_paragraphs(score))


def narrative_paragraphs(score: ReadingScore) -> list[str]:
    """Return the results as paragraphs: the conclusion, the prespecified result, the rest.

    Parameters
    ----------
    score : ReadingScore
        The scored study.

    Returns
    -------
    list of str
    """
    if not score.primary.n:
        return [_declare_simulation(score, "No answers have been given: there is no result.")]
    rest = [
        _count_sentence(score),
        interim_sentence(score),
        _missing_sentence(score),
        _capitalize(score.clusters.clustering_text(score.primary.reason)),
        _binomial_sentence(score),
        *_accuracy_sentences(score),
        *_advice_sentences(score),
        *_exploratory_sentences(score),
        _limitations(score),
    ]
    return [
        _declare_simulation(score, verdict(score)),
        " ".join(primary_sentences(score)),
        " ".join(filter(None, rest)),
    ]


def _declare_simulation(score: ReadingScore, text: str) -> str:
    # At the start, so that a quotation of the first sentence keeps the declaration.
    declared = [
        name
        for is_simulated, name in (
            (score.simulated, "SIMULATED ANSWERS"),
            (score.synthetic, "SIMULATED MAMMOGRAMS OR LABELS"),
        )
        if is_simulated
    ]
    if not declared:
        return text
    subject = "people" if score.simulated else "patients"
    return f"{', '.join(declared)}, not a result about {subject}. {text}"


def _count_sentence(score: ReadingScore) -> str:
    """Return the numbers of answers, of patients and of correct answers."""
    primary, proportion = score.primary, score.proportion
    counts, share = _counts(score), percent(primary.correct / primary.n)
    # The interval of a primary proportion stands with the prespecified result already.
    if primary.endpoint == "proportion" or proportion.low is None:
        return f"{counts} ({share})."
    interval = interval_text(proportion.low, proportion.high, proportion.level, proportion.reason)
    return f"{counts} ({share}; {interval}, {proportion.method})."


def _counts(score: ReadingScore) -> str:
    primary, readers = score.primary, len(score.readers)
    patients = count_text(score.patients, "patient")
    if primary.filled:
        return (
            f"{count_text(readers, 'reader')} gave {primary.given:,} answers on {stimuli(score)} of"
            f" {patients}; with {count_text(primary.filled, 'missing answer')}"
            f" {MISSING_NAMES[primary.missing_rule]}, {primary.correct:,} of {primary.n:,} are"
            " correct"
        )
    if readers == 1:
        return (
            f"One reader classified {primary.correct:,} of {primary.n:,} {stimuli(score)}"
            f" ({patients}) correctly"
        )
    # Several readers answer on the same texts, so answers and texts differ in number.
    return (
        f"{readers} readers gave {primary.n:,} answers on {stimuli(score)} of {patients},"
        f" {primary.correct:,} of them correct"
    )


def _missing_sentence(score: ReadingScore) -> str:
    """Return the sensitivity analysis for missing answers; "" without missing ones."""
    primary = score.primary
    if not score.missing_analyses:
        return ""
    others = "; ".join(
        f"{MISSING_NAMES[other.missing_rule]}: {decimal(other.estimate)}, {p_text(other.p_value)}"
        for other in score.missing_analyses
    )
    return (
        f"Missing answers: {primary.missing:,}, {MISSING_NAMES[primary.missing_rule]} as"
        f" prespecified; sensitivity analysis: {others}."
    )


def _binomial_sentence(score: ReadingScore) -> str:
    """Return the test that assumes independence; "" where it is the prespecified one."""
    test = score.binomial
    if score.design.primary == "exact_binomial":
        return "" if test.answers_to_flip is None else _flip_sentence(test)
    p_values = (
        "Assuming independent answers, the exact binomial test gives one-sided"
        f" {p_text(test.p_value)}, two-sided {p_text(score.binomial_two_sided.p_value)}"
    )
    if test.answers_to_flip is None:
        return f"{p_values}. No number of correct answers would be significant."
    return f"{p_values}. {_flip_sentence(test)}"


def _flip_sentence(test: BinomialTest) -> str:
    """Return how many answers decide the one-sided exact test."""
    answers = "one answer" if test.answers_to_flip == 1 else f"{test.answers_to_flip} answers"
    return (
        f"The exact test is significant from {test.critical_count} correct answers; changing"
        f" {answers} would change the one-sided conclusion."
    )


def _capitalize(text: str) -> str:
    """Return a clause as a sentence; str.capitalize would lower the rest."""
    return f"{text[0].upper()}{text[1:]}."


def _accuracy_sentences(score: ReadingScore) -> list[str]:
    """Return sensitivity, specificity and the AUC of the ratings, where it is not the endpoint."""
    design, roc, mean = score.design, score.roc, score.readers_auc
    sensitivity, specificity = (
        f"{name} {decimal(share.estimate)}"
        f" ({interval_text(share.low, share.high, share.level, share.reason)})"
        for name, share in (
            ("Sensitivity", score.table.sensitivity),
            ("specificity", score.table.specificity),
        )
    )
    sentences = [
        f"{sensitivity} and {specificity}, where answers of {design.threshold} or higher mean"
        " malignant; intervals clustered by patient."
    ]
    if score.primary.endpoint != "auc":
        sentences.append(
            f"AUC of the ratings {decimal(roc.estimate)}"
            f" ({interval_text(roc.low, roc.high, roc.level, roc.reason)})."
        )
    # An interval for random readers needs several readers.
    if len(score.readers) > 1 and mean is not None and mean.estimate is not None:
        sentences.append(
            f"Mean AUC over readers {decimal(mean.estimate)}"
            f" ({interval_text(mean.low, mean.high, mean.level, mean.reason)}, Obuchowski-Rockette,"
            " random readers and cases)."
        )
    return sentences


def _advice_sentences(score: ReadingScore) -> list[str]:
    """Return reliance on the network's advice; empty in a study without advice."""
    if score.advice is None:
        return []
    return [
        "Reliance on the advice (exploratory; readers and patients random).",
        *(arm.sentence() for arm in score.advice.arms),
        *(comparison.sentence() for comparison in score.advice.comparisons),
    ]


def _exploratory_sentences(score: ReadingScore) -> list[str]:
    """Return other truth rules, the comparisons that are not primary, and the network."""
    sentences = []
    others = [rule for rule in score.rules if rule.rule != score.design.truth_rule]
    # The published count depends on the rule (182 or 181 of 330), so every rule is stated.
    if others:
        results = "; ".join(
            f"{display_name(rule.rule)} {rule.correct} of {rule.n}, {p_text(rule.binomial.p_value)}"
            for rule in others
        )
        sentences.append(
            f"Truth rule {display_name(score.design.truth_rule)}; by other rules: {results} (exact"
            f" binomial, one-sided, not adjusted;"
            f" {count_text(len(score.discrepant), 'case')} differ)."
        )
    if score.comparisons:
        comparisons = " ".join(comparison.sentence() for comparison in score.comparisons)
        sentences.append(f"Exploratory comparison of the proportions correct. {comparisons}")
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
        treated = "random" if score.primary.comparisons else "fixed"
        limitations.append(
            f"{len(score.readers)} readers, treated as {treated} in the primary analysis"
        )
    if score.readers and len(score.readers) != score.design.readers:
        limitations.append(f"the protocol planned {count_text(score.design.readers, 'reader')}")
    missing = score.conduct.missing or score.primary.missing
    # What was not read when a look stopped the study is not missing.
    if missing and score.primary.look == score.design.looks:
        limitations.append(f"{count_text(missing, 'assigned answer')} missing")
    if score.clusters.n > score.clusters.clusters:
        limitations.append("several answers a patient")
    if score.information is not None and score.repeats is not None:
        limitations.append(
            f"{score.repeats.ordered} distinct texts for {score.information.n} cases"
        )
    return f"Limitations: {'; '.join(limitations)}." if limitations else ""
