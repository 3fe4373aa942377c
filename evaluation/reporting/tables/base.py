"""What a table for print is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.intervals import p_text


def _known(value: Any) -> bool:
    return (
        value is not None
        and value is not pd.NA
        and not (isinstance(value, float) and value != value)
    )


def as_text(value: Any) -> str:
    """A value as it is, a dash for none."""
    if not _known(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def bare_p(value: float | None) -> str:
    """A P value under a heading that says P."""
    return p_text(value).removeprefix("P ").removeprefix("= ")


@dataclass(frozen=True)
class Column:
    """A column: its heading, and how its values are printed in LaTeX and Markdown (CSV and Excel
    keep the numbers). long: broken into lines; interval: three values a row, the estimate and its
    bounds.
    """

    heading: str
    shown: Callable[[Any], str] = as_text
    long: bool = False
    interval: bool = False

    @property
    def headings(self) -> list[str]:
        """Headings of the raw columns."""
        return (
            [self.heading, f"{self.heading} 95 % low", f"{self.heading} 95 % high"]
            if self.interval
            else [self.heading]
        )

    @property
    def printed(self) -> str:
        """Heading in print."""
        return f"{self.heading} (95 % CI)" if self.interval else self.heading

    def text(self, values: Sequence[Any]) -> str:
        """The printed cell of this column's one or three values."""
        bounds = (
            [self.shown(v) for v in values[1:]]
            if len(values) == 3 and _known(values[1]) and _known(values[2])
            else []
        )
        return self.shown(values[0]) + (f" ({bounds[0]} to {bounds[1]})" if bounds else "")


@dataclass(frozen=True)
class Table:
    """A table: columns, raw rows, a note on what the numbers are, n at each level, and the method."""

    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]
    note: str
    counts: dict[str, int] = field(default_factory=dict)
    method: str = ""

    def raw(self) -> pd.DataFrame:
        """Numbers as numbers."""
        return pd.DataFrame(self.rows, columns=[name for c in self.columns for name in c.headings])

    def shown(self) -> pd.DataFrame:
        """Text as it is printed; an estimate and its bounds share a cell."""
        return pd.DataFrame(
            [self._printed(row) for row in self.rows], columns=[c.printed for c in self.columns]
        )

    def _printed(self, row: tuple[Any, ...]) -> list[str]:
        values = iter(row)
        return [c.text([next(values) for _ in c.headings]) for c in self.columns]


@dataclass(frozen=True)
class TableKind:
    """A table that can be built: names of its inputs (`evaluation.queries.provenance.inputs`), of those
    without which there is none, and what builds it from a study.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    required: tuple[str, ...]
    build: Callable[[Path], Table] = field(repr=False)
