"""Diagrams: the framework with the study's own numbers, and the flow of patients."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from core import store
from core.class_labels import SPLITS
from core.store import dataset_table
from evaluation.queries.class_names import class_words
from evaluation.queries.provenance import ABSENT, Missing, closed_protocol
from evaluation.queries.study_status import status
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import Drawn, newest


def _box(ax: Axes, x: float, y: float, w: float, h: float, head: str, text: str) -> None:
    """A box around (x, y) in millimetres with a bold line and lines under it."""
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
    ax.text(x, top, head, ha="center", va="center", fontsize=8, fontweight="bold")
    for i, part in enumerate(lines):
        ax.text(x, top - 3.3 * (i + 1), part, ha="center", va="center", fontsize=7)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
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


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = style.sheet(width, height)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    return figure, ax


def framework_numbers(study: Path) -> list[tuple[str, str]]:
    """Head and lines of each step, with what is there."""
    found = status(study)
    if not found["mammograms"]:
        raise Missing(*ABSENT["data"])
    patches, coverage, notes, reading = (
        found[k] for k in ("patches", "coverage", "annotations", "reading")
    )
    names = [r["architecture"] for r in found["runs"] or [] if r["kind"] == "train"]
    return [
        ("Mammograms", f"{found['mammograms']:,} films\n{found['patients']:,} patients"),
        ("Patches", f"{sum(patches.values()):,} patches\n3 classes" if patches else "not yet"),
        ("Classifier", f"{names[-1]}" if names else "not yet"),
        (
            "Units",
            (
                f"top patches,\ninfluence; {notes['units_selected']}\nselected"
                if notes and coverage
                else "not yet"
            ),
        ),
        (
            "Annotation",
            (
                f"{notes['units_annotated']} named by\n{notes['experts']} experts"
                if notes
                else "not yet"
            ),
        ),
        ("Explanation", "class map and\nnamed units"),
        ("Reading study", f"{reading['cases']} texts,\nblinded" if reading else "not yet"),
    ]


def framework(study: Path, width: float) -> Drawn:
    """The method from mammograms to the blinded reading study."""
    steps = framework_numbers(study)
    per_row = 4 if width >= 120 else 2
    rows = -(-len(steps) // per_row)
    w, h, gap = (width - 8) / per_row - 7, 18.0, 9.0
    height = rows * h + (rows - 1) * gap + 12
    figure, ax = _canvas(width, height)
    places = []
    for i in range(len(steps)):
        row, column = divmod(i, per_row)
        # Every second row runs back, so that the line never jumps.
        column = column if row % 2 == 0 else per_row - 1 - column
        places.append((4 + (w + 7) * column + (w + 7) / 2, height - 8 - h / 2 - row * (h + gap)))
    for (head, text), (x, y) in zip(steps, places):
        _box(ax, x, y, w, h, head, text)
    for (x0, y0), (x1, y1) in pairwise(places):
        if y0 == y1:
            side = 1 if x1 > x0 else -1
            _arrow(ax, (x0 + side * w / 2, y0), (x1 - side * w / 2, y1))
        else:
            _arrow(ax, (x0, y0 - h / 2), (x1, y1 + h / 2))
    table = pd.DataFrame(
        [{"step": head, "content": text.replace("\n", " ")} for head, text in steps]
    )
    caption = (
        "Framework: a classifier is trained on patches, its influential units are found and named"
        " by experts, and the names that explain a decision are read by others who see nothing"
        " else."
    )
    return Drawn(
        figure=figure,
        data={"steps": table},
        caption=caption,
        counts={},
        method="Numbers as of the export.",
    )


def flow_table(study: Path) -> pd.DataFrame:
    """Rows of the flow of patients: step, patients, mammograms, note; in order."""
    patches = newest(study, "patches")
    with store.read(study) as con:
        sources, splits, films = (
            dataset_table.sources(con),
            dataset_table.splits(con, patches),
            dataset_table.mammograms(con),
        )
        counts, closed = dataset_table.patch_counts(con, patches), closed_protocol(con)
    films = films.merge(splits, on="patient_id", how="left")
    rows = [
        {
            "step": "in the source",
            "patients": int(sources["patients"].sum() + sources["skipped"].sum()),
            "mammograms": None,
            "note": ", ".join(sources["kind"]),
        },
        {
            "step": "left out: cannot be read",
            "patients": int(sources["skipped"].sum()),
            "mammograms": None,
            "note": "listed as problems",
        },
        {
            "step": "in the study",
            "patients": films["patient_id"].nunique(),
            "mammograms": len(films),
            "note": "",
        },
    ]
    for split in SPLITS:
        mine = films[films["split"] == split]
        by = counts[counts["split"] == split].set_index("label")["patches"]
        note = "; ".join(
            f"{int(by.get(code, 0)):,} {name}" for code, name in class_words(study, patches).items()
        )
        rows.append(
            {
                "step": split,
                "patients": mine["patient_id"].nunique(),
                "mammograms": len(mine),
                "note": note,
            }
        )
    for words, images, patients in closed.design.get("flow", []) if closed else []:
        rows.append(
            {"step": f"reading: {words}", "patients": patients, "mammograms": images, "note": ""}
        )
    return pd.DataFrame(rows).astype({"patients": "Int64", "mammograms": "Int64"})


def flow(study: Path, width: float) -> Drawn:
    """Flow of patients from the source to the splits and on to the reading study."""
    table = flow_table(study)
    reading = table[table["step"].str.startswith("reading: ")]
    height = 72 + 13.5 * len(reading)
    figure, ax = _canvas(width, height)
    start, left_out, kept = (table.iloc[i] for i in range(3))
    y, middle, w = height - 14, width / 2, min(60.0, width * 0.42)
    _box(ax, middle, y, w, 11, f"{start['patients']:,} patients", f"source: {start['note']}")
    _arrow(ax, (middle, y - 5.5), (middle, y - 14.5))
    if left_out["patients"]:
        ax.text(
            middle + 3,
            y - 9,
            f"{left_out['patients']} left out: cannot be read",
            fontsize=7,
            va="center",
        )
    y -= 20
    _box(
        ax, middle, y, w, 11, f"{kept['patients']:,} patients", f"{kept['mammograms']:,} mammograms"
    )
    each = (width - 8) / 3
    for i, split in enumerate(SPLITS):
        row, x = table[table["step"] == split].iloc[0], 4 + each * (i + 0.5)
        _arrow(ax, (middle, y - 5.5), (x, y - 13))
        _box(
            ax,
            x,
            y - 24,
            each - 3,
            22,
            {"train": "Training", "holdout": "Hold-out", "test": "Test"}[split],
            f"{row['patients']:,} patients\n{row['mammograms']:,} mammograms\n"
            + "\n".join(_patch_lines(row["note"], each)),
        )
    x, top, wide = 4 + each * 2.5, y - 35, min(each * 1.9, width - 8)
    for row in reading.to_dict("records"):
        place = min(x, width - 4 - wide / 2)
        _arrow(ax, (x, top), (x, top - 3.5))
        _box(
            ax,
            place,
            top - 8.5,
            wide,
            10,
            row["step"].removeprefix("reading: "),
            f"{row['mammograms']} mammograms, {row['patients']} patients",
        )
        top -= 13.5
    patients = int(kept["patients"])
    caption = (
        f"Flow of patients: {patients:,} patients with {kept['mammograms']:,} mammograms, split by"
        " patient; patches by class (normal, benign, malignant)"
        + (", and the cases of the reading study." if len(reading) else ".")
        + f" {left_out['patients']} patients were left out because a file could not be read."
    )
    return Drawn(
        figure=figure,
        data={"flow": table},
        caption=caption,
        counts={"patients": patients, "mammograms": int(kept["mammograms"])},
        method="All images of a patient are in one split.",
    )


def _patch_lines(note: str, room: float) -> list[str]:
    parts = note.split("; ")
    return (
        [", ".join(parts)]
        if room > 50
        else [parts[0], ", ".join(parts[1:]).replace("malignant", "mal.").replace("benign", "ben.")]
    )


def screenshot(study: Path, width: float) -> Drawn:
    """The annotation screen is a photograph of the product, not a drawing."""
    raise Missing(*ABSENT["screenshot"])
