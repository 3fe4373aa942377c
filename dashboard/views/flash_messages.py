"""Messages that outlive the run in which they arose, and what a version of a reading study is
called in the list.
"""

from __future__ import annotations

from typing import Protocol

import streamlit as st

from dashboard.ui import elements

_KEY = "reading_note"


class Versioned(Protocol):
    """Anything that is a version of a protocol."""

    @property
    def protocol(self) -> str: ...

    @property
    def version(self) -> int: ...


def name_of(found: Versioned) -> str:
    """As the list of studies calls it."""
    return f"{found.protocol}, version {found.version}"


def leave(text: str, bad: bool = False) -> None:
    """Keep a message for the next run."""
    st.session_state[_KEY] = (text, bad)


def show() -> None:
    """Show what was left, once."""
    text, bad = st.session_state.pop(_KEY, ("", False))
    if text:
        (st.error if bad else st.success)(elements.plain(text))
