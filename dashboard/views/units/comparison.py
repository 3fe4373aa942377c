"""Two units side by side."""

from __future__ import annotations

import streamlit as st

from core.class_labels import SPLIT_NAMES, unit_name
from core.store import run_table
from dashboard.ui import elements, unit_charts
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.patch_images import top_patch_urls
from evaluation.intervals import decimal
from evaluation.queries import units

_TILES = 16
_TILE_PIXELS = 176


def render_comparison(dissect: str, unit: int, other: int) -> None:
    """Render how similar two units are, and patches, activations and label of each."""
    back, title, swap = st.columns([1.6, 8, 1.6], vertical_alignment="center")
    if back.button(f"← {unit_name(unit)}", type="tertiary"):
        del st.query_params["with"]
        st.rerun()
    with title:
        elements.page_heading(f"{unit_name(unit)} and {unit_name(other)}", "compared")
    if swap.button(f"Open {unit_name(other)}", width="stretch"):
        st.query_params["unit"] = unit_name(other)
        del st.query_params["with"]
        st.rerun()
    pair = cached_result(units.compare_units, dissect, unit, other)
    split = SPLIT_NAMES.get(pair.split, pair.split)
    elements.metric_row(
        [
            ("Similarity", decimal(pair.similarity, 2)),
            (
                f"Correlation of activations, {pair.patches:,} patches, {split}",
                decimal(pair.correlation, 2),
            ),
            ("Top patches in common", f"{pair.shared} of {pair.top}"),
        ]
    )
    for column, one in zip(st.columns(2, gap="medium"), (unit, other)):
        with column:
            _render_side(dissect, one)


def _render_side(dissect: str, unit: int) -> None:
    selected = cached_result(units.selected_units, dissect, "influence").set_index("unit")
    label = selected["label"].get(unit, "") or "no label"
    elements.section_heading(unit_name(unit), label)
    urls = top_patch_urls(dissect, [unit], _TILES, _TILE_PIXELS)[unit]
    images = "".join(
        f'<img src="{url}" alt="top patch {rank} of {unit_name(unit)}">'
        for rank, url in enumerate(urls, start=1)
    )
    st.html(f'<div class="dm-patches">{images}</div>')
    details = cached_result(units.unit_details, dissect, unit)
    threshold = cached_query(run_table.load_run, dissect)["settings"]["dissection"]["threshold"]
    figure = unit_charts.activation_figure(
        cached_result(units.activation_curves, dissect, unit),
        {f"{threshold:g} max": threshold * float(details["largest"])},
    )
    st.plotly_chart(figure, config={"displayModeBar": False}, key=f"activation_{unit}")
