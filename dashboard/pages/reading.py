"""Reading study: design, lint, freeze, monitor, results; and the replay of somebody else's."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.store import readings
from core.store import runs as run_table
from dashboard import identity, load, parts
from dashboard.reading import design, freeze, notes, replay, results
from evaluation.steps import reading as stages

identity.require("team")
parts.page()
protocols = load.ask(readings.protocols)[::-1]
explain = load.ask(run_table.latest, "explain")
NEW, REPLAY = "New design", "Replay a published study"
names = {notes.name_of(p): p for p in protocols}
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
    synthetic = bool(rests_on) and load.compute(stages.synthetic, rests_on)
    parts.heading("Reading study", note, bool(protocol and protocol.simulated) or synthetic)
notes.show()
if chosen == REPLAY:
    replay.show()
elif protocol is None:
    if explain is None:
        parts.empty(
            "A reading study needs explained mammograms and named units.", "deepminer explain"
        )
    design.show(explain)
elif protocol.state in ("design", "lint"):
    freeze.lint_and_freeze(protocol)
elif protocol.state == "frozen":
    freeze.monitor(protocol)
else:
    try:
        results.show(protocol, load.compute(stages.scored, protocol.protocol)[1])
        freeze.pdf_button(protocol)
    except UserError as error:
        st.warning(str(error))
