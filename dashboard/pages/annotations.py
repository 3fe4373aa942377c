"""Annotations: progress per expert, labels, agreement, adjudication and the label audit."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core import lineage
from core.annotation.unit_categories import with_confirmed_categories
from core.store import annotation_table, audit_table, dataset_table, unit_table
from core.store.labels import (
    assignment_table,
    category_table,
    decision_table,
    finished_annotators,
)
from dashboard.server import identity
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.controls import select_choice
from dashboard.views.adjudication import render_adjudication
from dashboard.views.annotations.efficiency import render_efficiency
from dashboard.views.annotations.finished_experts import render_finish_controls, state_text
from dashboard.views.annotations.label_categories import render_label_categories
from dashboard.views.annotations.machine_labels import render_machine_labels
from dashboard.views.annotations.unit_labels import render_unit_labels
from dashboard.views.label_audit import render_label_audit
from evaluation.annotation import audit_workflow, category_agreement
from evaluation.annotation.category_agreement import AgreementEstimate
from evaluation.intervals import bounds_text, decimal


def _render_progress(run: str) -> None:
    """Render the progress of each expert."""
    progress = cached_query(annotation_table.annotation_progress_by_expert, run)
    total = len(cached_query(unit_table.selected_unit_ids, run))
    slots = cached_query(unit_table.selection_slot_count, run)
    assigned = [
        code
        for code, runs in cached_query(assignment_table.load_assignments).items()
        if run in runs
    ]
    elements.section_heading(
        "Progress",
        f"{total} distinct units of {slots} slots in the class lists; assigned to"
        f" {', '.join(assigned) or 'no annotator'}",
    )
    if not len(progress) and len(cached_query(decision_table.load_consensus, run)):
        # Imported consensus labels need no annotator.
        st.caption("No expert has answered in this study; its labels were imported or decided.")
        return
    if not len(progress):
        elements.stop_with_hint(
            "No annotations yet. Invite an expert on the Participants page, or in a terminal:",
            "deepminer invite annotator",
        )
    # A person with practice or repeated units only has no state.
    states = cached_query(finished_annotators.annotator_states, run)
    table = pd.DataFrame(
        {
            "Expert": progress["code"],
            "Simulated": progress["simulated"],
            "State": [
                state_text(states[code]) if code in states else "" for code in progress["code"]
            ],
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


def _render_agreement(run: str) -> None:
    """Render agreement between experts, and of each expert with themselves."""
    answers = with_confirmed_categories(
        cached_query(finished_annotators.load_finished_answers, run),
        cached_query(category_table.confirmed_categories, run),
    )
    lexicon = cached_query(dataset_table.load_lexicon)
    if category_agreement.count_experts(answers) < 2:
        st.info(
            "Agreement is not estimable with fewer than two experts who have finished. The"
            " Progress tab shows who has; the Participants page invites a further annotator."
        )
    else:
        elements.section_heading(
            "Between experts",
            "presence of each category, per unit; experts who have finished",
        )
        _render_estimates(
            [
                category_agreement.first_category_agreement(answers),
                category_agreement.naming_agreement(answers),
                category_agreement.category_overlap(answers),
                *category_agreement.agreement_by_category(
                    answers, [category.name for category in lexicon.categories]
                ),
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


def _render_progress_tab(dissect: str, user: str) -> None:
    _render_progress(dissect)
    render_finish_controls(dissect, user)
    render_efficiency(dissect)
    render_unit_labels(dissect)


def _render_agreement_tab(dissect: str, _user: str) -> None:
    _render_agreement(dissect)
    render_machine_labels(dissect)


def _simulated_parts(dissect: str) -> dict[str, bool]:
    """Return which data of the page are simulated."""
    audits = [audit for audit in cached_result(audit_workflow.load_audits) if audit.run == dissect]
    judged = [cached_query(audit_table.audit_progress_by_expert, a.audit) for a in audits]
    return {
        "images": cached_result(lineage.has_simulated_images),
        "answers": cached_result(lineage.has_simulated_answers, dissect)
        or any(audit.simulated for audit in audits)
        or any(bool(progress["simulated"].any()) for progress in judged),
    }


_user = identity.require_role("team").code
theme.apply_team_style()
_dissections = cached_query(unit_table.list_dissections)
if not _dissections:
    elements.page_heading("Annotations", "labels that experts gave to the selected units")
    elements.stop_without_result("No network has been dissected yet.", "dissect")
_heading = st.container()
_dissect = _dissections[-1].run
if len(_dissections) > 1:
    _titles = {dissection.run: dissection.title for dissection in reversed(_dissections)}
    _dissect = select_choice(st.columns([2, 3])[0], "Network and layer", _titles, key="run")
with _heading:
    elements.page_heading(
        "Annotations",
        "labels that experts gave to the selected units",
        _simulated_parts(_dissect),
    )
_sections = {
    "Progress": _render_progress_tab,
    "Categories": render_label_categories,
    "Agreement": _render_agreement_tab,
    "Adjudication": render_adjudication,
    "Audit": render_label_audit,
}
_tabs = st.tabs(list(_sections), key="section", on_change="rerun", bind="query-params")
for _tab, _render_section in zip(_tabs, _sections.values()):
    # Streamlit would run the content of all tabs; only the open one is needed.
    if _tab.open:
        with _tab:
            _render_section(_dissect, _user)
