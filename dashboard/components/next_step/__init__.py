"""The next step of a study: a sentence, its command, and a button that copies the command."""

from __future__ import annotations

from dashboard.components.http import component_source


def show_next_step(sentence: str, command: str, full_command: str) -> None:
    """Show what to do next.

    command: as it is displayed; full_command: as it is copied, for a terminal in any folder.
    """
    import streamlit as st

    component = st.components.v2.component(
        "next_step",
        html=(
            '<div class="next" role="group" aria-label="Next step"><span class="what"></span>'
            '<code></code><button type="button">Copy command</button>'
            '<span class="status" role="status"></span></div>'
        ),
        css=component_source("next_step", "next_step.css"),
        js=component_source("next_step", "next_step.js"),
    )
    component(
        key="next_step",
        data={"sentence": sentence, "command": command, "full": full_command},
        height="content",
    )
