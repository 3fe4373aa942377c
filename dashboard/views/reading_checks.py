"""Sections of a reading study's results after the primary result, each with its number."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.ui import elements
from dashboard.ui.study_words import image_noun
from dashboard.views.reading_design import ARM_NAMES, RULE_NAMES
from evaluation.intervals import (
    DASH,
    Interval,
    count_text,
    decimal,
    interval_text,
    not_estimable,
    p_text,
)
from evaluation.reading_study import ReadingScore
from evaluation.reading_study.arms import ArmScore
from evaluation.roc import AucInterval


def render_checks(score: ReadingScore) -> None:
    """Render the sections in the order in which they are to be read."""
    if score.design.primary == "exact_binomial":
        _render_binomial(score, 1)
        _render_clustering(score, 2)
    else:
        _render_clustering(score, 1)
        _render_binomial(score, 2)
    _render_accuracy(score)
    _render_truth_rules(score)
    _render_text_information(score)
    _render_network(score)
    _render_arms(score)
    _render_conduct(score)


def _render_clustering(score: ReadingScore, number: int) -> None:
    clusters = score.clusters
    per_patient = decimal(clusters.n / clusters.clusters, 1) if clusters.clusters else DASH
    elements.section_heading(f"{number}  Clustering by patient")
    elements.metric_row(
        [
            ("Patients", str(clusters.clusters)),
            ("Answers per patient", per_patient),
            ("ICC", decimal(clusters.icc, 2)),
            ("Design effect", decimal(clusters.design_effect, 2)),
            ("Effective n", decimal(clusters.effective_n, 0)),
            ("GEE p, one-sided", p_text(clusters.gee_p_values[0])),
            ("Sign-flip p, one-sided", p_text(clusters.sign_flip_p_greater)),
        ]
    )
    if clusters.icc is None:
        text = clusters.clustering_text()
        st.caption(f"{text[0].upper()}{text[1:]}.")


def _render_binomial(score: ReadingScore, number: int) -> None:
    test = score.binomial
    # With one answer per patient the answers are independent anyway.
    note = "assumes independence" if score.patients < test.trials else ""
    elements.section_heading(f"{number}  Exact binomial test", note)
    elements.metric_row(
        [
            ("Correct", f"{test.successes} / {test.trials}"),
            ("p, one-sided", p_text(test.p_value)),
            ("p, two-sided", p_text(score.binomial_two_sided.p_value)),
            ("Critical count", str(test.critical_count)),
            ("Answers to flip", str(test.answers_to_flip)),
            ("Prespecified side", score.design.side),
        ]
    )


def _render_accuracy(score: ReadingScore) -> None:
    """Render the table of answers against truth, sensitivity, specificity and AUC."""
    table, design = score.table, score.design
    answers = "2" if design.scale == 2 else f"{design.threshold} to {design.scale}"
    elements.section_heading(
        "3  Answers against truth",
        f"{design.positive} = answer {answers}; n = {score.primary.given} answers",
    )
    left, right = st.columns(2)
    with left:
        rows = [
            [f"Answer {design.positive}", table.tp, table.fp, table.tp + table.fp],
            [f"Answer {design.comparison}", table.fn, table.tn, table.fn + table.tn],
        ]
        columns = ["", f"Truth {design.positive}", f"Truth {design.comparison}", "All"]
        elements.html_table(pd.DataFrame(rows, columns=columns))
    with right:
        elements.metric_row(
            [
                ("Sensitivity", decimal(table.sensitivity.estimate)),
                ("Specificity", decimal(table.specificity.estimate)),
                ("Patient permutation", p_text(score.permutation_p_greater)),
                ("Fisher, one-sided", p_text(table.fisher_p_greater)),
                ("AUC of ratings", decimal(score.roc.estimate)),
            ]
        )
        st.caption(
            f"Intervals clustered by patient: sensitivity {_with_interval(table.sensitivity)},"
            f" specificity {_with_interval(table.specificity)}, AUC of ratings"
            f" {_with_interval(score.roc)}.{_mean_reader_auc(score)}"
        )


def _mean_reader_auc(score: ReadingScore) -> str:
    mean = score.readers_auc
    if len(score.readers) < 2 or mean is None:
        return ""
    return (
        f" Mean AUC over readers {_with_interval(mean)} (Obuchowski-Rockette, random readers and"
        " cases)."
    )


def _render_truth_rules(score: ReadingScore) -> None:
    elements.section_heading("4  Truth rules", count_text(len(score.discrepant), "discrepant case"))
    primary_rule = score.design.truth_rule
    rows = [
        {
            "Rule": RULE_NAMES[r.rule] + (" (primary)" if r.rule == primary_rule else ""),
            "Correct": r.correct,
            "n": r.n,
            "p, exact one-sided": p_text(r.binomial.p_value),
            "Differs from primary": count_text(r.differing, "case"),
            "Unproven": r.unproven,
        }
        for r in score.rules
    ]
    elements.html_table(pd.DataFrame(rows))
    if score.discrepant:
        names = {"case_number": "Case", "mammogram_id": image_noun().capitalize()} | {
            rule: name.capitalize() for rule, name in RULE_NAMES.items()
        }
        elements.data_table(pd.DataFrame(score.discrepant).rename(columns=names), hide_index=True)


def _render_text_information(score: ReadingScore) -> None:
    """Render how often texts repeat, and what classifiers reach that see the texts only."""
    elements.section_heading(
        "5  Information in the texts", "upper bounds for a reader who sees the texts only"
    )
    rows: list[tuple[str, str, str]] = []
    if score.repeats is not None:
        repeats = score.repeats
        rows += [
            (
                "Distinct texts, in order / in any order",
                f"{repeats.ordered} / {repeats.unordered}",
                f"{repeats.labels_used} labels",
            ),
            (
                "Same answer to the same text",
                f"{repeats.same_answer_pairs} of {repeats.pairs} pairs",
                "",
            ),
        ]
    rows.append(_hidden_repeat_row(score))
    if score.information is not None:
        baseline = score.information
        n = baseline.n
        rows += [
            ("Keyword rule", f"{baseline.keyword_correct:g} of {n}", ""),
            (
                "Leave-one-patient-out classifier",
                f"{baseline.leave_one_patient_out_correct} of {n}",
                "",
            ),
            (
                "In-sample ceiling",
                f"{baseline.in_sample_ceiling} of {n}",
                f"{baseline.ceiling_null_mean:.0f} when truth is permuted,"
                f" {p_text(baseline.ceiling_null_p)}",
            ),
        ]
    escaped = [[elements.escape_html(cell) for cell in row] for row in rows]
    elements.html_table(pd.DataFrame(escaped, columns=["Check", "Value", "Evidence"]))


def _hidden_repeat_row(score: ReadingScore) -> tuple[str, str, str]:
    """Return how often the answer to a hidden repeat was the same, or why that is not known."""
    repeats = score.hidden_repeats
    if not score.design.repeats:
        evidence = "the design has no hidden repeats"
    elif repeats.estimate is None:
        evidence = repeats.reason or ""
    else:
        evidence = interval_text(repeats.low, repeats.high, repeats.level, repeats.reason)
    return "Same answer to a hidden repeat", decimal(repeats.estimate), evidence


def _with_interval(interval: Interval | AucInterval) -> str:
    """Return an estimate with its interval, or the reason why it has none."""
    if interval.estimate is None:
        return not_estimable(interval.reason)
    bounds = interval_text(interval.low, interval.high, interval.level, interval.reason)
    return f"{decimal(interval.estimate)} ({bounds})"


def _render_network(score: ReadingScore) -> None:
    network = score.network
    auc = network.auc
    interval = "not estimable" if auc.low is None else f"{decimal(auc.low)} to {decimal(auc.high)}"
    correct = DASH if network.right is None else f"{network.right} of {network.n}"
    elements.section_heading(
        "6  Network alone", f"same {count_text(network.n, 'case')}, patients as clusters"
    )
    metrics = [
        ("AUC", decimal(auc.estimate)),
        ("95 % CI", interval),
        ("Readers' AUC", decimal(score.roc.estimate)),
        ("Correct at hold-out threshold", correct),
    ]
    if score.advice is not None and network.decision_right is not None:
        # Advice states the more probable class, which is another decision than the threshold's.
        metrics.append(("Correct as advice", f"{network.decision_right} of {network.n}"))
    elements.metric_row(metrics)


def _render_arms(score: ReadingScore) -> None:
    """Render the arms side by side; nothing for a study with one arm."""
    if len(score.arms) < 2:
        return
    elements.section_heading("7  Arms", "clustered by patient")
    rows = [
        {
            "Arm": ARM_NAMES.get(arm.arm, arm.arm),
            "Answers": arm.clusters.n,
            "Proportion correct": decimal(arm.clusters.estimate),
            "95 % CI": _arm_interval(score, arm),
        }
        for arm in score.arms
    ]
    elements.html_table(pd.DataFrame(rows))
    for comparison in score.comparisons:
        st.caption(comparison.sentence())


def _arm_interval(score: ReadingScore, arm: ArmScore) -> str:
    """Return the interval of an arm; that of the primary arm is the one stated above."""
    clusters = arm.clusters
    low, high, reason = clusters.korn_graubard_low, clusters.korn_graubard_high, clusters.reason
    if arm.arm == score.design.arms[0]:
        overall = score.proportion
        low, high, reason = overall.low, overall.high, overall.reason
    if low is None or high is None:
        return f"{DASH} ({reason or 'no interval'})"
    return f"{decimal(low)} to {decimal(high)}"


def _render_conduct(score: ReadingScore) -> None:
    """Render times, corrections and the trend over the order of cases."""
    conduct, first, final = score.conduct, score.first_answers, score.primary.correct
    note = (
        "no correction changed the count"
        if first.correct == final
        else f"corrections changed the count from {first.correct} to {final}"
    )
    quartiles = (
        DASH
        if conduct.lower_seconds is None
        else f"{conduct.lower_seconds:.1f} to {conduct.upper_seconds:.1f} s"
    )
    median = DASH if conduct.median_seconds is None else f"{conduct.median_seconds:.1f} s"
    number = 8 if len(score.arms) > 1 else 7
    elements.section_heading(f"{number}  Time and order", note)
    elements.metric_row(
        [
            ("Median per case", median),
            ("Quartiles", quartiles),
            ("Corrections", str(conduct.corrections)),
            ("Correct before corrections", f"{first.correct} / {first.n}"),
            ("Sittings", DASH if conduct.sittings is None else str(conduct.sittings)),
        ]
    )
    st.caption(
        "Change of the proportion correct from the first to the last case:"
        f" {_with_interval(conduct.trend)}."
    )
    if len(score.readers) == 1:
        st.caption("One reader: the result does not generalise to readers.")
