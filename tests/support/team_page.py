"""A team page opened with Streamlit's AppTest: its text, its buttons, and how to open it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamlit.testing.v1 import AppTest

Open = Callable[..., AppTest]
_TEXT_KINDS = ("html", "markdown", "caption", "info", "warning", "error", "code")


def page_text(page: AppTest) -> str:
    """Return all text of a page, with its HTML."""
    return " ".join(
        str(getattr(element, "body", None) or element.value)
        for kind in _TEXT_KINDS
        for element in page.get(kind)
        if hasattr(element, "value") or hasattr(element, "body")
    )


def button(page: AppTest, label: str) -> Any:
    """Return the button whose label starts with a text."""
    return next(element for element in page.button if element.label.startswith(label))


def open_section(page: AppTest, title: str) -> None:
    """Open a tab of the Annotations page."""
    page.session_state["section"] = title
    page.run()


def choose_study(page: AppTest, title: str) -> None:
    """Choose an entry of the list of the Reading study page."""
    page.selectbox(key="study").set_value(title).run()
