"""What a network with auxiliary columns weighed in one case, as bars: the image and the patient's
columns.
"""

from __future__ import annotations

import streamlit as st

from dashboard.ui import elements
from evaluation.intervals import percent
from evaluation.queries.attention_weights import Attended


def bars(found: tuple[Attended, ...]) -> str:
    """HTML: a labelled bar per source, its length the weight; a missing value says so."""
    cells = []
    for source in found:
        value = "" if source.name == "image" else f" {elements.text(source.value or 'missing')}"
        cells.append(
            '<div style="flex:1;min-width:110px;max-width:220px"><div'
            ' style="display:flex;justify-content:space-between;gap:8px">'
            f"<span>{elements.text(source.name)}<b>{value}</b></span><span>{percent(source.weight)}</span></div>"
            '<div style="height:5px;background:var(--dm-wash)"><div'
            f' style="height:5px;width:{100 * source.weight:.1f}%;background:var(--dm-mute)"></div></div></div>'
        )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:8px'
        f' 18px;font-size:13px">{"".join(cells)}</div>'
    )


def show(found: tuple[Attended, ...], simulated: bool) -> None:
    """The section of one case; nothing for a network without columns."""
    if found:
        note = (
            "weights of the image and of the patient's columns in this decision, together 100 %; a"
            " column says the same at every position of the class map"
        )
        elements.section("What was weighed", note, simulated)
        st.html(bars(found))
