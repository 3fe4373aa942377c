"""The identity of a request, read from headers that only the access control can set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

ROLE_HEADER, CODE_HEADER = "x-auth-role", "x-auth-who"
FORBIDDEN = (
    "This page is not part of your invitation. Open your own link, or ask the research team."
)


@dataclass(frozen=True)
class Identity:
    """A participant code and one role: "team", "annotator", "reader", or "" without a session."""

    code: str
    role: str


def identity_from_headers(headers: Mapping[str, str]) -> Identity:
    """Return the identity in the headers of a request; header names are case-insensitive."""
    return Identity(headers.get(CODE_HEADER) or "", headers.get(ROLE_HEADER) or "")


def current_identity() -> Identity:
    """Return the identity for which Streamlit runs the current script."""
    return identity_from_headers(st.context.headers)


def require_role(*roles: str) -> Identity:
    """Stop the page with an error unless the user has one of the given roles.

    Every page calls this first, although the access control checks the address: a websocket can
    request any page of the app by its hash.
    """
    identity = current_identity()
    if identity.role not in roles:
        st.error(FORBIDDEN)
        st.stop()
    return identity
