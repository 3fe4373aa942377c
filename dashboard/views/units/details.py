"""One unit of the Units page in full: patches, activation, influence, reports, annotations."""

from __future__ import annotations

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
from dashboard.views.units.groups import render_group
from evaluation.annotation import association_queries, audit_workflow, descriptor_association
from evaluation.intervals import DASH, count_text, decimal, percent
from evaluation.queries import study_overview, units

_PATCH_SETS = {"top": "Top 32", "all": "Top 64", "middle": "Middle", "random": "Random"}
_TILE_PIXELS = 144
_MAX_ASSOCIATIONS = 5


def render_unit(dissect: str, unit: int) -> None:
    """Render one unit of a dissect run."""
    _render_header(dissect, unit)
    details = cached_result(units.unit_details, dissect, unit)
    # 968 px: eight tiles beside the mammogram on a page of 1,280 px.
    left, right = st.columns([968, 264], gap="small")
    with left:
        _render_patches(dissect, unit, details)
        _render_charts(dissect, unit, details)
    with right:
        _render_facts(dissect, details)
        render_group(dissect, unit)
        _render_associations(dissect, unit)
        _render_counts(details)
        _render_annotations(details["answers"])
        _render_audit(dissect, unit)


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
            cached_result(lineage.has_simulated_images)
            or bool(row is not None and row["simulated"]),
        )
    is_first = not position
    is_last = position is None or position + 1 >= len(order)
    rank.caption("" if position is None else f"{position + 1} of {len(order)}, by share of top 8")
    if previous_column.button("Previous", shortcut="ArrowLeft", disabled=is_first):
        _open(order[(position or 0) - 1])
    if next_column.button("Next", shortcut="ArrowRight", disabled=is_last):
        _open(order[(position or 0) + 1])


def _render_patches(dissect: str, unit: int, details: dict[str, Any]) -> None:
    """Render the choice of region and patches, the tiles, and warnings about the unit."""
    run = cached_query(run_table.load_run, dissect)
    settings, field = run["settings"]["dissection"], run["manifest"].get("receptive_field")
    region_column, set_column, note_column = st.columns([5, 4, 2], vertical_alignment="center")
    region = _region_control(region_column, settings, field)
    patch_set = segment_choice(set_column, "Patches", _PATCH_SETS, default="top", key="patches")
    patients = count_text(details["top_patients"], "patient")
    note_column.caption(f"top 32 from {patients}")
    patches = _patches_of_set(dissect, unit, details, patch_set)
    # Maps are stored for top patches only: others have no region.
    has_region = patch_set not in ("middle", "random")
    if has_region and region == "field":
        patches = units.crop_to_receptive_field(patches, field, run["manifest"]["map_side"])
        has_region = False
    largest = float(details["largest"])
    level = float(details["quantile"]) if region == "quantile" else settings["threshold"] * largest
    patch_tiles.show_patch_tiles(
        _tile_items(dissect, patches, level if has_region else None),
        key="tiles",
        mammogram_height=330,
    )
    if details["top_patients"] < study_overview.FEW_PATIENTS:
        st.warning(
            f"The 32 top patches come from {patients} only; the unit may be patient-specific."
        )
    if details["outside"] > units.OUTSIDE_WARNING:
        st.warning(
            f"{percent(details['outside'], 0)} of the unit's response to its leading patches lies"
            " outside the breast; the unit may respond to labels or edges of the image."
        )
    if details["dead"]:
        st.warning(
            "This unit is dead: it is never positive on the dissected patches, so its top patches"
            " carry no information."
        )


def _region_control(column: Any, settings: dict[str, Any], field: int | None) -> str:
    """Render the choice of the highlighted region: "threshold", "quantile" or "field"."""
    regions = {
        "threshold": f"{settings['threshold']:g} of the largest",
        "quantile": f"top {settings['quantile']:g} quantile",
    }
    if field:
        regions["field"] = f"field, {field} px"
    return segment_choice(
        column,
        "Region",
        regions,
        default="threshold",
        key="region",
        help_text="field: receptive field at the peak of the unit's map",
    )


def _patches_of_set(
    dissect: str, unit: int, details: dict[str, Any], patch_set: str
) -> pd.DataFrame:
    """Return top patches, or others against which the label can be compared."""
    if patch_set in ("middle", "random"):
        return cached_result(units.comparison_patches, dissect, unit, patch_set)
    return details["top"].head(64 if patch_set == "all" else units.CONTEXT_PATCHES)


def _tile_items(dissect: str, patches: pd.DataFrame, level: float | None) -> list[dict[str, Any]]:
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
    left, right = st.columns([3, 3])
    with left:
        elements.section_heading("Activation", "dissected patches")
        figure = unit_charts.activation_histogram(
            cached_result(units.activations_by_class, dissect, unit),
            {
                f"{threshold:g} max": threshold * float(details["largest"]),
                f"top {quantile:g}": float(details["quantile"]),
            },
        )
        st.plotly_chart(figure, config={"displayModeBar": False})
    with right:
        elements.section_heading("Influence per class", "hold-out mammograms")
        if note := cached_result(lineage.influence_note, dissect):
            st.caption(note)
        quartiles = cached_result(units.influence_quartiles, dissect, unit)
        st.plotly_chart(unit_charts.influence_bars(quartiles), config={"displayModeBar": False})


def _render_facts(dissect: str, details: dict[str, Any]) -> None:
    top = details["top"][details["top"]["rank"] < units.CONTEXT_PATCHES]
    counts = top["label"].value_counts()
    names = cached_result(run_class_names, dissect)
    selections = [
        ("Selected for", f"{names[int(row['class'])]}, rank {row['rank']}")
        for row in details["selected"]
    ]
    classes = ", ".join(
        f"{name[0].upper()} {counts.get(code, 0)}" for code, name in reversed(names.items())
    )
    elements.section_heading("Facts", "hold-out")
    elements.key_value_table(
        [
            ("Layer", elements.escape_html(details["layer"])),
            *selections,
            ("Top 32 classes", classes),
            ("Patients", str(details["top_patients"])),
            ("Largest", decimal(float(details["largest"]), 2)),
            ("Outside the breast", percent(details["outside"], 0)),
        ]
    )


def _render_associations(dissect: str, unit: int) -> None:
    """Render the descriptors that raise the unit's activation, and the check of its label."""
    table = cached_result(association_queries.unit_associations, dissect, unit)
    table = table[table["auc"].notna()]
    if not len(table):
        return
    elements.section_heading("Descriptor associations", "AUC (95 % CI)")
    significant = table["p_adjusted"] < descriptor_association.ASSOCIATION_ALPHA
    rows = table[significant & (table["auc"] > 0.5)].head(_MAX_ASSOCIATIONS)
    if not len(rows):
        st.caption("No known descriptor raises this unit's activation (adjusted p < .05).")
    elements.key_value_table([_association_row(row) for row in rows.to_dict("records")])
    checks = cached_result(association_queries.label_checks, dissect).get(unit, ())
    if checks:
        sentences = " ".join(check.sentence() for check in checks)
        st.caption(f"Label check of “{checks[0].label}”: {sentences}")


def _association_row(row: dict[str, Any]) -> tuple[str, str]:
    value = (
        f'<span class="dm-nowrap"><b>{decimal(row["auc"], 2)}</b>'
        f" ({decimal(row['low'], 2)}–{decimal(row['high'], 2)})</span>"
    )
    if not pd.isna(row["iou"]):
        value += f"<br>IoU {decimal(row['iou'], 2)}"
    # str.capitalize would lower the rest, such as BI-RADS.
    return row["descriptor"][0].upper() + row["descriptor"][1:], value


def _render_counts(details: dict[str, Any]) -> None:
    """Render report words and phantom concepts of the top patches, where the study has them."""
    if details["descriptors"]:
        elements.section_heading("Report descriptors", "top 32")
        rows = [
            (
                keyword.capitalize(),
                elements.escape_html(
                    ", ".join(f"{word} {count}" for word, count in counts.most_common(3))
                ),
            )
            for keyword, counts in details["descriptors"].items()
        ]
        elements.key_value_table(rows)
    if details["concepts"]:
        elements.section_heading("Phantom concepts", "top 16")
        elements.key_value_table(
            [
                (
                    row["concept"].replace("_", " "),
                    f"{percent(row['share'], 0)}, IoU {decimal(row['iou'], 2)}",
                )
                for row in details["concepts"]
            ]
        )


def _render_annotations(rows: list[dict[str, Any]]) -> None:
    elements.section_heading("Annotations", simulated=any(row["simulated"] for row in rows))
    if not rows:
        st.caption("This unit has not been annotated. Invite an expert on the Participants page.")
    for row in rows:
        answer = row["answer"]
        seconds = "" if pd.isna(row["seconds"]) else f", {row['seconds']:.0f} s"
        label = elements.escape_html(answer["label"] or answer["recognisable"])
        expert = elements.escape_html(row["code"])
        confidence = elements.escape_html(answer["confidence"] or DASH)
        st.html(
            f'<div class="dm-text">{label}<br><span class="dm-mute">Expert {expert}, confidence'
            f" {confidence}{seconds}</span></div>"
        )


def _render_audit(dissect: str, unit: int) -> None:
    """Render the precision of the unit's label; nothing without an audit."""
    current = cached_result(audit_workflow.load_unit_audit, dissect, unit)
    if current is None:
        return
    audit, result = current
    elements.section_heading(
        "Label audit",
        f"patches that show the label, {audit.audit}",
        simulated=audit.simulated or result.simulated,
    )
    if outdated := cached_result(audit_workflow.outdated_labels, audit.audit).get(unit):
        st.warning(elements.escape_markdown(outdated))
    elements.key_value_table(
        [
            (f"{share.kind.capitalize()} patches", elements.escape_html(share.text()))
            for share in result.units
        ]
    )
