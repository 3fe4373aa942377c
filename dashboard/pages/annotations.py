"""Annotations: progress per expert, labels, agreement, adjudication and the label audit."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core import lineage
from core.annotation.unit_categories import with_confirmed_categories
from core.class_labels import unit_name
from core.settings import load_order_of_experts
from core.store import annotation_table, unit_table
from core.store.labels import category_table
from dashboard.server import context, identity
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.views.adjudication import render_adjudication
from dashboard.views.annotations.efficiency import render_efficiency
from dashboard.views.annotations.label_categories import render_label_categories
from dashboard.views.label_audit import render_label_audit
from evaluation.annotation import category_agreement
from evaluation.annotation.category_agreement import AgreementEstimate
from evaluation.intervals import bounds_text, decimal


def _render_progress(run: str) -> None:
    """Render the progress of each expert."""
    progress = cached_query(annotation_table.annotation_progress_by_expert, run)
    total = len(cached_query(unit_table.selected_unit_ids, run))
    slots = cached_query(unit_table.selection_slot_count, run)
    elements.section_heading(
        "Progress", f"{total} distinct units of {slots} slots in the class lists"
    )
    if not len(progress) and len(cached_query(annotation_table.load_decisions, run)):
        # Imported consensus labels need no annotator.
        st.caption("No expert has answered in this study; its labels were imported or decided.")
        return
    if not len(progress):
        elements.stop_with_hint(
            "No annotations yet. Invite an expert on the Participants page, or in a terminal:",
            "deepminer invite annotator",
        )
    table = pd.DataFrame(
        {
            "Expert": progress["code"],
            "Simulated": progress["simulated"],
            "Units": [f"{units} / {total}" for units in progress["units"]],
            "With a label": progress["named"],
            "Revised": progress["revised"],
            "Repeats": progress["repeats"],
            "Median s": progress["median_seconds"].round(1),
            "Last answer": progress["last"],
        }
    )
    time_format = st.column_config.DatetimeColumn(format="D MMM, HH:mm", timezone="UTC", help="UTC")
    elements.data_table(
        table, hide_index=True, width="stretch", column_config={"Last answer": time_format}
    )


def _render_labels(run: str) -> None:
    """Render every label with the answers that it is based on."""
    order = tuple(load_order_of_experts(context.served_study()))
    labels = cached_query(annotation_table.unit_labels, run, order)
    every_version = cached_query(annotation_table.load_annotations, run, True)
    answers = {
        row.annotation_id: f"{row.code}, version {row.version}"
        for row in every_version.itertuples()
    }
    elements.section_heading(
        "Labels",
        f"{len(labels)} labelled units",
        simulated=any(label.simulated for label in labels.values()),
    )
    rows = [
        {
            "Unit": unit_name(unit),
            "Label": label.text,
            "From answers": "; ".join(answers.get(i, i) for i in label.annotation_ids),
            "Simulated": label.simulated,
        }
        for unit, label in labels.items()
    ]
    elements.data_table(pd.DataFrame(rows), hide_index=True, width="stretch")


def _render_agreement(run: str) -> None:
    """Render agreement between experts, and of each expert with themselves."""
    answers = with_confirmed_categories(
        cached_query(annotation_table.load_annotations, run),
        cached_query(category_table.confirmed_categories, run),
    )
    if category_agreement.count_experts(answers) < 2:
        st.info(
            "Agreement is not estimable with one expert: invite a second annotator on the"
            " Participants page."
        )
    else:
        elements.section_heading(
            "Between experts",
            "presence of each category, per unit",
            bool(answers["simulated"].any()),
        )
        _render_estimates(
            [
                category_agreement.first_category_agreement(answers),
                category_agreement.naming_agreement(answers),
                category_agreement.category_overlap(answers),
                *category_agreement.agreement_by_category(answers),
            ]
        )
    elements.section_heading("Within each expert", "units repeated without notice")
    repeats = category_agreement.repeat_consistency(answers)
    if repeats:
        _render_estimates(repeats)
    else:
        st.caption("No hidden repeat has been answered yet.")


def _render_estimates(estimates: Sequence[AgreementEstimate]) -> None:
    """Render estimate, interval and method in one line each."""
    rows = [
        {
            "": elements.escape_html(estimate.name),
            "Agreement": decimal(estimate.estimate),
            "95 % interval": elements.escape_html(
                bounds_text(estimate.low, estimate.high, estimate.reason)
            ),
            "n": estimate.n,
            "Method": elements.escape_html(estimate.method),
        }
        for estimate in estimates
    ]
    elements.html_table(pd.DataFrame(rows))


_user = identity.require_role("team").code
theme.apply_team_style()
_dissect = cached_query(unit_table.current_dissection)
elements.page_heading(
    "Annotations",
    "labels that experts gave to the selected units",
    simulated=bool(_dissect and cached_result(lineage.has_simulated_labels, _dissect)),
)
if _dissect is None:
    elements.stop_with_hint(
        "There are no units yet. Dissect the trained network first:", "deepminer dissect"
    )
_progress_tab, _category_tab, _agreement_tab, _adjudication_tab, _audit_tab = st.tabs(
    ["Progress", "Categories", "Agreement", "Adjudication", "Audit"]
)
with _progress_tab:
    _render_progress(_dissect)
    render_efficiency(_dissect)
    _render_labels(_dissect)
with _category_tab:
    render_label_categories(_dissect, _user)
with _agreement_tab:
    _render_agreement(_dissect)
with _adjudication_tab:
    render_adjudication(_dissect, _user)
with _audit_tab:
    render_label_audit(_user)
