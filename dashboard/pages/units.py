"""Units: the gallery of selected units, coverage, faithfulness, and one unit in full."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import lineage
from core.class_labels import unit_index, unit_name
from core.lineage import run_class_names
from core.store import run_table
from dashboard.components import unit_gallery
from dashboard.server import identity
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.controls import class_choice, segment_choice, select_choice
from dashboard.ui.patch_images import top_patch_urls
from dashboard.ui.study_words import shows_breasts
from dashboard.views.units.comparison import render_comparison
from dashboard.views.units.coverage import render_coverage, render_coverage_band
from dashboard.views.units.details import render_unit
from dashboard.views.units.faithfulness import render_faithfulness
from evaluation.annotation import association_queries, descriptor_association
from evaluation.intervals import count_text, decimal, percent
from evaluation.queries import units

_UNITS_PER_PAGE = 24
_VIEWS = {"units": "Units", "coverage": "Coverage", "faithfulness": "Faithfulness"}
_RULES = {"influence": "Selected by influence", "spie": "SPIE 2018 rule", "dead": "Dead units"}
_ANY_DESCRIPTOR = "Any descriptor"
_ANY_LABEL, _WITH_LABEL, _NO_LABEL = "Any label", "With a label", "No label"
_OUTSIDE = "Response outside the breast"
_SORTS = {  # title: (column, ascending)
    "Share of top 8": ("share", False),
    "IoU with findings": ("iou", False),
    "AUC of the descriptor": ("auc", False),
    "Unit": ("unit", True),
    "Fewest patients": ("top_patients", True),
    "Answers": ("answers", False),
    _OUTSIDE: ("outside", False),
}
_RUN_STATE = "units_run"  # the run of the list stays in use on the page of a unit


def _current_run(known: list[str]) -> str:
    """Return the dissect run in use: that of the session, of the address, or the latest one."""
    requested = st.query_params.get("run")
    default = requested if requested in known else known[-1]
    return st.session_state.setdefault(_RUN_STATE, default)


def _change_run(run: str) -> None:
    if run != st.session_state[_RUN_STATE]:
        st.session_state[_RUN_STATE] = run
        st.rerun()  # the heading above has shown the earlier run


def _run_title(row: dict[str, Any]) -> str:
    """Return layer, units, time and the end of the id, which distinguish runs of one layer.

    Also the number format that ranked the patches where it is not float32.
    """
    manifest = row["manifest"]
    # Dissections of earlier versions have no such record: they ranked in float32.
    ranking_format = manifest.get("ranking", {}).get("format", "float32")
    return (
        f"{manifest['layer']}, {manifest['units']} units, {row['made']:%d %b %H:%M},"
        f" {row['run'][-6:]}"
        f"{'' if ranking_format == 'float32' else f', ranked in {ranking_format}'}"
    )


def _view_controls(dissections: pd.DataFrame, dissect: str) -> tuple[str, str]:
    """Render heading, view, selection rule and run; return the view and the rule."""
    title_column, view_column, rule_column, run_column = st.columns(
        [3, 4.2, 2.4, 3], vertical_alignment="center"
    )
    with title_column:
        _render_heading(dissect)
    view = segment_choice(view_column, "View", _VIEWS, default="units", key="view")
    rule = "influence"
    if view == "units":
        rule = select_choice(rule_column, "Selection", _RULES, key="rule")
    titles = {row["run"]: _run_title(row) for row in dissections.iloc[::-1].to_dict("records")}
    _change_run(select_choice(run_column, "Run", titles, key="run"))
    return view, rule


def _same(*names: str) -> dict[str, str]:
    """Return options that are their own names."""
    return {name: name for name in names}


def _filter_units(table: pd.DataFrame, dissect: str) -> pd.DataFrame:
    """Render the filters and the order, and return the rows that remain."""
    class_column, label_column, text_column, descriptor_column, sort_column = st.columns(
        [3.2, 2, 2, 3, 2.4], vertical_alignment="center"
    )
    classes = ["all", *reversed(cached_result(run_class_names, dissect).values())]
    titles = {name: name.capitalize() for name in classes}
    name = class_choice(class_column, "Class", titles, default="all", key="class")
    label = select_choice(
        label_column, "Label", _same(_ANY_LABEL, _WITH_LABEL, _NO_LABEL), key="labelled"
    )
    text = text_column.text_input(
        "Text in labels",
        placeholder="Text in labels",
        label_visibility="collapsed",
        key="text",
        bind="query-params",
    )
    descriptors = cached_result(association_queries.list_descriptors, dissect)
    descriptor = select_choice(
        descriptor_column, "Descriptor", _same(_ANY_DESCRIPTOR, *descriptors), key="descriptor"
    )
    sorts = [title for title in _SORTS if shows_breasts() or title != _OUTSIDE]
    order = select_choice(sort_column, "Sort", _same(*sorts), key="sort")
    table = _filter_by_descriptor(table, dissect, descriptor)
    if name != "all":
        table = table[[name in selected for selected in table["classes"]]]
    if label != _ANY_LABEL:
        table = table[(table["label"] != "") == (label == _WITH_LABEL)]
    if text:
        table = table[table["label"].str.contains(text, case=False, regex=False)]
    column, ascending = _SORTS[order]
    return table.sort_values([column, "unit"], ascending=[ascending, True], ignore_index=True)


def _filter_by_descriptor(table: pd.DataFrame, dissect: str, descriptor: str) -> pd.DataFrame:
    """Add the columns iou, auc and p_adjusted; keep units that the descriptor activates."""
    chosen = None if descriptor == _ANY_DESCRIPTOR else descriptor
    overlap = cached_result(association_queries.overlap_by_unit, dissect, chosen)
    table = table.merge(overlap, on="unit", how="left")
    if chosen is None:
        return table
    significant = table["p_adjusted"] < descriptor_association.ASSOCIATION_ALPHA
    return table[significant & (table["auc"] > 0.5)]


def _render_gallery(dissect: str, rule: str) -> None:
    """Render filters, coverage and the rows of one page of units; a click opens a unit."""
    table = cached_result(units.selected_units, dissect, rule)
    if rule == "dead" and not len(table):
        st.info("No unit is dead: every unit is positive on some patch.")
        return
    if note := cached_result(lineage.influence_note, dissect):
        st.caption(note)
    matching = _filter_units(table, dissect)
    render_coverage_band(dissect)
    if not len(matching):
        st.info("No selected unit matches these filters; widen them.")
        return
    pages = -(-len(matching) // _UNITS_PER_PAGE)
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    rows = matching.iloc[(page - 1) * _UNITS_PER_PAGE : page * _UNITS_PER_PAGE].to_dict("records")
    urls = top_patch_urls(dissect, [int(row["unit"]) for row in rows], units.TILES_PER_ROW, 156)
    names = list(cached_result(run_class_names, dissect).values())[::-1]
    # 156 pixels: twice the 78 of a tile, for displays with two device pixels per CSS pixel.
    opened = unit_gallery.show_unit_gallery(
        [_gallery_row(row, names, urls[int(row["unit"])], rule) for row in rows], key="gallery"
    )
    if opened is not None:
        st.query_params["unit"] = unit_name(opened)
        st.rerun()


def _gallery_row(
    row: dict[str, Any], names: list[str], urls: list[str], rule: str
) -> dict[str, Any]:
    """Return a row of the gallery component; names: classes, the last one first."""
    facts = [f"{row['count']} of {row['images']} images"]
    if not pd.isna(row["iou"]):
        facts.append(f"IoU {decimal(row['iou'], 2)}")
    if row["outside"] > units.OUTSIDE_WARNING:
        facts.append(f"{percent(row['outside'], 0)} outside breast")
    return {
        "unit": row["unit"],
        "name": row["name"],
        "under": ", ".join(row["classes"]),
        "tiles": urls,
        "counts": {name: row[name] for name in names},
        "colors": {name: theme.class_color(name) for name in names},
        "short": unit_gallery.short_names(names),
        "label": row["label"],
        "source": ", ".join(
            filter(
                None,
                (
                    row["state"],
                    count_text(row["answers"], "answer"),
                    "simulated" if row["simulated"] else "",
                ),
            )
        ),
        "share": "dead" if rule == "dead" else percent(row["share"], 0),
        "facts": facts,
    }


def _render_heading(dissect: str) -> None:
    selected = len(cached_result(units.selected_units, dissect, "influence"))
    total = cached_query(run_table.load_run, dissect)["manifest"]["units"]
    elements.page_heading(
        "Units",
        f"{selected} selected of {total}",
        {
            "images": cached_result(lineage.has_simulated_images),
            "labels": cached_result(lineage.has_simulated_labels, dissect),
        },
    )


def _render_list(dissections: pd.DataFrame, dissect: str) -> None:
    """Render the heading and the view in use."""
    view, rule = _view_controls(dissections, dissect)
    elements.image_level_note()
    if view == "coverage":
        render_coverage(dissect)
    elif view == "faithfulness":
        render_faithfulness(dissect)
    else:
        _render_gallery(dissect, rule)


def _unit_of_address(name: str, dissect: str) -> int | None:
    """Return the unit of a name in the address; None, with an error, if there is none."""
    try:
        unit = unit_index(name)
    except ValueError:
        unit = -1
    if 0 <= unit < cached_query(run_table.load_run, dissect)["manifest"]["units"]:
        return unit
    st.error(f"There is no unit called {name} in {dissect}. Names are unit_0001 and up.")
    st.page_link("pages/units.py", label="All units")
    return None


def _render_address(dissect: str) -> None:
    """Render the list, the unit of the address, or the two that it names."""
    if "unit" not in st.query_params:
        _render_list(_dissections, dissect)
        return
    unit = _unit_of_address(st.query_params["unit"], dissect)
    if unit is None:
        return
    if "with" not in st.query_params:
        render_unit(dissect, unit)
        return
    other = _unit_of_address(st.query_params["with"], dissect)
    if other is not None:
        render_comparison(dissect, unit, other)


identity.require_role("team")
theme.apply_team_style()
_dissections = cached_query(run_table.load_runs, "dissect")
if not len(_dissections):
    elements.page_heading("Units")
    elements.stop_without_result("No network has been dissected yet.", "dissect")
_dissect = _current_run(list(_dissections["run"]))
_render_address(_dissect)
