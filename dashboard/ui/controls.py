"""Controls without a visible label whose value is kept in the address of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Letters of a segmented control in the columns of the pages at a width of 1280 pixels.
_SEGMENT_LETTERS = 30


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


def class_choice(
    column: Any,
    label: str,
    names: Mapping[str, str],
    *,
    default: str,
    key: str,
    help_text: str | None = None,
) -> str:
    """Render a choice among the classes of the study and return the selected key of `names`.

    As `segment_choice` where the names fit side by side, as they do for the classes of mammography;
    otherwise as `select_choice`.
    """
    if sum(map(len, names.values())) <= _SEGMENT_LETTERS:
        return segment_choice(column, label, names, default=default, key=key, help_text=help_text)
    return select_choice(column, label, names, default=default, key=key, help_text=help_text)


def select_choice(
    column: Any,
    label: str,
    names: Mapping[str, str],
    *,
    key: str,
    default: str | None = None,
    help_text: str | None = None,
) -> str:
    """Render a select box and return the selected key of `names`.

    default: the key that is selected at first; None: the first one.
    """
    keys = list(names)
    return column.selectbox(
        label,
        keys,
        index=0 if default is None else keys.index(default),
        format_func=names.__getitem__,
        label_visibility="collapsed",
        key=key,
        bind="query-params",
        help=help_text,
    )
