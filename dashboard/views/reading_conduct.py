"""Stages 2 to 4: lint the cases, freeze, monitor, close."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.class_labels import SPLIT_NAMES
from core.errors import UserError
from core.store import reading_table
from core.store.reading_table import Protocol
from dashboard.server import context, identity
from dashboard.ui import cached_queries, elements
from dashboard.views import flash_messages
from dashboard.views.reading_design import ARM_NAMES, PRIMARY_NAMES, RULE_NAMES
from evaluation.intervals import counted
from evaluation.reading_study import workflow
from evaluation.reading_study.leakage_checks import ERROR, WARNING, Finding, stops
from evaluation.reading_study.narrative import SIDES


def findings_table(findings: list[dict]) -> None:
    """Linter findings, errors first."""
    state = {"error": "failed", "warning": "stale", "note": "missing"}
    rows = [
        {
            "": f'<span class="dm-badge {state[f["severity"]]}">{f["severity"]}</span>',
            "Field": elements.text(f["field"]),
            "Finding": elements.text(f["finding"]),
        }
        for f in findings
    ]
    elements.table(pd.DataFrame(rows), left=True)


def _fixed(protocol: Protocol) -> str:
    """What freezing fixes, in a sentence: test, side, truth rule, exclusions, seed."""
    d = workflow.design_of(protocol)
    of_patient = (
        "all images" if d.images_per_patient is None else counted(d.images_per_patient, "image")
    )
    return (
        f"Primary analysis {PRIMARY_NAMES[d.primary]}, {SIDES[d.side]}, alpha {d.alpha:g}; truth"
        f" rule {RULE_NAMES[d.truth_rule]}, cases whose truth rules differ"
        f" {'left out' if d.discrepant == 'out' else 'kept'}; {SPLIT_NAMES[d.split]} split,"
        f" {of_patient} a patient; arms {', '.join(ARM_NAMES[arm].lower() for arm in d.arms)};"
        f" {counted(d.readers, 'reader')}; seed {d.seed}."
    )


def lint_and_freeze(protocol: Protocol) -> None:
    """Lint, reasons for warnings, freeze by typing the name."""
    who = identity.current().code
    st.caption(
        _fixed(protocol)
        + " The linter asks whether anything shown predicts truth or the network's score."
    )
    if st.button(
        "Lint" if protocol.state == "design" else "Lint again",
        type="primary" if protocol.state == "design" else "secondary",
    ):
        linted = workflow.run_lint(
            context.current(), protocol.protocol, who, st.session_state.get("reviewed", "")
        )[1]
        counts = [sum(f.severity == severity for f in linted) for severity in (ERROR, WARNING)]
        flash_messages.leave(
            f"Linted: {counted(counts[0], 'error')}, {counted(counts[1], 'warning')}.",
            bad=counts[0] > 0,
        )
        st.rerun()
    if protocol.state != "lint":
        return
    findings_table(protocol.lint)
    found = [Finding(**f) for f in protocol.lint]
    if any(f.field == "truth" and f.finding.endswith("nobody reviewed") for f in found):
        st.text_input(
            "What did you find in the cases whose truth rules differ? Then lint again.",
            key="reviewed",
            max_chars=300,
        )
    if stops(found):
        st.error("Errors stop this study. Change the design, save it and lint again.")
        return
    reasons = {
        f"{f.field}: {f.finding}": st.text_input(
            elements.plain(f"Why is this acceptable? {f.field}: {f.finding}"),
            key=f"reason_{i}",
            max_chars=300,
        )
        for i, f in enumerate(found)
        if f.severity == WARNING
    }
    open_one = cached_queries.ask(reading_table.open_protocol)
    if open_one is not None:
        st.warning(
            f"{elements.plain(flash_messages.name_of(open_one))} is frozen and not closed. Readers who have"
            " begun it stay with it until they finish it or it is closed; everybody else will read"
            " this one."
        )
    refusal = st.empty()  # above the button, which stands at the lower edge of the window
    typed = st.text_input(
        "Type the study's name to freeze it",
        key="freeze_name",
        help="After freezing nothing can change; a change makes a new version",
    )
    if st.button("Freeze", type="primary", disabled=typed != protocol.protocol):
        lacking = [finding for finding, reason in reasons.items() if not reason.strip()]
        if lacking:
            more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
            refusal.error(
                elements.plain(f"Not frozen: a warning without a reason{more}: {lacking[0]}")
            )
            return
        try:
            frozen = workflow.freeze(context.current(), protocol.protocol, who, reasons)
        except UserError as error:
            refusal.error(elements.plain(str(error)))
            return
        flash_messages.leave(f"Frozen. Hash {frozen.hash}. Invite readers on the People page.")
        st.rerun()


def pdf_button(protocol: Protocol) -> None:
    """The frozen protocol to take away."""

    simulated = protocol.simulated or (
        bool(protocol.run) and cached_queries.compute(workflow.synthetic, protocol.run)
    )

    def drawn() -> bytes:
        from evaluation.reporting.protocol_pdf import (
            protocol_pdf,  # the print library: a second that only who asks for it waits
        )

        return protocol_pdf(protocol, simulated)

    st.download_button(
        "Protocol, PDF",
        drawn,
        f"protocol-{protocol.hash[:12]}.pdf",
        "application/pdf",
        on_click="ignore",
        help="every setting, the linter's warnings with your reasons, and the hash",
    )


def monitor(protocol: Protocol) -> None:
    """Progress without any result; closing, typed and logged."""
    st.caption(
        _fixed(protocol)
        + " No accuracy, no balance of answers, no comparison with the network before closing."
    )
    pdf_button(protocol)
    progress = cached_queries.ask(reading_table.progress, protocol.protocol, protocol.version)
    if len(progress):
        names = {
            "code": "Reader",
            "total": "Cases",
            "done": "Done",
            "missing": "Missing",
            "median_seconds": "Median s",
            "corrections": "Corrections",
            "last_seen": "Last seen",
            "simulated": "Simulated",
        }
        formats = {
            "Median s": st.column_config.NumberColumn(format="%.1f"),
            "Last seen": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
        }
        st.dataframe(progress.rename(columns=names), hide_index=True, column_config=formats)
    else:
        st.info(
            "Nobody has read yet. Invite readers on the People page; their link opens the first"
            " case."
        )
    with st.expander("Close and unblind"):
        left = int(progress["missing"].sum()) if len(progress) else 0
        lost = (
            f" {counted(left, 'answer')} of readers who have begun {'is' if left == 1 else 'are'}"
            " still missing."
            if left
            else ""
        )
        st.caption(
            "Ends answering for everybody, opens the results for the team, and is written to the"
            f" log.{lost}"
        )
        typed = st.text_input("Type the study's name to close it", key="close_name")
        if st.button("Close and unblind", type="primary", disabled=typed != protocol.protocol):
            try:
                workflow.close(context.current(), protocol.protocol, identity.current().code)
            except UserError as error:
                st.error(str(error))
                return
            flash_messages.leave("Closed and unblinded. No further answers are taken.")
            st.rerun()
