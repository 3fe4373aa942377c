"""Answers of the experts about one unit, and the audit of its label."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_result
from evaluation.annotation import association_queries, audit_workflow
from evaluation.intervals import DASH


def render_annotations(rows: list[dict[str, Any]]) -> None:
    """Render every answer about a unit, simulated ones marked."""
    elements.section_heading("Annotations")
    if not rows:
        st.caption("This unit has not been annotated. Invite an expert on the Participants page.")
    for row in rows:
        answer = row["answer"]
        seconds = "" if pd.isna(row["seconds"]) else f", {row['seconds']:.0f} s"
        label = elements.escape_html(answer["label"] or answer["recognisable"])
        expert = elements.escape_html(row["code"])
        confidence = elements.escape_html(answer["confidence"] or DASH)
        st.html(
            f'<div class="dm-text">{label}<br><span class="dm-mute">'
            f"{'Simulated expert' if row['simulated'] else 'Expert'} {expert}, confidence"
            f" {confidence}{seconds}</span></div>"
        )


def render_label_check(dissect: str, unit: int) -> None:
    """Render whether the reports support the unit's label; nothing without a label."""
    checks = cached_result(association_queries.label_checks, dissect).get(unit, ())
    if checks:
        elements.section_heading("Label check", f"“{checks[0].label}” against the reports")
        st.caption(elements.escape_markdown(" ".join(check.sentence() for check in checks)))


def render_audit(dissect: str, unit: int) -> None:
    """Render the precision of the unit's label; nothing without an audit."""
    current = cached_result(audit_workflow.load_unit_audit, dissect, unit)
    if current is None:
        return
    audit, result = current
    simulated = "; simulated" if audit.simulated or result.simulated else ""
    elements.section_heading(
        "Label audit", f"patches that show the label, {audit.audit}{simulated}"
    )
    if outdated := cached_result(audit_workflow.outdated_labels, audit.audit).get(unit):
        st.warning(elements.escape_markdown(outdated))
    elements.key_value_table(
        [
            (f"{share.kind.capitalize()} patches", elements.escape_html(share.text()))
            for share in result.units
        ]
    )
