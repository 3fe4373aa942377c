"""Style of printed figures: sizes in millimetres, sans-serif type of 7 to 10 points, class colours
with line styles, resolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from evaluation.class_colors import CLASS_FILL, class_fill

MM = 1 / 25.4
# Millimetres: the tallest figure a page of a journal holds, and the strip of the simulated mark.
MAX_HEIGHT = 230.0
MARK_HEIGHT = 4.5
# Dots per inch that publishers ask for: photographs, photographs with lines and text, line art.
PRINT_DPI = {"image": 300, "mixed": 600, "line": 1200}
CLASS_COLOURS = CLASS_FILL["light"]
CLASS_LINES = {"normal": ":", "benign": "--", "malignant": "-", "other": "-."}
CLASS_MARKERS = {"normal": "^", "benign": "s", "malignant": "o", "other": "D"}
# Of further classes, by the position in `FURTHER_FILL`.
FURTHER_MARKERS = "vPX*<"
INK = "#1B2026"
MUTED = "#57606B"
GRID_COLOUR = "#D5D9DE"
WARNING_COLOUR = "#7A5600"
UNIT_OUTLINE_COLOUR = "#D6B254"
FINDING_COLOUR = "#B0123A"
# The first two are what journals name; the others are their free equivalents.
FONT_FAMILIES = ("Arial", "Helvetica", "Liberation Sans", "DejaVu Sans")


def font_family() -> str:
    """Return the first sans-serif family of `FONT_FAMILIES` that is installed."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next(name for name in FONT_FAMILIES if name in installed)


@contextmanager
def print_style() -> Iterator[None]:
    """Apply the settings for print, needed while a figure is drawn and while it is saved."""
    with mpl.rc_context(
        {
            "font.family": font_family(),
            "font.size": 8,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "axes.linewidth": 0.6,
            "axes.edgecolor": MUTED,
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
            # Type 42 embeds text as text. SVG gets outlines, so that it looks the same without the
            # font installed.
            "pdf.fonttype": 42,
            "ps.fonttype": 42,
            "svg.fonttype": "path",
            "svg.hashsalt": "deepminer",
            "figure.dpi": 100,
            "savefig.dpi": "figure",
        }
    ):
        yield


def create_figure(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure of exactly this size, at most as tall as a page allows."""
    figure = Figure(
        figsize=(width_mm * MM, min(height_mm, MAX_HEIGHT - MARK_HEIGHT) * MM),
        layout=ConstrainedLayoutEngine(w_pad=1.2 * MM, h_pad=1.2 * MM, wspace=0.03, hspace=0.03),
    )
    # Its own canvas, not pyplot's: pyplot keeps a global reference to every figure.
    FigureCanvasAgg(figure)
    return figure


def create_panels(width_mm: float, count: int, height_mm: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` lettered panels, each `height_mm` high.

    The panels stand side by side at two-column width, else one above the other.
    """
    side_by_side = width_mm >= 120
    rows, columns = (1, count) if side_by_side else (count, 1)
    figure = create_figure(width_mm, height_mm * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    if count > 1:
        for ax, name in zip(axes, "abcdefgh"):
            label_panel(ax, name)
    return figure, axes


def fix_layout(figure: Figure) -> None:
    """Compute the layout of a figure, which then is the same in every format."""
    layout_engine = figure.get_layout_engine()
    if layout_engine is None:
        return
    dpi = figure.dpi
    with print_style():
        # At the resolution of print: on a coarse grid of pixels texts have other widths.
        figure.set_dpi(PRINT_DPI["mixed"])
        layout_engine.execute(figure)
        figure.set_dpi(dpi)
    figure.set_layout_engine("none")


def label_panel(ax: Axes, name: str) -> None:
    """Write the letter of a panel, bold at 10 points, above its left edge."""
    ax.set_title(name, loc="left", fontsize=10, fontweight="bold", pad=4)


def draw_grid(ax: Axes, axis: str = "both") -> None:
    """Draw thin grid lines behind the data."""
    ax.grid(True, axis=axis, color=GRID_COLOUR, linewidth=0.5)  # type: ignore[arg-type]


def class_colour(key: str) -> str:
    """Return the colour of a style of `evaluation.class_colors.class_styles`."""
    return class_fill(key)


def class_marker(key: str) -> str:
    """Return the marker of a style of `evaluation.class_colors.class_styles`."""
    return FURTHER_MARKERS[int(key)] if key.isdigit() else CLASS_MARKERS[key]


def class_line_style(key: str) -> dict[str, Any]:
    """Return colour and line style, which always go together; key: as for `class_colour`."""
    return {"color": class_colour(key), "linestyle": CLASS_LINES.get(key, (0, (3, 1, 1, 1, 1, 1)))}


def error_bar_lengths(pairs: list[list[float]]) -> list[list[float]]:
    """Return lengths of error bars, [below, above], without negative ones.

    Rounding leaves tiny negative lengths, which matplotlib refuses.
    """
    return [[max(0.0, length) for length in side] for side in pairs]


@contextmanager
def without_transparency(figure: Figure) -> Iterator[None]:
    """Give transparent areas their colour on white paper, for the duration of the context.

    EPS has no transparency. Only filled bands use it here; photographs are blended beforehand.
    """
    undo: list[Callable[[], None]] = []
    for area in figure.findobj(Collection):
        assert isinstance(area, Collection)
        for part in ("facecolor", "edgecolor"):
            colours, alpha = getattr(area, f"get_{part}")(), area.get_alpha()
            rgba = to_rgba_array(colours)
            if len(rgba) and ((rgba[:, 3] > 0) & (rgba[:, 3] < 1)).any():
                on_white = rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]
                _recolour(area, part, on_white, None)
                undo.append(partial(_recolour, area, part, colours, alpha))
    try:
        yield
    finally:
        for restore in reversed(undo):
            restore()


def _recolour(area: Collection, part: str, colours: Any, alpha: Any) -> None:
    # The alpha of an artist overrides that of its colours, so it must be set first.
    area.set_alpha(alpha)
    getattr(area, f"set_{part}")(colours)


def mark_simulated(figure: Figure, simulated: str) -> None:
    """Write the mandatory mark of simulated data in its own strip above the drawing.

    simulated: names of the simulated parts, "" if there are none.
    """
    if not simulated:
        return
    width, height = figure.get_size_inches()
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        taller = height + MARK_HEIGHT * MM
        figure.set_size_inches(width, taller)
        engine.set(rect=(0, 0, 1, height / taller))
    figure.text(
        1 - 0.8 * MM / width,
        1 - 0.8 * MM / figure.get_size_inches()[1],
        f"SIMULATED {simulated.upper()}",
        ha="right",
        va="top",
        fontsize=7,
        fontweight="bold",
        color=WARNING_COLOUR,
        bbox={
            "boxstyle": "square,pad=0.15",
            "facecolor": "white",
            "edgecolor": WARNING_COLOUR,
            "linewidth": 0.5,
        },
        zorder=10,
    )
