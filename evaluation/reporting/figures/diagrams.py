"""Diagrams: the framework with the numbers of the study, and the flow of patients."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from core import store
from core.class_labels import SPLITS
from core.lineage import run_class_names
from core.store import dataset_table
from evaluation.queries.provenance import MISSING_INPUTS, MissingInput, closed_protocol
from evaluation.queries.study_status import study_status
from evaluation.reporting.base import newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult

SPLIT_TITLES = {"train": "Training", "holdout": "Hold-out", "test": "Test"}
# Prefix of the steps of the reading study in the table of the patient flow.
_READING = "reading: "


def _draw_box(ax: Axes, x: float, y: float, w: float, h: float, title: str, text: str) -> None:
    """Draw a box around (x, y), in mm, with a bold title and the lines of the text."""
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
    top = y + (len(lines) * 3.1) / 2
    ax.text(x, top, title, ha="center", va="center", fontsize=8, fontweight="bold")
    for i, line in enumerate(lines):
        ax.text(x, top - 3.3 * (i + 1), line, ha="center", va="center", fontsize=7)


def _draw_arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
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


def _create_canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure whose only axes cover it and count in millimetres."""
    figure = style.create_figure(width, height)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    return figure, ax


def framework_steps(study: Path) -> list[tuple[str, str]]:
    """Return the title and text of each step of the framework, with the numbers of the study."""
    state = study_status(study)
    if not state["mammograms"]:
        raise MissingInput(*MISSING_INPUTS["data"])
    patches, coverage, annotations, reading = (
        state[key] for key in ("patches", "coverage", "annotations", "reading")
    )
    networks = [r["architecture"] for r in state["runs"] or [] if r["kind"] == "train"]
    units = (
        f"top patches,\ninfluence; {annotations['units_selected']}\nselected"
        if annotations and coverage
        else "not yet"
    )
    names = (
        f"{annotations['units_annotated']} named by\n{annotations['experts']} experts"
        if annotations
        else "not yet"
    )
    return [
        ("Mammograms", f"{state['mammograms']:,} images\n{state['patients']:,} patients"),
        ("Patches", f"{sum(patches.values()):,} patches\n3 classes" if patches else "not yet"),
        ("Classifier", networks[-1] if networks else "not yet"),
        ("Units", units),
        ("Annotation", names),
        ("Explanation", "class map and\nnamed units"),
        ("Reading study", f"{reading['cases']} texts,\nblinded" if reading else "not yet"),
    ]


def plot_framework(study: Path, width: float) -> FigureResult:
    """Draw the method, from mammograms to the blinded reading study."""
    steps = framework_steps(study)
    per_row = 4 if width >= 120 else 2
    rows = -(-len(steps) // per_row)
    w, h, gap = (width - 8) / per_row - 7, 18.0, 9.0
    height = rows * h + (rows - 1) * gap + 12
    figure, ax = _create_canvas(width, height)
    centres = []
    for i in range(len(steps)):
        row, column = divmod(i, per_row)
        # Every second row runs backwards, so that consecutive steps are always neighbours.
        column = column if row % 2 == 0 else per_row - 1 - column
        centres.append((4 + (w + 7) * column + (w + 7) / 2, height - 8 - h / 2 - row * (h + gap)))
    for (title, text), (x, y) in zip(steps, centres):
        _draw_box(ax, x, y, w, h, title, text)
    for (x0, y0), (x1, y1) in pairwise(centres):
        if y0 == y1:
            side = 1 if x1 > x0 else -1
            _draw_arrow(ax, (x0 + side * w / 2, y0), (x1 - side * w / 2, y1))
        else:
            _draw_arrow(ax, (x0, y0 - h / 2), (x1, y1 + h / 2))
    table = pd.DataFrame(
        [{"step": title, "content": text.replace("\n", " ")} for title, text in steps]
    )
    caption = (
        "Framework. A classifier is trained on patches; experts name its most influential units;"
        " other readers, who see nothing but the names that explain a decision, judge the case."
    )
    return FigureResult(
        figure=figure,
        data={"steps": table},
        caption=caption,
        counts={},
        method="Numbers are those at the time of the export.",
    )


def patient_flow_table(study: Path) -> pd.DataFrame:
    """Return the flow of patients in order: step, patients, mammograms, note."""
    patches = newest_run(study, "patches")
    with store.read(study) as con:
        sources = dataset_table.load_sources(con)
        splits = dataset_table.load_splits(con, patches)
        mammograms = dataset_table.load_mammograms(con)
        counts = dataset_table.load_patch_counts(con, patches)
        closed = closed_protocol(con)
    mammograms = mammograms.merge(splits, on="patient_id", how="left")
    skipped = int(sources["skipped"].sum())
    rows = [
        _flow_row(
            "in the source",
            int(sources["patients"].sum()) + skipped,
            None,
            ", ".join(sources["kind"]),
        ),
        _flow_row("excluded: unreadable file", skipped, None, "listed as problems"),
        _flow_row("in the study", mammograms["patient_id"].nunique(), len(mammograms), ""),
    ]
    names = run_class_names(study, patches)
    for split in SPLITS:
        in_split = mammograms[mammograms["split"] == split]
        by_class = counts[counts["split"] == split].set_index("label")["patches"]
        note = "; ".join(f"{int(by_class.get(code, 0)):,} {name}" for code, name in names.items())
        rows.append(_flow_row(split, in_split["patient_id"].nunique(), len(in_split), note))
    for step, images, patients in closed.design.get("flow", []) if closed else []:
        rows.append(_flow_row(f"{_READING}{step}", patients, images, ""))
    return pd.DataFrame(rows).astype({"patients": "Int64", "mammograms": "Int64"})


def _flow_row(step: str, patients: int, mammograms: int | None, note: str) -> dict[str, object]:
    return {"step": step, "patients": patients, "mammograms": mammograms, "note": note}


def plot_patient_flow(study: Path, width: float) -> FigureResult:
    """Draw the flow of patients from the source to the splits and the reading study."""
    table = patient_flow_table(study)
    reading = table[table["step"].str.startswith(_READING)]
    height = 72 + 13.5 * len(reading)
    figure, ax = _create_canvas(width, height)
    bottom = _draw_source(ax, table, width, height - 14)
    _draw_splits(ax, table, width, bottom)
    _draw_reading_steps(ax, reading, width, bottom - 35)
    _, excluded, included = (table.iloc[i] for i in range(3))
    patients = int(included["patients"])
    caption = (
        f"Flow of patients: {patients:,} patients with {included['mammograms']:,} mammograms, split"
        " by patient; patches by class (normal, benign, malignant)"
        + (", and the cases of the reading study." if len(reading) else ".")
        + f" {excluded['patients']} patients were excluded because a file could not be read."
    )
    return FigureResult(
        figure=figure,
        data={"flow": table},
        caption=caption,
        counts={"patients": patients, "mammograms": int(included["mammograms"])},
        method="All images of a patient are in one split.",
    )


def _draw_source(ax: Axes, table: pd.DataFrame, width: float, y: float) -> float:
    """Draw the boxes of the source and the study; return the height of the latter."""
    source, excluded, included = (table.iloc[i] for i in range(3))
    middle, w = width / 2, min(60.0, width * 0.42)
    _draw_box(ax, middle, y, w, 11, f"{source['patients']:,} patients", f"source: {source['note']}")
    _draw_arrow(ax, (middle, y - 5.5), (middle, y - 14.5))
    if excluded["patients"]:
        text = f"{excluded['patients']} excluded: unreadable file"
        ax.text(middle + 3, y - 9, text, fontsize=7, va="center")
    y -= 20
    mammograms = f"{included['mammograms']:,} mammograms"
    _draw_box(ax, middle, y, w, 11, f"{included['patients']:,} patients", mammograms)
    return y


def _draw_splits(ax: Axes, table: pd.DataFrame, width: float, y: float) -> None:
    """Draw the three splits below the box of the study at height y."""
    column = (width - 8) / 3
    for i, split in enumerate(SPLITS):
        row, x = table[table["step"] == split].iloc[0], 4 + column * (i + 0.5)
        _draw_arrow(ax, (width / 2, y - 5.5), (x, y - 13))
        lines = [
            f"{row['patients']:,} patients",
            f"{row['mammograms']:,} mammograms",
            *_patch_lines(row["note"], column),
        ]
        _draw_box(ax, x, y - 24, column - 3, 22, SPLIT_TITLES[split], "\n".join(lines))


def _draw_reading_steps(ax: Axes, reading: pd.DataFrame, width: float, top: float) -> None:
    """Draw the steps from the test split to the cases of the reading study, downwards from top."""
    column = (width - 8) / 3
    x, w = 4 + column * 2.5, min(column * 1.9, width - 8)
    for row in reading.to_dict("records"):
        _draw_arrow(ax, (x, top), (x, top - 3.5))
        _draw_box(
            ax,
            min(x, width - 4 - w / 2),
            top - 8.5,
            w,
            10,
            row["step"].removeprefix(_READING),
            f"{row['mammograms']} mammograms, {row['patients']} patients",
        )
        top -= 13.5


def _patch_lines(note: str, width: float) -> list[str]:
    """Return the patches by class on one line, or abbreviated on two in a narrow box."""
    parts = note.split("; ")
    if width > 50:
        return [", ".join(parts)]
    lesions = ", ".join(parts[1:]).replace("malignant", "mal.").replace("benign", "ben.")
    return [parts[0], lesions]


def plot_annotation_screen(study: Path, width: float) -> FigureResult:
    """Raise MissingInput: this figure is a screenshot of the product, not a drawing."""
    raise MissingInput(*MISSING_INPUTS["screenshot"])
