"""Explanations: a mammogram, the class map, and the named units behind the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from core import lineage, store
from core.lineage import run_classes
from core.settings import load_settings
from core.store import run_table, unit_table
from core.store.labels import comment_table, label_sets
from dashboard.server import context, identity
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query, cached_result
from dashboard.ui.controls import class_choice
from dashboard.ui.study_words import image_noun
from dashboard.views.comments import render_case_comments
from dashboard.views.explanations.attention_weights import render_attention_weights
from dashboard.views.explanations.details import (
    render_class_faithfulness,
    render_decision,
    render_maps,
    render_notes,
    render_outside_warning,
    render_report_similarity,
    render_unit_strip,
)
from evaluation.queries import explanations

# The mammogram in the page's address; other pages link to it.
_ADDRESS_KEY = "film"
_REACHED_STATE = "walked_to"  # the mammogram that the buttons reached from a random one


@dataclass(frozen=True)
class _CaseSelection:
    """The mammograms of a group in seeded order, and the position of the one that is shown."""

    ids: list[str]
    position: int
    is_random: bool


def _render_controls(run: str) -> tuple[str, _CaseSelection, str]:
    """Render the controls, all in the address; return group, selection and label set."""
    title, kind_column, menu_column, count, previous_column, next_column, pick_column = st.columns(
        [1.6, 4.1, 2.6, 1.4, 1.3, 1.1, 2.4], vertical_alignment="center"
    )
    kind = _kind_control(kind_column, run)
    seed, label_set = _order_and_labels_menu(menu_column, run)
    with title:
        simulated = {
            "images": cached_result(lineage.has_simulated_images),
            "labels": cached_result(lineage.has_simulated_labels, run, label_set),
        }
        elements.page_heading("Explanations", simulated=simulated)
    selection = _select_case(run, kind, seed)
    total = len(selection.ids)
    count.caption(f"Image {selection.position + 1} of {total}" if total else "no image")
    _step_button(previous_column, "Previous", "ArrowLeft", selection, -1)
    _step_button(next_column, "Next", "ArrowRight", selection, 1)
    if total:
        _pick_button(pick_column, run, selection)
    return kind, selection, label_set


def _order_and_labels_menu(column: Any, run: str) -> tuple[int, str]:
    """Render the menu of the cases' order and of the label set; return the seed and the set."""
    # The title names the choices, which are in the session, or in the address at the first visit.
    seed = st.session_state.get("seed", st.query_params.get("seed", 1))
    names, sizes = _label_sets(run)
    chosen = st.session_state.get("labels", st.query_params.get("labels"))
    chosen = chosen if chosen in names else names[0]
    with column.popover(
        elements.escape_markdown(f"Seed {seed}, labels: {chosen}"), width="stretch"
    ):
        seed = st.number_input(
            "Seed of the random order of the cases", 1, 999, 1, key="seed", bind="query-params"
        )
        label_set = st.selectbox(
            "Labels that name the units",
            names,
            format_func=lambda name: f"{name} ({sizes[name]} units)",
            key="labels",
            bind="query-params",
        )
    return int(seed), label_set


def _kind_control(column: Any, run: str) -> str:
    """Render the groups: the classes by prediction, wrong decisions, all."""
    classes = cached_result(run_classes, run)
    titles = {name: name.capitalize() for name in reversed(classes.outputs.values())} | {
        "wrong": "Wrong",
        "all": "All",
    }
    return class_choice(
        column,
        "Cases",
        titles,
        default=classes.positive,
        key="kind",
        help_text="by the network's decision; Wrong: decision differs from the truth",
    )


def _select_case(run: str, kind: str, seed: int) -> _CaseSelection:
    """Return the case of the address, or the first case of the group.

    The first case of the seeded order and those that the buttons reach from it are random. A case
    that was opened from a list or an address is hand-picked, and so are its neighbours.
    """
    ids = list(cached_result(explanations.list_explained, run, kind, seed)["mammogram_id"])
    requested = st.query_params.get(_ADDRESS_KEY)
    if requested is None:
        return _CaseSelection(ids, 0, is_random=True)
    is_reached = st.session_state.get(_REACHED_STATE) == requested
    if requested in ids:
        return _CaseSelection(ids, ids.index(requested), is_reached)
    # A link can open a case of another group: all cases then replace the group.
    every_id = list(cached_result(explanations.list_explained, run, "all", seed)["mammogram_id"])
    if requested in every_id:
        return _CaseSelection(every_id, every_id.index(requested), is_random=False)
    return _CaseSelection(ids, 0, is_reached)


def _step_button(
    column: Any, title: str, shortcut: str, selection: _CaseSelection, step: int
) -> None:
    """Render a button to a neighbouring case."""
    position = selection.position + step
    is_valid = 0 <= position < len(selection.ids)
    if column.button(title, shortcut=shortcut, disabled=not is_valid):
        mammogram_id = selection.ids[position]
        st.query_params[_ADDRESS_KEY] = mammogram_id
        st.session_state[_REACHED_STATE] = mammogram_id if selection.is_random else None
        st.rerun()


def _pick_button(column: Any, run: str, selection: _CaseSelection) -> None:
    """Render the button that adds the case to the figure of explanations."""
    origin = "random" if selection.is_random else "hand-picked"
    if column.button(f"Add to figure, {origin}", type="primary", width="stretch"):
        user, mammogram_id = identity.current_identity().code, selection.ids[selection.position]
        with store.write(context.served_study()) as con:
            unit_table.record_figure_pick(con, run, mammogram_id, origin, user)
        st.toast("Added. Build the figure on the Figures page; it states how each case was chosen.")


def _label_sets(run: str) -> tuple[list[str], dict[str, int]]:
    """Return the names of the label sets, that of the explain run first, and their sizes."""
    own = cached_result(lineage.run_label_set, run)
    dissect = cached_result(lineage.ancestor_run, run, "dissect")
    sizes = cached_query(label_sets.list_label_sets, dissect)
    # The set of a participant who withdrew since is gone.
    return sorted(sizes, key=lambda name: name != own), sizes


def _render_case(run: str, mammogram_id: str, label_set: str) -> None:
    case = cached_result(explanations.load_explanation, run, mammogram_id, label_set)
    settings = load_settings(context.served_study())
    render_decision(case)
    render_outside_warning(case)
    if note := cached_result(lineage.influence_note, run):
        st.caption(note)
    render_maps(case, settings.explanation.printed)
    if not case.phenomena(1):
        st.info(
            f"None of the {len(case.unit_maps)} most influential units is labelled, so no text"
            " explanation is available. The top patches of the first are shown below."
        )
    render_attention_weights(cached_result(explanations.load_attention_weights, run, mammogram_id))
    render_unit_strip(run, case)
    render_notes(case)
    comments = len(cached_query(comment_table.load_case_comments, mammogram_id))
    with st.expander(f"Comments on this case ({comments})"):
        render_case_comments(mammogram_id)
    render_class_faithfulness(run, case)
    render_report_similarity(run, label_set)


identity.require_role("team")
theme.apply_team_style()
_run = cached_query(run_table.latest_run, "explain")
if _run is None:
    elements.page_heading("Explanations")
    elements.stop_without_result(f"No {image_noun()} has been explained yet.", "explain")
elements.image_level_note()
_kind, _selection, _label_set = _render_controls(_run)
if _selection.ids:
    _render_case(_run, _selection.ids[_selection.position], _label_set)
else:
    _group = "has a wrong decision" if _kind == "wrong" else f"is predicted {_kind}"
    st.info(f"No explained {image_noun()} {_group}; choose another group.")
