"""Figure of explained mammograms: findings, class map and the maps of labelled units."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from core import store
from core.class_labels import unit_name
from core.lineage import run_class_names
from core.store import dataset_table, unit_table
from evaluation.intervals import decimal
from evaluation.queries.explanations import ExplainedMammogram, list_explained, load_explanation
from evaluation.queries.provenance import MissingInput, study_seed
from evaluation.reporting.base import newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult

# Pixels: a mammogram in print is about 25 mm wide, which is 400 dots per inch.
MAMMOGRAM_PIXELS = 400
SCALE_BAR_MM = 10


def _illustrated_decisions(study: Path, explain: str) -> list[str]:
    """Return the decisions to illustrate: malignant and benign, or malignant and other."""
    return list(run_class_names(study, explain).values())[::-1][:2]


def choose_example_cases(study: Path, explain: str, seed: int) -> list[tuple[str, str, str]]:
    """Return (role, mammogram_id, how it was chosen) of the cases to illustrate.

    A right and a wrong decision for each illustrated class: the newest case that the team picked
    for the figure, else the first in seeded order. A role without a case is omitted.
    """
    with store.read(study) as con:
        picks = {p["mammogram_id"]: p["how"] for p in unit_table.load_figure_picks(con, explain)}
    chosen = []
    for name in _illustrated_decisions(study, explain):
        table = list_explained(study, explain, name, seed)
        table = table[table["truth"].notna()]
        for outcome, rows in (("right", table[table["right"]]), ("wrong", table[~table["right"]])):
            ids = rows["mammogram_id"].tolist()
            picked = [mammogram for mammogram in reversed(list(picks)) if mammogram in ids]
            if picked:
                chosen.append((f"{name}, {outcome}", picked[0], picks[picked[0]]))
            elif ids:
                chosen.append((f"{name}, {outcome}", ids[0], f"random, seed {seed}"))
    return chosen


def plot_explanations(study: Path, width: float) -> FigureResult:
    """Plot explained mammograms, one a row (HDSR 2021, Figures 4 and 5).

    Left to right: the mammogram with outlined findings and its report line, the class map, the maps
    of labelled units. Rows: malignant and benign decisions, right and wrong.
    """
    run = newest_run(study, "explain")
    seed = study_seed(study)
    chosen = choose_example_cases(study, run, seed)
    if not chosen:
        raise MissingInput(
            "Explanations",
            "no explained mammogram with a known truth was classified as malignant or benign",
            "deepminer explain",
        )
    max_units = 4 if width >= 120 else 1
    figure = style.create_figure(width, 12 + 55 * len(chosen))
    axes = figure.subplots(len(chosen), max_units + 2, squeeze=False)
    cases = [load_explanation(study, run, mammogram) for _, mammogram, _ in chosen]
    scale_bars = 0
    for case, row_axes, panel in zip(cases, axes, "abcd"):
        scale_bars += _draw_scale_bar(row_axes[0], study, case)
        _plot_case(row_axes, study, case, panel, max_units)
    _draw_colour_bar(figure, axes, cases[-1].scale)
    panels = list(zip("abcd", chosen, cases))
    caption = (
        "Explained mammograms. "
        + "; ".join(
            f"({panel}) decided {role}: truth {case.truth}, {how}"
            for panel, (role, _, how), case in panels
        )
        + ". Left to right: mammogram with outlined findings (red) and its report line;"
        f" probability map of the predicted class; maps of up to {max_units} of the labelled units"
        " among the 8 with the largest influence on the decision, with rank, unit, influence and"
        " label. Colours, one scale for all cases: class maps from 0 to 1; unit maps by square"
        " root from 0 to the largest contribution of any unit to any explained mammogram."
        + (f" White bar: {SCALE_BAR_MM} mm." if scale_bars else "")
    )
    rows = [
        row for panel, (role, _, how), case in panels for row in _unit_rows(panel, role, how, case)
    ]
    return FigureResult(
        figure=figure,
        data={"units": pd.DataFrame(rows)},
        caption=caption,
        counts={"mammograms": len(cases), "patients": len({case.patient_id for case in cases})},
        method="The influence of a unit is the largest value of its map on the mammogram times its"
        " weight for the class.",
        kind="mixed",
        seed=seed,
    )


def _unit_rows(panel: str, role: str, how: str, case: ExplainedMammogram) -> list[dict[str, Any]]:
    """Return the numbers of a panel: one row for each of its most influential units."""
    return [
        {
            "panel": panel,
            "role": role,
            "chosen": how,
            "mammogram_id": case.mammogram_id,
            "truth": case.truth,
            "predicted": case.predicted,
            **{f"p_{name}": value for name, value in case.scores.items()},
            "rank": unit.rank,
            "unit": unit_name(unit.unit),
            "influence": unit.influence,
            "label": unit.label or "",
        }
        for unit in case.units
    ]


def _draw_scale_bar(ax: Axes, study: Path, case: ExplainedMammogram) -> bool:
    """Draw a bar of 10 mm at the lower edge; return False if the pixel size is unknown."""
    with store.read(study) as con:
        mammogram = dataset_table.load_mammogram(con, case.mammogram_id) or {}
    pixel_mm = mammogram.get("pixel_mm")
    if not pixel_mm or pd.isna(pixel_mm):
        return False
    # The size belongs to a pixel of the source; the working image is smaller.
    length = SCALE_BAR_MM / pixel_mm * case.width / mammogram["source_width"]
    x, y = 0.04 * case.width, 0.97 * case.height
    ax.plot([x, x + length], [y, y], color="white", linewidth=1.4, solid_capstyle="butt", zorder=5)
    return True


def _plot_case(
    axes: np.ndarray, study: Path, case: ExplainedMammogram, panel: str, max_units: int
) -> None:
    """Plot one case: the mammogram, its class map, and the maps of its labelled units."""
    pixels = np.load(study / "images" / f"{case.image_file}.npy", mmap_mode="r")
    report = "; ".join(line for line in case.findings["report"] if line).replace("_", " ").lower()
    for ax in axes:
        ax.set_axis_off()
    style.label_panel(axes[0], panel)
    _plot_mammogram(axes[0], pixels, case)
    _write_below(
        axes[0], f"{case.patient_id}, {case.view}", _wrap_lines(report or "no report line")
    )
    _plot_mammogram(axes[1], pixels, case, case.class_map)
    probability = decimal(case.scores.get(case.predicted or ""), 2)
    _write_below(axes[1], f"{case.predicted} {probability}", f"truth {case.truth}")
    for ax, unit in zip(axes[2:], [u for u in case.units if u.label][:max_units]):
        _plot_mammogram(ax, pixels, case, case.unit_heat(unit))
        heading = f"{unit.rank} of 8, {unit_name(unit.unit)}, {decimal(unit.influence, 2)}"
        _write_below(ax, heading, _wrap_lines(unit.label or ""))


def _plot_mammogram(
    ax: Axes, pixels: np.ndarray, case: ExplainedMammogram, heat: np.ndarray | None = None
) -> None:
    """Plot a mammogram with its findings outlined; heat in [0, 1] is blended over it."""
    image = Image.fromarray(np.asarray(pixels))
    if image.width > MAMMOGRAM_PIXELS:
        height = round(MAMMOGRAM_PIXELS * image.height / image.width)
        image = image.resize((MAMMOGRAM_PIXELS, height), Image.Resampling.LANCZOS)
    extent = (0, case.width, case.height, 0)
    ax.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent)
    if heat is not None:
        ax.imshow(_blend(image, heat), interpolation="none", extent=extent)
    for polygon in (p for polygons in case.findings["outline"] for p in polygons):
        closed = np.vstack([polygon, polygon[:1]])
        ax.plot(closed[:, 0], closed[:, 1], color="white", linewidth=1.3)
        ax.plot(closed[:, 0], closed[:, 1], color=style.FINDING_COLOUR, linewidth=0.8)
    ax.set(xlim=(0, case.width), ylim=(case.height, 0), aspect="equal")


def _blend(image: Image.Image, heat: np.ndarray) -> np.ndarray:
    """Return heat in inferno colours over an image, [h, w, 3] in 0..1; 0 is transparent.

    Blended here because renderers differ in their treatment of an alpha channel.
    """
    clipped = Image.fromarray(np.clip(heat, 0, 1).astype(np.float32))
    values = np.asarray(clipped.resize(image.size, Image.Resampling.BILINEAR))
    weight = np.clip(1.6 * values, 0, 0.75)[..., None]
    grey = np.asarray(image, float)[..., None] / 255
    return grey * (1 - weight) + colormaps["inferno"](values)[..., :3] * weight


def _draw_colour_bar(figure: Figure, axes: np.ndarray, scale: float) -> None:
    """Draw the colour bar of class maps (linear) and unit maps (square root) below all rows."""
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), "inferno"),
        ax=axes,
        location="bottom",
        fraction=0.03,
        aspect=70,
        pad=0.01,
        shrink=0.6,
    )
    # By the square root, half of the bar is a quarter of the scale of unit maps.
    labels = [
        "class map 0\nunits 0",
        f".5\n{decimal(scale / 4, 2)}",
        f"1\n{decimal(scale, 2)}",
    ]
    bar.set_ticks([0, 0.5, 1], labels=labels)
    bar.outline.set_linewidth(0.5)
    bar.ax.tick_params(length=2)


def _wrap_lines(text: str, max_lines: int = 12) -> str:
    """Wrap a text to the width of a mammogram, and cut it after `max_lines`."""
    lines = wrap(text, 22)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], lines[max_lines - 1] + " …"]
    return "\n".join(lines)


def _write_below(ax: Axes, heading: str, text: str) -> None:
    ax.annotate(
        f"{heading}\n{text}",
        (0, 0),
        xytext=(0, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=7,
        linespacing=1.1,
    )
