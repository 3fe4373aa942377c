"""A table for print: its columns, its rows, and the specification by which exports list it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.intervals import p_text


def _is_known(value: Any) -> bool:
    """Return whether a scalar is a value: not None, pandas' NA or NaN."""
    return (
        value is not None
        and value is not pd.NA
        and not (isinstance(value, float) and value != value)
    )


def format_value(value: Any) -> str:
    """Return a value as text, with thousands separators for integers and a dash for None."""
    if not _is_known(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def format_p(value: float | None) -> str:
    """Return a P value for a column whose heading is P: `.035`, `< .001`."""
    return p_text(value).removeprefix("P ").removeprefix("= ")


@dataclass(frozen=True)
class TableColumn:
    """A column of a table.

    format: text of a value in LaTeX, Markdown and HTML (CSV and Excel keep the numbers); wrap: the
    text may be broken into lines in print; interval: a row has three values for this column, the
    estimate and its bounds, which share a printed cell.
    """

    heading: str
    format: Callable[[Any], str] = format_value
    wrap: bool = False
    interval: bool = False

    @property
    def raw_headings(self) -> list[str]:
        """Headings of the columns of numbers: one, or three for an interval."""
        if not self.interval:
            return [self.heading]
        return [self.heading, f"{self.heading} 95 % low", f"{self.heading} 95 % high"]

    @property
    def printed_heading(self) -> str:
        """Heading in print."""
        return f"{self.heading} (95 % CI)" if self.interval else self.heading

    def printed_cell(self, values: Sequence[Any]) -> str:
        """Return the printed cell of one value, or of an estimate with its bounds."""
        text = self.format(values[0])
        if len(values) == 3 and _is_known(values[1]) and _is_known(values[2]):
            text += f" ({self.format(values[1])} to {self.format(values[2])})"
        return text


@dataclass(frozen=True)
class Table:
    """A table: columns, raw rows, a note for print, n at each level, and the method."""

    columns: tuple[TableColumn, ...]
    rows: list[tuple[Any, ...]]
    note: str
    counts: dict[str, int] = field(default_factory=dict)
    method: str = ""

    def raw_frame(self) -> pd.DataFrame:
        """Return the numbers, with a column for each bound."""
        headings = [heading for column in self.columns for heading in column.raw_headings]
        return pd.DataFrame(self.rows, columns=headings)

    def printed_frame(self) -> pd.DataFrame:
        """Return the text in print; an estimate and its bounds share a cell."""
        headings = [column.printed_heading for column in self.columns]
        return pd.DataFrame([self._print_row(row) for row in self.rows], columns=headings)

    def _print_row(self, row: tuple[Any, ...]) -> list[str]:
        values = iter(row)
        return [c.printed_cell([next(values) for _ in c.raw_headings]) for c in self.columns]


@dataclass(frozen=True)
class TableSpec:
    """A table that can be exported.

    needs: names of its inputs (`evaluation.queries.provenance.current_inputs`); required: those
    without which it cannot be built; build(study): returns a Table or raises MissingInput.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    required: tuple[str, ...]
    build: Callable[[Path], Table] = field(repr=False)
