"""The report as a PDF on A4 pages, printed by WeasyPrint from the HTML of the report.

WeasyPrint is an optional dependency (`pip install "deepminer[pdf]"`) and needs the Pango library of
the operating system.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from PIL import ImageFile

from core.errors import UserError
from evaluation.reporting.blocks import Block
from evaluation.reporting.figures.base import FigureResult
from evaluation.reporting.figures.export import render_svg
from evaluation.reporting.html_writer import raster_uri, render_html

# A decimal without its zero, as in ".05" or "−.2".
_DECIMAL = re.compile(r"(?<![\w.])([−-]?\.\d+)")


def require_weasyprint() -> None:
    """Raise a UserError with the remedy where WeasyPrint or Pango is missing."""
    try:
        import weasyprint  # noqa: F401
    # OSError: WeasyPrint is installed, but cannot load Pango.
    except (ImportError, OSError) as error:
        raise UserError(
            "A PDF of the report needs WeasyPrint and Pango: install them with `pip install"
            ' "deepminer[pdf]"` and the packages libpango-1.0-0 and libpangoft2-1.0-0 of the'
            " operating system (names on Debian and Ubuntu), or write the report as HTML with --out"
            " report.html and print it from a browser."
        ) from error
    # WeasyPrint changes this setting of Pillow for the whole process: damaged mammograms would then
    # be read in part without an error.
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def write_pdf(blocks: list[Block], out: Path) -> None:
    """Write the report; UserError where WeasyPrint or Pango is missing."""
    require_weasyprint()
    # Not at the top: the module must be importable without WeasyPrint.
    from weasyprint import HTML

    HTML(string=keep_decimals(render_html(blocks, vector_uri))).write_pdf(out)


def keep_decimals(html: str) -> str:
    """Return HTML in which no line ends between the point and the digits of a decimal.

    >>> keep_decimals('<p title="from .5">from .5</p>')
    '<p title="from .5">from <span class="unbroken">.5</span></p>'
    """
    # Tags, attributes and the style sheet stay as they are.
    parts = re.split(r"(<style>.*?</style>|<[^>]*>)", html, flags=re.DOTALL)
    parts[::2] = [_DECIMAL.sub(r'<span class="unbroken">\1</span>', text) for text in parts[::2]]
    return "".join(parts)


def vector_uri(result: FigureResult) -> str:
    """Return line art as vector graphics, and figures of mammograms as an image."""
    if result.kind == "image":
        return raster_uri(result)
    return "data:image/svg+xml;base64," + base64.b64encode(render_svg(result.figure)).decode()
