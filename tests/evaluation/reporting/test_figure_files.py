"""Files of a figure: one layout in all formats, pixels drawn once, small embedded fonts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from pypdf import PdfReader

from evaluation.reporting.figures import export, style

TEXT = "Share of readers"


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[Any, ...]]:
    """Return a list of the arguments of each call of a function, which is still executed."""
    original, calls = getattr(owner, name), []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(owner, name, counted)
    return calls


@pytest.fixture
def figure() -> Iterator[Figure]:
    with style.print_style():
        drawn, (ax,) = style.create_panels(40, 1, 30)
        ax.set(xlabel=TEXT, xlim=(0, 1))
        yield drawn


def test_layout_is_computed_once_and_the_same_in_all_formats(
    figure: Figure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    executed = count_calls(monkeypatch, ConstrainedLayoutEngine, "execute")
    canvas, (ax,) = figure.canvas, figure.axes
    before = ax.get_position().bounds
    style.fix_layout(figure)
    fixed = ax.get_position().bounds
    # Labels have their room at the left and below.
    assert fixed[0] > 0.1 and fixed[1] > 0.2 and fixed != before and figure.dpi == 100
    export.save_formats(figure, [tmp_path / f"f.{name}" for name in export.FIGURE_FORMATS], "image")
    assert len(executed) == 1 and ax.get_position().bounds == fixed
    assert figure.canvas is canvas and figure.dpi == 100


def test_pixels_of_one_size_are_drawn_once(
    figure: Figure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = count_calls(monkeypatch, export, "rasterize")
    paths = [tmp_path / "f.png", tmp_path / "f.tiff"]
    assert export.save_formats(figure, paths, "image") == paths
    assert drawn == [(figure, 300)]
    png, tiff = (np.asarray(Image.open(path)) for path in paths)
    assert (png == tiff).all() and png.min() < 50 and png.max() == 255
    export.save_formats(figure, paths, "line")
    assert [dpi for _, dpi in drawn] == [300, 600, 1200]


def test_fonts_are_read_once_and_embedded_without_layout_of_text(
    figure: Figure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    export._subset_file.cache_clear()
    loaded = count_calls(monkeypatch, export._backend_pdf_ps.subset, "load_font")
    pdf, eps = tmp_path / "f.pdf", tmp_path / "f.eps"
    export.save_formats(figure, [pdf, eps], "line")
    page = PdfReader(pdf).pages[0]
    assert TEXT in page.extract_text()
    fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
    assert len(loaded) == len(fonts) == 1
    (inner,) = fonts[0]["/DescendantFonts"]
    content = inner.get_object()["/FontDescriptor"]["/FontFile2"].get_data()
    with TTFont(io.BytesIO(content)) as font:
        assert not {"GDEF", "GPOS", "GSUB"} & set(font.keys())
        # The time of the font file, not that of the export: equal figures are equal files.
        with TTFont(font_manager.findfont(style.font_family())) as whole:
            assert font["head"].modified == whole["head"].modified
        # Of the letters of the text and the numbers of the axes, the glyphs and no others.
        outlines = font["glyf"]
        named = {name for name in font.getGlyphOrder() if outlines[name].numberOfContours}
    assert {"S", "h", "period"} <= named and len(named) < 30
    assert "/FontType 42" in eps.read_text(encoding="latin-1")
