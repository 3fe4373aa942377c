"""The tab Audit of the Annotations page: open an audit, follow it, and see how often labels are
true of their patches.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.class_labels import unit_name
from core.errors import UserError
from core.store import annotation_table, audit_table
from core.store.audit_table import Audit
from dashboard.server import context
from dashboard.ui import cached_queries, elements
from evaluation.annotation import audit_workflow
from evaluation.annotation.label_audit import METHOD, AuditResult
from evaluation.intervals import decimal

SECONDS_EACH = 4


def show(who: str) -> None:
    """Everything about the newest audit, or another one that is chosen; a form where none is open."""
    note = st.session_state.pop("audit_note", "")
    if note:
        st.success(note)
    audit = cached_queries.compute(audit_workflow.newest)
    if audit is None or audit.ended is not None:
        _start(who)
    if audit is not None:
        audit = _chosen(audit)
        if _progress(audit, who):
            _results(audit)


def _chosen(newest: Audit) -> Audit:
    """The audit to show: a choice where there were several."""
    found = cached_queries.compute(audit_workflow.every)
    if len(found) < 2:
        return newest
    names = [audit.audit for audit in found]
    name = st.columns([1, 3])[0].selectbox(
        "Audit", names[::-1], index=names[::-1].index(newest.audit), key="audit_shown"
    )
    return found[names.index(name)]


def _start(who: str) -> None:
    """What an audit would ask, and the button."""
    run = cached_queries.ask(annotation_table.current_run)
    units = len(cached_queries.ask(annotation_table.labels, run)) if run else 0
    if not units:
        st.info("No unit carries a label yet, so there are no words to audit.")
        return
    elements.section(
        "Start an audit",
        "experts judge blindly whether top, middle-ranked and random patches show what the unit is"
        " called",
    )
    a, b, c = st.columns([1, 3, 1], vertical_alignment="bottom")
    number = int(
        a.number_input(
            "Patches of each kind", 1, audit_workflow.MOST_PATCHES, 6, key="audit_patches"
        )
    )
    total = 3 * number * units
    b.caption(
        f"{units} labelled units, {total} patches for each annotator, about"
        f" {max(1, round(total * SECONDS_EACH / 60))} minutes. Annotators see a unit's words and"
        " one patch at a time, nothing else; the order is shuffled for each of them."
    )
    c.button(
        "Start the audit", type="primary", width="stretch", on_click=_on_start, args=(number, who)
    )


def _on_start(number: int, who: str) -> None:
    try:
        made = audit_workflow.start(context.current(), number, 1, who)
    except UserError as error:
        st.session_state["audit_note"] = str(error)
        return
    st.session_state.pop("audit_shown", None)
    st.session_state["audit_note"] = (
        f"{made.audit} is open. Annotators find it behind the button Audit on their page."
    )


def _on_end(who: str) -> None:
    ended = audit_workflow.end(context.current(), who)
    st.session_state["audit_note"] = f"{ended.audit} is ended; no further answers are taken."


def _progress(audit: Audit, who: str) -> bool:
    """Who has judged how much; whether anybody has."""
    frame = cached_queries.ask(audit_table.progress, audit.audit)
    state = "open" if audit.ended is None else f"ended {audit.ended:%d %b, %H:%M} UTC"
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    with left:
        elements.section(
            f"Progress of {audit.audit}",
            f"{state}; {audit.patches} patches of each kind a unit, seed {audit.seed}",
            simulated=audit.simulated,
        )
    if audit.ended is None:
        right.button(
            "End the audit",
            width="stretch",
            on_click=_on_end,
            args=(who,),
            help="No further answers; what was answered stays.",
        )
    if not len(frame):
        st.info(
            "Nobody has judged a patch yet. Annotators find the audit behind the button Audit on"
            " their page."
        )
        return False
    shown = pd.DataFrame(
        {
            "Expert": frame["code"],
            "Simulated": frame["simulated"],
            "Patches": [f"{a} / {b}" for a, b in zip(frame["done"], frame["total"])],
            "Corrected": frame["corrections"],
            "Median s": frame["median_seconds"].round(1),
            "Last answer": frame["last"],
        }
    )
    st.dataframe(
        shown,
        hide_index=True,
        column_config={
            "Last answer": st.column_config.DatetimeColumn(
                format="D MMM, HH:mm", timezone="UTC", help="UTC"
            )
        },
    )
    return True


def _results(audit: Audit) -> None:
    """Pooled precision, then unit by unit; both downloads."""
    found, result = cached_queries.compute(audit_workflow.results, audit.audit)
    elements.section(
        "Label precision",
        f"share of patches said to show the label; unsure counts as not shown; {METHOD}",
        simulated=audit.simulated or result.simulated,
    )
    gap = result.difference_of(None)
    elements.cells(
        [
            (
                (
                    f"{share.kind.capitalize()} patches, {share.patients}"
                    f" patient{'s' * (share.patients != 1)}"
                ),
                share.interval.short(),
            )
            for share in result.pooled
        ]
        + [("Top minus random, patient bootstrap", gap.short())]
        + _agreement(result)
    )
    reasons = sorted({i.reason for i in (*(s.interval for s in result.pooled), gap) if i.reason})
    if reasons:
        st.caption("Not estimable: " + "; ".join(reasons) + ".")
    st.dataframe(_by_unit(result), hide_index=True, width="stretch")
    table = audit_workflow.results_table(found, result)
    a, b, _ = st.columns([1, 1, 3])
    a.download_button(
        "Results, CSV",
        table.to_csv(index=False),
        f"{found.audit}-precision.csv",
        "text/csv",
        width="stretch",
        on_click="ignore",
    )
    b.download_button(
        "Judgements, CSV",
        cached_queries.compute(audit_workflow.judgements_table, found).to_csv(index=False),
        f"{found.audit}-judgements.csv",
        "text/csv",
        width="stretch",
        on_click="ignore",
        help="Tells kinds and ranks: keep it from experts who still judge.",
    )


def _agreement(result: AuditResult) -> list[tuple[str, str]]:
    if result.agreement is None:
        return []
    found = result.agreement
    return [
        (
            "Agreement, alpha",
            (
                f"{decimal(found.estimate)} ({decimal(found.low)} to {decimal(found.high)})"
                if found.low is not None
                else decimal(found.estimate)
            ),
        )
    ]


def _by_unit(result: AuditResult) -> pd.DataFrame:
    """A row a unit: its words, precision of the three kinds, and the difference."""
    rows: dict[int, dict[str, object]] = {}
    for share in result.units:
        row = rows.setdefault(
            share.unit or 0, {"Unit": unit_name(share.unit or 0), "Label": share.label}
        )
        row[share.kind.capitalize()] = share.text()
        if share.kind == "top":
            row["gap"] = result.difference_of(share.unit).short()
    return pd.DataFrame(list(rows.values())).rename(columns={"gap": "Top minus random"})[
        ["Unit", "Label", "Top", "Middle", "Random", "Top minus random"]
    ]
