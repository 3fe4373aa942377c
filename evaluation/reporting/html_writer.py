"""The report as one self-contained HTML file: images embedded, no script, no network access."""

from __future__ import annotations

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
        return {
            "kind": "table",
            "title": block.title,
            "headings": list(frame.columns),
            "rows": frame.values.tolist(),
            "cell_classes": ["wrap" if column.wrap else "fixed" for column in block.table.columns],
            "note": block.table.note,
        }
    raise TypeError(type(block))


def _anchor(text: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in text.lower())
