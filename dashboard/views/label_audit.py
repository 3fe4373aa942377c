"""Tab "Audit" of the Annotations page: start an audit, follow it, show the label precision."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import lineage
from core.annotation.spreadsheet_cells import csv_text
from core.class_labels import unit_name
from core.errors import UserError
from core.settings import load_order_of_experts
from core.store import audit_table, dataset_table
from core.store.audit_table import AUDIT_PATCH_KINDS, Audit
from core.store.labels import label_states
from dashboard.server import context
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.patch_images import patch_url
from dashboard.views.flash_messages import flash, show_flash
from evaluation.annotation import audit_workflow
from evaluation.annotation.label_audit import PRECISION_METHOD, AuditResult
from evaluation.intervals import count_text, decimal

# Typical time of a judgement; used for the planned minutes only.
SECONDS_PER_JUDGEMENT = 4
_SELECTED_AUDIT = "audit_shown"
_TILE_PIXELS = 128


def render_label_audit(dissect: str, user: str) -> None:
    """Render the newest or the selected audit, and the form to start one of a dissection."""
    show_flash()
    newest = cached_result(audit_workflow.latest_audit)
    if newest is None or newest.ended is not None:
        _render_start_form(dissect, user)
    if newest is not None:
        audit = _selected_audit(newest)
        if _render_progress(audit, user):
            _render_results(audit)


def _selected_audit(newest: Audit) -> Audit:
    """Return the audit to show; a select box where the study has several."""
    audits = {audit.audit: audit for audit in cached_result(audit_workflow.load_audits)}
    if len(audits) < 2:
        return newest
    names = list(audits)[::-1]
    name = st.columns([1, 3])[0].selectbox(
        "Audit", names, index=names.index(newest.audit), key=_SELECTED_AUDIT
    )
    return audits[name]


def _render_start_form(dissect: str, user: str) -> None:
    """Render the size of a new audit and the button that starts it."""
    # A tuple: arguments of cached queries must be hashable.
    order = tuple(load_order_of_experts(context.served_study()))
    units = len(cached_query(label_states.unit_labels, dissect, order))
    if not units:
        st.info("No unit carries a label yet, so there is nothing to audit.")
        return
    elements.section_heading(
        "Start an audit",
        "experts judge, blinded, whether the label applies to top, middle-ranked and random"
        " patches of a unit",
    )
    number_column, note_column, button_column = st.columns([1, 3, 1], vertical_alignment="bottom")
    number = int(
        number_column.number_input(
            "Patches of each kind", 1, audit_workflow.MAX_PATCHES_PER_KIND, 6, key="audit_patches"
        )
    )
    total = 3 * number * units
    note_column.caption(
        f"{units} labelled units, {total} patches for each annotator, about"
        f" {max(1, round(total * SECONDS_PER_JUDGEMENT / 60))} minutes. Annotators see the label"
        " and one patch at a time, nothing else. The order is shuffled for each annotator."
    )
    button_column.button(
        "Start the audit",
        type="primary",
        width="stretch",
        on_click=_start,
        args=(dissect, number, user),
    )


def _start(dissect: str, number: int, user: str) -> None:
    try:
        audit = audit_workflow.start_audit(context.served_study(), number, 1, user, dissect)
    except UserError as error:
        flash(str(error), error=True)
        return
    # Without the earlier selection the list shows the new audit.
    st.session_state.pop(_SELECTED_AUDIT, None)
    flash(f"{audit.audit} is open. Annotators open it with the button Audit on their page.")


def _end(user: str) -> None:
    audit = audit_workflow.end_audit(context.served_study(), user)
    flash(f"{audit.audit} is ended; no further answers are accepted.")


def _render_progress(audit: Audit, user: str) -> bool:
    """Render the progress per expert; return whether any patch has been judged."""
    progress = cached_query(audit_table.audit_progress_by_expert, audit.audit)
    state = "open" if audit.ended is None else f"ended {audit.ended:%d %b, %H:%M} UTC"
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    with left:
        elements.section_heading(
            f"Progress of {audit.audit}",
            f"{state}; {audit.patches} patches of each kind per unit, seed {audit.seed}",
        )
    if audit.ended is None:
        right.button(
            "End the audit",
            width="stretch",
            on_click=_end,
            args=(user,),
            help="Accepts no further answers; existing answers are kept.",
        )
    if not len(progress):
        st.info(
            "No patch has been judged yet. Annotators open the audit with the button Audit on"
            " their page."
        )
        return False
    table = pd.DataFrame(
        {
            "Expert": progress["code"],
            "Simulated": progress["simulated"],
            "Patches": [f"{a} / {b}" for a, b in zip(progress["done"], progress["total"])],
            "Corrected": progress["corrections"],
            "Median s": progress["median_seconds"].round(1),
            "Last answer": progress["last"],
        }
    )
    time_format = st.column_config.DatetimeColumn(format="D MMM, HH:mm", timezone="UTC", help="UTC")
    elements.data_table(table, hide_index=True, column_config={"Last answer": time_format})
    return True


def _render_results(audit: Audit) -> None:
    """Render pooled precision, precision by unit and the downloads."""
    current, result = cached_result(audit_workflow.load_audit_result, audit.audit)
    elements.section_heading(
        "Label precision",
        f"proportion of patches judged to show the label; unsure counts as not shown;"
        f" {PRECISION_METHOD}",
    )
    difference = result.difference_of(None)
    pooled = [
        (
            f"{share.kind.capitalize()} patches, {count_text(share.patients, 'patient')}",
            share.interval.short(),
        )
        for share in result.pooled
    ]
    gap = ("Top minus random, patient bootstrap", difference.short())
    elements.metric_row([*pooled, gap, *_agreement_metric(result)])
    intervals = [*(share.interval for share in result.pooled), difference]
    reasons = sorted({interval.reason for interval in intervals if interval.reason})
    if reasons:
        st.caption("Not estimable: " + "; ".join(reasons) + ".")
    outdated = cached_result(audit_workflow.outdated_labels, audit.audit)
    if outdated:
        st.warning(
            f"Outdated: {count_text(len(outdated), 'label')} changed since this audit; precision"
            " belongs to the label that was judged. Start another audit for the present labels."
        )
    elements.data_table(_precision_by_unit(result, outdated), hide_index=True, width="stretch")
    _render_downloads(current, result, outdated)
    if current.ended is not None:
        _render_judged_patches(current)


def _render_judged_patches(audit: Audit) -> None:
    """Render the patches of one unit with their judgements; after the audit, which is blinded."""
    judgements = cached_query(audit_table.load_judgements, audit)
    labels = dict(zip(judgements["unit"], judgements["label"]))
    unit = st.selectbox(
        "Judged patches of",
        sorted(labels),
        format_func=lambda unit: f"{unit_name(int(unit))}: {labels[unit]}",
        key="judged_unit",
    )
    of_unit = judgements[judgements["unit"] == unit]
    patches_run = cached_result(lineage.ancestor_run, audit.run, "patches")
    ids = sorted(int(number) for number in of_unit["patch_id"].unique())
    patches = cached_query(dataset_table.load_patches_by_id, patches_run, ids)
    patch_of = {int(patch["patch_id"]): patch for patch in patches.to_dict("records")}
    columns = st.columns(len(AUDIT_PATCH_KINDS), gap="medium")
    for kind, column in zip(AUDIT_PATCH_KINDS, columns):
        of_kind = of_unit[of_unit["kind"] == kind]
        cells = "".join(
            _judged_cell(kind, patch_of[int(patch_id)], list(answers))
            for patch_id, answers in of_kind.groupby("patch_id", sort=False)["answer"]
        )
        with column:
            elements.section_heading(f"{kind.capitalize()} patches")
            st.html(f'<div class="dm-judged">{cells}</div>')
    st.caption(
        "Below each patch: how many experts judged that it shows the label. Framed: top patches for"
        " which they are fewer than half."
    )


def _judged_cell(kind: str, patch: dict[str, Any], answers: list[str]) -> str:
    """Return a patch with its judgements."""
    shown = answers.count("yes")
    doubtful = kind == "top" and 2 * shown < len(answers)
    url = patch_url(patch, _TILE_PIXELS)
    return (
        f'<figure class="{"doubtful" if doubtful else ""}"><img src="{url}" alt="{kind} patch">'
        f"<figcaption>{shown} of {len(answers)}</figcaption></figure>"
    )


def _render_downloads(audit: Audit, result: AuditResult, outdated: dict[int, str]) -> None:
    results_column, judgements_column, _ = st.columns([1, 1, 3])
    results_column.download_button(
        "Results, CSV",
        csv_text(audit_workflow.audit_result_table(audit, result, outdated)),
        f"{audit.audit}-precision.csv",
        "text/csv",
        width="stretch",
        on_click="ignore",
    )
    judgements_column.download_button(
        "Judgements, CSV",
        csv_text(cached_result(audit_workflow.load_judgement_versions, audit)),
        f"{audit.audit}-judgements.csv",
        "text/csv",
        width="stretch",
        on_click="ignore",
        help="Contains the kind and rank of each patch: withhold it from experts who still judge.",
    )


def _agreement_metric(result: AuditResult) -> list[tuple[str, str]]:
    agreement = result.agreement
    if agreement is None:
        return []
    value = decimal(agreement.estimate)
    if agreement.low is not None:
        value += f" ({decimal(agreement.low)} to {decimal(agreement.high)})"
    return [("Agreement, alpha", value)]


def _precision_by_unit(result: AuditResult, outdated: dict[int, str]) -> pd.DataFrame:
    """Return one row per unit: judged label, precision of the three kinds, top minus random."""
    rows: dict[int, dict[str, object]] = {}
    for share in result.units:
        unit = share.unit or 0
        row = rows.setdefault(unit, {"Unit": unit_name(unit), "Label": share.label})
        row["Outdated"] = "yes" if unit in outdated else ""
        row[share.kind.capitalize()] = share.text()
        if share.kind == "top":
            row["Top minus random"] = result.difference_of(share.unit).short()
    columns = ["Unit", "Label", "Outdated", "Top", "Middle", "Random", "Top minus random"]
    return pd.DataFrame(list(rows.values()))[columns]
