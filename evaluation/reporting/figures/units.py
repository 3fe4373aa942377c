"""Figures about units: the named units with their patches, the coverage curve, and explained
mammograms.
"""

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

from core import runs, store
from core.class_labels import unit_name
from core.store import dataset_table, run_table, unit_table
from evaluation.intervals import decimal, percent, percent_range
from evaluation.queries import explanations as explained
from evaluation.queries import study_overview
from evaluation.queries import units as gallery
from evaluation.queries.class_names import class_words
from evaluation.queries.explanations import Explained
from evaluation.queries.provenance import ABSENT, Missing, seed_of
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import Drawn, newest

TILES, PER_CLASS, TILE_PIXELS = 4, 4, 128


def named_units(study: Path, dissect: str, per_class: int) -> pd.DataFrame:
    """Per class, malignant first, the labelled selected units most often among the top eight: the
    rows of `gallery.rows` with `under` (the class).
    """
    with store.read(study) as con:
        chosen = unit_table.selected(con, dissect)
    table = gallery.rows(study, dissect)
    table = table[table["label"] != ""].set_index("unit")
    rows, taken = [], set()
    for code, name in reversed(class_words(study, dissect).items()):
        order = chosen[chosen["class"] == code].sort_values("rank")
        mine = [
            row
            for row in order.to_dict("records")
            if row["unit"] in table.index and row["unit"] not in taken
        ][:per_class]
        taken |= {row["unit"] for row in mine}
        rows += [
            table.loc[row["unit"]].to_dict()
            | {
                "unit": int(row["unit"]),
                "under": name,
                "rank": row["rank"],
                "count": row["count"],
            }
            for row in mine
        ]
    return pd.DataFrame(rows)


def units(study: Path, width: float) -> Drawn:
    """Named units of each class: id, class, label, four patches with the unit's region outlined
    (HDSR Fig. 3, SPIE Fig. 4).
    """
    dissect = newest(study, "dissect")
    table = named_units(study, dissect, PER_CLASS)
    if not len(table):
        raise Missing(*ABSENT["labels"])
    patches_run = gallery.patches_run_of(study, dissect)
    with store.read(study) as con:
        tiles = unit_table.top_patches(con, dissect, patches_run, table["unit"].tolist(), TILES)
        largest = unit_table.units(con, dissect).set_index("unit")["largest"]
        threshold = run_table.get(con, dissect)["settings"]["dissection"]["threshold"]
    maps = np.load(runs.folder(study, dissect) / "top_maps.npy", mmap_mode="r")
    columns = 2 if width >= 120 else 1
    lines = -(-len(table) // columns)
    figure = style.sheet(width, 5 + 16.5 * lines)
    axes = figure.subplots(
        lines, columns * (TILES + 1), width_ratios=([2.4] + [1] * TILES) * columns, squeeze=False
    )
    for ax in axes.ravel():
        ax.set_axis_off()
    for i, row in enumerate(table.to_dict("records")):
        place = axes[i % lines, (i // lines) * (TILES + 1) : (i // lines + 1) * (TILES + 1)]
        _unit_words(place[0], row)
        for ax, patch in zip(place[1:], tiles[tiles["unit"] == row["unit"]].to_dict("records")):
            _tile(
                ax,
                study,
                patch,
                np.asarray(maps[row["unit"], patch["rank"]], np.float32),
                threshold * float(largest[row["unit"]]),
            )
    data = tiles.merge(
        table[["unit", "name", "under", "label", "rank", "count", "share", "top_patients"]].rename(
            columns={"rank": "class_rank"}
        ),
        on="unit",
    )
    caption = (
        f"Units that carry a label, {PER_CLASS} at most of each class (malignant, benign, normal),"
        f" in the order of how often they are among the {overview_top(study, dissect)} units with"
        " the largest influence on hold-out mammograms. Each row: unit, class, label, and its"
        f" {TILES} patches with the largest activation; outlined: the unit's map above"
        f" {threshold:g} of its largest activation. All patches of one row may come from few"
        " patients (listed in the data)."
    )
    counts = {
        "units": len(table),
        "patches": len(tiles),
        "patients": int(tiles["patient_id"].nunique()),
    }
    return Drawn(
        figure=figure,
        data={"tiles": data},
        caption=caption,
        counts=counts,
        method="Top patches: the largest value of a unit's map on each training and hold-out patch; maps"
        " upsampled bilinearly.",
        kind="image",
    )


def overview_top(study: Path, dissect: str) -> int:
    """How many of the most influential units count per image."""
    with store.read(study) as con:
        return int(run_table.get(con, dissect)["settings"]["dissection"]["top"])


def _unit_words(ax: Axes, row: dict[str, Any]) -> None:
    ax.text(
        0,
        0.98,
        unit_name(row["unit"]),
        transform=ax.transAxes,
        va="top",
        fontsize=7,
        fontweight="bold",
    )
    ax.text(
        0,
        0.80,
        row["under"],
        transform=ax.transAxes,
        va="top",
        fontsize=7,
        color=style.COLOURS[row["under"]],
    )
    words = wrap(row["label"], 23)
    shown = words[:4] if len(words) <= 4 else [*words[:3], words[3].rstrip(",") + " …"]
    ax.text(
        0, 0.62, "\n".join(shown), transform=ax.transAxes, va="top", fontsize=7, linespacing=1.05
    )


def _tile(ax: Axes, study: Path, patch: dict[str, Any], unit_map: np.ndarray, level: float) -> None:
    """A patch in its own pixels, with the unit's region outlined."""
    film = np.load(study / "images" / f"{patch['file']}.npy", mmap_mode="r")
    view = np.asarray(
        film[patch["y"] : patch["y"] + patch["side"], patch["x"] : patch["x"] + patch["side"]]
    )
    if len(view) > TILE_PIXELS:
        view = np.asarray(
            Image.fromarray(view).resize((TILE_PIXELS, TILE_PIXELS), Image.Resampling.LANCZOS)
        )
    ax.imshow(view, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=(0, 1, 1, 0))
    region = np.asarray(
        Image.fromarray(unit_map).resize((TILE_PIXELS, TILE_PIXELS), Image.Resampling.BILINEAR)
    )
    if region.min() < level < region.max():
        at = (np.arange(TILE_PIXELS) + 0.5) / TILE_PIXELS
        ax.contour(at, at, region, [level], colors="black", linewidths=1.4)
        ax.contour(at, at, region, [level], colors=style.OUTLINE, linewidths=0.8)


def coverage(study: Path, width: float) -> Drawn:
    """Coverage of each class by the first k units, with interval, split half and labelled coverage
    where 20 (or as many as set) are selected.
    """
    dissect = newest(study, "dissect")
    with store.read(study) as con:
        run = run_table.latest(con, "coverage", dissect)
        frame = unit_table.coverage(con, run) if run else None
        chosen = unit_table.selected(con, dissect)
        settings = run_table.get(con, dissect)["settings"]["dissection"]
    if frame is None:
        raise Missing(*ABSENT["coverage"])
    figure, (ax,) = style.panels(width, 1, 70)
    style.grid(ax)
    select, notes, rows, names = settings["select"], [], [], class_words(study, dissect)
    for shift, code in enumerate(sorted(frame["class"].unique())):
        name = names[int(code)]
        mine = frame[frame["class"] == code].set_index("name")
        curve = [
            (int(k.split("_")[1]), v)
            for k, v in mine["estimate"].items()
            if str(k).startswith("curve_")
        ]
        ax.plot(*zip(*curve), label=name, **style.line(name))
        interval = mine.loc["interval"]
        _coverage_marks(ax, name, mine, select + (shift - 1) * 0.35)
        share, _, _ = study_overview.labelled(study, dissect, int(code))
        notes.append(
            f"{name} {percent(mine.loc['selected', 'estimate'])} (95 % CI"
            f" {percent_range(interval['low'], interval['high'])}; split half"
            f" {percent(mine.loc['split_half', 'estimate'])}; labelled {percent(share)})"
        )
        rows += [{"class": name, "name": k, "estimate": v} for k, v in mine["estimate"].items()] + [
            {"class": name, "name": "labelled", "estimate": share}
        ]
    chance = frame[frame["name"] == "chance"]["estimate"].iloc[0]
    most = max(int(k.split("_")[1]) for k in frame["name"] if k.startswith("curve_"))
    ax.plot(
        [0, most],
        [0, chance / select * most],
        color=style.QUIET,
        linewidth=0.7,
        label="arbitrary units",
    )
    ax.axvline(select, color=style.QUIET, linewidth=0.5)
    ax.set(
        xlabel="Units selected",
        ylabel=f"Share of the top {settings['top']} slots",
        xlim=(0, most + 0.5),
        ylim=(0, 1.02),
    )
    handles, labels = ax.get_legend_handles_labels()
    order = [*range(len(handles) - 2, -1, -1), len(handles) - 1]
    # Above the axes: curves may run anywhere within.
    ax.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2 if width < 120 else 4,
    )
    images = int(frame["n"].max())
    caption = (
        f"Coverage: share of the {settings['top']} most influential units of each of {images}"
        f" hold-out mammograms that is taken by the first k units. At {select} units: "
        + "; ".join(notes[::-1])
        + f"; {select} arbitrary units {percent(chance)}. Filled symbols with 95 %"
        " patient-bootstrap intervals: measured on the mammograms that chose the units, hence"
        " optimistic; open symbols: chosen on one half of the patients, measured on the other."
        " CI, confidence interval."
    )
    methods = "; ".join(
        sorted(set(frame[frame["name"].isin(["interval", "split_half"])]["method"]))
    )
    return Drawn(
        figure=figure,
        data={"coverage": pd.DataFrame(rows)},
        caption=caption,
        counts={"mammograms": images, "units selected": int(chosen["unit"].nunique())},
        method=methods,
    )


def _coverage_marks(ax: Axes, name: str, mine: pd.DataFrame, x: float) -> None:
    """Coverage of the selected units with its interval (filled) and the split-half value (open), of
    one class.
    """
    value, interval = mine.loc["selected", "estimate"], mine.loc["interval"]
    look: dict[str, Any] = {"marker": style.MARKERS[name], "markersize": 4}
    ax.errorbar(
        [x],
        [value],
        yerr=[[value - interval["low"]], [interval["high"] - value]],
        color=style.COLOURS[name],
        elinewidth=0.8,
        capsize=2,
        **look,
    )
    ax.plot(
        [x],
        [mine.loc["split_half", "estimate"]],
        markerfacecolor="white",
        markeredgecolor=style.COLOURS[name],
        **look,
    )


def _decisions(study: Path, explain: str) -> list[str]:
    """Decisions that are shown: malignant and benign, or malignant and other."""
    return list(class_words(study, explain).values())[::-1][:2]


def chosen_cases(study: Path, explain: str, seed: int) -> list[tuple[str, str, str]]:
    """(role, mammogram_id, how it was chosen) for malignant and benign decisions, a right and a
    wrong one each: the team's newest pick of that kind, else the first in seeded order. Roles
    without a case are left out.
    """
    with store.read(study) as con:
        picks = {p["mammogram_id"]: p["how"] for p in unit_table.figure_picks(con, explain)}
    found = []
    for name in _decisions(study, explain):
        table = explained.cases(study, explain, name, seed)
        table = table[table["truth"].notna()]
        for word, rows in (("right", table[table["right"]]), ("wrong", table[~table["right"]])):
            ids = rows["mammogram_id"].tolist()
            mine = [i for i in reversed(list(picks)) if i in ids]
            if mine:
                found.append((f"{name}, {word}", mine[0], picks[mine[0]]))
            elif ids:
                found.append((f"{name}, {word}", ids[0], f"random, seed {seed}"))
    return found


def explanations(study: Path, width: float) -> Drawn:
    """Explained mammograms (HDSR Figs. 4, 5): film with outlines and report, class map, labelled
    units; malignant and benign, right and wrong.
    """
    run = newest(study, "explain")
    seed = seed_of(study)
    chosen = chosen_cases(study, run, seed)
    if not chosen:
        raise Missing(
            "Explanations",
            "no explained mammogram with a known truth was called malignant or benign",
            "deepminer explain",
        )
    most = 4 if width >= 120 else 1
    figure = style.sheet(width, 12 + 55 * len(chosen))
    axes = figure.subplots(len(chosen), most + 2, squeeze=False)
    rows, notes = [], []
    patients, scales = set(), 0
    for (role, name, how), line, mark in zip(chosen, axes, "abcd"):
        case = explained.one(study, run, name)
        patients.add(case.patient_id)
        scales += _scale_bar(line[0], study, case)
        _explained_row(line, study, case, mark, most)
        notes.append(f"({mark}) decided {role}: truth {case.truth}, {how}")
        rows += [
            {
                "panel": mark,
                "role": role,
                "chosen": how,
                "mammogram_id": name,
                "truth": case.truth,
                "predicted": case.predicted,
                **{f"p_{k}": v for k, v in case.scores.items()},
                "rank": u.rank,
                "unit": unit_name(u.unit),
                "influence": u.influence,
                "label": u.label or "",
            }
            for u in case.units
        ]
    _colour_bar(figure, axes, case.scale)
    caption = (
        "Explained mammograms. "
        + "; ".join(notes)
        + ". Left to right: mammogram with outlined findings (red) and its report line;"
        f" probability map of the decided class; maps of up to {most} of the labelled units among"
        " the 8 with the largest influence on the decision, with rank, unit, influence and"
        " label. Colours, one scale for all cases: class maps from 0 to 1; units' maps by square"
        " root from 0 to the largest contribution of any unit to any explained mammogram."
        + (" White bar: 10 mm." if scales else "")
    )
    return Drawn(
        figure=figure,
        data={"units": pd.DataFrame(rows)},
        caption=caption,
        counts={"mammograms": len(chosen), "patients": len(patients)},
        method="Influence: largest value of the unit's map on the mammogram times its weight for the"
        " class.",
        kind="mixed",
        seed=seed,
    )


def _scale_bar(ax: Axes, study: Path, case: Explained) -> bool:
    """A bar of 10 mm at the lower edge, where the size of a source pixel is known; whether it was
    drawn.
    """
    with store.read(study) as con:
        film = dataset_table.mammogram(con, case.mammogram_id) or {}
    size = film.get("pixel_mm")
    if not size or size != size:
        return False
    length = 10 / size * case.width / film["source_width"]
    x, y = 0.04 * case.width, 0.97 * case.height
    ax.plot([x, x + length], [y, y], color="white", linewidth=1.4, solid_capstyle="butt", zorder=5)
    return True


def _explained_row(axes: np.ndarray, study: Path, case: Explained, mark: str, most: int) -> None:
    film = np.load(study / "images" / f"{case.film}.npy", mmap_mode="r")
    report = (
        "; ".join(r for r in case.findings["report"] if r).replace("_", " ").lower()
        or "no report line"
    )
    for ax in axes:
        ax.set_axis_off()
    _film(axes[0], film, case)
    style.letter(axes[0], mark)
    _words(axes[0], f"{case.patient_id}, {case.view}", _cut(report))
    _film(axes[1], film, case, case.class_map)
    _words(
        axes[1],
        f"{case.predicted} {decimal(case.scores.get(case.predicted or ''), 2)}",
        f"truth {case.truth}",
    )
    for ax, unit in zip(axes[2:], [u for u in case.units if u.label][:most]):
        _film(ax, film, case, case.heat(unit))
        _words(
            ax,
            f"{unit.rank} of 8, {unit_name(unit.unit)}, {decimal(unit.influence, 2)}",
            _cut(unit.label or ""),
        )


def _colour_bar(figure: Figure, axes: np.ndarray, scale: float) -> None:
    """The colours of the maps, beneath all films: what they stand for in class maps (linear) and in
    units' maps (square root).
    """
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), "inferno"),
        ax=axes,
        location="bottom",
        fraction=0.03,
        aspect=70,
        pad=0.01,
        shrink=0.6,
    )
    bar.set_ticks(
        [0, 0.5, 1],
        labels=[
            "0",
            f"class map 0.5, units {decimal(scale / 4, 2)}",
            f"class map 1, units {decimal(scale, 2)}",
        ],
    )
    bar.outline.set_linewidth(0.5)
    bar.ax.tick_params(length=2)


def _cut(text: str, lines: int = 4) -> str:
    found = wrap(text, 22)
    return "\n".join(
        found if len(found) <= lines else [*found[: lines - 1], found[lines - 1] + " …"]
    )


def _words(ax: Axes, head: str, text: str) -> None:
    ax.annotate(
        head + "\n" + text,
        (0, 0),
        xytext=(0, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=7,
        linespacing=1.1,
    )


def _film(ax: Axes, film: np.ndarray, case: Explained, heat: np.ndarray | None = None) -> None:
    """A mammogram at most 400 pixels wide; heat in [0, 1] lies over it, transparent where it is 0."""
    image = Image.fromarray(np.asarray(film))
    if image.width > 400:
        image = image.resize(
            (400, round(400 * image.height / image.width)), Image.Resampling.LANCZOS
        )
    extent = (0, case.width, case.height, 0)
    ax.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent)
    if heat is not None:
        values = np.asarray(
            Image.fromarray(np.clip(heat, 0, 1).astype(np.float32)).resize(
                image.size, Image.Resampling.BILINEAR
            )
        )
        # Blended here: renderers differ in how they treat an alpha channel.
        weight = np.clip(1.6 * values, 0, 0.75)[..., None]
        pixels = (
            np.asarray(image, float)[..., None] / 255 * (1 - weight)
            + colormaps["inferno"](values)[..., :3] * weight
        )
        ax.imshow(pixels, interpolation="none", extent=extent)
    for polygon in (p for polygons in case.findings["outline"] for p in polygons):
        closed = np.vstack([polygon, polygon[:1]])
        ax.plot(closed[:, 0], closed[:, 1], color="white", linewidth=1.3)
        ax.plot(closed[:, 0], closed[:, 1], color=style.FINDING, linewidth=0.8)
    ax.set(xlim=(0, case.width), ylim=(case.height, 0), aspect="equal")
