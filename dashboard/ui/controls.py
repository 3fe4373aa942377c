"""Controls without a visible label whose value is kept in the address of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def segment_choice(
    column: Any,
    label: str,
    names: Mapping[str, str],
    *,
    default: str,
    key: str,
    help_text: str | None = None,
) -> str:
    """Render a segmented control and return the selected key of `names`.

    column: Streamlit or one of its columns; names: key to visible name, which is in the address.
    """
    choice = column.segmented_control(
        label,
        list(names),
        default=default,
        required=True,
        label_visibility="collapsed",
        key=key,
        bind="query-params",
        format_func=names.__getitem__,
        help=help_text,
    )
    # Streamlit's type allows None, although a required control always has a value.
    return choice or default


def select_choice(column: Any, label: str, names: Mapping[str, str], *, key: str) -> str:
    """Render a select box and return the selected key of `names`; the first one at first."""
    return column.selectbox(
        label,
        list(names),
        format_func=names.__getitem__,
        label_visibility="collapsed",
        key=key,
        bind="query-params",
    )
