"""Reading study: design, leakage check, freezing, monitoring, results, and replay."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.store import run_table
from core.store.labels.label_sets import DEFAULT_SET
from core.store.reading import protocol_table
from core.store.reading.protocol_states import DRAFT_STATES, OPEN_STATES
from core.store.reading.protocol_table import Protocol
from dashboard.server import context, identity
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.stage_stepper import render_stages
from dashboard.ui.study_words import image_nouns
from dashboard.views.flash_messages import show_flash, version_title
from dashboard.views.reading_conduct import (
    render_check_and_freeze,
    render_monitor,
    render_protocol_download,
)
from dashboard.views.reading_design import STUDY_CHOICE, render_design_form
from dashboard.views.reading_replay import render_replay
from dashboard.views.reading_results import render_results
from evaluation.reading_study import workflow

_SEEN_RESULTS = "versions whose results were seen"
_NEW, _REPLAY = "New design", "Replay a published study"


def _render_heading(protocol: Protocol | None, run: str | None) -> None:
    """Render the heading; run: the explain run on which the study is based."""
    note = "a blinded test of whether explanations carry information"
    if protocol is not None:
        hash_text = f", hash {protocol.hash[:12]}" if protocol.hash else ""
        note = f"{version_title(protocol)}: {protocol.state}{hash_text}"
    # The labels that the design names decide, not those that the study uses by default.
    label_set = workflow.protocol_design(protocol).label_set if protocol else DEFAULT_SET
    simulated = {
        "answers": bool(protocol and protocol.simulated),
        "images or labels": run is not None
        and cached_result(workflow.has_simulated_material, run, label_set),
    }
    elements.page_heading("Reading study", note, simulated)


def _render_design(explain: str | None) -> None:
    if explain is None:
        elements.stop_without_result(
            f"A reading study needs explained {image_nouns()} and named units.", "explain"
        )
    render_stages(None)
    render_design_form(explain)


def _render_stage(protocol: Protocol) -> None:
    """Render the stages of a version, and the one that it has reached."""
    if protocol.state in DRAFT_STATES:
        render_stages(protocol)
        render_check_and_freeze(protocol)
    elif protocol.state in OPEN_STATES:
        render_stages(protocol)
        render_monitor(protocol)
    else:
        user = identity.current_identity().code
        _log_lookup(protocol, user)
        try:
            protocol, score = cached_result(
                workflow.score_protocol, protocol.protocol, protocol.version, user
            )
        except UserError as error:
            render_stages(protocol)
            st.warning(elements.escape_markdown(str(error)))
            return
        # Here, because opening the results for the first time changes the state.
        render_stages(protocol)
        render_results(protocol, score)
        render_protocol_download(protocol)


def _log_lookup(protocol: Protocol, user: str) -> None:
    """Log a look at results, once a visit and version, before they are computed and kept."""
    seen = st.session_state.setdefault(_SEEN_RESULTS, set())
    if (protocol.protocol, protocol.version) not in seen:
        seen.add((protocol.protocol, protocol.version))
        workflow.log_lookup(context.served_study(), protocol, user)


identity.require_role("team")
theme.apply_team_style()
_protocols = {
    version_title(protocol): protocol
    for protocol in reversed(cached_query(protocol_table.list_protocols))
}
_explain = cached_query(run_table.latest_run, "explain")
_title_column, _choice_column = st.columns([3, 2], vertical_alignment="center")
_choice = _choice_column.selectbox(
    "Study",
    [*_protocols, _NEW, _REPLAY],
    label_visibility="collapsed",
    key=STUDY_CHOICE,
    bind="query-params",
)
_protocol = _protocols.get(_choice)
with _title_column:
    _new_run = _explain if _choice == _NEW else None
    _render_heading(_protocol, _protocol.run if _protocol else _new_run)
show_flash()
if _choice == _REPLAY:
    render_replay()
elif _protocol is None:
    _render_design(_explain)
else:
    _render_stage(_protocol)
