"""Planner of the design stage: power over readers and patients, with the design marked."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.ui import elements, theme
from dashboard.ui.charts import muted_color, style_figure, text_color
from evaluation.intervals import decimal
from evaluation.power import (
    DEFAULT_PATIENTS,
    DEFAULT_READERS,
    ENDPOINTS,
    AnswerCorrelations,
    StudyPower,
    power_table,
    study_power,
)

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def render_planner(plan: StudyPower) -> None:
    """Render the power of the planned study for other numbers of readers and patients.

    plan: the design with its assumptions, see `evaluation.reading_study.design_power`.
    """
    with st.expander("Planner: power over readers and patients"):
        # Side by side: the curves are in sight where the planner opens, in a low window too.
        chart_column, field_column = st.columns([4, 1])
        images = int(
            field_column.number_input(
                "Images a patient", 1, 8, plan.images_per_patient, key="plan_images"
            )
        )
        same_image = field_column.number_input(
            "Correlation, same image",
            0.0,
            1.0,
            plan.correlations.same_image,
            0.05,
            key="plan_same_image",
            help="of two readers' answers to one image",
        )
        same_patient = field_column.number_input(
            "Correlation, same patient",
            0.0,
            1.0,
            plan.correlations.same_patient,
            0.05,
            key="plan_same_patient",
            help="of answers to two images of one patient",
        )
        changed = replace(
            plan,
            images_per_patient=images,
            correlations=AnswerCorrelations(same_image, same_patient),
        )
        readers = sorted({*DEFAULT_READERS, plan.readers})
        patients = sorted({*DEFAULT_PATIENTS, plan.patients})
        table = power_table(changed, patients, readers, (images,))
        chart_column.plotly_chart(
            power_figure(table, study_power(changed)), key="plan_figure", theme=None
        )
        st.caption(
            f"{ENDPOINTS[plan.endpoint]}, expected {decimal(plan.expected)}, {plan.side}, alpha"
            f" {plan.alpha:g}. Every reader reads every image."
        )
        wide = table.pivot_table(index="patients", columns="readers", values="power")
        wide.columns = [f"{count} reader" + ("s" if count > 1 else "") for count in wide.columns]
        elements.data_table(
            wide.reset_index().rename(columns={"patients": "Patients"}).round(2), hide_index=True
        )


def power_figure(table: pd.DataFrame, chosen: StudyPower) -> go.Figure:
    """Return power over patients, one line for each number of readers.

    table: readers, patients and power. chosen: the design, drawn as a marked point.
    """
    figure = go.Figure()
    counts = sorted(table["readers"].unique())
    for index, count in enumerate(counts):
        rows = table[table["readers"] == count].sort_values("patients")
        figure.add_trace(
            go.Scatter(
                x=rows["patients"],
                y=rows["power"],
                mode="lines",
                name=str(count),
                line={
                    "dash": _DASHES[index % len(_DASHES)],
                    "color": muted_color(),
                    "width": 1 + 2 * index / max(len(counts) - 1, 1),
                },
            )
        )
    figure.add_trace(
        go.Scatter(
            x=[chosen.patients],
            y=[chosen.power],
            mode="markers+text",
            name="this design",
            text=[f" {decimal(chosen.power, 2)}"],
            textposition="top left",
            textfont={"color": text_color()},
            marker={"size": 10, "color": theme.ACCENT[theme.theme_mode()]},
        )
    )
    figure.add_hline(y=0.8, line={"color": muted_color(), "width": 1, "dash": "dot"})
    style_figure(figure, None, 260, "patients", "power")
    figure.update_layout(legend={"title": {"text": "readers"}})
    return figure.update_yaxes(range=[0, 1.05])
