"""Comments of the team on a unit or a case, with author and time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from core import store
from core.errors import UserError
from core.store.connection import Connection
from core.store.labels import comment_table
from dashboard.server import context, identity
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query

_Change = Callable[[Connection], None]


def render_unit_comments(dissect: str, unit: int) -> None:
    """Render the comments on a unit, and a form for a further one."""
    comments = cached_query(comment_table.load_unit_comments, dissect, unit)
    actor = identity.current_identity().code
    _render_comments(
        comments,
        lambda text: partial(
            comment_table.add_unit_comment, run=dissect, unit=unit, text=text, actor=actor
        ),
    )


def render_case_comments(mammogram_id: str) -> None:
    """Render the comments on a mammogram, and a form for a further one."""
    comments = cached_query(comment_table.load_case_comments, mammogram_id)
    actor = identity.current_identity().code
    _render_comments(
        comments,
        lambda text: partial(
            comment_table.add_case_comment, mammogram_id=mammogram_id, text=text, actor=actor
        ),
    )


def _render_comments(comments: pd.DataFrame, new_comment: Callable[[str], _Change]) -> None:
    """Render comments and the form; new_comment: text to the change that stores it."""
    for comment in comments.to_dict("records"):
        text_column, button = st.columns([5, 2], vertical_alignment="center")
        with text_column:
            st.html(
                f'<div class="dm-text">{elements.escape_html(comment["comment"])}<br>'
                f'<span class="dm-mute">{elements.escape_html(comment["actor"])},'
                f" {comment['time']:%d %b %Y, %H:%M} UTC</span></div>"
            )
        if button.button("Remove", key=f"remove_comment_{comment['number']}"):
            actor = identity.current_identity().code
            _store(
                partial(comment_table.remove_comment, number=int(comment["number"]), actor=actor)
            )
    with st.form("comment", border=False, clear_on_submit=True):
        text = st.text_area(
            "Comment of the team",
            max_chars=comment_table.MAX_COMMENT_CHARACTERS,
            height=80,
            help="Experts and readers never see it. No names of patients. Export: deepminer labels"
            " comments FILE.",
        )
        if st.form_submit_button("Add comment") and text.strip():
            _store(new_comment(text))


def _store(change: _Change) -> None:
    try:
        with store.write(context.served_study()) as con:
            change(con)
    except UserError as error:
        st.error(elements.escape_markdown(str(error)))
    else:
        st.rerun()
