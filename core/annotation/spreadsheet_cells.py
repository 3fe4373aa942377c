"""Text of people in cells of CSV files: a spreadsheet must not take it for a formula.

A cell that begins with =, +, -, @, a tab or a carriage return is executed by spreadsheet programs
when the file is opened (OWASP, CSV Injection). An apostrophe in front makes it text.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

# Also the full-width forms, which some programs convert, and line breaks before such a sign.
_FORMULA_START = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NEUTRAL_START = re.compile(r"'+(?:\s*[=+\-@＝＋－＠]|[\t\r\n])")
# No format of tables can carry them, and Excel refuses the file.
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def starts_formula(text: str) -> bool:
    """Return whether a spreadsheet program may take a text for a formula."""
    return _FORMULA_START.match(text) is not None


def remove_control_characters(text: str) -> str:
    """Return a text without control characters other than tabs and line breaks."""
    return _CONTROL_CHARACTERS.sub("", text)


def neutral_text(text: str) -> str:
    """Return a text as a cell that no spreadsheet program executes; see `restored_text`.

    Examples
    --------
    >>> neutral_text("=1+1"), neutral_text("Mass, +/- spiculated")
    ("'=1+1", 'Mass, +/- spiculated')
    """
    # A lone carriage return would end the row: CSV writers do not quote it.
    text = remove_control_characters(text).replace("\r\n", "\n").replace("\r", "\n")
    # A text that looks neutralised gets one more apostrophe, so that restoring is exact.
    return f"'{text}" if starts_formula(text) or _NEUTRAL_START.match(text) else text


def restored_text(cell: str) -> str:
    """Return the text of a cell that `neutral_text` has written; others stay as they are.

    Examples
    --------
    >>> restored_text("'=1+1"), restored_text("'quoted'")
    ('=1+1', "'quoted'")
    """
    return cell[1:] if _NEUTRAL_START.match(cell) else cell


def neutral_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet program executes; numbers stay numbers."""
    return pd.DataFrame(
        {
            index: column.map(_neutral_value) if _holds_texts(column) else column
            for index, (_, column) in enumerate(frame.items())
        },
        index=frame.index,
    ).set_axis(frame.columns, axis=1)


def csv_text(frame: pd.DataFrame, **options: Any) -> str:
    """Return a table as CSV without its index; options: of `pandas.DataFrame.to_csv`."""
    return neutral_frame(frame).to_csv(index=False, **options)


def _holds_texts(column: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)


def _neutral_value(value: Any) -> Any:
    return neutral_text(value) if isinstance(value, str) else value
