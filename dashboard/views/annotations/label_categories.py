"""Tab "Categories" of the Annotations page: confirm the categories of labels in free text."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core import store
from core.annotation.unit_categories import CONFIRMED, CategorizedText, free_texts
from core.class_labels import unit_name
from core.errors import UserError
from core.store import dataset_table
from core.store.labels import category_table
from dashboard.server import context, image_routes
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query
from dashboard.ui.patch_images import top_patch_urls

_TILES = 16
_POSITION_STATE = "category_position"


def render_label_categories(run: str, user: str) -> None:
    """Render the texts that wait for confirmation one by one, and those that are confirmed."""
    texts = cached_query(free_texts, run)
    if not texts:
        st.info(
            "Every label has the categories that its annotator chose. Labels in free text appear"
            " here. They come from a file of labels (JSON or CSV), which is imported in a terminal:"
        )
        st.code(elements.with_study_option("deepminer labels import FILE"), language="bash")
        st.caption(
            "Raw answers of experts come first, then a consensus of the same units; nothing that"
            " was decided here is replaced."
        )
        return
    waiting = [text for text in texts if text.categories.state != CONFIRMED]
    confirmed = [text for text in texts if text.categories.state == CONFIRMED]
    elements.section_heading(
        "Categories of free text", f"{len(waiting)} proposed, {len(confirmed)} confirmed"
    )
    st.caption(
        "Categories are proposed from the words of a label. Until they are confirmed they are"
        " marked as proposed, and agreement does not count them."
    )
    if waiting:
        _render_waiting(run, waiting, user)
    if confirmed:
        _render_confirmed(run, confirmed, user)


def _render_waiting(run: str, waiting: Sequence[CategorizedText], user: str) -> None:
    """Render one text with its proposed categories."""
    titles = _category_titles()
    # A confirmation shortens the list, so that the position can lie beyond its end.
    position = min(st.session_state.get(_POSITION_STATE, 0), len(waiting) - 1)
    text = waiting[position]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        urls = top_patch_urls(run, [text.unit], _TILES, image_routes.TILE_PIXELS)[text.unit]
        images = "".join(f'<img src="{url}" alt="">' for url in urls)
        st.html(f'<div class="dm-patches">{images}</div>')
    with right:
        st.caption(
            f"{unit_name(text.unit)}: {position + 1} of {len(waiting)}, written by"
            f" {', '.join(text.sets)}"
        )
        st.html(f"<p><b>{elements.escape_html(text.text)}</b></p>")
        chosen = st.multiselect(
            "Categories",
            list(titles),
            default=list(text.categories.names),
            format_func=titles.__getitem__,
            # A key of its own for each text: the selection must not pass to the next one.
            key=f"categories_{position}_{category_table.label_key(text.text)[:8]}",
        )
        confirm, following = st.columns(2)
        if confirm.button("Confirm", type="primary", width="stretch", disabled=not chosen):
            with store.write(context.served_study()) as con:
                category_table.confirm_categories(con, run, text.unit, text.text, chosen, user)
            st.rerun()
        following.button(
            "Next",
            key="next_text",
            width="stretch",
            on_click=_go_to,
            args=((position + 1) % len(waiting),),
        )


def _category_titles() -> dict[str, str]:
    """Return the titles of the lexicon's categories by name."""
    lexicon = cached_query(dataset_table.load_lexicon)
    return {category.name: category.title for category in lexicon.categories}


def _go_to(position: int) -> None:
    st.session_state[_POSITION_STATE] = position


def _render_confirmed(run: str, confirmed: Sequence[CategorizedText], user: str) -> None:
    """Render the confirmed texts, and a way to undo one."""
    elements.section_heading("Confirmed")
    titles = _category_titles()
    table = pd.DataFrame(
        {
            "Unit": [unit_name(text.unit) for text in confirmed],
            "Text": [text.text for text in confirmed],
            "Written by": [", ".join(text.sets) for text in confirmed],
            "Categories": [
                ", ".join(map(titles.__getitem__, text.categories.names)) for text in confirmed
            ],
        }
    )
    elements.data_table(table, hide_index=True, width="stretch")
    choice, button = st.columns([4, 1], vertical_alignment="bottom")
    number = choice.selectbox(
        "Confirmation to undo",
        range(len(confirmed)),
        format_func=lambda k: f"{unit_name(confirmed[k].unit)}: {confirmed[k].text[:60]}",
    )
    if button.button("Undo", key="undo_category", width="stretch"):
        text = confirmed[number]
        try:
            with store.write(context.served_study()) as con:
                category_table.withdraw_confirmation(con, run, text.unit, text.text, user)
        except UserError as error:
            st.error(str(error))
        else:
            st.rerun()
