"""Who is asking: read from the headers that the gate sets and that no client can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

ROLE_HEADER, WHO_HEADER = "x-auth-role", "x-auth-who"
FORBIDDEN = (
    "This page is not part of your invitation. Open your own link, or ask the research team."
)


@dataclass(frozen=True)
class Identity:
    """A code and one role: "team", "annotator", "reader", or "" for nobody."""

    code: str
    role: str


def from_headers(headers: Mapping[str, str]) -> Identity:
    """The identity in the gate's headers (names in any case)."""
    return Identity(headers.get(WHO_HEADER) or "", headers.get(ROLE_HEADER) or "")


def current() -> Identity:
    """Who the running script answers."""
    return from_headers(st.context.headers)


def require(*roles: str) -> Identity:
    """First line of every page: whoever has none of these roles gets a sentence and nothing else."""
    who = current()
    if who.role not in roles:
        st.error(FORBIDDEN)
        st.stop()
    return who
