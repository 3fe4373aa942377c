"""What the Units pages show of a dissect run: one row a selected unit, and everything about one
unit.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import runs, store
from core.class_labels import class_names, unit_name
from core.interpretation.influence import spie_units
from core.store import annotation_table, dataset_table, run_table, unit_table
from evaluation.queries.class_names import class_words

TILES = 8
CONTEXT = 32


@lru_cache(maxsize=256)
def patches_run_of(study: Path, dissect: str) -> str:
    """The patches run a dissection looked at; asked once, since runs never change."""
    with store.read(study) as con:
        return next(p for p in run_table.get(con, dissect)["parents"] if p.startswith("patches-"))


def rows(study: Path, dissect: str, rule: str = "influence") -> pd.DataFrame:
    """One row a distinct selected unit: unit, name, classes (it is selected for), rank, count,
    share (of hold-out images that have it among their top, in the class where that is largest),
    layer, label, simulated, answers, top_patients, and label counts of its top 8 patches.

    rule: "influence" (HDSR 2021), "spie" (SPIE 2018: mostly cancer, plus a random share; not
    selected for any class), or "dead" (never positive: listed, not ranked).
    """
    patches_run = patches_run_of(study, dissect)
    with store.read(study) as con:
        run = run_table.get(con, dissect)
        chosen, units, labels = (
            unit_table.selected(con, dissect),
            unit_table.units(con, dissect),
            annotation_table.labels(con, dissect),
        )
        answers = annotation_table.answers(con, dissect)
        top = unit_table.top_patches(
            con,
            dissect,
            patches_run,
            None if rule == "spie" else _wanted(rule, chosen, units, None),
            CONTEXT if rule == "spie" else TILES,
        )
    wanted, names = _wanted(rule, chosen, units, top), class_words(study, dissect)
    images = len(run["manifest"]["mammograms"])
    said = (
        Counter(answers[~answers["practice"] & ~answers["repeat"]]["unit"])
        if len(answers)
        else Counter()
    )
    counts = top[top["rank"] < TILES].groupby("unit")["label"].value_counts()
    facts = units.set_index("unit")
    found = [
        _row(
            unit,
            chosen[chosen["unit"] == unit],
            facts.loc[unit],
            labels.get(unit),
            said.get(unit, 0),
            counts,
            images,
            names,
        )
        for unit in wanted
    ]
    frame = pd.DataFrame(found, columns=[*_COLUMNS, *names.values()])
    return frame.sort_values(["share", "unit"], ascending=[False, True], ignore_index=True)


_COLUMNS = (
    "unit",
    "name",
    "classes",
    "rank",
    "count",
    "share",
    "images",
    "layer",
    "label",
    "simulated",
    "answers",
    "top_patients",
)


def _wanted(
    rule: str, chosen: pd.DataFrame, units: pd.DataFrame, top: pd.DataFrame | None
) -> list[int]:
    if rule == "dead":
        return sorted(units[units["dead"]]["unit"].astype(int))
    if rule == "spie" and top is not None:
        return spie_units(top, set(units[~units["dead"]]["unit"].astype(int)))
    return sorted(set(chosen["unit"].astype(int)))


def _row(
    unit: int,
    mine: pd.DataFrame,
    facts: pd.Series,
    label: Any,
    answers: int,
    counts: pd.Series,
    images: int,
    names: dict[int, str],
) -> dict[str, Any]:
    best = mine.sort_values(["count", "class"], ascending=False).iloc[0] if len(mine) else None
    return {
        "unit": unit,
        "name": unit_name(unit),
        "classes": [names[int(c)] for c in mine.sort_values("count", ascending=False)["class"]],
        "rank": int(best["rank"]) if best is not None else 0,
        "count": int(best["count"]) if best is not None else 0,
        "share": best["count"] / images if best is not None else 0.0,
        "images": images,
        "layer": facts["layer"],
        "label": label.text if label else "",
        "simulated": bool(label and label.simulated),
        "answers": answers,
        "top_patients": int(facts["top_patients"]),
        **{name: int(counts.get((unit, code), 0)) for code, name in names.items()},
    }


def other_patches(
    study: Path, dissect: str, unit: int, kind: str, number: int = CONTEXT, seed: int = 1
) -> pd.DataFrame:
    """Patches that are not the unit's top ones, to hold a label against: "middle" (around the
    median activation) or "random" (seeded); columns as `unit_table.top_patches`, rank is the place
    in the unit's order of all dissected patches (from 0).
    """
    folder = runs.folder(study, dissect)
    values = np.array(np.load(folder / "activations.npy", mmap_mode="r")[:, unit], np.float32)
    order = np.argsort(-values, kind="stable")
    middle = len(order) // 2
    places = np.arange(max(0, middle - number // 2), min(len(order), middle + number // 2))
    if kind == "random":
        places = np.sort(
            np.random.default_rng([seed, unit]).choice(
                len(order), min(number, len(order)), replace=False
            )
        )
    rows = order[places]
    ids = np.load(folder / "patch_ids.npy")[rows]
    with store.read(study) as con:
        patches = dataset_table.patches_by_id(
            con, patches_run_of(study, dissect), [int(i) for i in ids]
        )
    found = pd.DataFrame(
        {"patch_id": ids, "rank": places, "activation": values[rows], "unit": unit}
    )
    return found.merge(patches, on="patch_id")


def unit_facts(study: Path, dissect: str, unit: int) -> dict[str, Any]:
    """Everything about one unit: largest, quantile, selected (class, rank, count), top (table of
    64), descriptors (keyword -> Counter over the top 32), concepts (phantom only), answers.
    """
    patches_run = patches_run_of(study, dissect)
    with store.read(study) as con:
        row = unit_table.units(con, dissect).set_index("unit").loc[unit].to_dict()
        chosen = unit_table.selected(con, dissect)
        top = unit_table.top_patches(con, dissect, patches_run, [unit])
        findings = dataset_table.findings(con)
        answers = annotation_table.answers(con, dissect)
        concept_run = run_table.latest(con, "concepts", dissect)
        concepts = unit_table.concepts(con, concept_run) if concept_run else None
    return row | {
        "selected": chosen[chosen["unit"] == unit].to_dict("records"),
        "top": top,
        "descriptors": _descriptors(top[top["rank"] < CONTEXT], findings),
        "answers": (
            answers[(answers["unit"] == unit) & ~answers["practice"]].to_dict("records")
            if len(answers)
            else []
        ),
        "concepts": (
            concepts[(concepts["unit"] == unit) & (concepts["share"] > 0)]
            .head(4)
            .to_dict("records")
            if concepts is not None
            else []
        ),
    }


def seen_by_peak(top: pd.DataFrame, field: int, map_side: int) -> pd.DataFrame:
    """The same patches cut to what the peak of the unit's map can see: y, x, side of a square of
    `field` pixels around the peak, inside the film.
    """
    centre = {a: top[a] + (top[f"peak_{a}"] + 0.5) * top["side"] / map_side for a in ("y", "x")}
    last = {"y": top["height"] - field, "x": top["width"] - field}
    corners = {
        a: (centre[a] - field / 2).round().clip(lower=0).clip(upper=last[a]).astype(int)
        for a in ("y", "x")
    }
    return top.assign(**corners, side=field)


def _descriptors(top: pd.DataFrame, findings: pd.DataFrame) -> dict[str, Counter[str]]:
    """Report words of the findings that a top patch with a lesion label belongs to, counted once
    per patch.
    """
    found: dict[str, Counter[str]] = {}
    by_film = dict(list(findings.groupby("mammogram_id")))
    for patch in top[top["label"] > 0].itertuples():
        words = {
            (k, v.lower().replace("_", " "))
            for f in by_film.get(patch.mammogram_id, findings.head(0)).itertuples()
            if _touches(f.outline, patch)
            for k, v in f.descriptors.items()
            if v and v != "N/A"
        }
        for keyword, word in words:
            found.setdefault(keyword, Counter())[word] += 1
    return found


def _touches(polygons: list[np.ndarray], patch: Any) -> bool:
    """Whether an outline's bounding box meets the patch."""
    if not polygons:
        return True
    points = np.concatenate(polygons)
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    return bool(
        x0 < patch.x + patch.side and x1 >= patch.x and y0 < patch.y + patch.side and y1 >= patch.y
    )


def activations(study: Path, dissect: str, unit: int) -> dict[str, np.ndarray]:
    """The unit's largest activations on the dissected patches, by class name."""
    folder = runs.folder(study, dissect)
    values = np.load(folder / "activations.npy", mmap_mode="r")[:, unit].astype(np.float32)
    ids = np.load(folder / "patch_ids.npy")
    with store.read(study) as con:
        labels = (
            dataset_table.patches(
                con,
                next(p for p in run_table.get(con, dissect)["parents"] if p.startswith("patches-")),
            )
            .set_index("patch_id")["label"]
            .reindex(ids)
            .to_numpy()
        )
    return {
        name: np.asarray(values[labels == code])
        for code, name in class_words(study, dissect).items()
    }


def influence_quartiles(
    study: Path, dissect: str, unit: int
) -> dict[str, tuple[float, float, float]]:
    """Quartiles of the unit's influence on every class over the hold-out images."""
    influence = np.load(runs.folder(study, dissect) / "influence.npy", mmap_mode="r")[:, :, unit]
    return {
        name: tuple(float(v) for v in np.quantile(influence[:, c], (0.25, 0.5, 0.75)))  # type: ignore[misc]
        for c, name in enumerate(class_names(influence.shape[1]))
    }
