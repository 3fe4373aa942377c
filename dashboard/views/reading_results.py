"""Results of a closed reading study, with the prespecified analysis first."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import streamlit as st

from core.store.evidence import chain_head
from core.store.reading.protocol_table import Protocol
from dashboard.server import context, identity
from dashboard.ui import charts, elements, theme
from dashboard.ui.cached_queries import cached_query
from dashboard.views import reading_checks
from dashboard.views.advice.reliance import render_questions, render_reliance
from dashboard.views.reading_design import RULE_NAMES
from evaluation.intervals import decimal, p_text, percent
from evaluation.reading_study import ReadingScore
from evaluation.reading_study.narrative import narrative, primary_sentences, verdict
from evaluation.reporting.answers import answers_archive

ANSWER_FORMATS = {
    "csv": "CSV, one row an answer",
    "imrmc": "iMRMC input",
    "redcap": "REDCap records and data dictionary",
    "r": "R script of the primary analysis",
}
# (name, proportion correct, lower and upper bound)
_ForestRow = tuple[str, float | None, float | None, float | None]


def render_results(protocol: Protocol, score: ReadingScore) -> None:
    """Render the primary result, the paragraph to copy, the checks and the download."""
    left, right = st.columns([1, 1], gap="medium")
    with left:
        st.html(_headline(score))
    with right:
        st.plotly_chart(_forest(score), config={"displayModeBar": False})
    st.text_area(
        "Statistics paragraph",
        narrative(score),
        height="content",
        help="Copy it; it contains no conclusion beyond the data",
    )
    render_reliance(score)
    render_questions(score)
    reading_checks.render_checks(score)
    st.download_button(
        "Download everything as JSON",
        _json(protocol, score),
        "reading-score.json",
        "application/json",
    )
    _render_answers_download(protocol)


def _render_answers_download(protocol: Protocol) -> None:
    """Render the download of the answers in one of the forms of other programs."""
    choice, button = st.columns([2, 3], vertical_alignment="bottom")
    format = choice.selectbox("Answers as", ANSWER_FORMATS, format_func=ANSWER_FORMATS.__getitem__)
    study, user = context.served_study(), identity.current_identity().code
    stem = f"answers-{format}-{protocol.hash[:12]}"

    def archive() -> bytes:
        """Return the files; the export is written to the log when it is downloaded."""
        return answers_archive(study, stem, format, user, protocol.protocol, protocol.version)

    button.download_button(
        "Answers, ZIP",
        archive,
        f"{stem}.zip",
        "application/zip",
        on_click="ignore",
        help="one row an answer, with truth and pseudonyms; every download is written to the log",
    )


def _headline(score: ReadingScore) -> str:
    """Return the primary result as HTML; without an estimate the count and the next test."""
    primary = score.primary
    cohort = f"Truth rule {RULE_NAMES[score.design.truth_rule]}. {score.patients} patients."
    if primary.endpoint != "proportion":
        return _auc_headline(score, cohort)
    if primary.p_value is None:
        value = f"{primary.correct} of {primary.n}"
        qualifier = "correct"
        if primary.estimate is not None:
            qualifier += f", {percent(primary.estimate)}"
        note = (
            f"Primary analysis ({elements.escape_html(primary.method)}) not estimable:"
            f" {elements.escape_html(primary.reason or 'no reason given')}.<br>Next, the exact"
            f" binomial test (assumes independence): one-sided {p_text(score.binomial.p_value)},"
            f" two-sided {p_text(score.binomial_two_sided.p_value)}."
        )
    else:
        interval = (
            "CI not estimable"
            if primary.low is None
            else (
                f"{'one-sided ' if primary.side == 'greater' else ''}{100 * primary.level:.3g} % CI"
                f" {percent(primary.low)} to {percent(primary.high)}"
            )
        )
        value = percent(primary.estimate)
        qualifier = f"{interval}, {p_text(primary.p_value)}"
        note = (
            f"{elements.escape_html(primary.method)}; prespecified side"
            f" {elements.escape_html(primary.side)}; two-sided {p_text(primary.p_two_sided)}."
        )
    return (
        '<div class="dm-mute dm-small">Correct answers, primary analysis</div>'
        f'<div class="dm-headline">{value}<span>{qualifier}</span></div>'
        f'<div class="dm-verdict">{elements.escape_html(verdict(score))}</div>'
        f'<div class="dm-mute dm-small">{note} {cohort}</div>'
    )


def _auc_headline(score: ReadingScore, cohort: str) -> str:
    """Return a primary AUC, or a difference in AUC, as HTML."""
    primary = score.primary
    title = f"{primary.endpoint_name[0].upper()}{primary.endpoint_name[1:]}, primary analysis"
    value, qualifier = "Not estimable", ""
    if primary.estimate is not None:
        value = decimal(primary.estimate)
        qualifier = elements.escape_html(f"{primary.interval}, {p_text(primary.p_value)}")
    note = " ".join(elements.escape_html(text) for text in primary_sentences(score))
    return (
        f'<div class="dm-mute dm-small">{title}</div>'
        f'<div class="dm-headline">{value}<span>{qualifier}</span></div>'
        f'<div class="dm-verdict">{elements.escape_html(verdict(score))}</div>'
        f'<div class="dm-mute dm-small">{note} {cohort}</div>'
    )


def _json(protocol: Protocol, score: ReadingScore) -> str:
    # The package of the commands is not needed to open the page.
    from dashboard.commands.common import to_jsonable

    return json.dumps(
        {
            "protocol": protocol.protocol,
            "version": protocol.version,
            "hash": protocol.hash,
            "simulated": score.simulated,
            "synthetic": score.synthetic,
            "evidence": cached_query(chain_head).sentence(),
            "score": to_jsonable(score),
        },
        indent=1,
    )


def _forest_rows(score: ReadingScore) -> list[_ForestRow]:
    """Return each reader, then all readers together."""
    overall = score.proportion
    rows: list[_ForestRow] = [
        (f"Reader {r.code}, n = {r.n}", r.share.estimate, r.share.low, r.share.high)
        for r in score.readers
    ]
    rows.append((f"All, n = {score.primary.n}", overall.estimate, overall.low, overall.high))
    return rows


def _forest(score: ReadingScore) -> go.Figure:
    """Return the proportion correct of each reader and of all readers."""
    figure = go.Figure()
    rows = _forest_rows(score)
    for index, (name, center, low, high) in enumerate(rows):
        is_overall = index == len(rows) - 1
        color = theme.ACCENT_INK[theme.theme_mode()] if is_overall else charts.text_color()
        figure.add_trace(
            go.Scatter(
                x=[center],
                y=[name],
                mode="markers",
                marker={
                    "symbol": "diamond" if is_overall else "square",
                    "size": 9,
                    "color": color,
                },
                error_x=charts.error_bars([center], [low], [high], thickness=1.6),
                hovertemplate=(
                    f"{name}: {decimal(center)} [{decimal(low)}, {decimal(high)}]<extra></extra>"
                ),
            )
        )
        # The numbers stand in a column of their own, right of the axis.
        figure.add_annotation(
            xref="paper",
            x=1.02,
            xanchor="left",
            y=name,
            text=f"{decimal(center)} [{decimal(low)}, {decimal(high)}]",
            showarrow=False,
            font={"color": color},
        )
    figure.add_vline(x=0.5, line={"dash": "dash", "width": 1, "color": charts.muted_color()})
    figure.update_layout(showlegend=False)
    return (
        charts.style_figure(figure, None, 60 + 26 * len(rows), "proportion correct")
        .update_xaxes(range=_forest_range(rows))
        .update_yaxes(autorange="reversed")
        .update_layout(margin={"l": 140, "r": 130, "t": 4, "b": 36})
    )


def _forest_range(rows: list[_ForestRow]) -> list[float]:
    """Return an axis range that includes all values and chance.

    If all proportions were 1, plotly's own range would have no width and cut the markers.
    """
    values = [value for _, *numbers in rows for value in numbers if value is not None] + [0.5]
    return [max(-0.03, min(values) - 0.05), min(1.03, max(values) + 0.05)]
