"""The group of a unit on its page: the units that respond to the same thing."""

from __future__ import annotations

import streamlit as st

from core import store
from core.class_labels import unit_name
from core.errors import UserError
from core.store.labels import group_table
from dashboard.server import context, identity
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query

_MAX_NAMED = 8


def render_group(dissect: str, unit: int) -> None:
    """Render the other units of a unit's group, and a way to separate it or to undo that."""
    groups = cached_query(group_table.load_groups, dissect)
    if groups is None:
        return
    group = next(members for members in groups if unit in members)
    is_separated = unit in cached_query(group_table.separated_units, dissect)
    elements.section_heading("Group", "units that respond to the same thing")
    others = [unit_name(other) for other in group if other != unit]
    if others:
        more = f" and {len(others) - _MAX_NAMED} more" if len(others) > _MAX_NAMED else ""
        st.caption(f"With {', '.join(others[:_MAX_NAMED])}{more}.")
        if st.button("Separate from group", help="The answers that it got with its group stay."):
            _change(dissect, unit, separate=True)
    else:
        st.caption("Separated from its group by hand." if is_separated else "No similar unit.")
    if is_separated and st.button("Undo separation"):
        _change(dissect, unit, separate=False)


def _change(dissect: str, unit: int, *, separate: bool) -> None:
    actor = identity.current_identity().code
    try:
        with store.write(context.served_study()) as con:
            if separate:
                group_table.separate_units(con, dissect, [unit], actor)
            else:
                group_table.rejoin_unit(con, dissect, unit, actor)
    except UserError as error:
        st.error(str(error))
    else:
        st.rerun()
