"""Figures of units: the named units with their top patches, and agreement between annotators."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from core import lineage, runs, store
from core.class_labels import unit_name
from core.interpretation.highlighted_region import upsample_map
from core.lineage import influence_note, run_class_names, run_classes
from core.store import run_table, unit_table
from core.store.labels.label_sets import DEFAULT_SET, set_sentence
from core.store.labels.label_states import states_sentence
from evaluation.annotation.category_agreement import AgreementEstimate
from evaluation.class_colors import class_styles
from evaluation.intervals import count_text
from evaluation.queries.provenance import MISSING_INPUTS, MissingInput
from evaluation.queries.units import selected_units
from evaluation.reporting.base import annotator_agreement, newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult

UNITS_PER_CLASS = 4
TILES_PER_UNIT = 4
# Pixels of a tile: 300 dots per inch at its size in print.
TILE_PRINT_PIXELS = 128


def select_named_units(
    study: Path, dissect: str, per_class: int, label_set: str = DEFAULT_SET
) -> pd.DataFrame:
    """Return the labelled units of each class that are most often among the most influential.

    The rows of `evaluation.queries.units.selected_units` with `under`, the class; the last class
    first, and every unit under one class only.
    """
    with store.read(study) as con:
        selected = unit_table.load_selected_units(con, dissect)
    table = selected_units(study, dissect, label_set=label_set)
    labelled = table[table["label"] != ""].set_index("unit")
    rows: list[dict[str, Any]] = []
    listed: set[int] = set()
    for code, name in reversed(run_class_names(study, dissect).items()):
        ranked = selected[selected["class"] == code].sort_values("rank")
        class_rows = [
            row
            for row in ranked.to_dict("records")
            if row["unit"] in labelled.index and row["unit"] not in listed
        ][:per_class]
        listed |= {row["unit"] for row in class_rows}
        for row in class_rows:
            position = {"under": name, "rank": row["rank"], "count": row["count"]}
            rows.append(labelled.loc[row["unit"]].to_dict() | {"unit": int(row["unit"])} | position)
    return pd.DataFrame(rows)


def plot_units(study: Path, width: float, label_set: str | None = None) -> FigureResult:
    """Plot the named units of each class: id, class, label and four patches.

    The region of the unit is outlined in each patch (HDSR 2021, Figure 3; SPIE 2018, Figure 4).
    """
    dissect = newest_run(study, "dissect")
    label_set = label_set or DEFAULT_SET
    units = select_named_units(study, dissect, UNITS_PER_CLASS, label_set)
    if not len(units):
        raise MissingInput(*MISSING_INPUTS["labels"])
    patches_run = lineage.ancestor_run(study, dissect, "patches")
    with store.read(study) as con:
        tiles = unit_table.load_top_patches(
            con, dissect, patches_run, units["unit"].tolist(), TILES_PER_UNIT
        )
        largest = unit_table.load_units(con, dissect).set_index("unit")["largest"]
        settings = run_table.load_run(con, dissect)["settings"]["dissection"]
    figure, cells = _create_unit_grid(len(units), width)
    maps = np.load(runs.run_folder(study, dissect) / "top_maps.npy", mmap_mode="r")
    classes = run_classes(study, dissect)
    styles = class_styles(classes)
    for row, axes in zip(units.to_dict("records"), cells):
        _write_unit(axes[0], row, styles[row["under"]])
        unit_tiles = tiles[tiles["unit"] == row["unit"]].to_dict("records")
        level = settings["threshold"] * float(largest[row["unit"]])
        for ax, patch in zip(axes[1:], unit_tiles):
            unit_map = np.asarray(maps[row["unit"], patch["rank"]], np.float32)
            _plot_tile(ax, study, patch, unit_map, level)
    caption = (
        f"Units that carry a label, at most {UNITS_PER_CLASS} of each class"
        f" ({', '.join(reversed(classes.outputs.values()))}), ordered by how often they are among"
        f" the {settings['top']} units with the largest influence on hold-out mammograms. Each row:"
        " unit, class, label, and its"
        f" {TILES_PER_UNIT} patches with the largest activation; outlined: the map of the unit"
        f" above {settings['threshold']:g} of its largest activation. All patches of one row may"
        f" come from few patients (listed in the data). {set_sentence(label_set)}"
        f" {states_sentence(units['state'])}"
        f" {influence_note(study, dissect)}".rstrip()
    )
    described = [
        "unit",
        "name",
        "under",
        "label",
        "state",
        "rank",
        "count",
        "share",
        "top_patients",
    ]
    return FigureResult(
        figure=figure,
        data={
            "tiles": tiles.merge(units[described].rename(columns={"rank": "class_rank"}), on="unit")
        },
        caption=caption,
        counts={
            "units": len(units),
            "patches": len(tiles),
            "patients": int(tiles["patient_id"].nunique()),
        },
        method="Top patches were ranked by the largest value of the map of a unit on each training"
        " and hold-out patch. Maps were upsampled bilinearly.",
        kind="image",
    )


def _create_unit_grid(count: int, width: float) -> tuple[Any, list[np.ndarray]]:
    """Return a figure and, for each unit, the axes of its text and its tiles.

    Units fill columns from top to bottom: two columns at two-column width, else one.
    """
    columns = 2 if width >= 120 else 1
    lines = -(-count // columns)
    figure = style.create_figure(width, 5 + 16.5 * lines)
    axes = figure.subplots(
        lines,
        columns * (TILES_PER_UNIT + 1),
        width_ratios=([2.4] + [1] * TILES_PER_UNIT) * columns,
        squeeze=False,
    )
    for ax in axes.ravel():
        ax.set_axis_off()
    # Stack the columns of units, so that a row of the result holds one unit.
    cells = np.concatenate(np.split(axes, columns, axis=1))
    return figure, list(cells[:count])


def _write_unit(ax: Axes, row: dict[str, Any], key: str) -> None:
    """Write the id, the class and the label of a unit, the label on at most four lines.

    key: style of the class.
    """
    lines = wrap(row["label"], 23)
    if len(lines) > 4:
        lines = [*lines[:3], lines[3].rstrip(",") + " …"]
    for y, text, style_of_text in (
        (0.98, unit_name(row["unit"]), {"fontweight": "bold"}),
        (0.80, row["under"], {"color": style.class_colour(key)}),
        (0.62, "\n".join(lines), {"linespacing": 1.05}),
    ):
        ax.text(0, y, text, transform=ax.transAxes, va="top", fontsize=7, **style_of_text)


def _plot_tile(
    ax: Axes, study: Path, patch: dict[str, Any], unit_map: np.ndarray, level: float
) -> None:
    """Plot a patch at its own resolution, with the region of the unit outlined."""
    mammogram = np.load(study / "images" / f"{patch['file']}.npy", mmap_mode="r")
    x, y, side = patch["x"], patch["y"], patch["side"]
    pixels = np.asarray(mammogram[y : y + side, x : x + side])
    if side > TILE_PRINT_PIXELS:
        image = Image.fromarray(pixels)
        pixels = np.asarray(
            image.resize((TILE_PRINT_PIXELS, TILE_PRINT_PIXELS), Image.Resampling.LANCZOS)
        )
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=(0, 1, 1, 0))
    region = upsample_map(unit_map, TILE_PRINT_PIXELS)
    if region.min() < level < region.max():
        centres = (np.arange(TILE_PRINT_PIXELS) + 0.5) / TILE_PRINT_PIXELS
        # Black beneath the colour keeps the outline visible on bright tissue.
        ax.contour(centres, centres, region, [level], colors="black", linewidths=1.4)
        ax.contour(
            centres, centres, region, [level], colors=style.UNIT_OUTLINE_COLOUR, linewidths=0.8
        )


def plot_agreement(study: Path, width: float) -> FigureResult:
    """Plot the agreement of annotators in one block of rows for each statistic."""
    estimates, annotators = annotator_agreement(study)
    blocks = _by_statistic(estimates)
    figure, (ax,) = style.create_panels(width, 1, 14 + 5.0 * (len(estimates) + len(blocks)))
    _plot_agreement_estimates(ax, blocks)
    methods = "; ".join(dict.fromkeys(e.method for e in estimates))
    if "alpha" in methods:
        methods += "; interval of alpha by resampling units"
    drawn = "; ".join(f"{name}: {', '.join(e.name for e in rows)}" for name, rows in blocks.items())
    chance = (
        " Dashed: agreement by chance, which is 0 for these statistics only."
        if any(map(_is_chance_corrected, blocks))
        else ""
    )
    caption = (
        f"Agreement of {count_text(annotators, 'annotator')} on the units that at least two of them"
        f" answered, by statistic ({drawn}). Bars: 95 % intervals.{chance} CI, confidence interval."
    )
    table = pd.DataFrame(
        [
            {
                "statistic": e.name,
                "estimate": e.estimate,
                "low": e.low,
                "high": e.high,
                "n": e.n,
                "method": e.method,
                "reason": e.reason or "",
            }
            for e in estimates
        ]
    )
    return FigureResult(
        figure=figure,
        data={"agreement": table},
        caption=caption,
        counts={"annotators": annotators, "units": max(e.n for e in estimates)},
        method=methods,
    )


def _by_statistic(estimates: list[AgreementEstimate]) -> dict[str, list[AgreementEstimate]]:
    """Return the estimates by the name of their statistic, in their order."""
    blocks: dict[str, list[AgreementEstimate]] = {}
    for estimate in estimates:
        # The rest of the text names the interval.
        name = estimate.method.split(",")[0]
        blocks.setdefault(name[0].upper() + name[1:], []).append(estimate)
    return blocks


def _is_chance_corrected(statistic: str) -> bool:
    return any(word in statistic for word in ("kappa", "alpha", "AC1"))


def _plot_agreement_estimates(ax: Axes, blocks: dict[str, list[AgreementEstimate]]) -> None:
    """Plot each estimate below the name of its statistic; statistics have different scales."""
    style.draw_grid(ax, "x")
    lows = [e.low for rows in blocks.values() for e in rows if e.low is not None]
    lowest = min([-0.05, *lows])
    row, labels = 0, []
    for statistic, estimates in blocks.items():
        ax.text(lowest, row, statistic, va="center", fontsize=7, fontweight="bold")
        labels.append("")
        first = row
        for e in estimates:
            row += 1
            labels.append(f"{e.name} (n = {e.n})")
            if e.low is not None and e.high is not None:
                ax.plot([e.low, e.high], [row, row], color=style.INK, linewidth=1)
            if e.estimate is not None:
                ax.plot(e.estimate, row, "s", color=style.INK, markersize=4)
            else:
                ax.text(0.02, row, "not estimable", va="center", fontsize=7, color=style.MUTED)
        if _is_chance_corrected(statistic):
            ends = [first + 0.5, row + 0.5]
            ax.plot([0, 0], ends, color=style.MUTED, linewidth=0.7, linestyle="--")
        row += 1
    ax.set(
        yticks=range(row),
        ylim=(row - 0.5, -0.7),
        xlim=(lowest - 0.02, 1.03),
        xlabel="Agreement (95 % CI)",
    )
    ax.set_yticklabels(labels)
    ax.tick_params(axis="y", length=0)
