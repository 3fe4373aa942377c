"""A stand-in for Streamlit, for views that are rendered without a page."""

from __future__ import annotations

from unittest.mock import MagicMock


def page_stub() -> MagicMock:
    """Return a stand-in for Streamlit whose columns can be entered."""
    stub = MagicMock()
    stub.columns.side_effect = lambda widths, **_: [
        MagicMock() for _ in range(widths if isinstance(widths, int) else len(widths))
    ]
    return stub
