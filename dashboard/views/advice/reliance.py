"""Reliance on advice among the results of a reading study."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.sessions.arms import ARM_TITLES
from dashboard.ui import charts, elements, theme
from evaluation.intervals import DASH
from evaluation.reading_study import ReadingScore
from evaluation.reading_study.advice.reliance import AdviceScore, ArmReliance, brief_text


def render_reliance(score: ReadingScore) -> None:
    """Render what readers changed after advice; nothing for a study without advice."""
    if score.advice is None:
        return
    elements.section_heading("Reliance on advice", "exploratory; readers and patients random")
    st.plotly_chart(switches_chart(score.advice), config={"displayModeBar": False})
    elements.html_table(pd.DataFrame([_reliance_row(arm) for arm in score.advice.arms]))
    for comparison in score.advice.comparisons:
        st.caption(comparison.sentence())


def render_questions(score: ReadingScore) -> None:
    """Render the answers to the further questions by arm; nothing for a design without them."""
    if not score.questions:
        return
    elements.section_heading("Answers to questions", "counts, without a test")
    rows = [
        {
            "Question": elements.escape_html(counted.question.text),
            "Arm": ARM_TITLES[counted.arm] if counted.arm else "at the end",
            "Answers": counted.answers,
            "Chosen": elements.escape_html(
                ", ".join(
                    f"{option} {count}"
                    for option, count in zip(counted.question.options, counted.counts)
                )
                or "free text, in the export"
            ),
        }
        for counted in score.questions
    ]
    elements.html_table(pd.DataFrame(rows), left=True)


def _reliance_row(arm: ArmReliance) -> dict[str, Any]:
    parts = (arm.first_seconds, arm.final_seconds, arm.total_seconds)
    times = " / ".join(DASH if part is None else f"{part:.1f}" for part in parts)
    row = {
        "Arm": ARM_TITLES[arm.arm],
        "Answers": arm.answers,
        "Change in correctness": brief_text(arm.change),
        "Reliance on the network": brief_text(arm.reliance_on_network),
        "Reliance on oneself": brief_text(arm.reliance_on_self),
        "Seconds, first / final / case": times,
    }
    if arm.predicted_network is not None:
        row["Network predicted"] = brief_text(arm.predicted_network)
    return row


def switches_chart(advice: AdviceScore) -> go.Figure:
    """Return the answers of each arm that changed to right and to wrong, in percent."""
    figure = go.Figure()
    arms = [arm for arm in advice.arms if arm.answers]
    names = [f"{ARM_TITLES[arm.arm]}, n = {arm.answers}" for arm in arms]
    for title, sign, color in (
        ("to right", 1, theme.ACCENT_INK[theme.theme_mode()]),
        ("to wrong", -1, charts.muted_color()),
    ):
        counts = [arm.to_right if sign > 0 else arm.to_wrong for arm in arms]
        shares = [100 * count / arm.answers for count, arm in zip(counts, arms)]
        figure.add_trace(
            go.Bar(
                x=[sign * share for share in shares],
                y=names,
                orientation="h",
                name=title,
                marker={"color": color},
                text=[f"{share:.1f} %" for share in shares],
                hovertemplate="%{y}: %{text} " + title + "<extra></extra>",
            )
        )
    largest = max([1.0, *(abs(share) for bar in figure.data for share in bar.x)])
    figure.update_layout(barmode="relative")
    # Both directions are shares: the axis has no negative numbers.
    step = next(width for width in (1, 2, 5, 10, 20, 50) if largest / width <= 5)
    ticks = [step * i for i in range(-int(largest // step), int(largest // step) + 1)]
    return (
        charts.style_figure(figure, None, 110 + 34 * len(arms), "answers that changed (%)")
        .update_xaxes(
            tickvals=ticks,
            ticktext=[str(abs(tick)) for tick in ticks],
            range=[-1.12 * largest, 1.12 * largest],
        )
        .update_yaxes(autorange="reversed", automargin=True)
        .update_layout(
            margin={"l": 12, "r": 12, "t": 28, "b": 36},
            legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        )
    )
