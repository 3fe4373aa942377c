"""Tab "Adjudication" of the Annotations page: decide where the experts' answers differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core import store
from core.class_labels import unit_name
from core.errors import UserError
from core.lexicon import annotation_answers
from core.settings import load_settings
from core.store.labels import decision_table, finished_annotators, group_table, label_states
from dashboard.components import patch_tiles
from dashboard.server import context
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.views.units.details import tile_items
from evaluation.annotation.category_agreement import Disagreement, list_disagreements
from evaluation.queries import units

# Letters name the answers, so that the adjudicator does not see whose they are. E and M are keys of
# the buttons "Write" and "Merge"; Streamlit reserves C and R.
_LETTERS = "ABDFGHIJKL"
_POSITION_STATE = "dispute"
_FORM_STATE = "writing"


def render_adjudication(run: str, user: str) -> None:
    """Render disagreements of experts who have finished, and earlier decisions with their undo.

    A decision never changes the answers that it is based on.
    """
    answers = cached_query(finished_annotators.load_finished_answers, run)
    disagreements = list_disagreements(answers)
    decisions = cached_query(decision_table.load_decisions, run)
    if not disagreements and not len(decisions):
        st.info(
            "Nothing to adjudicate: no unit has been answered by two experts who have finished."
        )
        return
    disputed = set(cached_query(label_states.disputed_units, run))
    waiting = [d for d in disagreements if d.unit in disputed]
    agreed = cached_query(label_states.count_label_states, run)[label_states.AGREED]
    elements.section_heading(
        "Adjudication",
        f"{len(waiting)} disagreements left, {len(decisions)} decided, {agreed} labels agreed",
    )
    if waiting:
        _render_waiting(run, waiting, user)
    if len(decisions):
        _render_decisions(run, decisions, user)


def _render_waiting(run: str, waiting: Sequence[Disagreement], user: str) -> None:
    """Render one disagreement and the buttons "Next" and "Write"."""
    # A decision shortens the list, so that the position can lie beyond its end.
    position = min(st.session_state.get(_POSITION_STATE, 0), len(waiting) - 1)
    title, next_column, write_column = st.columns([4, 1, 1], vertical_alignment="center")
    title.caption(f"{unit_name(waiting[position].unit)}: {position + 1} of {len(waiting)}")
    next_column.button(
        "Next", width="stretch", on_click=_go_to, args=((position + 1) % len(waiting),)
    )
    write_column.button("Write", shortcut="e", width="stretch", on_click=_toggle_form)
    _render_disagreement(run, _decided_together(run, waiting[position], waiting), user)


def _decided_together(
    run: str, disagreement: Disagreement, waiting: Sequence[Disagreement]
) -> list[Disagreement]:
    """Render the choice to decide for the whole group of a unit; return what is decided at once.

    The unit comes first.
    """
    groups = cached_query(group_table.load_groups, run) or ()
    group = next((members for members in groups if disagreement.unit in members), ())
    others = [d for d in waiting if d.unit in group and d.unit != disagreement.unit]
    if not others:
        return [disagreement]
    names = ", ".join(unit_name(other.unit) for other in others)
    together = st.checkbox(
        f"Decide for its group as well: {names}",
        key="whole_group",
        help="These units respond alike, and experts differ on them too. Each can be undone.",
    )
    return [disagreement, *others] if together else [disagreement]


def _go_to(position: int) -> None:
    st.session_state[_POSITION_STATE] = position


def _is_form_open() -> bool:
    return bool(st.session_state.get(_FORM_STATE, False))


def _toggle_form() -> None:
    st.session_state[_FORM_STATE] = not _is_form_open()


def _render_disagreement(run: str, together: Sequence[Disagreement], user: str) -> None:
    """Render patches and answers of the first unit, and the ways to decide for all units."""
    disagreement = together[0]
    left, middle, right = st.columns([604, 300, 328], gap="small")
    items = _patch_items(run, disagreement.unit)
    with left:
        patch_tiles.show_patch_tiles(items, key="tiles")
    with middle:
        patch_tiles.show_patch_mammogram(items[0], key="mammogram", height=370)
    with right:
        for letter, (_, _, answer) in zip(_LETTERS, disagreement.answers):
            text = elements.escape_html(_answer_text(answer))
            st.html(f"<p><b>{letter}</b>&ensp;{text}</p>")
        labels = [answer["label"] for _, _, answer in disagreement.answers]
        merged = "; ".join(dict.fromkeys(label for label in labels if label))
        *accept_columns, merge_column = st.columns(len(labels) + 1)
        for letter, label, column in zip(_LETTERS, labels, accept_columns):
            column.button(
                f"Accept {letter}",
                key=f"accept_{letter}",
                shortcut=letter.lower(),
                width="stretch",
                on_click=_decide,
                args=(run, together, label, f"answer {letter} accepted", user),
            )
        merge_column.button(
            "Merge",
            key="merge",
            shortcut="m",
            width="stretch",
            on_click=_decide,
            args=(run, together, merged, "answers merged", user),
        )
        if _is_form_open():
            _render_form(run, together, merged, user)


def _render_form(run: str, together: Sequence[Disagreement], suggestion: str, user: str) -> None:
    """Render the form for a label of the adjudicator's own, which needs a reason."""
    with st.form("write", border=True, clear_on_submit=True):
        label = st.text_input("Label", value=suggestion, max_chars=200)
        reason = st.text_input(
            "Reason", max_chars=400, help="Stored with the decision, marked as the adjudicator's."
        )
        if st.form_submit_button("Decide", type="primary"):
            if reason.strip():
                _decide(run, together, label, reason, user)
                _toggle_form()
                st.rerun()
            st.error("A label of your own needs a reason.")


def _decide(run: str, together: Sequence[Disagreement], label: str, reason: str, user: str) -> None:
    """Record one label for all units; it rests on the answers with this label, else on all."""
    with store.write(context.served_study()) as con:
        for disagreement in together:
            equal = [id_ for _, id_, answer in disagreement.answers if answer["label"] == label]
            sources = equal or [id_ for _, id_, _ in disagreement.answers]
            decision_table.record_decision(
                con, run, disagreement.unit, label, sources, reason, user
            )


def _answer_text(answer: dict[str, Any]) -> str:
    """Return an answer as the adjudicator reads it."""
    if not annotation_answers.is_substantive(answer):
        return answer["recognisable"].capitalize()
    return answer["label"] + (f" (own words: {answer['words']})" if answer["words"] else "")


def _patch_items(run: str, unit: int) -> list[dict[str, Any]]:
    """Return the unit's top patches as the annotators see them: without class and patient."""
    # The annotation page highlights by the current settings, not by those of the run.
    threshold = load_settings(context.served_study()).dissection.threshold
    details = cached_result(units.unit_details, run, unit)
    top = details["top"].head(units.CONTEXT_PATCHES)
    items = tile_items(run, top, threshold * float(details["largest"]))
    return [
        {**item, "name": f"patch {rank}", "left": f"Rank {rank}", "right": "", "note": ""}
        for rank, item in enumerate(items, start=1)
    ]


def _render_decisions(run: str, decisions: pd.DataFrame, user: str) -> None:
    """Render the decisions that count, and a way to take back the last one on a unit."""
    elements.section_heading("Decided")
    table = pd.DataFrame(
        {
            "Unit": [unit_name(int(unit)) for unit in decisions["unit"]],
            "Label": decisions["label"],
            "Reason": decisions["reason"],
            "By": decisions["decided_by"],
            "When": decisions["made"],
        }
    )
    elements.data_table(table, hide_index=True, width="stretch")
    labels = dict(zip(decisions["unit"], decisions["label"]))
    choice, button = st.columns([4, 1], vertical_alignment="bottom")
    unit = choice.selectbox(
        "Decision to undo",
        list(labels),
        format_func=lambda unit: f"{unit_name(int(unit))}: {labels[unit][:60] or 'no label'}",
    )
    if button.button("Undo", key="undo_decision", width="stretch"):
        try:
            with store.write(context.served_study()) as con:
                decision_table.undo_decision(con, run, int(unit), user)
        except UserError as error:
            # Another window was faster.
            st.error(str(error))
        else:
            st.rerun()
