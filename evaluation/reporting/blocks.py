"""The blocks of a report, which every writer (HTML, PDF) renders in the same order."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.reporting.figures.base import FigureResult
from evaluation.reporting.tables.base import Table


@dataclass(frozen=True)
class Heading:
    """The title of the report (the first heading) or of one of its parts."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; strong: set off as a warning."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class FigureBlock:
    """A figure with its title and its complete caption."""

    title: str
    result: FigureResult
    caption: str


@dataclass(frozen=True)
class TableBlock:
    """A table with its title; its note is part of the table."""

    title: str
    table: Table


Block = Heading | Paragraph | FigureBlock | TableBlock
