"""Which experts have finished, on the Annotations page, and the mark of a person who left."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core import store
from core.errors import UserError
from core.store.labels import finished_annotators
from core.store.labels.finished_annotators import AnnotatorState
from dashboard.server import context
from dashboard.ui.cached_queries import cached_query

_STATE_TEXTS = {
    finished_annotators.UNFINISHED: "unfinished, does not count",
    finished_annotators.COMPLETE: "finished",
    finished_annotators.IMPORTED: "imported, counts",
}

_ACTIONS: dict[str, Callable[..., None]] = {
    "mark_finished": finished_annotators.mark_finished,
    "undo_mark": finished_annotators.undo_mark,
}


def state_text(state: AnnotatorState) -> str:
    """Return the state of an expert for the table of progress."""
    if state.until is not None:
        return f"counts until {state.until:%d %b, %H:%M} UTC ({state.marked_by})"
    return _STATE_TEXTS[state.state]


def render_finish_controls(run: str, user: str) -> None:
    """Render the buttons that let the answers of a person who left count, and that undo it."""
    states = cached_query(finished_annotators.annotator_states, run).values()
    unfinished = [s.code for s in states if s.state == finished_annotators.UNFINISHED]
    marked = [s.code for s in states if s.state == finished_annotators.MARKED]
    if unfinished:
        st.caption(
            "Answers count once an expert has answered every selected unit. For a person who will"
            " not return, the answers given so far can count; this can be undone."
        )
        _render_choice(
            "Unfinished expert", unfinished, "Count the answers so far", "mark_finished", run, user
        )
    if marked:
        _render_choice("Expert whose answers count early", marked, "Undo", "undo_mark", run, user)


def _render_choice(
    title: str, codes: list[str], label: str, action: str, run: str, user: str
) -> None:
    choice, button, _ = st.columns([2, 1, 2], vertical_alignment="bottom")
    code = choice.selectbox(title, codes, key=f"{action}_code")
    if button.button(label, key=action, width="stretch"):
        try:
            with store.write(context.served_study()) as con:
                _ACTIONS[action](con, run, code, user)
        except UserError as error:
            # Another window was faster.
            st.error(str(error))
        else:
            st.rerun()
