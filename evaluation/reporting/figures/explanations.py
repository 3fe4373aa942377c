"""Figure of explained mammograms: findings, class map and the maps of labelled units."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from core.lineage import influence_note, run_classes
from core.store import dataset_table, unit_table
from core.store.labels.label_sets import set_sentence
from core.store.labels.label_states import states_sentence
from evaluation.intervals import decimal
from evaluation.queries.explanations import ExplainedMammogram, list_explained, load_explanation
from evaluation.queries.provenance import MissingInput, study_seed
from evaluation.reporting.base import newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult

# Pixels: a mammogram in print is about 25 mm wide, which is 400 dots per inch.
MAMMOGRAM_PIXELS = 400
SCALE_BAR_MM = 10
# HDSR 2021 prints "up to five annotated units" of a decision.
PRINTED_UNITS = 5
# Millimetres: a line of text of 7 points, a letter of it in the widest of the fonts, the panel
# letter above a row, gaps, the colour bar, and the heights between which an image is scaled to fit
# the page.
_LINE_MM, _LETTER_MM, _PANEL_MM, _GAP_MM, _COLOUR_BAR_MM = 2.9, 1.4, 5.5, 1.5, 13
_IMAGE_MM, _MIN_IMAGE_MM = 44.0, 24.0
_MAX_LABEL_LINES = 12


def _illustrated_decisions(study: Path, explain: str) -> list[str]:
    """Return the decisions to illustrate: malignant and benign (the compared classes).

    Of two outputs: malignant and other.
    """
    classes = run_classes(study, explain)
    if len(classes.outputs) == 2:
        return list(classes.outputs.values())[::-1]
    return [classes.positive, classes.comparison]


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


def plot_explanations(study: Path, width: float, label_set: str | None = None) -> FigureResult:
    """Plot explained mammograms, one a row (HDSR 2021, Figures 4 and 5).

    Left to right: the mammogram with outlined findings, the class map, the maps of labelled units.
    Beneath: the whole report. Rows: malignant and benign decisions, right and wrong; as many as fit
    on a page. label_set: None for the labels of the explain run.
    """
    run = newest_run(study, "explain")
    seed = study_seed(study)
    chosen = choose_example_cases(study, run, seed)
    if not chosen:
        raise MissingInput(
            "Explanations",
            "no explained mammogram with a known truth was classified as"
            f" {' or '.join(_illustrated_decisions(study, run))}",
            "deepminer explain",
        )
    max_units = PRINTED_UNITS if width >= 120 else 1
    cases = [load_explanation(study, run, mammogram, label_set) for _, mammogram, _ in chosen]
    layout = _fit_to_page(cases, width, max_units)
    chosen, cases = chosen[: len(layout.labels)], cases[: len(layout.labels)]
    figure, axes, report_axes = _create_axes(layout, width, max_units + 2)
    scale_bars = 0
    for case, row_axes, report_ax, panel in zip(cases, axes, report_axes, "abcd"):
        scale_bars += _draw_scale_bar(row_axes[0], study, case)
        _plot_case(row_axes, study, case, panel, width, max_units)
        _write_report(report_ax, case, width)
    _draw_colour_bar(figure, cases[-1].scale)
    panels = list(zip("abcd", chosen, cases))
    states = [unit.state for case in cases for unit in case.all_units if unit.label]
    caption = (
        "Explained mammograms. "
        + "; ".join(
            f"({panel}) decided {role}: truth {case.truth}, {how}"
            for panel, (role, _, how), case in panels
        )
        + ". Left to right: mammogram with outlined findings (red), beneath the row its report;"
        f" probability map of the predicted class; maps of up to {max_units} labelled units"
        f" among the {len(cases[0].unit_maps)} with the largest influence on the decision, with"
        " rank, unit, influence and label. A label of several units is printed once, with the map"
        " of the most influential one. Colours, one scale for all cases: class maps from 0 to 1;"
        " unit maps by square root from 0 to the largest contribution of any unit to any explained"
        " mammogram."
        + (f" White bar: {SCALE_BAR_MM} mm." if scale_bars else "")
        + f" {set_sentence(cases[0].label_set)}"
        + f" {states_sentence(states)}".rstrip()
    )
    rows = [
        row for panel, (role, _, how), case in panels for row in _unit_rows(panel, role, how, case)
    ]
    return FigureResult(
        figure=figure,
        data={"units": pd.DataFrame(rows)},
        caption=caption,
        counts={"mammograms": len(cases), "patients": len({case.patient_id for case in cases})},
        method=influence_note(study, run)
        or "The influence of a unit is the largest value of its map on the mammogram times its"
        " weight for the class.",
        kind="mixed",
        seed=seed,
    )


@dataclass(frozen=True)
class _PageLayout:
    """Heights in mm: of the images, and of labels and report of each row that fits on the page."""

    image: float
    labels: list[float]
    reports: list[float]

    def row(self, k: int) -> float:
        """Height of row k."""
        return _PANEL_MM + self.image + self.labels[k] + self.reports[k] + 3 * _GAP_MM


def _fit_to_page(cases: list[ExplainedMammogram], width: float, max_units: int) -> _PageLayout:
    """Return the heights of as many rows as fit on a page; images are made smaller first.

    Reports are never cut, so a long one can take the place of the last row.
    """
    labels = [
        _LINE_MM * (2 + max([0, *map(len, _label_lines(case, width, max_units))])) for case in cases
    ]
    reports = [_LINE_MM * len(_report_lines(case, width)) for case in cases]
    # Upright films are at most about twice as high as wide.
    preferred = min(_IMAGE_MM, 2 * _column_width(width, max_units + 2))
    available = style.MAX_HEIGHT - style.MARK_HEIGHT - _COLOUR_BAR_MM
    for count in range(len(cases), 0, -1):
        without_images = _PageLayout(0, labels[:count], reports[:count])
        image = (available - sum(map(without_images.row, range(count)))) / count
        if image >= _MIN_IMAGE_MM:
            break
    return replace(without_images, image=max(_MIN_IMAGE_MM, min(preferred, image)))


def _column_width(width: float, columns: int) -> float:
    return (width - (columns + 1) * _GAP_MM) / columns


def _create_axes(
    layout: _PageLayout, width: float, columns: int
) -> tuple[Figure, np.ndarray, list[Axes]]:
    """Return a figure, the axes of its images [row, column], and those of its reports.

    Positions are fixed: the widths of the texts must not decide the sizes of the images.
    """
    rows = range(len(layout.labels))
    height = style.MARK_HEIGHT + sum(map(layout.row, rows)) + _COLOUR_BAR_MM
    figure = style.create_figure(width, height)
    figure.set_layout_engine("none")
    column = _column_width(width, columns)

    def add(left: float, top: float, wide: float, high: float) -> Axes:
        """Add axes at a position in mm from the upper left corner."""
        return figure.add_axes(
            (left / width, 1 - (top + high) / height, wide / width, high / height)
        )

    images, reports = [], []
    top = style.MARK_HEIGHT
    for k in rows:
        upper = top + _PANEL_MM
        images.append(
            [
                add(_GAP_MM + j * (column + _GAP_MM), upper, column, layout.image)
                for j in range(columns)
            ]
        )
        below = upper + layout.image + layout.labels[k] + 2 * _GAP_MM
        reports.append(add(_GAP_MM, below, width - 2 * _GAP_MM, layout.reports[k]))
        top += layout.row(k)
    for ax in [*reports, *(ax for row in images for ax in row)]:
        ax.set_axis_off()
        ax.set_anchor("NW")
    return figure, np.array(images), reports


def _report_lines(case: ExplainedMammogram, width: float) -> list[str]:
    """Return the whole report of a mammogram, wrapped to the width of the figure."""
    report = "; ".join(line for line in case.findings["report"] if line).replace("_", " ").lower()
    return wrap(f"Report: {report or 'none'}", int(width / _LETTER_MM))


def _write_report(ax: Axes, case: ExplainedMammogram, width: float) -> None:
    ax.text(0, 1, "\n".join(_report_lines(case, width)), va="top", fontsize=7, linespacing=1.1)


def _label_lines(case: ExplainedMammogram, width: float, max_units: int) -> list[list[str]]:
    """Return the lines of each printed label, wrapped to the width of an image."""
    column = _column_width(width, max_units + 2)
    shown = case.phenomena(max_units)
    return [_wrap_lines(phenomenon.text, column) for phenomenon in shown]


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
            "state": unit.state,
        }
        for unit in case.all_units
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
    axes: np.ndarray,
    study: Path,
    case: ExplainedMammogram,
    panel: str,
    width: float,
    max_units: int,
) -> None:
    """Plot one case: the mammogram, its class map, and the maps of its labelled units."""
    pixels = np.load(study / "images" / f"{case.image_file}.npy", mmap_mode="r")
    style.label_panel(axes[0], panel)
    _plot_mammogram(axes[0], pixels, case)
    _write_below(axes[0], [case.patient_id, case.view])
    _plot_mammogram(axes[1], pixels, case, case.class_map)
    probability = decimal(case.scores.get(case.predicted or ""), 2)
    _write_below(axes[1], [f"{case.predicted} {probability}", f"truth {case.truth}"])
    shown = case.phenomena(max_units)
    for ax, phenomenon, lines in zip(axes[2:], shown, _label_lines(case, width, max_units)):
        unit = phenomenon.leading
        _plot_mammogram(ax, pixels, case, case.unit_heat(unit))
        heading = [f"{case.rank_text(unit)}, {unit_name(unit.unit)}", decimal(unit.influence, 2)]
        _write_below(ax, [*heading, *lines])


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
    pixels = np.asarray(image.convert("RGB"), float) / 255
    return pixels * (1 - weight) + colormaps["inferno"](values)[..., :3] * weight


def _draw_colour_bar(figure: Figure, scale: float) -> None:
    """Draw the colour bar of class maps (linear) and unit maps (square root) below all rows."""
    height = figure.get_size_inches()[1] / style.MM
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), "inferno"),
        cax=figure.add_axes((0.2, (_COLOUR_BAR_MM - 4) / height, 0.6, 2 / height)),
        orientation="horizontal",
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


def _wrap_lines(text: str, column: float) -> list[str]:
    """Return the lines of a label at the width of an image in mm, cut after `_MAX_LABEL_LINES`."""
    lines = wrap(text, int(column / _LETTER_MM))
    if len(lines) > _MAX_LABEL_LINES:
        lines = [*lines[: _MAX_LABEL_LINES - 1], lines[_MAX_LABEL_LINES - 1] + " …"]
    return lines


def _write_below(ax: Axes, lines: list[str]) -> None:
    ax.annotate(
        "\n".join(lines),
        (0, 0),
        xytext=(0, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=7,
        linespacing=1.1,
    )
