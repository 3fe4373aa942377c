"""Summaries over the units of a study: labels by category, coverage, labelled coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store
from core.class_labels import unit_name
from core.lexicon import birads_lexicon
from core.lineage import run_class_names
from core.settings import load_order_of_experts
from core.store import annotation_table, run_table, unit_table
from evaluation.coverage import labelled_coverage, share_of_slots, top_unit_arrays

OWN_WORDS = "Own words"  # category of a label without BI-RADS category


def labelled_units_by_category(study: Path, dissect: str) -> pd.DataFrame:
    """Return one row per labelled unit (the form of HDSR 2021, Fig. 3).

    Columns: category (title of the first phenomenon's), unit, label, simulated, classes for which
    the unit is selected. In order of category, then unit.
    """
    with store.read(study) as con:
        labels = annotation_table.unit_labels(con, dissect, load_order_of_experts(study))
        chosen = unit_table.load_selected_units(con, dissect)
        annotations = annotation_table.load_annotations(con, dissect)
    answers = annotations.set_index("annotation_id")["answer"]
    names = run_class_names(study, dissect)
    rows = []
    for unit, label in labels.items():
        codes = sorted(chosen[chosen["unit"] == unit]["class"], reverse=True)
        rows.append(
            {
                "category": _category_title(label.annotation_ids, answers),
                "unit": unit,
                "label": label.text,
                "simulated": label.simulated,
                "classes": [names[int(code)] for code in codes],
            }
        )
    # Own words have no position in the lexicon and follow last.
    position = {category.title: i for i, category in enumerate(birads_lexicon.CATEGORIES)}
    table = pd.DataFrame(rows, columns=["category", "unit", "label", "simulated", "classes"])
    return table.sort_values(
        ["category", "unit"],
        key=lambda column: (
            column.map(position).fillna(len(position)) if column.name == "category" else column
        ),
        ignore_index=True,
    )


def _category_title(annotation_ids: tuple[str, ...], answers: pd.Series) -> str:
    """Return the category of the first phenomenon among the answers that a label rests on."""
    for annotation_id in annotation_ids:
        phenomena = answers[annotation_id]["phenomena"] if annotation_id in answers.index else []
        if phenomena:
            return birads_lexicon.get_category(phenomena[0]["category"]).title
    return OWN_WORDS


def category_cross_table(study: Path) -> pd.DataFrame:
    """Return units by category over all dissected networks (the form of SPIE 2018, Fig. 4).

    Categories are rows. Each dissected network and layer with a label is a column with the number
    of units and their names as text: "3: unit_0001, ...".
    """
    with store.read(study) as con:
        dissections = run_table.load_runs(con, "dissect").to_dict("records")
        train_of = {row["run"]: run_table.ancestor(con, row["run"], "train") for row in dissections}
        trained = run_table.load_runs(con, "train").to_dict("records")
    architecture = {row["run"]: row["manifest"]["architecture"] for row in trained}
    columns: dict[str, pd.Series] = {}
    for row in dissections:
        run, layer = row["run"], row["manifest"]["layer"]
        units = labelled_units_by_category(study, run)
        if len(units):
            # Several dissections of one network and layer differ by the end of their id.
            title = f"{architecture[train_of[run]]}, {layer} ({run[-4:]})"
            columns[title] = units.groupby("category")["unit"].agg(_count_and_names)
    used = {title for column in columns.values() for title in column.index}
    titles = [c.title for c in birads_lexicon.CATEGORIES if c.title in used]
    titles += [OWN_WORDS] if OWN_WORDS in used else []
    # A network without units of a category shows 0 in its column.
    cells = {name: column.reindex(titles).fillna("0") for name, column in columns.items()}
    return pd.DataFrame(cells, index=titles)


def _count_and_names(units: pd.Series) -> str:
    return f"{len(units)}: " + ", ".join(unit_name(int(unit)) for unit in units)


def coverage_summary(study: Path, dissect: str) -> list[dict[str, Any]]:
    """Return one record per class, malignant first; an empty list without a coverage run.

    Keys: class (code), name, selected with low and high, split_half with half_low and half_high,
    labelled, chance, held_out (test mammograms of the explain run, None without one),
    held_out_images, images, curve (coverage of the first k units).
    """
    with store.read(study) as con:
        run = run_table.latest_run(con, "coverage", dissect)
        if run is None:
            return []
        table = unit_table.load_coverage(con, run)
        explained_run = run_table.latest_run(con, "explain", dissect)
        top = run_table.load_run(con, dissect)["settings"]["dissection"]["top"]
        chosen = unit_table.load_selected_units(con, dissect)
        held_out: dict[int, tuple[float | None, int]] = {}
        if explained_run:
            held_out = _held_out_coverage(
                unit_table.load_top_influences(con, explained_run, top),
                unit_table.load_explanations(con, explained_run),
                chosen,
            )
    names = run_class_names(study, dissect)
    labelled = labelled_coverage_by_class(study, dissect)
    records = []
    for code in sorted((int(c) for c in table["class"].unique()), reverse=True):
        rows = table[table["class"] == code].set_index("name")
        share, images = held_out.get(code, (None, 0))
        records.append(
            {
                "class": code,
                "name": names[code],
                "selected": rows.loc["selected", "estimate"],
                "low": rows.loc["interval", "low"],
                "high": rows.loc["interval", "high"],
                "split_half": rows.loc["split_half", "estimate"],
                "half_low": rows.loc["split_half", "low"],
                "half_high": rows.loc["split_half", "high"],
                "labelled": labelled[code][0],
                "chance": rows.loc["chance", "estimate"],
                "held_out": share,
                "held_out_images": images,
                "images": int(rows.loc["selected", "n"]),
                "curve": _coverage_curve(rows),
            }
        )
    return records


def _coverage_curve(rows: pd.DataFrame) -> np.ndarray:
    """Return the coverage of the first 1, 2, ... units, float [n]."""
    curve = rows[rows.index.str.startswith("curve_")]["estimate"]
    # As text, curve_10 would precede curve_2.
    order = np.argsort([int(name.removeprefix("curve_")) for name in curve.index])
    return curve.to_numpy(float)[order]


def _held_out_coverage(
    influences: pd.DataFrame, explained: pd.DataFrame, chosen: pd.DataFrame
) -> dict[int, tuple[float | None, int]]:
    """Return by class: coverage on test mammograms of units selected on hold-out, and their n."""
    # An explain run covers hold-out too, on which the units were selected.
    test = set(explained[explained["split"] == "test"]["mammogram_id"])
    influences = influences[influences["mammogram_id"].isin(test)]
    if not len(influences):
        return {}
    codes, tops, _ = top_unit_arrays(influences)
    return {
        code: (share_of_slots(tops[i], _selected(chosen, code)), tops.shape[1])
        for i, code in enumerate(codes)
    }


def _selected(chosen: pd.DataFrame, code: int) -> set[int]:
    return set(chosen[chosen["class"] == code]["unit"].astype(int))


def labelled_coverage_by_class(
    study: Path, dissect: str
) -> dict[int, tuple[float | None, int, int]]:
    """Return by class code: labelled coverage, labelled units, distinct selected units.

    Labelled coverage is the share of a class's top places taken by selected units with a label.
    """
    with store.read(study) as con:
        top = run_table.load_run(con, dissect)["settings"]["dissection"]["top"]
        influences = unit_table.load_top_influences(con, dissect, top)
        chosen = unit_table.load_selected_units(con, dissect)
        labels = annotation_table.unit_labels(con, dissect, load_order_of_experts(study))
    codes, tops, _ = top_unit_arrays(influences)
    labelled = set(labels)
    counts = len(set(chosen["unit"]) & labelled), chosen["unit"].nunique()
    return {
        code: (labelled_coverage(tops[i], _selected(chosen, code), labelled), *counts)
        for i, code in enumerate(codes)
    }
