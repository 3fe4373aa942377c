"""The report as one self-contained HTML file: images embedded, no script, no network access."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.reporting.blocks import Block, FigureBlock, Heading, Paragraph, TableBlock
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult
from evaluation.reporting.figures.export import figure_data_uri

# Dots per inch of figures: sharp on a screen of twice the usual resolution, and small enough that a
# whole report stays below 5 MB.
HTML_DPI = 170

# A table of more columns is printed across (the long side of the page is horizontal).
UPRIGHT_COLUMNS = 8
# Characters of a printed line of a table, upright and across. They allow for wide letters.
UPRIGHT_CHARACTERS, ACROSS_CHARACTERS = 125, 200
# Characters for the space around a cell, and of a text that is printed on one line where it may be
# broken.
CELL_PADDING, SHORT_TEXT = 3, 24


def raster_uri(result: FigureResult) -> str:
    """Return a figure as the data URI of an image."""
    return figure_data_uri(result.figure, result.kind, HTML_DPI)


def render_html(blocks: list[Block], image_uri: Callable[[FigureResult], str] = raster_uri) -> str:
    """Return the whole HTML file; image_uri gives the data URI of a figure."""
    environment = Environment(
        loader=PackageLoader("evaluation.reporting"),
        autoescape=True,
        # A misspelt name in the template is an error, not an empty string.
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    contents = [_block_content(block, image_uri) for block in blocks]
    # The first heading is the title of the report; the others begin its parts.
    headings = [content for content in contents if content["kind"] == "heading"]
    title, parts = headings[0], headings[1:]
    title["kind"] = "title"
    template = environment.get_template("report.html")
    return template.render(title=title["text"], parts=parts, blocks=contents) + "\n"


def _block_content(block: Block, image_uri: Callable[[FigureResult], str]) -> dict[str, Any]:
    """Return what the template needs of a block."""
    if isinstance(block, Heading):
        return {"kind": "heading", "text": block.text, "anchor": _anchor(block.text)}
    if isinstance(block, Paragraph):
        return {"kind": "paragraph", "text": block.text, "strong": block.strong}
    if isinstance(block, FigureBlock):
        return {
            "kind": "figure",
            "title": block.title,
            "caption": block.caption,
            "image_uri": image_uri(block.result),
            "width_mm": round(block.result.figure.get_size_inches()[0] / style.MM),
        }
    if isinstance(block, TableBlock):
        frame = block.table.printed_frame()
        wraps = [column.wrap for column in block.table.columns]
        return {
            "kind": "table",
            "title": block.title,
            "headings": list(frame.columns),
            "rows": frame.values.tolist(),
            "cell_classes": ["wrap" if wrap else "fixed" for wrap in wraps],
            "is_across": len(wraps) > UPRIGHT_COLUMNS,
            "print_widths": print_widths(list(frame.columns), frame.values.tolist(), wraps),
            "note": block.table.note,
        }
    raise TypeError(type(block))


def print_widths(headings: list[str], rows: list[list[str]], wraps: list[bool]) -> list[float]:
    """Return the printed widths of the columns of a table.

    With given widths the table is laid out in one pass, without measuring every cell first.

    Parameters
    ----------
    headings, rows
        The text of the table.
    wraps
        Whether the texts of each column may be broken into lines.

    Returns
    -------
    list of float
        Percent of the width of the table, 100 in all. Columns of short or unbroken texts are as
        wide as their longest text. The others share the rest of the line in proportion to the
        square root of their longest text.

    Examples
    --------
    >>> print_widths(["n", "Evidence"], [["12", "word " * 20]], [False, True])
    [4.0, 96.0]
    """
    longest = [
        max(map(len, [*heading.split(), *(row[i] for row in rows)]), default=0)
        for i, heading in enumerate(headings)
    ]
    is_long = [wrap and length > SHORT_TEXT for length, wrap in zip(longest, wraps, strict=True)]
    short = [0 if long else CELL_PADDING + n for n, long in zip(longest, is_long, strict=True)]
    line = ACROSS_CHARACTERS if len(headings) > UPRIGHT_COLUMNS else UPRIGHT_CHARACTERS
    shares = [math.sqrt(n) if long else 0.0 for n, long in zip(longest, is_long, strict=True)]
    rest = max(line - sum(short), SHORT_TEXT * sum(is_long))
    widths = [n + rest * share / (sum(shares) or 1) for n, share in zip(short, shares, strict=True)]
    return [round(100 * width / sum(widths), 2) for width in widths]


def _anchor(text: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in text.lower())
