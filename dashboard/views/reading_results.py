"""The results of a closed study, in the order in which they must be read: the prespecified analysis
first.
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.store.reading_table import Protocol
from dashboard.ui import charts, elements, theme
from dashboard.views.reading_design import ARM_NAMES, RULE_NAMES
from evaluation.clustered import ClusteredProportion
from evaluation.intervals import (
    Interval,
    counted,
    decimal,
    interval_text,
    not_estimable,
    p_text,
    percent,
)
from evaluation.reading_study import ReadingScore
from evaluation.roc import AucInterval


def show(protocol: Protocol, score: ReadingScore) -> None:
    """Everything PAGES asks for."""
    binomial = score.binomial
    binomial_first = score.design.primary == "exact_binomial"
    left, right = st.columns([1, 1], gap="medium")
    with left:
        st.html(_headline(score))
    with right:
        st.plotly_chart(_forest(score), config={"displayModeBar": False})
    st.text_area(
        "Statistics paragraph",
        score.paragraph(),
        height="content",
        help="Says no more than the data do; copy it",
    )
    sections = [
        ("Clustering by patient", lambda: _clustering(score)),
        ("Exact binomial test", lambda: _binomial(score)),
    ]
    for number, (title, draw) in enumerate(
        reversed(sections) if binomial_first else sections, start=1
    ):
        elements.section(
            f"{number}  {title}",
            (
                "assumes independence"
                if title.startswith("Exact") and score.patients < binomial.trials
                else ""
            ),
        )
        draw()
    _truth(score)
    _information(score)
    _network(score)
    _arms(score)
    _conduct(score)
    st.download_button(
        "Download everything as JSON",
        _json(protocol, score),
        "reading-score.json",
        "application/json",
    )


def _headline(score: ReadingScore) -> str:
    """The primary result large; where it cannot be estimated the count, why, and the next test."""
    first, binomial = score.primary, score.binomial
    foot = f"Truth rule {RULE_NAMES[score.design.truth_rule]}. {score.patients} patients."
    if first.p_value is None:
        large, beside = (
            f"{first.correct} of {first.n}",
            "right" if first.estimate is None else f"right, {percent(first.estimate)}",
        )
        foot = (
            f"Primary analysis ({elements.text(first.method)}) not estimable:"
            f" {elements.text(first.reason or 'no reason given')}.<br>Next, the exact binomial test"
            f" (assumes independence): one-sided {p_text(binomial.p_value)}, two-sided"
            f" {p_text(score.binomial_two_sided.p_value)}. {foot}"
        )
    else:
        interval = (
            "CI not estimable"
            if first.low is None
            else f"{100 * (1 - first.alpha):g} % CI {percent(first.low)} to {percent(first.high)}"
        )
        large, beside = percent(first.estimate), f"{interval}, {p_text(first.p_value)}"
        foot = (
            f"{elements.text(first.method)}; side {elements.text(first.side)} fixed beforehand; two-sided"
            f" {p_text(first.p_two_sided)}. {foot}"
        )
    return (
        '<div class="dm-mute" style="font-size:12px">Correct answers, primary analysis</div><div'
        f' style="font-size:34px;font-weight:600;line-height:1.15">{large}<span'
        ' style="font-size:16px;font-weight:400;margin-left:10px"'
        f' class="dm-mute">{beside}</span></div><div class="dm-mute"'
        f' style="font-size:12px">{foot}</div>'
    )


def _json(protocol: Protocol, score: ReadingScore) -> str:
    import json

    from dashboard.commands.common import plain

    return json.dumps(
        {
            "protocol": protocol.protocol,
            "version": protocol.version,
            "hash": protocol.hash,
            "simulated": score.simulated,
            "synthetic": score.synthetic,
            "score": plain(score),
        },
        indent=1,
    )


def _forest(score: ReadingScore) -> go.Figure:
    figure = go.Figure()
    rows = [
        (f"Reader {r.code}, n = {r.n}", r.share.estimate, r.share.low, r.share.high)
        for r in score.readers
    ]
    # Where the primary analysis has no estimate the share itself still has its place, without an
    # interval.
    whole_share = (
        score.primary.estimate if score.primary.estimate is not None else score.clusters.estimate
    )
    rows.append((f"All, n = {score.primary.n}", whole_share, score.primary.low, score.primary.high))
    for index, (name, centre, low, high) in enumerate(rows):
        whole = index == len(rows) - 1
        colour = theme.ACCENT_INK[theme.mode()] if whole else charts.ink()
        reach = {
            "type": "data",
            "array": [(high or centre or 0) - (centre or 0)],
            "arrayminus": [(centre or 0) - (low or centre or 0)],
            "width": 0,
            "thickness": 1.6,
        }
        figure.add_trace(
            go.Scatter(
                x=[centre],
                y=[name],
                mode="markers",
                marker={"symbol": "diamond" if whole else "square", "size": 9, "color": colour},
                error_x=reach,
                hovertemplate=(
                    f"{name}: {decimal(centre)} [{decimal(low)}, {decimal(high)}]<extra></extra>"
                ),
            )
        )
    figure.add_vline(x=0.5, line={"dash": "dash", "width": 1, "color": charts.quiet()})
    figure.update_layout(showlegend=False)
    # All shares at 1 would leave an axis without width, and half a marker beyond its end.
    return (
        charts.frame(figure, None, 60 + 26 * len(rows), "share right")
        .update_xaxes(range=_reach(rows))
        .update_yaxes(autorange="reversed")
        .update_layout(margin={"l": 140, "r": 12, "t": 4, "b": 36})
    )


def _reach(rows: list[tuple[str, float | None, float | None, float | None]]) -> list[float]:
    """From a little below the least value to a little above the largest, chance included."""
    values = [value for _, *three in rows for value in three if value is not None] + [0.5]
    return [max(-0.03, min(values) - 0.05), min(1.03, max(values) + 0.05)]


def _clustering(score: ReadingScore) -> None:
    c = score.clusters
    elements.cells(
        [
            ("Patients", str(c.clusters)),
            ("Answers per patient", decimal(c.n / c.clusters, 1) if c.clusters else "–"),
            ("ICC", decimal(c.icc, 2)),
            ("Design effect", decimal(c.design_effect, 2)),
            ("Effective n", decimal(c.effective_n, 0)),
            ("GEE p, one-sided", p_text(c.gee_p_greater)),
            ("Sign-flip p, one-sided", p_text(c.sign_flip_p_greater)),
        ]
    )
    if c.icc is None:
        told = c.clustering()
        st.caption(f"{told[0].upper()}{told[1:]}.")


def _binomial(score: ReadingScore) -> None:
    b = score.binomial
    elements.cells(
        [
            ("Correct", f"{b.successes} / {b.trials}"),
            ("p, one-sided", p_text(b.p_value)),
            ("p, two-sided", p_text(score.binomial_two_sided.p_value)),
            ("Critical count", str(b.critical_count)),
            ("Answers to flip", str(b.answers_to_flip)),
            ("Side fixed beforehand", score.design.side),
        ]
    )


def _truth(score: ReadingScore) -> None:
    t = score.table
    answers = (
        "2" if score.design.scale == 2 else f"{score.design.threshold} to {score.design.scale}"
    )
    elements.section(
        "3  Answers against truth", f"malignant = answer {answers}; n = {score.primary.n} answers"
    )
    a, b = st.columns(2)
    with a:
        elements.table(
            pd.DataFrame(
                [
                    ["Answer malignant", t.tp, t.fp, t.tp + t.fp],
                    ["Answer benign", t.fn, t.tn, t.fn + t.tn],
                ],
                columns=["", "Truth malignant", "Truth benign", "All"],
            )
        )
    with b:
        elements.cells(
            [
                ("Sensitivity", decimal(t.sensitivity.estimate)),
                ("Specificity", decimal(t.specificity.estimate)),
                ("Patient permutation", p_text(score.permutation_p_greater)),
                ("Fisher, one-sided", p_text(t.fisher_p_greater)),
                ("AUC of ratings", decimal(score.roc.estimate)),
            ]
        )
        mean = score.readers_auc
        over = (
            f" Mean AUC over readers {_with_interval(mean)} (Obuchowski-Rockette, random readers"
            " and cases)."
            if len(score.readers) > 1 and mean is not None
            else ""
        )
        st.caption(
            "Intervals that take answers as independent: sensitivity"
            f" {_with_interval(t.sensitivity)}, specificity {_with_interval(t.specificity)}. AUC of"
            f" ratings {_with_interval(score.roc)}, patients as clusters.{over}"
        )
    elements.section("4  Truth rules", counted(len(score.discrepant), "discrepant case"))
    elements.table(
        pd.DataFrame(
            [
                {
                    "Rule": (
                        RULE_NAMES[r.rule]
                        + (" (primary)" if r.rule == score.design.truth_rule else "")
                    ),
                    "Correct": r.correct,
                    "n": r.n,
                    "p, exact one-sided": p_text(r.binomial.p_value),
                    "Differs from primary": counted(r.differing, "case"),
                    "Unproven": r.unproven,
                }
                for r in score.rules
            ]
        )
    )
    if score.discrepant:
        names = {"case_number": "Case", "mammogram_id": "Mammogram"} | {
            rule: word.capitalize() for rule, word in RULE_NAMES.items()
        }
        st.dataframe(pd.DataFrame(score.discrepant).rename(columns=names), hide_index=True)


def _information(score: ReadingScore) -> None:
    elements.section("5  Information in the texts", "what the texts alone allow")
    rows = []
    if score.repeats is not None:
        rows.append(
            (
                "Distinct texts, in order / in any order",
                f"{score.repeats.ordered} / {score.repeats.unordered}",
                f"{score.repeats.labels_used} labels",
            )
        )
        rows.append(
            (
                "Same answer to the same text",
                f"{score.repeats.same_answer_pairs} of {score.repeats.pairs} pairs",
                "",
            )
        )
    rows.append(_hidden(score))
    if score.information is not None:
        i = score.information
        rows += [
            ("Keyword rule", f"{i.keyword_correct:g} of {i.n}", ""),
            ("Leave-one-patient-out classifier", f"{i.leave_one_patient_out_correct} of {i.n}", ""),
            (
                "In-sample ceiling",
                f"{i.in_sample_ceiling} of {i.n}",
                f"{i.ceiling_null_mean:.0f} when truth is permuted, {p_text(i.ceiling_null_p)}",
            ),
        ]
    elements.table(
        pd.DataFrame(
            [(elements.text(a), elements.text(b), elements.text(c)) for a, b, c in rows],
            columns=["Check", "Value", "Beside it"],
        )
    )


def _hidden(score: ReadingScore) -> tuple[str, str, str]:
    """How often the answer to a hidden repeat was the same; what the study lacks where there was
    none.
    """
    again = score.hidden_repeats
    reason = (
        "the design has no hidden repeats"
        if not score.design.repeats
        else (
            again.reason or ""
            if again.estimate is None
            else interval_text(again.low, again.high, again.level, again.reason)
        )
    )
    return "Same answer to a hidden repeat", decimal(again.estimate), reason


def _with_interval(found: Interval | AucInterval) -> str:
    """An estimate with its interval, or why it has none."""
    if found.estimate is None:
        return not_estimable(found.reason)
    return (
        f"{decimal(found.estimate)}"
        f" ({interval_text(found.low, found.high, found.level, found.reason)})"
    )


def _network(score: ReadingScore) -> None:
    n = score.network
    elements.section("6  Network alone", f"same {counted(n.n, 'case')}, patients as clusters")
    elements.cells(
        [
            ("AUC", decimal(n.auc.estimate)),
            (
                "95 % CI",
                (
                    "not estimable"
                    if n.auc.low is None
                    else f"{decimal(n.auc.low)} to {decimal(n.auc.high)}"
                ),
            ),
            ("Readers' AUC", decimal(score.roc.estimate)),
            ("Right at hold-out threshold", "–" if n.right is None else f"{n.right} of {n.n}"),
        ]
    )


def _arms(score: ReadingScore) -> None:
    if len(score.arms) < 2:
        return
    elements.section("7  Arms", "clustered by patient")
    elements.table(
        pd.DataFrame(
            [
                {
                    "Arm": ARM_NAMES.get(a.arm, a.arm),
                    "Answers": a.clusters.n,
                    "Share right": decimal(a.clusters.estimate),
                    "Bootstrap interval": _bootstrap(a.clusters),
                }
                for a in score.arms
            ]
        )
    )
    for c in score.comparisons:
        st.caption(c.sentence())


def _bootstrap(found: ClusteredProportion) -> str:
    """The patient bootstrap's interval; one without width is none."""
    low, high = found.bootstrap_low, found.bootstrap_high
    if low is None or high is None or not low < high:
        return f"– ({found.reason or 'every resample gives the same share'})"
    return f"{decimal(low)} to {decimal(high)}"


def _conduct(score: ReadingScore) -> None:
    c, first = score.conduct, score.first_answers.correct
    changed = (
        f"corrections took the count from {first} to {score.primary.correct}"
        if first != score.primary.correct
        else "no correction changed the count"
    )
    elements.section(f"{8 if len(score.arms) > 1 else 7}  Time and order", changed)
    elements.cells(
        [
            ("Median per case", "–" if c.median_seconds is None else f"{c.median_seconds:.1f} s"),
            (
                "Quartiles",
                (
                    "–"
                    if c.lower_seconds is None
                    else f"{c.lower_seconds:.1f} to {c.upper_seconds:.1f} s"
                ),
            ),
            ("Corrections", str(c.corrections)),
            ("First answers right", f"{score.first_answers.correct} / {score.first_answers.n}"),
            ("Sittings", "–" if c.sittings is None else str(c.sittings)),
        ]
    )
    st.caption(f"Change of the share right per 100 cases: {_with_interval(c.trend)}.")
    if len(score.readers) == 1:
        st.caption("One reader: the result does not generalise to readers.")
