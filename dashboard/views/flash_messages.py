"""Messages that are shown in the next run of a page, and how pages name a protocol version."""

from __future__ import annotations

from typing import Protocol

import streamlit as st

from dashboard.ui import elements

_KEY = "flash_message"


class Versioned(Protocol):
    """A version of a protocol."""

    @property
    def protocol(self) -> str:
        """Name of the reading study."""

    @property
    def version(self) -> int:
        """Version, from 1."""


def version_title(version: Versioned) -> str:
    """Return the name of a version in the list of studies."""
    return f"{version.protocol}, version {version.version}"


def flash(text: str, error: bool = False) -> None:
    """Keep a message for the next run, which a callback or `st.rerun` starts."""
    st.session_state[_KEY] = (text, error)


def show_flash() -> None:
    """Write the kept message once, as text without Markdown."""
    text, error = st.session_state.pop(_KEY, ("", False))
    if text:
        (st.error if error else st.success)(elements.escape_markdown(text))
