"""Numbers of one unit: facts, descriptors that raise its activation, words of the reports."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core.lineage import run_class_names
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_result
from dashboard.ui.study_words import shows_breasts
from evaluation.annotation import association_queries, descriptor_association
from evaluation.intervals import decimal, percent
from evaluation.queries import units

_MAX_ASSOCIATIONS = 4  # so many fit a window 640 px high


def render_facts(dissect: str, details: dict[str, Any]) -> None:
    """Render layer, classes, patients, and how much of the response lies outside the breast."""
    top = details["top"][details["top"]["rank"] < units.CONTEXT_PATCHES]
    counts = top["label"].value_counts()
    names = cached_result(run_class_names, dissect)
    selections = [
        ("Selected for", f"{names[int(row['class'])]}, rank {row['rank']}")
        for row in details["selected"]
    ]
    initials = {name: name[0].upper() for name in names.values()}
    if len(set(initials.values())) < len(initials):
        initials = {name: name for name in initials}
    classes = ", ".join(
        f"{initials[name]} {counts.get(code, 0)}" for code, name in reversed(names.items())
    )
    outside = ("Outside the breast", percent(details["outside"], 0))
    elements.section_heading("Facts", "hold-out")
    elements.key_value_table(
        [
            ("Layer", elements.escape_html(details["layer"])),
            *selections,
            ("Top 32 classes", classes),
            ("Patients", str(details["top_patients"])),
            ("Largest", decimal(float(details["largest"]), 2)),
            *([outside] if shows_breasts() else []),
        ]
    )


def render_associations(dissect: str, unit: int) -> None:
    """Render the descriptors that raise the unit's activation."""
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


def _association_row(row: dict[str, Any]) -> tuple[str, str]:
    value = (
        f'<span class="dm-nowrap"><b>{decimal(row["auc"], 2)}</b>'
        f" ({decimal(row['low'], 2)}–{decimal(row['high'], 2)})</span>"
    )
    if not pd.isna(row["iou"]):
        value += f"<br>IoU {decimal(row['iou'], 2)}"
    # str.capitalize would lower the rest, such as BI-RADS.
    return row["descriptor"][0].upper() + row["descriptor"][1:], value


def render_counts(details: dict[str, Any]) -> None:
    """Render report words and phantom concepts of the top patches, where the study has them."""
    if not details["descriptors"] and not details["concepts"]:
        st.caption("No report describes the findings in the top patches of this unit.")
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
