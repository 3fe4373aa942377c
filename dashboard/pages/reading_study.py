"""Reading study: design, lint, freeze, monitor, results; and the replay of somebody else's."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.store import reading_table, run_table
from dashboard.server import identity
from dashboard.ui import cached_queries, elements
from dashboard.views import (
    flash_messages,
    reading_conduct,
    reading_design,
    reading_replay,
    reading_results,
)
from evaluation.reading_study import workflow

identity.require("team")
elements.page()
protocols = cached_queries.ask(reading_table.protocols)[::-1]
explain = cached_queries.ask(run_table.latest, "explain")
NEW, REPLAY = "New design", "Replay a published study"
names = {flash_messages.name_of(p): p for p in protocols}
left, right = st.columns([3, 2], vertical_alignment="center")
chosen = right.selectbox(
    "Study", [*names, NEW, REPLAY], label_visibility="collapsed", key="study", bind="query-params"
)
protocol = names.get(chosen)
with left:
    note = (
        f"{protocol.protocol}, version {protocol.version}: {protocol.state}"
        + (f", hash {protocol.hash[:12]}" if protocol.hash else "")
        if protocol
        else "a blinded test of whether explanations carry information"
    )
    rests_on = protocol.run if protocol else explain if chosen == NEW else None
    synthetic = bool(rests_on) and cached_queries.compute(workflow.synthetic, rests_on)
    elements.heading("Reading study", note, bool(protocol and protocol.simulated) or synthetic)
flash_messages.show()
if chosen == REPLAY:
    reading_replay.show()
elif protocol is None:
    if explain is None:
        elements.empty(
            "A reading study needs explained mammograms and named units.", "deepminer explain"
        )
    reading_design.show(explain)
elif protocol.state in ("design", "lint"):
    reading_conduct.lint_and_freeze(protocol)
elif protocol.state == "frozen":
    reading_conduct.monitor(protocol)
else:
    try:
        reading_results.show(
            protocol, cached_queries.compute(workflow.scored, protocol.protocol)[1]
        )
        reading_conduct.pdf_button(protocol)
    except UserError as error:
        st.warning(str(error))
