"""Summaries over the units of a study: labels by category, coverage, labelled coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store
from core.annotation.unit_categories import PROPOSED, unit_categories
from core.class_labels import unit_name
from core.lexicon.lexicon import Lexicon
from core.lineage import run_class_names
from core.settings import load_order_of_experts
from core.store import dataset_table, run_table, unit_table
from core.store.labels import label_sets
from core.store.labels.label_sets import DEFAULT_SET
from evaluation.coverage import labelled_coverage, share_of_slots, top_unit_arrays

OWN_WORDS = "Own words"  # category of a label whose words name no category
PROPOSED_MARK = "*"


def labelled_units_by_category(
    study: Path, dissect: str, label_set: str = DEFAULT_SET
) -> pd.DataFrame:
    """Return one row per labelled unit and category (the form of HDSR 2021, Fig. 3).

    A unit with several phenomena has several rows. Columns: category (its title), state (see
    `core.annotation.unit_categories`), unit, label, simulated, classes for which the unit is
    selected. In order of category, then unit.
    """
    with store.read(study) as con:
        labels = label_sets.load_label_set(con, dissect, label_set, load_order_of_experts(study))
        chosen = unit_table.load_selected_units(con, dissect)
        categories = unit_categories(con, dissect, labels)
        lexicon = dataset_table.load_lexicon(con)
    names = run_class_names(study, dissect)
    rows = []
    for unit, label in labels.items():
        codes = sorted(chosen[chosen["unit"] == unit]["class"], reverse=True)
        titles = [lexicon.category(name).title for name in categories[unit].names]
        rows += [
            {
                "category": title,
                "state": categories[unit].state,
                "unit": unit,
                "label": label.text,
                "simulated": label.simulated,
                "classes": [names[int(code)] for code in codes],
            }
            for title in titles or [OWN_WORDS]
        ]
    # Own words have no position in the lexicon and follow last.
    position = {category.title: i for i, category in enumerate(lexicon.categories)}
    columns = ["category", "state", "unit", "label", "simulated", "classes"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(
        ["category", "unit"],
        key=lambda column: (
            column.map(position).fillna(len(position)) if column.name == "category" else column
        ),
        ignore_index=True,
    )


def units_by_network_and_category(study: Path, label_set: str = DEFAULT_SET) -> pd.DataFrame:
    """Return the labelled units of all dissected networks (the form of SPIE 2018, Fig. 4).

    One row per network, unit and category. Columns: network (architecture and layer), run, and
    those of `labelled_units_by_category`. Networks are in the order of their dissection; those
    without the label set are left out. UserError if no network has it.
    """
    with store.read(study) as con:
        dissections = run_table.load_runs(con, "dissect").to_dict("records")
        has_set = {
            row["run"]: label_set in label_sets.list_label_sets(con, row["run"])
            for row in dissections
        }
        if dissections and not any(has_set.values()):
            # Raises, and lists the sets of the newest dissection.
            label_sets.load_label_set(con, dissections[-1]["run"], label_set, ())
        train_of = {row["run"]: run_table.ancestor(con, row["run"], "train") for row in dissections}
        trained = run_table.load_runs(con, "train").to_dict("records")
    architecture = {row["run"]: row["manifest"]["architecture"] for row in trained}
    tables = []
    for row in (one for one in dissections if has_set[one["run"]]):
        run, layer = row["run"], row["manifest"]["layer"]
        # Several dissections of one network and layer differ by the end of their id.
        title = f"{architecture[train_of[run]]}, {layer} ({run[-4:]})"
        units = labelled_units_by_category(study, run, label_set)
        tables.append(units.assign(network=title, run=run))
    if not tables:
        return pd.DataFrame(columns=["network", "run", "category", "state", "unit"])
    return pd.concat(tables, ignore_index=True)


def category_order(units: pd.DataFrame, lexicon: Lexicon) -> list[str]:
    """Return the used categories in the order of the lexicon, own words last."""
    used = set(units["category"])
    titles = [category.title for category in lexicon.categories if category.title in used]
    return titles + ([OWN_WORDS] if OWN_WORDS in used else [])


def network_totals(units: pd.DataFrame) -> pd.Series:
    """Return the distinct labelled units of each network, in order of their dissection.

    units: rows of `units_by_network_and_category`, in which a unit may have several categories.
    """
    return units.groupby("network", sort=False)["unit"].nunique()


def category_cross_table(study: Path) -> pd.DataFrame:
    """Return units by category over all dissected networks (the form of SPIE 2018, Fig. 4).

    Categories are rows. Each dissected network and layer with a label is a column with the number
    of units and their names as text: "3: unit_0001, ...". A unit with several phenomena stands in
    several rows; a mark follows a unit whose category is proposed and not confirmed.
    """
    units = units_by_network_and_category(study)
    with store.read(study) as con:
        lexicon = dataset_table.load_lexicon(con)
    titles = category_order(units, lexicon)
    columns: dict[str, pd.Series] = {}
    for title, rows in units.groupby("network", sort=False):
        names = rows["unit"].map(unit_name) + rows["state"].map(
            lambda state: PROPOSED_MARK if state == PROPOSED else ""
        )
        columns[str(title)] = names.groupby(rows["category"]).agg(
            lambda texts: f"{len(texts)}: {', '.join(texts)}"
        )
    # A network without units of a category shows 0 in its column.
    cells = {name: column.reindex(titles).fillna("0") for name, column in columns.items()}
    return pd.DataFrame(cells, index=titles)


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
    study: Path, dissect: str, label_set: str = DEFAULT_SET
) -> dict[int, tuple[float | None, int, int]]:
    """Return by class code: labelled coverage, labelled units, distinct selected units.

    Labelled coverage is the share of a class's top places taken by selected units with a label of
    the set.
    """
    with store.read(study) as con:
        top = run_table.load_run(con, dissect)["settings"]["dissection"]["top"]
        influences = unit_table.load_top_influences(con, dissect, top)
        chosen = unit_table.load_selected_units(con, dissect)
        labels = label_sets.load_label_set(con, dissect, label_set, load_order_of_experts(study))
    codes, tops, _ = top_unit_arrays(influences)
    labelled = set(labels)
    counts = len(set(chosen["unit"]) & labelled), chosen["unit"].nunique()
    return {
        code: (labelled_coverage(tops[i], _selected(chosen, code), labelled), *counts)
        for i, code in enumerate(codes)
    }
