"""Diagram of the framework with the numbers of the study, and the parts of diagrams."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from core import store
from core.settings import load_order_of_experts
from core.store import unit_table
from core.store.labels import label_sets
from core.store.labels.label_sets import DEFAULT_SET
from evaluation.intervals import count_text
from evaluation.queries.provenance import MISSING_INPUTS, MissingInput, closed_protocol
from evaluation.queries.study_status import study_status
from evaluation.reading_study import workflow
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult
from evaluation.reporting.methods_text import ARM_CONTENTS

# Millimetres between the lines of a box.
LINE_HEIGHT = 3.3


def draw_box(
    ax: Axes, x: float, y: float, w: float, h: float, title: str, text: str, left: bool = False
) -> None:
    """Draw a box around (x, y), in mm, with a bold title and the lines of the text.

    left: both start at the left edge instead of the centre.
    """
    ax.add_patch(
        FancyBboxPatch(
            (x - w / 2, y - h / 2),
            w,
            h,
            boxstyle="round,pad=0,rounding_size=1",
            facecolor="white",
            edgecolor=style.INK,
            linewidth=0.7,
        )
    )
    lines = text.split("\n") if text else []
    top = y + len(lines) * LINE_HEIGHT / 2
    x, align = (x - w / 2 + 1.5, "left") if left else (x, "center")
    ax.text(x, top, title, ha=align, va="center", fontsize=8, fontweight="bold")
    for i, line in enumerate(lines):
        ax.text(x, top - LINE_HEIGHT * (i + 1), line, ha=align, va="center", fontsize=7)


def draw_arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow between two points, in mm."""
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=6,
            linewidth=0.7,
            color=style.INK,
            shrinkA=0,
            shrinkB=0,
        )
    )


def create_canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure whose only axes cover it and count in millimetres."""
    figure = style.create_figure(width, height)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    return figure, ax


def framework_steps(study: Path, label_set: str = DEFAULT_SET) -> list[tuple[str, str]]:
    """Return the title and text of each step of the framework, with the numbers of the study.

    label_set: the labels that count as named units.
    """
    state = study_status(study)
    if not state["mammograms"]:
        raise MissingInput(*MISSING_INPUTS["data"])
    patches, coverage, annotations, reading = (
        state[key] for key in ("patches", "coverage", "annotations", "reading")
    )
    networks = [r["architecture"] for r in state["runs"] or [] if r["kind"] == "train"]
    classes = f"{len(patches)} classes" if patches else ""
    units = (
        f"top patches,\ninfluence; {annotations['units_selected']}\nselected"
        if annotations and coverage
        else "not yet"
    )
    names = (
        f"{_count_named(study, label_set)} named by\n"
        + count_text(annotations["experts"], "expert")
        if annotations
        else "not yet"
    )
    return [
        ("Mammograms", f"{state['mammograms']:,} images\n{state['patients']:,} patients"),
        ("Patches", f"{sum(patches.values()):,} patches\n{classes}" if patches else "not yet"),
        ("Classifier", networks[-1] if networks else "not yet"),
        ("Units", units),
        ("Annotation", names),
        ("Explanation", "class map and\nnamed units"),
        (
            "Reading study",
            count_text(reading["cases"], "case") + ",\nblinded" if reading else "not yet",
        ),
    ]


def _count_named(study: Path, label_set: str) -> int:
    """Return how many of the selected units of the newest dissection carry a label of a set."""
    with store.read(study) as con:
        run = unit_table.current_dissection(con)
        if run is None:
            return 0
        labels = label_sets.load_label_set(con, run, label_set, load_order_of_experts(study))
        return len(set(unit_table.selected_unit_ids(con, run)) & set(labels))


def plot_framework(study: Path, width: float, label_set: str | None = None) -> FigureResult:
    """Draw the method, from mammograms to the blinded reading study.

    label_set: name of the labels that count as named units; None for those that the study uses.
    """
    label_set = label_set or DEFAULT_SET
    steps = framework_steps(study, label_set)
    per_row = 4 if width >= 120 else 2
    rows = -(-len(steps) // per_row)
    w, h, gap = (width - 8) / per_row - 7, 18.0, 9.0
    height = rows * h + (rows - 1) * gap + 12
    figure, ax = create_canvas(width, height)
    centres = []
    for i in range(len(steps)):
        row, column = divmod(i, per_row)
        # Every second row runs backwards, so that consecutive steps are always neighbours.
        column = column if row % 2 == 0 else per_row - 1 - column
        centres.append((4 + (w + 7) * column + (w + 7) / 2, height - 8 - h / 2 - row * (h + gap)))
    for (title, text), (x, y) in zip(steps, centres):
        draw_box(ax, x, y, w, h, title, text)
    for (x0, y0), (x1, y1) in pairwise(centres):
        if y0 == y1:
            side = 1 if x1 > x0 else -1
            draw_arrow(ax, (x0 + side * w / 2, y0), (x1 - side * w / 2, y1))
        else:
            draw_arrow(ax, (x0, y0 - h / 2), (x1, y1 + h / 2))
    table = pd.DataFrame(
        [{"step": title, "content": text.replace("\n", " ")} for title, text in steps]
    )
    caption = (
        "Framework. A classifier is trained on patches; experts name its most influential units;"
        f" readers judge cases without knowing the truth{_shown_content(study)}."
        f" {label_sets.set_sentence(label_set)}"
    )
    return FigureResult(
        figure=figure,
        data={"steps": table},
        caption=caption,
        counts={},
        method="Numbers are those at the time of the export.",
    )


def _shown_content(study: Path) -> str:
    """Return what a case of the closed reading study shows, as a clause; "" without one."""
    with store.read(study) as con:
        closed = closed_protocol(con)
    if closed is None:
        return ""
    arm = workflow.protocol_design(closed).arms[0]
    return f" and see {ARM_CONTENTS[arm]}"


def plot_annotation_screen(study: Path, width: float) -> FigureResult:
    """Raise MissingInput: this figure is a screenshot of the product, not a drawing."""
    raise MissingInput(*MISSING_INPUTS["screenshot"])
