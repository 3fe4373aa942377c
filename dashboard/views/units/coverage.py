"""View "Coverage" of the Units page, and the band of coverage per class above the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.annotation.unit_categories import PROPOSED
from core.class_labels import unit_name
from core.lineage import run_class_names
from core.store import dataset_table, run_table, unit_table
from dashboard.ui import elements, theme, unit_charts
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.patch_images import top_patch_urls
from dashboard.ui.study_words import image_nouns
from evaluation.annotation import association_queries
from evaluation.intervals import DASH, percent, percent_range
from evaluation.queries import unit_summaries

_TILES_PER_UNIT = 4  # as in HDSR 2021, Fig. 3


def render_coverage(dissect: str) -> None:
    """Render curves, numbers per class, the named units and the cross-table of all networks."""
    rows = cached_result(unit_summaries.coverage_summary, dissect)
    if not rows:
        elements.stop_with_hint(
            "The coverage of this dissection has not been measured.", "deepminer dissect"
        )
    run = cached_query(run_table.load_run, dissect)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        top = run["settings"]["dissection"]["top"]
        elements.section_heading(
            "Coverage curve", f"{rows[0]['images']} hold-out {image_nouns()}, top {top}"
        )
        st.plotly_chart(
            unit_charts.coverage_figure(rows, 1 / run["manifest"]["units"]),
            config={"displayModeBar": False},
        )
    with right:
        elements.section_heading("Coverage", "share of the top slots taken by the selected units")
        elements.html_table(pd.DataFrame([_coverage_row(row) for row in rows]))
        st.caption(
            "The value for the selected units is optimistic, because it is measured on the"
            f" {image_nouns()} that were used for the selection; split-half and test"
            f" {image_nouns()} were not. CI: of the split-half value. HDSR 2021, 20 of 2,048"
            " units: malignant 75.82 %, benign 69.77 %, normal 59.27 %."
        )
    _render_named_units(dissect)
    _render_cross_table(dissect)


def _coverage_row(row: dict[str, Any]) -> dict[str, str]:
    held_out = (
        DASH
        if row["held_out"] is None
        else f"{percent(row['held_out'])} (n = {row['held_out_images']})"
    )
    return {
        "Class": elements.class_marker(row["name"]),
        "Selected": f"<b>{percent(row['selected'])}</b>",
        "Split-half": percent(row["split_half"]),
        "95 % CI": percent_range(row["low"], row["high"]),
        f"Test {image_nouns()}": held_out,
        "Labelled": percent(row["labelled"]),
        "Chance": percent(row["chance"]),
    }


def _render_named_units(dissect: str) -> None:
    """Render category, label, unit and first patches, as in HDSR 2021, Fig. 3."""
    units = cached_result(unit_summaries.labelled_units_by_category, dissect)
    elements.section_heading(
        "Named units",
        "by category, each with its 4 top patches (HDSR 2021, Fig. 3)",
    )
    if not len(units):
        st.caption("No unit carries a label yet; invite an expert on the Participants page.")
        return
    urls = top_patch_urls(dissect, [int(u) for u in units["unit"]], _TILES_PER_UNIT, 96)
    verdicts = cached_result(_label_verdicts, dissect)
    rows = []
    for row in units.to_dict("records"):
        unit = int(row["unit"])
        tiles = "".join(
            f'<img class="dm-thumbnail" src="{url}" alt="top patch">' for url in urls[unit]
        )
        rows.append(
            {
                "Category": row["category"] + (" (proposed)" if row["state"] == PROPOSED else ""),
                "Annotation": elements.escape_html(row["label"]),
                "Selected for": ", ".join(row["classes"]) or DASH,
                "Report check": elements.escape_html(verdicts.get(unit, DASH)),
                "Unit": f"{unit_name(unit)} {tiles}",
            }
        )
    elements.html_table(pd.DataFrame(rows), left=True)


def _label_verdicts(path: Path, dissect: str) -> dict[int, str]:
    """Return by unit whether the reports support its label: one verdict per descriptor."""
    checks = association_queries.label_checks(path, dissect)
    return {
        unit: "; ".join(
            f"{check.descriptor}: {check.verdict}" if check.descriptor else check.verdict
            for check in of_unit
        )
        for unit, of_unit in checks.items()
    }


def _render_cross_table(dissect: str) -> None:
    table = cached_result(unit_summaries.category_cross_table)
    if len(table.columns):
        elements.section_heading(
            f"Named units by {cached_query(dataset_table.load_lexicon).name} category",
            "all dissected networks of the study (SPIE 2018, Fig. 4); * proposed, not confirmed",
        )
        escaped = table.map(elements.escape_html).rename_axis("Category").reset_index()
        elements.html_table(escaped, left=True)


def render_coverage_band(dissect: str) -> None:
    """Render selected and labelled coverage of each class as bars, with the numbers below."""
    run = cached_query(run_table.latest_run, "coverage", dissect)
    if run is None:
        return
    table = cached_query(unit_table.load_coverage, run)
    names = cached_result(run_class_names, dissect)
    labelled = cached_result(unit_summaries.labelled_coverage_by_class, dissect)
    cells = []
    for code in sorted(table["class"].unique(), reverse=True):
        rows = {row["name"]: row for row in table[table["class"] == code].to_dict("records")}
        cells.append(_band_cell(names[code], rows, labelled[int(code)][0]))
    st.html(f'<div class="dm-coverage">{"".join(cells)}</div>')


def _band_cell(name: str, rows: dict[str, dict[str, Any]], labelled: float | None) -> str:
    """Return the HTML of one class; rows: coverage by name (selected, interval, ...)."""
    selected, chance = rows["selected"]["estimate"], rows["chance"]["estimate"]
    low, high = rows["interval"]["low"], rows["interval"]["high"]
    split_half = rows["split_half"]["estimate"]
    # The labelled share lies on the paler bar of the selected share, of which it is a part.
    fill = f"background:{theme.class_color(name)}"
    values = {
        "labelled": percent(labelled),
        "split-half": percent(split_half),
        "95 % CI": percent_range(low, high),
        "chance": percent(chance),
    }
    return (
        f'<div><div class="dm-bar-head"><b>{elements.class_marker(name)}</b><span>'
        f'<b class="share">{percent(selected)}</b> <span class="dm-mute">selected</span></span>'
        f'</div><div class="track"><i class="selected" style="width:{100 * selected}%;{fill}"></i>'
        f'<i style="width:{100 * (labelled or 0)}%;{fill}"></i></div>'
        f"{_split_half_line(split_half, low, high)}"
        f'<div class="values">{"".join(f"<span>{title}</span>" for title in values)}'
        f"{''.join(f'<b>{value}</b>' for value in values.values())}</div></div>"
    )


def _split_half_line(estimate: float, low: float, high: float) -> str:
    """Return the HTML of the split-half value and its interval, on the scale of the bar above.

    It has a line of its own, because the interval belongs to this value and not to the bar.
    """
    # The store has NaN where a number is not estimable.
    is_known, has_bounds = estimate == estimate, low == low
    point = f'<i class="point" style="left:{100 * estimate}%"></i>' if is_known else ""
    interval = (
        f'<i class="interval" style="left:{100 * low}%;width:{100 * (high - low)}%"></i>'
        if has_bounds
        else ""
    )
    return f'<div class="split-half" title="split-half, 95 % CI">{interval}{point}</div>'
