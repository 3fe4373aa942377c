"""The report as a PDF on A4 pages, set with matplotlib: no browser, fonts embedded."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import IO

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evaluation.reporting.figures import style
from evaluation.reporting.figures.export import picture
from evaluation.reporting.report import Block, Grid, Heading, Paragraph, Picture
from evaluation.reporting.tables import Table

WIDTH, HEIGHT, MARGIN, TOP, BOTTOM = 210.0, 297.0, 18.0, 280.0, 18.0
BODY_MM = 4.4
# Letters per millimetre at 9 and 7 points, measured on the widest of the families.
PER_MM, PER_MM_SMALL, PER_MM_TABLE = 0.66, 0.85, 0.74
DPI = 220


class _Pages:
    """Writes down the page and turns it when it is full. y: millimetres left above the lower edge."""

    def __init__(self, pdf: PdfPages) -> None:
        self.pdf, self.number = pdf, 0
        self.figure: Figure | None = None
        self.y = 0.0

    def room(self, need: float) -> None:
        """Turn the page if less than `need` mm are left."""
        if self.figure is None or self.y - need < BOTTOM:
            self.finish()
            self.figure, self.y = Figure(figsize=(WIDTH * style.MM, HEIGHT * style.MM)), TOP
            self.number += 1
            self.figure.text(
                0.5, 9 / HEIGHT, str(self.number), ha="center", fontsize=8, color=style.QUIET
            )

    def finish(self) -> None:
        """Write the page."""
        if self.figure is not None:
            self.pdf.savefig(self.figure)
            self.figure = None

    def line(
        self,
        text: str,
        x: float = MARGIN,
        size: float = 9,
        step: float = BODY_MM,
        weight: str = "normal",
        colour: str = style.INK,
    ) -> None:
        """One line of text at x mm."""
        self.room(step)
        self.figure.text(  # type: ignore[union-attr]
            x / WIDTH,
            self.y / HEIGHT,
            text,
            fontsize=size,
            fontweight=weight,
            color=colour,
            va="top",
            parse_math=False,
        )
        self.y -= step


def write_pdf(blocks: list[Block], out: Path | IO[bytes]) -> None:
    """All blocks, one after the other."""
    with (
        style.print_style(),
        PdfPages(
            out,
            metadata={
                "Title": next(b.text for b in blocks if isinstance(b, Heading)),
                "Creator": "DeepMiner",
                "CreationDate": None,
            },
        ) as pdf,
    ):
        pages = _Pages(pdf)
        for number, block in enumerate(blocks):
            if isinstance(block, Heading):
                # A heading stays with what it is the heading of.
                after = blocks[number + 1] if number + 1 < len(blocks) else None
                pages.room(14 + (_picture_height(after) if isinstance(after, Picture) else 14))
                pages.y -= 4 if number else 0
                pages.line(block.text, size=13 if number else 16, step=8, weight="bold")
            elif isinstance(block, Paragraph):
                _text(pages, block.text, weight="bold" if block.strong else "normal")
            elif isinstance(block, Picture):
                _picture(pages, block)
            elif isinstance(block, Grid):
                _grid(pages, block)
        pages.finish()


def _text(
    pages: _Pages,
    text: str,
    size: float = 9,
    per_mm: float = PER_MM,
    weight: str = "normal",
    colour: str = style.INK,
) -> None:
    step = BODY_MM * size / 9
    for part in wrap(text, int((WIDTH - 2 * MARGIN) * per_mm)):
        pages.line(part, size=size, step=step, weight=weight, colour=colour)
    pages.y -= 1.5


def _picture(pages: _Pages, block: Picture) -> None:
    """The figure at its print size, its caption under it."""
    width, height = (v / style.MM for v in block.drawn.figure.get_size_inches())
    scale = _scale(height)
    pages.room(_picture_height(block))
    place = (
        MARGIN / WIDTH,
        (pages.y - height * scale) / HEIGHT,
        width * scale / WIDTH,
        height * scale / HEIGHT,
    )
    ax = pages.figure.add_axes(place)  # type: ignore[union-attr]
    ax.imshow(np.asarray(picture(block.drawn.figure, DPI)), interpolation="none", aspect="auto")
    ax.set_axis_off()
    pages.y -= height * scale + 2
    _text(pages, block.caption, 7, PER_MM_SMALL, colour=style.QUIET)
    pages.y -= 3


def _scale(height: float) -> float:
    """A figure too tall for a page with a heading and its caption is made smaller."""
    return min(1.0, (TOP - BOTTOM - 36) / height)


def _picture_height(block: Picture) -> float:
    """Millimetres of a figure with its caption, at most what a page below a heading holds."""
    height = block.drawn.figure.get_size_inches()[1] / style.MM
    lines = len(wrap(block.caption, int((WIDTH - 2 * MARGIN) * PER_MM_SMALL)))
    return min(height * _scale(height) + 3.5 * lines + 6, TOP - BOTTOM - 14)


def widths(table: Table) -> list[float]:
    """Column widths in mm: as the longest word needs, the rest shared by what the cells hold."""
    shown = table.shown()
    columns = [[str(c), *shown[c]] for c in shown.columns]
    least = [
        min(
            30.0,
            2.5 + max((len(w) for text in column for w in text.split()), default=1) / PER_MM_TABLE,
        )
        for column in columns
    ]
    wanted = [2.5 + max(len(text) for text in column) / PER_MM_TABLE for column in columns]
    room = WIDTH - 2 * MARGIN
    if sum(wanted) <= room:
        return wanted
    if sum(least) >= room:
        return [w * room / sum(least) for w in least]
    extra = [max(0.0, w - s) for w, s in zip(wanted, least)]
    return [s + (room - sum(least)) * e / sum(extra) for s, e in zip(least, extra)]


def _grid(pages: _Pages, block: Grid) -> None:
    """A table with wrapped cells; its head again on each page."""
    shown, room = block.table.shown(), widths(block.table)
    pages.room(22)
    pages.line(block.title, weight="bold", step=5)
    head = [str(c) for c in shown.columns]
    _row(pages, head, room, "bold")
    for row in shown.itertuples(index=False):
        before = pages.number
        pages.room(_height(list(row), room))
        if pages.number != before:
            _row(pages, head, room, "bold")
        _row(pages, list(row), room, "normal")
    pages.y -= 1.5
    _text(pages, block.table.note, 7, PER_MM_SMALL, colour=style.QUIET)
    pages.y -= 3


def _cells(row: list[str], room: list[float]) -> list[list[str]]:
    return [
        wrap(text, max(3, int((width - 1.5) * PER_MM_TABLE))) or [""]
        for text, width in zip(row, room)
    ]


def _height(row: list[str], room: list[float]) -> float:
    return 3.1 * max(len(cell) for cell in _cells(row, room)) + 1.2


def _row(pages: _Pages, row: list[str], room: list[float], weight: str) -> None:
    height = _height(row, room)
    pages.room(height)
    x, top = MARGIN, pages.y
    for cell, width in zip(_cells(row, room), room):
        for i, part in enumerate(cell):
            pages.figure.text(  # type: ignore[union-attr]
                x / WIDTH,
                (top - 3.1 * i) / HEIGHT,
                part,
                fontsize=7,
                fontweight=weight,
                va="top",
                parse_math=False,
            )
        x += width
    pages.figure.add_artist(_rule(top + 0.6))  # type: ignore[union-attr]
    pages.y -= height


def _rule(y: float) -> Line2D:
    return Line2D(
        [MARGIN / WIDTH, 1 - MARGIN / WIDTH],
        [y / HEIGHT, y / HEIGHT],
        color=style.GRID,
        linewidth=0.4,
    )
