"""Every label with its state and the answers that it rests on, on the Annotations page."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.class_labels import unit_name
from core.settings import load_order_of_experts
from core.store import annotation_table
from core.store.labels import label_states
from core.store.labels.label_states import UnitState
from dashboard.server import context
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query


def render_unit_labels(run: str) -> None:
    """Render the labels of all states; those that do not count are marked."""
    order = tuple(load_order_of_experts(context.served_study()))
    states = cached_query(label_states.unit_states, run, order)
    labels = {unit: state for unit, state in states.items() if state.label is not None}
    counted = sum(state.counts for state in labels.values())
    elements.section_heading(
        "Labels",
        f"{counted} labelled units; {len(labels) - counted} further names are not used yet",
    )
    if note := cached_query(label_states.single_expert_note, run, order):
        st.info(elements.escape_markdown(note))
    every_version = cached_query(annotation_table.load_annotations, run, True)
    answers = {
        row.annotation_id: f"{row.code}, version {row.version}"
        for row in every_version.itertuples()
    }
    rows = [
        {
            "Unit": unit_name(unit),
            "Label": state.label.text,
            "State": _state_text(state),
            "From answers": "; ".join(answers.get(i, i) for i in state.label.annotation_ids),
            "Simulated": state.label.simulated,
        }
        for unit, state in labels.items()
        if state.label is not None
    ]
    elements.data_table(pd.DataFrame(rows), hide_index=True, width="stretch")


def _state_text(state: UnitState) -> str:
    text = state.label.state if state.label is not None else ""
    if state.disputed:
        return f"{text}: experts differ, not used"
    return text if state.counts else f"{text}, not used"
