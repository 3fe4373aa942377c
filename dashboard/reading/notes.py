"""Messages that outlive the run in which they arose, and what a version of a reading study is called in the list."""

from __future__ import annotations

import re
from typing import Protocol

import streamlit as st

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


def plain(text: str) -> str:
    """Text that people typed, such as a study's name or a label, as it stands where Streamlit would read Markdown in it."""
    return re.sub(r"([\\`*_~$\[\]])", r"\\\1", text)


def leave(text: str, bad: bool = False) -> None:
    """Keep a message for the next run."""
    st.session_state[_KEY] = (text, bad)


def show() -> None:
    """Show what was left, once."""
    text, bad = st.session_state.pop(_KEY, ("", False))
    if text:
        (st.error if bad else st.success)(plain(text))
