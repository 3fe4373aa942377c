"""One unit of the Units page in full: patches, activation, influence, reports, annotations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from core import lineage
from core.class_labels import SPLIT_NAMES, unit_name
from core.lineage import run_class_names
from core.store import run_table
from dashboard.components import patch_tiles
from dashboard.server import image_routes
from dashboard.ui import elements, unit_charts
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.controls import segment_choice
from dashboard.ui.patch_images import patch_url, unit_patch_url
from dashboard.views.comments import render_unit_comments
from dashboard.views.units.facts import render_associations, render_counts, render_facts
from dashboard.views.units.names import (
    render_annotations,
    render_audit,
    render_label_check,
)
from dashboard.views.units.similar import render_similar
from evaluation.intervals import count_text, percent
from evaluation.queries import study_overview, units

_PATCH_SETS = {"top": "Top 32", "all": "64", "middle": "Middle", "random": "Random"}
_TILE_PIXELS = 176  # twice the width of a tile on a screen 1,440 px wide


def render_unit(dissect: str, unit: int) -> None:
    """Render one unit of a dissect run."""
    _render_header(dissect, unit)
    details = cached_result(units.unit_details, dissect, unit)
    left, middle, right = st.columns([604, 336, 292], gap="small")
    with left:
        patches = _render_patches(dissect, unit, details)
        _render_charts(dissect, unit, details)
    with middle:
        if patches:
            patch_tiles.show_patch_mammogram(patches[0], key="mammogram", height=392)
        _render_warnings(details)
    with right:
        _render_tabs(dissect, unit, details)


def _render_tabs(dissect: str, unit: int, details: dict[str, Any]) -> None:
    """Render facts, descriptors, answers, similar units and comments, one of them at a time."""
    tabs = st.tabs(list(_TABS), key="about", on_change="rerun", bind="query-params")
    for tab, render in zip(tabs, _TABS.values()):
        # Streamlit would run the content of all tabs; only the open one is needed.
        if tab.open:
            with tab:
                render(dissect, unit, details)


def _render_facts(dissect: str, unit: int, details: dict[str, Any]) -> None:
    render_facts(dissect, details)
    render_associations(dissect, unit)


def _render_names(dissect: str, unit: int, details: dict[str, Any]) -> None:
    render_annotations(details["answers"])
    render_label_check(dissect, unit)
    render_audit(dissect, unit)


_TABS: dict[str, Callable[[str, int, dict[str, Any]], None]] = {
    "Facts": _render_facts,
    "Words": lambda _dissect, _unit, details: render_counts(details),
    "Names": _render_names,
    "Similar": lambda dissect, unit, _: render_similar(dissect, unit),
    "Comments": lambda dissect, unit, _: render_unit_comments(dissect, unit),
}


def _label_text(row: pd.Series) -> str:
    """Return the label of a selected unit with its state."""
    return f"{row['label']} ({row['state']})" if row["label"] else "no label that is used yet"


def _open(unit: int | None) -> None:
    """Open another unit, or the list of units for None."""
    if unit is None:
        del st.query_params["unit"]
    else:
        st.query_params["unit"] = unit_name(unit)
    st.rerun()


def _render_header(dissect: str, unit: int) -> None:
    """Render name, label, rank among the selected units, and the buttons to other units."""
    table = cached_result(units.selected_units, dissect, "influence")
    order = [int(u) for u in table["unit"]]
    position = order.index(unit) if unit in order else None
    row = None if position is None else table.iloc[position]
    back, title, rank, previous_column, next_column = st.columns(
        [1.2, 6, 2.6, 1.2, 1.2], vertical_alignment="center"
    )
    if back.button("← Units", type="tertiary"):
        _open(None)
    with title:
        elements.page_heading(
            unit_name(unit),
            "not selected" if row is None else _label_text(row),
            {
                "images": cached_result(lineage.has_simulated_images),
                "labels": bool(row is not None and row["simulated"]),
            },
        )
    is_first = not position
    is_last = position is None or position + 1 >= len(order)
    rank.caption("" if position is None else f"{position + 1} of {len(order)}, by share of top 8")
    if previous_column.button("Previous", shortcut="ArrowLeft", disabled=is_first):
        _open(order[(position or 0) - 1])
    if next_column.button("Next", shortcut="ArrowRight", disabled=is_last):
        _open(order[(position or 0) + 1])


def _render_patches(dissect: str, unit: int, details: dict[str, Any]) -> list[dict[str, Any]]:
    """Render the choice of region and patches, and the tiles; return the items of the tiles."""
    run = cached_query(run_table.load_run, dissect)
    settings, field = run["settings"]["dissection"], run["manifest"].get("receptive_field")
    region_column, set_column = st.columns([7, 6], vertical_alignment="center")
    region = _region_control(region_column, settings, field)
    patch_set = segment_choice(set_column, "Patches", _PATCH_SETS, default="top", key="patches")
    patches = _patches_of_set(dissect, unit, details, patch_set)
    # Maps are stored for top patches only: others have no region.
    has_region = patch_set not in ("middle", "random")
    if has_region and region == "field":
        patches = units.crop_to_receptive_field(patches, field, run["manifest"]["map_side"])
        has_region = False
    largest = float(details["largest"])
    level = float(details["quantile"]) if region == "quantile" else settings["threshold"] * largest
    items = tile_items(dissect, patches, level if has_region else None)
    patch_tiles.show_patch_tiles(items, key="tiles")
    return items


def _render_warnings(details: dict[str, Any]) -> None:
    """Render what weakens the evidence about the unit."""
    if details["top_patients"] < study_overview.FEW_PATIENTS:
        patients = count_text(details["top_patients"], "patient")
        elements.warning_line(
            f"The 32 top patches come from {patients} only; the unit may be patient-specific."
        )
    if details["outside"] > units.OUTSIDE_WARNING:
        elements.warning_line(
            f"{percent(details['outside'], 0)} of the unit's response to its leading patches lies"
            " outside the breast; the unit may respond to labels or edges of the image."
        )
    if details["dead"]:
        elements.warning_line(
            "This unit is dead: it is never positive on the dissected patches, so its top patches"
            " carry no information."
        )


def _region_control(column: Any, settings: dict[str, Any], field: int | None) -> str:
    """Render the choice of the highlighted region: "threshold", "quantile" or "field"."""
    regions = {
        "threshold": f"{settings['threshold']:g} max",
        "quantile": f"top {settings['quantile']:g}",
    }
    if field:
        regions["field"] = f"field {field} px"
    return segment_choice(
        column,
        "Region",
        regions,
        default="threshold",
        key="region",
        help_text=(
            "region above a share of the unit's largest activation; above the quantile of all its"
            " activations; or the receptive field at the peak of its map"
        ),
    )


def _patches_of_set(
    dissect: str, unit: int, details: dict[str, Any], patch_set: str
) -> pd.DataFrame:
    """Return top patches, or others against which the label can be compared."""
    if patch_set in ("middle", "random"):
        return cached_result(units.comparison_patches, dissect, unit, patch_set)
    return details["top"].head(64 if patch_set == "all" else units.CONTEXT_PATCHES)


def tile_items(dissect: str, patches: pd.DataFrame, level: float | None) -> list[dict[str, Any]]:
    """Return the items of the tiles component; level: activation of the region, None for none."""
    names = cached_result(run_class_names, dissect)
    items = []
    for patch in patches.to_dict("records"):
        width, height, side = patch["width"], patch["height"], patch["side"]
        plain = patch_url(patch, _TILE_PIXELS)
        tile = plain if level is None else unit_patch_url(patch, dissect, level, _TILE_PIXELS)
        mammogram = patch["mammogram_id"].replace(".", ", ")
        label, split = names[int(patch["label"])], SPLIT_NAMES[patch["split"]]
        items.append(
            {
                "name": f"patch {patch['rank'] + 1:,}, {label}, {mammogram}",
                "tile": tile,
                "plain": plain,
                "mammogram": image_routes.image_url(
                    "mammogram", image_routes.TEAM_AUDIENCE, file=patch["file"]
                ),
                "aspect": width / height,
                "box": [patch["x"] / width, patch["y"] / height, side / width, side / height],
                "left": f"Rank {patch['rank'] + 1:,}, activation {patch['activation']:.2f}",
                "right": mammogram.replace("_CC", " CC").replace("_MLO", " MLO"),
                "note": f"Patch label {label}, {split} split",
            }
        )
    return items


def _render_charts(dissect: str, unit: int, details: dict[str, Any]) -> None:
    settings = cached_query(run_table.load_run, dissect)["settings"]["dissection"]
    threshold, quantile = settings["threshold"], settings["quantile"]
    left, right = st.columns([7, 6], gap="small")
    with left, st.container(gap="xxsmall"):
        curves = cached_result(units.activation_curves, dissect, unit)
        elements.section_heading(
            "Activation", f"dissected patches; {percent(curves.zero_share, 0)} at 0 left out"
        )
        figure = unit_charts.activation_figure(
            curves,
            {
                f"{threshold:g} max": threshold * float(details["largest"]),
                f"top {quantile:g}": float(details["quantile"]),
            },
        )
        st.plotly_chart(figure, config={"displayModeBar": False}, key="activation")
    with right, st.container(gap="xxsmall"):
        elements.section_heading("Influence per class", "hold-out")
        if note := cached_result(lineage.influence_note, dissect):
            st.caption(note)
        quartiles = cached_result(units.influence_quartiles, dissect, unit)
        st.plotly_chart(
            unit_charts.influence_bars(quartiles), config={"displayModeBar": False}, key="influence"
        )
