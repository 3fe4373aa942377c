"""Reliance on advice among the results of a reading study."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.ui import charts, elements, theme
from evaluation.intervals import DASH, display_name
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


def _reliance_row(arm: ArmReliance) -> dict[str, Any]:
    seconds = (
        DASH
        if arm.first_seconds is None or arm.final_seconds is None
        else f"{arm.first_seconds:.1f} / {arm.final_seconds:.1f} s"
    )
    row = {
        "Arm": display_name(arm.arm),
        "Answers": arm.answers,
        "Change in correctness": brief_text(arm.change),
        "Reliance on the network": brief_text(arm.reliance_on_network),
        "Reliance on oneself": brief_text(arm.reliance_on_self),
        "Time, first / final": seconds,
    }
    if arm.predicted_network is not None:
        row["Network predicted"] = brief_text(arm.predicted_network)
    return row


def switches_chart(advice: AdviceScore) -> go.Figure:
    """Return the answers of each arm that changed to right and to wrong, in percent."""
    figure = go.Figure()
    arms = [arm for arm in advice.arms if arm.answers]
    names = [f"{display_name(arm.arm)}, n = {arm.answers}" for arm in arms]
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
    figure.update_layout(barmode="relative")
    return (
        charts.style_figure(figure, None, 90 + 34 * len(arms), "answers that changed (%)")
        .update_yaxes(autorange="reversed")
        .update_layout(margin={"l": 190, "r": 12, "t": 4, "b": 36}, legend={"orientation": "h"})
    )
