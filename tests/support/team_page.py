"""A team page opened with AppTest, and its text."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

Open = Callable[..., AppTest]


def said(test: AppTest) -> str:
    """All text of a page."""
    kinds = ("html", "markdown", "caption", "info", "warning", "error", "code")
    return " ".join(
        str(getattr(element, "body", None) or element.value)
        for kind in kinds
        for element in test.get(kind)
        if hasattr(element, "value") or hasattr(element, "body")
    )
