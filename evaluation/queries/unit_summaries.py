"""Tables of units: the named ones by BI-RADS category (HDSR 2021, Fig. 3), units by category over
all dissected networks (SPIE 2018, Fig. 4), coverage in full, and SPIE's way to choose units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import birads_lexicon, store
from core.class_labels import unit_name
from core.store import annotation_table, run_table, unit_table
from evaluation.coverage import share_of_slots
from evaluation.pipeline.coverage import tops_of
from evaluation.queries.class_names import class_words
from evaluation.queries.study_overview import labelled


def named_units(study: Path, dissect: str) -> pd.DataFrame:
    """One row a labelled unit: category (title of the first phenomenon's), unit, label, simulated,
    classes it is selected for; by category, then unit.
    """
    with store.read(study) as con:
        labels, chosen = annotation_table.labels(con, dissect), unit_table.selected(con, dissect)
        answers = annotation_table.answers(con, dissect).set_index("annotation_id")
    rows, names = [], class_words(study, dissect)
    for unit, label in labels.items():
        said = next(
            (
                answers.loc[i, "answer"]
                for i in label.annotation_ids
                if i in answers.index and answers.loc[i, "answer"]["phenomena"]
            ),
            None,
        )
        category = (
            birads_lexicon.category(said["phenomena"][0]["category"]).title if said else "Own words"
        )
        classes = [
            names[int(c)] for c in sorted(chosen[chosen["unit"] == unit]["class"], reverse=True)
        ]
        rows.append(
            {
                "category": category,
                "unit": unit,
                "label": label.text,
                "simulated": label.simulated,
                "classes": classes,
            }
        )
    order = {c.title: i for i, c in enumerate(birads_lexicon.CATEGORIES)}
    frame = pd.DataFrame(rows, columns=["category", "unit", "label", "simulated", "classes"])
    return frame.sort_values(
        ["category", "unit"],
        key=lambda s: s.map(order).fillna(len(order)) if s.name == "category" else s,
        ignore_index=True,
    )


def cross_table(study: Path) -> pd.DataFrame:
    """Categories as rows; for every dissected network and layer with a label the number of units
    and their names, as text: "3: unit_0001, ...".
    """
    with store.read(study) as con:
        dissections = run_table.runs(con, "dissect").to_dict("records")
        architecture = {
            r["run"]: r["manifest"]["architecture"]
            for r in run_table.runs(con, "train").to_dict("records")
        }
    columns: dict[str, pd.Series] = {}
    for run in dissections:
        named = named_units(study, run["run"])
        if len(named):
            train = next(p for p in run["parents"] if p.startswith("train-"))
            title = f"{architecture[train]}, {run['manifest']['layer']} ({run['run'][-4:]})"
            columns[title] = named.groupby("category")["unit"].agg(
                lambda s: f"{len(s)}: " + ", ".join(unit_name(int(u)) for u in s)
            )
    titles = [
        c.title
        for c in birads_lexicon.CATEGORIES
        if any(c.title in column.index for column in columns.values())
    ]
    if any("Own words" in column.index for column in columns.values()):
        titles.append("Own words")
    return pd.DataFrame(
        {name: column.reindex(titles).fillna("0") for name, column in columns.items()}, index=titles
    )


def coverage_table(study: Path, dissect: str) -> list[dict[str, Any]]:
    """One row a class (malignant first): class (code), name, selected, low, high, split_half with
    its range, labelled, chance, held_out (test films of the explain run, None without one),
    held_out_images, images, curve (coverage of the first k units).
    """
    with store.read(study) as con:
        run = run_table.latest(con, "coverage", dissect)
        frame = unit_table.coverage(con, run) if run else None
        explained = run_table.latest(con, "explain", dissect)
        top = run_table.get(con, dissect)["settings"]["dissection"]["top"]
        chosen = unit_table.selected(con, dissect)
        influences = unit_table.top_influences(con, explained, top) if explained else None
        test = unit_table.explanations(con, explained) if explained else None
    if frame is None:
        return []
    held, names = _held_out(influences, test, chosen), class_words(study, dissect)
    rows = []
    for code in sorted((int(c) for c in frame["class"].unique()), reverse=True):
        mine = frame[frame["class"] == code].set_index("name")
        curve = mine[mine.index.str.startswith("curve_")]["estimate"]
        place = np.argsort([int(name.removeprefix("curve_")) for name in curve.index])
        rows.append(
            {
                "class": code,
                "name": names[code],
                "selected": mine.loc["selected", "estimate"],
                "low": mine.loc["interval", "low"],
                "high": mine.loc["interval", "high"],
                "split_half": mine.loc["split_half", "estimate"],
                "half_low": mine.loc["split_half", "low"],
                "half_high": mine.loc["split_half", "high"],
                "labelled": labelled(study, dissect, code)[0],
                "chance": mine.loc["chance", "estimate"],
                "held_out": held.get(code, (None, 0))[0],
                "held_out_images": held.get(code, (None, 0))[1],
                "images": int(mine.loc["selected", "n"]),
                "curve": curve.to_numpy(float)[place],
            }
        )
    return rows


def _held_out(
    influences: pd.DataFrame | None, explained: pd.DataFrame | None, chosen: pd.DataFrame
) -> dict[int, tuple[float | None, int]]:
    """Coverage on test films of the units that hold-out films selected, and the number of films, by
    class.
    """
    if influences is None or explained is None:
        return {}
    test = set(explained[explained["split"] == "test"]["mammogram_id"])
    influences = influences[influences["mammogram_id"].isin(test)]
    if not len(influences):
        return {}
    codes, tops, _ = tops_of(influences)
    return {
        code: (
            share_of_slots(tops[i], set(chosen[chosen["class"] == code]["unit"].astype(int))),
            tops.shape[1],
        )
        for i, code in enumerate(codes)
    }
