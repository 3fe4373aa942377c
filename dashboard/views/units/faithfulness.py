"""View "Faithfulness" of the Units page: ablation, deletion curves and localization per class."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.lineage import run_class_names
from core.store import unit_table
from dashboard.ui import elements, unit_charts
from dashboard.ui.cached_queries import cached_query, cached_result
from evaluation.annotation.stability import load_stability
from evaluation.annotation.sufficiency import load_sufficiency
from evaluation.intervals import decimal
from evaluation.queries import faithfulness
from evaluation.queries.faithfulness import SummaryLine

_MARKS = {None: "", True: "✓ ", False: "○ "}


def render_summary_lines(lines: Sequence[SummaryLine]) -> None:
    """Render measures side by side; a tick means that the interval excludes the comparison."""
    elements.metric_row(
        [(line.title, f"{_MARKS[line.good]}{line.value}") for line in lines],
        notes=[line.note for line in lines],
    )


def render_sufficiency(dissect: str, code: int) -> None:
    """Render what the named units carry alone of the decision for a class, in one sentence."""
    result = cached_result(load_sufficiency, dissect, code)
    st.caption(
        elements.escape_markdown(result.sentence())
        if result is not None
        else "Sufficiency not measured yet: deepminer sufficiency compares the named units alone"
        " with the whole network and with random units."
    )


def render_stability(dissect: str) -> None:
    """Render which names came back in repeated trainings: a sentence, and one row per name."""
    stability = cached_result(load_stability, dissect)
    elements.section_heading("Stability", "the same training with other seeds")
    if stability is None:
        st.caption(
            "Not measured yet: deepminer stability --seeds 3 trains the network again and finds the"
            " units that respond like the named ones."
        )
        return
    st.caption(elements.escape_markdown(stability.sentence()))
    rows = [
        {
            "Name": name.name,
            "Units": name.units,
            "Came back": f"{name.returned} of {stability.trainings}",
            "Median similarity": decimal(name.similarity, 2),
        }
        for name in stability.names
    ]
    if rows:
        elements.data_table(pd.DataFrame(rows), hide_index=True)


def missing_result_reason(name: str) -> str:
    """Return why an ablate run has no result for a class."""
    # Findings of these classes have no outlines, so that only patches could be tested.
    outlines = "" if name in ("normal", "other") else f" and no outlined {name} finding"
    return f"Not estimable: the test split has no {name} patches{outlines}."


def render_faithfulness(dissect: str) -> None:
    """Render the results of the latest ablate run for each class with selected units."""
    render_stability(dissect)
    if cached_result(faithfulness.latest_ablation, dissect) is None:
        elements.stop_with_hint(
            "The faithfulness of these explanations has not been tested yet.", "deepminer ablate"
        )
    st.caption(
        "Test split only; patients resampled for every interval. ✓ means that the interval excludes"
        " the value expected by chance or for random units."
    )
    names = cached_result(run_class_names, dissect)
    selected = cached_query(unit_table.load_selected_units, dissect)
    for code in sorted((int(c) for c in selected["class"].unique()), reverse=True):
        _render_class(dissect, code, names[code])


def _render_class(dissect: str, code: int, name: str) -> None:
    lines = cached_result(faithfulness.summary_lines, dissect, code)
    curves = cached_result(faithfulness.deletion_curves, dissect, code)
    elements.class_heading(name)
    render_sufficiency(dissect, code)
    if not lines:
        st.caption(missing_result_reason(name))
        return
    left, right = st.columns([8, 4], gap="medium")
    with left:
        render_summary_lines(lines)
    with right:
        if len(curves):
            st.plotly_chart(
                unit_charts.deletion_figure(curves, name, 210),
                config={"displayModeBar": False},
                key=f"deletion{code}",
            )
