"""The look of print: sizes in millimetres, one sans-serif family at 7 to 10 points, class colours
with their lines, formats with their resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

MM = 1 / 25.4
SINGLE, DOUBLE, TALLEST = 85.0, 174.0, 230.0
STRIP = 4.5
# Dots per inch in print: photographs, photographs with lines and text, lines only.
DPI = {"image": 300, "mixed": 600, "line": 1200}
COLOURS = {"normal": "#009E73", "benign": "#0072B2", "malignant": "#D55E00", "other": "#57606B"}
LINES = {"normal": ":", "benign": "--", "malignant": "-", "other": "-."}
MARKERS = {"normal": "^", "benign": "s", "malignant": "o", "other": "D"}
INK, QUIET, GRID = "#1B2026", "#57606B", "#D5D9DE"
OUTLINE = "#D6B254"
FINDING = "#B0123A"
FAMILIES = ("Arial", "Helvetica", "Liberation Sans", "DejaVu Sans")


def family() -> str:
    """The first sans-serif family that this machine has."""
    there = {font.name for font in font_manager.fontManager.ttflist}
    return next(name for name in FAMILIES if name in there)


@contextmanager
def print_style() -> Iterator[None]:
    """matplotlib's settings while a figure is drawn and written."""
    with mpl.rc_context(
        {
            "font.family": family(),
            "font.size": 8,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "axes.linewidth": 0.6,
            "axes.edgecolor": QUIET,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "lines.linewidth": 1.2,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "legend.handlelength": 2.6,
            "axes.axisbelow": True,
            # Type 42 keeps letters as letters; SVG gets outlines, so that no reader's font can
            # change it.
            "pdf.fonttype": 42,
            "ps.fonttype": 42,
            "svg.fonttype": "path",
            "svg.hashsalt": "deepminer",
            "figure.dpi": 100,
            "savefig.dpi": "figure",
        }
    ):
        yield


def sheet(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of exactly this size.

    It has a canvas of its own, so nothing global remembers it.
    """
    figure = Figure(
        figsize=(width_mm * MM, min(height_mm, TALLEST - STRIP) * MM),
        layout=ConstrainedLayoutEngine(w_pad=1.2 * MM, h_pad=1.2 * MM, wspace=0.03, hspace=0.03),
    )
    FigureCanvasAgg(figure)
    return figure


def panels(width_mm: float, count: int, height_mm: float) -> tuple[Figure, list[Axes]]:
    """`count` panels side by side in two columns' width, one above the other in one column's, each
    `height_mm` high, with bold letters.
    """
    side_by_side = width_mm >= 120
    rows, columns = (1, count) if side_by_side else (count, 1)
    figure = sheet(width_mm, height_mm * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    if count > 1:
        for ax, name in zip(axes, "abcdefgh"):
            letter(ax, name)
    return figure, axes


def letter(ax: Axes, name: str) -> None:
    """A panel's letter, bold, 10 points, above its left edge."""
    ax.set_title(name, loc="left", fontsize=10, fontweight="bold", pad=4)


def grid(ax: Axes, axis: str = "both") -> None:
    """Thin lines behind the data."""
    ax.grid(True, axis=axis, color=GRID, linewidth=0.5)  # type: ignore[arg-type]


def line(name: str) -> dict[str, Any]:
    """Colour and line style of a class: never colour alone."""
    return {"color": COLOURS[name], "linestyle": LINES[name]}


def _on_white(colours: Any) -> Any:
    """Colours with their transparency already on white paper, [n, 3] or one."""
    rgba = to_rgba_array(colours)
    return rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]


@contextmanager
def opaque(figure: Figure) -> Iterator[None]:
    """Without transparency while it lasts, for formats that know none (EPS): everything transparent
    gets the colour it has on white paper.
    """
    undo: list[Callable[[], object]] = []
    for artist in figure.findobj():
        # Facecolor and edgecolor of areas hold their alpha; of lines and words the alpha stands
        # beside the colour.
        for get, put in (("get_facecolor", "set_facecolor"), ("get_edgecolor", "set_edgecolor")):
            if isinstance(artist, (Collection, Patch)):
                before, alpha = getattr(artist, get)(), artist.get_alpha()
                rgba = to_rgba_array(before)
                if len(rgba) and ((rgba[:, 3] > 0) & (rgba[:, 3] < 1)).any():
                    artist.set_alpha(None)
                    getattr(artist, put)(_on_white(before))
                    undo.append(partial(_restore, artist, put, before, alpha))
        if isinstance(artist, (Line2D, Text)) and artist.get_alpha() not in (None, 1):
            before, alpha = artist.get_color(), artist.get_alpha()
            artist.set_alpha(None)
            artist.set_color(_on_white([to_rgba(before, alpha)])[0])
            undo.append(partial(_restore, artist, "set_color", before, alpha))
    try:
        yield
    finally:
        for step in reversed(undo):
            step()


def _restore(artist: Artist, put: str, colour: Any, alpha: Any) -> None:
    getattr(artist, put)(colour)
    artist.set_alpha(alpha)


def mark_simulated(figure: Figure, parts: str) -> None:
    """The word that no export of simulated data may lack, in a strip of its own above the drawing."""
    if not parts:
        return
    width, height = figure.get_size_inches()
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        taller = height + STRIP * MM
        figure.set_size_inches(width, taller)
        engine.set(rect=(0, 0, 1, height / taller))
    figure.text(
        1 - 0.8 * MM / width,
        1 - 0.8 * MM / figure.get_size_inches()[1],
        f"SIMULATED {parts.upper()}",
        ha="right",
        va="top",
        fontsize=7,
        fontweight="bold",
        color="#7A5600",
        bbox={
            "boxstyle": "square,pad=0.15",
            "facecolor": "white",
            "edgecolor": "#7A5600",
            "linewidth": 0.5,
        },
        zorder=10,
    )
