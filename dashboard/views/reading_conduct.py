"""Stages "Check", "Freeze", "Read" and "Close" of a reading study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.class_labels import SPLIT_NAMES
from core.errors import UserError
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import DESIGN
from core.store.reading.protocol_table import Protocol
from dashboard.server import context, identity
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.views.advice.design_fields import advice_sentence, questions_sentence
from dashboard.views.flash_messages import flash, version_title
from dashboard.views.reading_design import ARM_NAMES, PRIMARY_NAMES, RULE_NAMES
from evaluation.intervals import count_text, decimal, percent
from evaluation.queries import provenance
from evaluation.reading_study import workflow
from evaluation.reading_study.leakage_issues import (
    ERROR,
    NOTE,
    WARNING,
    IssueCode,
    LeakageIssue,
    has_errors,
    parse_issues,
)
from evaluation.reading_study.narrative import SIDE_NAMES

_REVIEW_NOTE = "reviewed"  # key of the field for the review of conflicting truth rules
_BADGE_STATES = {ERROR: "failed", WARNING: "stale", NOTE: "missing"}


def render_issue_table(issues: Iterable[Mapping[str, Any]]) -> None:
    """Render issues of the leakage checks as stored: dicts with severity, field and finding."""
    rows = [
        {
            "": elements.state_badge(_BADGE_STATES[issue["severity"]], issue["severity"]),
            "Field": elements.escape_html(issue["field"]),
            "Finding": elements.escape_html(issue["finding"]),
        }
        for issue in issues
    ]
    elements.html_table(pd.DataFrame(rows), left=True)


def _fixed_settings(protocol: Protocol) -> str:
    """Return what freezing fixes: analysis, cases, arms, readers, seed, advice and questions."""
    design = workflow.protocol_design(protocol)
    images = (
        "all images"
        if design.images_per_patient is None
        else count_text(design.images_per_patient, "image")
    )
    discrepant = "excluded" if design.discrepant == "out" else "included"
    arms = ", ".join(ARM_NAMES[arm].lower() for arm in design.arms)
    return (
        f"Primary analysis {PRIMARY_NAMES[design.primary]}, {SIDE_NAMES[design.side]}, alpha"
        f" {design.alpha:g}; truth rule {RULE_NAMES[design.truth_rule]}, cases whose truth rules"
        f" differ {discrepant}; {SPLIT_NAMES[design.split]} split, {images} per patient; arms"
        f" {arms}; {count_text(design.readers, 'reader')}; seed {design.seed}."
        f"{advice_sentence(design)}{questions_sentence(design)}"
    )


def render_check_and_freeze(protocol: Protocol) -> None:
    """Render the leakage check, the reasons for its warnings, and freezing by typing the name."""
    st.caption(
        f"{_fixed_settings(protocol)} The leakage check tests whether anything that readers see"
        " predicts truth or the network's score."
    )
    is_first = protocol.state == DESIGN
    if st.button(
        f"Check version {protocol.version} {'for leakage' if is_first else 'again'}",
        type="primary" if is_first else "secondary",
    ):
        _run_leakage_check(protocol)
    if is_first:
        return
    render_issue_table(protocol.lint)
    issues = parse_issues(protocol.lint)
    if any(issue.code is IssueCode.TRUTH_CONFLICT for issue in issues):
        st.text_input(
            "Describe your review of the cases whose truth rules differ. Then check again.",
            key=_REVIEW_NOTE,
            max_chars=300,
        )
    if has_errors(issues):
        st.error("The study cannot be frozen with errors. Change the design, save and check again.")
        return
    reasons = _reason_fields(issues)
    _warn_of_open_study()
    _render_freeze(protocol, reasons)


def _run_leakage_check(protocol: Protocol) -> None:
    # With a review note, conflicting truth rules become a warning instead of an error.
    user, review = identity.current_identity().code, st.session_state.get(_REVIEW_NOTE, "")
    _, issues = workflow.check_protocol(
        context.served_study(), protocol.protocol, user, review, version=protocol.version
    )
    errors, warnings = (
        sum(issue.severity == severity for issue in issues) for severity in (ERROR, WARNING)
    )
    flash(
        f"Leakage check: {count_text(errors, 'error')}, {count_text(warnings, 'warning')}.",
        error=errors > 0,
    )
    st.rerun()


def _reason_fields(issues: Sequence[LeakageIssue]) -> dict[str, str]:
    """Render one field per warning; return the reasons by "field: finding"."""
    return {
        f"{issue.field}: {issue.finding}": st.text_input(
            elements.escape_markdown(f"Why is this acceptable? {issue.field}: {issue.finding}"),
            # Several warnings can have the same text, so that only their number is unique.
            key=f"reason_{number}",
            max_chars=300,
        )
        for number, issue in enumerate(issues)
        if issue.severity == WARNING
    }


def _warn_of_open_study() -> None:
    current = cached_query(protocol_table.newest_open_protocol)
    if current is not None:
        st.warning(
            f"{elements.escape_markdown(version_title(current))} is frozen and not closed. Readers"
            " who have started it continue with it until they finish or it is closed; all others"
            " will read this study."
        )


def _render_freeze(protocol: Protocol, reasons: Mapping[str, str]) -> None:
    # A message below the button would lie outside a window of 640 px.
    message = st.empty()
    typed = st.text_input(
        "Type the study's name to freeze it",
        key="freeze_name",
        help="A frozen version cannot change; a change makes a new version",
    )
    if not st.button(
        f"Freeze version {protocol.version}", type="primary", disabled=typed != protocol.protocol
    ):
        return
    missing = [warning for warning, reason in reasons.items() if not reason.strip()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        text = f"Not frozen: a warning without a reason{more}: {missing[0]}"
        message.error(elements.escape_markdown(text))
        return
    try:
        frozen = workflow.freeze_protocol(
            context.served_study(),
            protocol.protocol,
            identity.current_identity().code,
            reasons,
            version=protocol.version,
        )
    except UserError as error:
        message.error(elements.escape_markdown(str(error)))
        return
    flash(f"Frozen. Hash {frozen.hash}. Invite readers on the Participants page.")
    st.rerun()


def render_protocol_download(protocol: Protocol) -> None:
    """Render the button that downloads a frozen protocol as PDF."""
    simulated = protocol.simulated or (
        bool(protocol.run)
        and cached_result(
            workflow.has_simulated_material,
            protocol.run,
            workflow.protocol_design(protocol).label_set,
        )
    )

    study = context.served_study()

    def pdf() -> bytes:
        """Return the frozen protocol as a PDF."""
        # The PDF library takes a second to import: only a download waits for it.
        from evaluation.reporting.protocol_pdf import protocol_pdf

        return protocol_pdf(protocol, simulated, provenance.evidence_head(study))

    st.download_button(
        "Protocol, PDF",
        pdf,
        f"protocol-{protocol.hash[:12]}.pdf",
        "application/pdf",
        on_click="ignore",
        help="all settings, the warnings of the leakage check with your reasons, and the hash",
    )


def render_monitor(protocol: Protocol) -> None:
    """Render the progress of a frozen study, without any result, and closing it."""
    st.caption(
        f"{_fixed_settings(protocol)} No accuracy, no balance of answers, no comparison with the"
        " network before closing."
    )
    render_protocol_download(protocol)
    progress = cached_query(
        reading_table.reading_progress_by_reader, protocol.protocol, protocol.version
    )
    if len(progress):
        _render_progress(progress)
    else:
        st.info("No reader has begun. The link of a reader opens the instructions of this study.")
    coming = cached_query(workflow.next_look, protocol.protocol, protocol.version)
    if coming is not None:
        with st.expander(f"Interim look {coming.number} of {coming.looks - 1}"):
            _render_interim_look(protocol, coming)
    with st.expander(_closing_name(protocol)):
        _render_closing(protocol)


def _render_progress(progress: pd.DataFrame) -> None:
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
    # No column may reveal answers or results before the study is closed.
    formats = {
        "Median s": st.column_config.NumberColumn(format="%.1f"),
        "Last seen": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
    }
    elements.data_table(progress.rename(columns=names), hide_index=True, column_config=formats)


def _render_interim_look(protocol: Protocol, coming: workflow.NextLook) -> None:
    """Render the next planned look: when it is due, and taking it by typing the name."""
    st.caption(
        f"The design plans it at {percent(coming.needed, 0)} of the planned answers; there are"
        f" {percent(coming.information, 0)}. A look tells whether the study stops, and no estimate."
        " It is taken once and logged. If it crosses its boundary, the study is closed."
    )
    typed = st.text_input(
        "Type the study's name to take the look", key="look_name", disabled=not coming.is_due
    )
    allowed = coming.is_due and typed == protocol.protocol
    if not st.button("Take the interim look", disabled=not allowed):
        return
    try:
        _, decided = workflow.take_interim_look(
            context.served_study(),
            protocol.protocol,
            identity.current_identity().code,
            confirm=typed,
            version=protocol.version,
        )
    except UserError as error:
        st.error(elements.escape_markdown(str(error)))
        return
    decision = "Stop: the study is closed." if decided.stops else "Continue reading."
    flash(f"Interim look {decided.number}, boundary P {decimal(decided.boundary, 4)}. {decision}")
    st.rerun()


def _closing_name(protocol: Protocol) -> str:
    return f"Close and unblind version {protocol.version}"


def _render_closing(protocol: Protocol) -> None:
    """Render which answers are missing, and closing by typing the name."""
    st.caption(
        "Closing ends the reading for all readers, opens the results for the team, and is logged."
    )
    unanswered = cached_query(workflow.unanswered_sentence, protocol.protocol, protocol.version)
    if unanswered:
        st.caption(elements.escape_markdown(unanswered))
    typed = st.text_input("Type the study's name to close it", key="close_name")
    if st.button(_closing_name(protocol), type="primary", disabled=typed != protocol.protocol):
        try:
            workflow.close_protocol(
                context.served_study(),
                protocol.protocol,
                identity.current_identity().code,
                confirm=typed,
                version=protocol.version,
            )
        except UserError as error:
            st.error(elements.escape_markdown(str(error)))
            return
        flash("Closed and unblinded. No further answers are accepted.")
        st.rerun()
