"""What is drawn in matplotlib's axes, as plain values."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure


def empty_axes() -> Any:
    """Return axes of an own figure."""
    return Figure().subplots()


def rounded(values: Any) -> list[float]:
    """Return numbers as floats of ten digits."""
    return [round(float(value), 10) for value in values]


def drawn_lines(ax: Axes) -> list[tuple[list[float], list[float], str, str, str]]:
    """Return (x, y, marker, line style, colour) of every line, in the order of drawing."""
    return [
        (
            rounded(line.get_xdata()),
            rounded(line.get_ydata()),
            str(line.get_marker()),
            str(line.get_linestyle()),
            to_hex(line.get_color()).upper(),
        )
        for line in ax.lines
    ]


def drawn_bars(container: Any) -> list[tuple[float, float, float, float]]:
    """Return (left, bottom, width, height) of every bar."""
    return [
        tuple(rounded((b.get_x(), b.get_y(), b.get_width(), b.get_height())))  # type: ignore[misc]
        for b in container
    ]


def drawn_texts(ax: Axes) -> list[tuple[float, float, str]]:
    """Return (x, y, text) of every text."""
    return [(*rounded(text.get_position()), text.get_text()) for text in ax.texts]  # type: ignore[misc]


def axis_texts(ax: Axes) -> tuple[str, str, list[str]]:
    """Return the labels of both axes and the entries of the legend."""
    legend = ax.get_legend()
    entries = [] if legend is None else [text.get_text() for text in legend.get_texts()]
    return ax.get_xlabel(), ax.get_ylabel(), entries


def axis_limits(ax: Axes) -> tuple[list[float], list[float]]:
    """Return the limits of both axes."""
    return rounded(ax.get_xlim()), rounded(ax.get_ylim())


def tick_labels(ax: Axes) -> tuple[list[str], list[str]]:
    """Return the texts at the ticks of both axes."""
    return (
        [text.get_text() for text in ax.get_xticklabels()],
        [text.get_text() for text in ax.get_yticklabels()],
    )


def error_bar_ends(container: Any) -> list[list[list[float]]]:
    """Return the two ends of every error bar."""
    return [
        [rounded(end) for end in segment]
        for bars in container.lines[2]
        for segment in bars.get_segments()
    ]
