"""Expert time against labelled coverage, on the Annotations page."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from dashboard.ui import charts, elements, theme
from dashboard.ui.cached_queries import cached_result
from evaluation.annotation.efficiency import AnnotationEfficiency, annotation_efficiency
from evaluation.annotation.group_measures import measure_groups

_HEIGHT = 220


def render_efficiency(run: str) -> None:
    """Render the sentence beside the published figures, and the curve over time."""
    efficiency = cached_result(annotation_efficiency, run)
    if efficiency is None or not efficiency.answers:
        return
    elements.section_heading(
        "Annotation efficiency",
        "expert time against labelled coverage (HDSR 2021, section 2.4)",
    )
    st.caption(elements.escape_markdown(efficiency.sentence()))
    measures = cached_result(measure_groups, run)
    if measures is None:
        st.caption("Groups of similar units can be annotated once: deepminer group.")
    else:
        st.caption(elements.escape_markdown(" ".join(measures.sentences())))
    if len(efficiency.curve) > 1:
        st.plotly_chart(_curve(efficiency), width="stretch", config={"displayModeBar": False})


def _curve(efficiency: AnnotationEfficiency) -> go.Figure:
    figure = go.Figure()
    for name in efficiency.coverage:
        figure.add_scatter(
            x=efficiency.curve["minutes"],
            y=efficiency.curve[name],
            name=name,
            mode="lines",
            line={"shape": "hv", "color": theme.class_color(name)},
        )
    charts.style_figure(figure, None, _HEIGHT, "Expert minutes", "Labelled coverage")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure
