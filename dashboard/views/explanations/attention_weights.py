"""Bars of the attention weights of a classifier with auxiliary columns."""

from __future__ import annotations

import streamlit as st

from dashboard.ui import elements
from evaluation.intervals import percent
from evaluation.queries.explanations import AttentionWeight


def attention_bars(weights: tuple[AttentionWeight, ...]) -> str:
    """Return HTML with one bar for the image and for each column; missing values are marked."""
    bars = []
    for weight in weights:
        value = "" if weight.name == "image" else f" {weight.value or 'missing'}"
        head = f"{elements.escape_html(weight.name)}<b>{elements.escape_html(value)}</b>"
        bars.append(elements.share_bar(head, percent(weight.weight), weight.weight))
    cells = "".join(f"<div>{bar}</div>" for bar in bars)
    return f'<div class="dm-weights">{cells}</div>'


def render_attention_weights(weights: tuple[AttentionWeight, ...]) -> None:
    """Render the section of one case; nothing for a classifier without auxiliary columns."""
    if weights:
        note = (
            "weights of the image and of the patient's columns in this decision, together 100 %;"
            " the weight of a column is the same at every position of the class map"
        )
        elements.section_heading("Attention weights", note)
        st.html(attention_bars(weights))
