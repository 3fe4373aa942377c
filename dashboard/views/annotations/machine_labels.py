"""Machine names beside the labels of experts, in the tab "Agreement" of the Annotations page."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.class_labels import unit_name
from core.store.labels import label_states
from core.store.labels.machine_names import load_machine_names
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query, cached_result
from evaluation.annotation.machine_names import machine_agreement
from evaluation.intervals import DASH, decimal


def render_machine_labels(run: str) -> None:
    """Render the machine names of a dissect run, and their agreement with experts."""
    names = cached_query(load_machine_names, run)
    agreement = cached_result(machine_agreement, run)
    elements.section_heading(
        "Machine names",
        "a label set of its own; experts never see it while they annotate",
    )
    if names is None or agreement is None:
        st.caption(
            "No machine names. A vision-language model can name units from embeddings of patches"
            " and of a word list: deepminer labels machine --images FILE --words FILE."
        )
        return
    st.caption(elements.escape_markdown(agreement.sentence()))
    states = cached_query(label_states.unit_states, run, ())
    rows = []
    for unit, name in names.items():
        label = states[unit].label if unit in states else None
        rows.append(
            {
                "Unit": unit_name(unit),
                "Machine": name.word if name.named else DASH,
                "Nearest word": name.word,
                "Score": decimal(name.score, 2),
                "P, adjusted": decimal(name.p_adjusted),
                "Experts": "" if label is None else label.text,
            }
        )
    elements.data_table(pd.DataFrame(rows), hide_index=True, width="stretch")
