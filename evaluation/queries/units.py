"""Units of a dissect run, for the Units pages: the selected units, and one unit in detail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

from core import lineage, runs, store
from core.class_labels import unit_name
from core.interpretation.influence import select_spie_units
from core.interpretation.unit_groups import activation_correlations, unit_similarities
from core.lineage import run_class_names
from core.pipeline.unit_groups import UnitResponses, load_unit_responses
from core.settings import load_order_of_experts
from core.store import annotation_table, dataset_table, run_table, unit_table
from core.store.labels import label_sets, label_states
from core.store.labels.label_sets import DEFAULT_SET

# A larger share of a response outside the breast is a warning: labels and edges lie there.
OUTSIDE_WARNING = 0.2
TILES_PER_ROW = 8
CONTEXT_PATCHES = 32
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
    "state",
    "simulated",
    "answers",
    "top_patients",
    "outside",
)


@dataclass(frozen=True, kw_only=True)
class _UnitTables:
    """Tables of a dissect run from which rows of units are made."""

    units: pd.DataFrame
    chosen: pd.DataFrame
    labels: dict[int, label_states.UnitLabel]
    answers: Counter[int]
    patch_counts: pd.Series
    images: int
    class_names: dict[int, str]


def selected_units(
    study: Path, dissect: str, rule: str = "influence", label_set: str = DEFAULT_SET
) -> pd.DataFrame:
    """Return one row per distinct selected unit, by falling share.

    Columns: unit, name, classes for which it is selected, rank, count and share of hold-out
    mammograms that have it among their top units (in the class where that is largest), images,
    layer, label, state (of the label), simulated, answers, top_patients, outside (share of the
    response outside the breast), and per class the number of its top 8 patches.

    Parameters
    ----------
    study : Path
        The study folder.
    dissect : str
        Id of the dissect run.
    rule : {"influence", "spie", "dead"}
        "influence" (HDSR 2021); "spie" (SPIE 2018: mostly cancer patches, plus a random share; not
        selected for a class); "dead" (units that are never positive, unranked).
    label_set : str
        Name of the labels, see `core.store.labels.label_sets`.
    """
    patches_run = lineage.ancestor_run(study, dissect, "patches")
    with store.read(study) as con:
        run = run_table.load_run(con, dissect)
        chosen = unit_table.load_selected_units(con, dissect)
        units = unit_table.load_units(con, dissect)
        labels = label_sets.load_label_set(con, dissect, label_set, load_order_of_experts(study))
        annotations = annotation_table.load_annotations(con, dissect)
        # The rule of SPIE 2018 uses the top 32 patches of every unit.
        listed = None if rule == "spie" else _units_by_rule(rule, chosen, units, None)
        most = CONTEXT_PATCHES if rule == "spie" else TILES_PER_ROW
        top = unit_table.load_top_patches(con, dissect, patches_run, listed, most)
    # Practice and hidden repeats are not answers of their own.
    counted = annotations[
        ~annotations["practice"].astype(bool) & ~annotations["repeat"].astype(bool)
    ]
    tables = _UnitTables(
        units=units.set_index("unit"),
        chosen=chosen,
        labels=labels,
        answers=Counter(counted["unit"]),
        patch_counts=top[top["rank"] < TILES_PER_ROW].groupby("unit")["label"].value_counts(),
        images=len(run["manifest"]["mammograms"]),
        class_names=run_class_names(study, dissect),
    )
    rows = [_unit_row(unit, tables) for unit in _units_by_rule(rule, chosen, units, top)]
    table = pd.DataFrame(rows, columns=[*_COLUMNS, *tables.class_names.values()])
    return table.sort_values(["share", "unit"], ascending=[False, True], ignore_index=True)


def _units_by_rule(
    rule: str, chosen: pd.DataFrame, units: pd.DataFrame, top: pd.DataFrame | None
) -> list[int]:
    if rule == "dead":
        return sorted(units[units["dead"]]["unit"].astype(int))
    if rule == "spie" and top is not None:
        return select_spie_units(top, set(units[~units["dead"]]["unit"].astype(int)))
    return sorted(set(chosen["unit"].astype(int)))


def _unit_row(unit: int, tables: _UnitTables) -> dict[str, Any]:
    names, facts, label = tables.class_names, tables.units.loc[unit], tables.labels.get(unit)
    selections = tables.chosen[tables.chosen["unit"] == unit]
    by_count = selections.sort_values("count", ascending=False)
    rank, count = 0, 0
    if len(selections):
        # Of equal counts the highest class code, malignant, decides.
        best = selections.sort_values(["count", "class"], ascending=False).iloc[0]
        rank, count = int(best["rank"]), int(best["count"])
    return {
        "unit": unit,
        "name": unit_name(unit),
        "classes": [names[int(code)] for code in by_count["class"]],
        "rank": rank,
        "count": count,
        "share": count / tables.images if len(selections) else 0.0,
        "images": tables.images,
        "layer": facts["layer"],
        "label": label.text if label else "",
        "state": label.state if label else "",
        "simulated": bool(label and label.simulated),
        "answers": tables.answers.get(unit, 0),
        "top_patients": int(facts["top_patients"]),
        "outside": float(facts["outside"]),
        **{name: int(tables.patch_counts.get((unit, code), 0)) for code, name in names.items()},
    }


def comparison_patches(
    study: Path, dissect: str, unit: int, kind: str, number: int = CONTEXT_PATCHES, seed: int = 1
) -> pd.DataFrame:
    """Return patches other than a unit's top patches, for comparison with its label.

    kind: "middle" (around the median activation) or "random" (seeded). Columns as
    `unit_table.load_top_patches`; rank is the position in the unit's order of all dissected patches
    (from 0).
    """
    folder = runs.run_folder(study, dissect)
    # float32, because activations may be stored in half precision (dissection.precision).
    values = np.array(np.load(folder / "activations.npy", mmap_mode="r")[:, unit], np.float32)
    order = np.argsort(-values, kind="stable")
    if kind == "random":
        rng = np.random.default_rng([seed, unit])
        ranks = np.sort(rng.choice(len(order), min(number, len(order)), replace=False))
    else:
        middle = len(order) // 2
        ranks = np.arange(max(0, middle - number // 2), min(len(order), middle + number // 2))
    rows = order[ranks]
    ids = np.load(folder / "patch_ids.npy")[rows]
    patches_run = lineage.ancestor_run(study, dissect, "patches")
    with store.read(study) as con:
        patches = dataset_table.load_patches_by_id(con, patches_run, [int(i) for i in ids])
    table = pd.DataFrame({"patch_id": ids, "rank": ranks, "activation": values[rows], "unit": unit})
    return table.merge(patches, on="patch_id")


def unit_details(study: Path, dissect: str, unit: int) -> dict[str, Any]:
    """Return everything about one unit.

    Keys: the columns of the units table (largest, quantile, ...), selected (class, rank, count),
    top (table of 64 patches), descriptors (keyword -> Counter over the top 32), concepts (phantom
    only), answers.
    """
    patches_run = lineage.ancestor_run(study, dissect, "patches")
    with store.read(study) as con:
        row = unit_table.load_units(con, dissect).set_index("unit").loc[unit].to_dict()
        chosen = unit_table.load_selected_units(con, dissect)
        top = unit_table.load_top_patches(con, dissect, patches_run, [unit])
        # A unit has few mammograms among its top patches; a study has hundreds of thousands.
        findings = dataset_table.load_findings(con, set(top["mammogram_id"]))
        annotations = annotation_table.load_annotations(con, dissect)
        concept_run = run_table.latest_run(con, "concepts", dissect)
        concepts: list[dict[str, Any]] = []
        if concept_run:
            table = unit_table.load_concepts(con, concept_run)
            shown = table[(table["unit"] == unit) & (table["share"] > 0)]
            concepts = shown.head(4).to_dict("records")
    answers = annotations[(annotations["unit"] == unit) & ~annotations["practice"].astype(bool)]
    return row | {
        "selected": chosen[chosen["unit"] == unit].to_dict("records"),
        "top": top,
        "descriptors": _count_descriptors(top[top["rank"] < CONTEXT_PATCHES], findings),
        "answers": answers.to_dict("records"),
        "concepts": concepts,
    }


def crop_to_receptive_field(top: pd.DataFrame, field: int, map_side: int) -> pd.DataFrame:
    """Return the patches cropped to the receptive field of the map's peak.

    y, x and side describe a square of `field` pixels around the peak, inside the mammogram.
    """
    corners = {}
    for axis, extent in (("y", "height"), ("x", "width")):
        # + 0.5: the centre of the map cell, not its corner.
        centre = top[axis] + (top[f"peak_{axis}"] + 0.5) * top["side"] / map_side
        corner = (centre - field / 2).round().clip(lower=0)
        corners[axis] = corner.clip(upper=top[extent] - field).astype(int)
    return top.assign(**corners, side=field)


def _count_descriptors(top: pd.DataFrame, findings: pd.DataFrame) -> dict[str, Counter[str]]:
    """Return the report words of the findings in top patches with a lesion label.

    A word counts once per patch.
    """
    counts: dict[str, Counter[str]] = {}
    findings_of = dict(list(findings.groupby("mammogram_id")))
    for patch in top[top["label"] > 0].itertuples():
        described = {
            (keyword, value.lower().replace("_", " "))
            for finding in findings_of.get(patch.mammogram_id, findings.head(0)).itertuples()
            if _touches(finding.outline, patch)
            for keyword, value in finding.descriptors.items()
            if value and value != "N/A"
        }
        # `described` is a set, so that two findings with one word count once.
        for keyword, value in described:
            counts.setdefault(keyword, Counter())[value] += 1
    return counts


def _touches(polygons: list[np.ndarray], patch: Any) -> bool:
    """Return whether an outline's bounding box meets the patch; True without an outline."""
    if not polygons:
        return True
    points = np.concatenate(polygons)
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    inside_x = x0 < patch.x + patch.side and x1 >= patch.x
    inside_y = y0 < patch.y + patch.side and y1 >= patch.y
    return bool(inside_x and inside_y)


def activations_by_class(study: Path, dissect: str, unit: int) -> dict[str, np.ndarray]:
    """Return class name -> the unit's activations on the dissected patches of the class."""
    folder = runs.run_folder(study, dissect)
    values = np.load(folder / "activations.npy", mmap_mode="r")[:, unit].astype(np.float32)
    ids = np.load(folder / "patch_ids.npy")
    with store.read(study) as con:
        patches = dataset_table.load_patch_labels(con, run_table.ancestor(con, dissect, "patches"))
    # The rows of activations.npy follow patch_ids.npy and not the patch table.
    labels = pd.Series(patches["label"], patches["patch_id"]).reindex(ids).to_numpy()
    return {
        name: np.asarray(values[labels == code])
        for code, name in run_class_names(study, dissect).items()
    }


def influence_quartiles(
    study: Path, dissect: str, unit: int
) -> dict[str, tuple[float, float, float]]:
    """Return class name -> quartiles of the unit's influence over the hold-out mammograms."""
    path = runs.run_folder(study, dissect) / "influence.npy"
    influence = np.load(path, mmap_mode="r")[:, :, unit]
    quartiles = {}
    # [mammogram, class]
    for column, name in enumerate(run_class_names(study, dissect).values()):
        low, median, high = np.quantile(influence[:, column], (0.25, 0.5, 0.75))
        quartiles[name] = float(low), float(median), float(high)
    return quartiles


@dataclass(frozen=True, kw_only=True)
class UnitSimilarity:
    """How similar another unit is to a unit.

    similarity: see `core.interpretation.unit_groups.unit_similarities`, 1 for identical units;
    correlation: of the activations on the patches of the split; shared: top patches in common, of
    `top`; patches: number of patches of the split.
    """

    unit: int
    similarity: float
    correlation: float
    shared: int
    top: int
    patches: int
    split: str


@lru_cache(maxsize=2)
def _similarity_matrices(study: Path, dissect: str) -> tuple[np.ndarray, UnitResponses]:
    """Return the similarities of all pairs of units, and what they are measured on.

    Runs do not change. The matrix of 2,048 units has 32 MB and takes two seconds.
    """
    responses = load_unit_responses(study, dissect)
    similar = unit_similarities(responses.activations, responses.top, responses.patches)
    return similar, responses


def similar_units(
    study: Path, dissect: str, unit: int, number: int = 8
) -> tuple[UnitSimilarity, ...]:
    """Return the units most similar to a unit, the most similar first."""
    similar, _ = _similarity_matrices(study, dissect)
    order = [int(other) for other in np.argsort(-similar[unit], kind="stable") if other != unit]
    return tuple(compare_units(study, dissect, unit, other) for other in order[:number])


def compare_units(study: Path, dissect: str, unit: int, other: int) -> UnitSimilarity:
    """Return how similar two units of a dissect run are."""
    similar, responses = _similarity_matrices(study, dissect)
    pair = responses.activations[:, [unit, other]]
    return UnitSimilarity(
        unit=other,
        similarity=float(similar[unit, other]),
        correlation=float(activation_correlations(np.asarray(pair))[0, 1]),
        shared=len(np.intersect1d(responses.top[unit], responses.top[other])),
        top=responses.top.shape[1],
        patches=len(responses.activations),
        split=responses.split,
    )


@dataclass(frozen=True, kw_only=True)
class ActivationCurves:
    """Distribution of a unit's largest activations on patches, by class.

    values: activations [points]; densities: class name to density [points] of the activations other
    than 0, divided by its largest value; zero_share: share of all patches with the activation 0.
    """

    values: np.ndarray
    densities: dict[str, np.ndarray]
    zero_share: float


def activation_curves(study: Path, dissect: str, unit: int, points: int = 200) -> ActivationCurves:
    """Return smoothed densities of a unit's activations, so that few patches give no spikes.

    A Gaussian kernel with the bandwidth of Silverman (1986, equation 3.31) smooths the counts of
    each class. Densities are divided by their peaks: a class with few different values would
    flatten the others.
    Activations of 0, which most units have on many patches, would flatten the rest and are given as
    a share.
    """
    by_class = activations_by_class(study, dissect, unit)
    everything = np.concatenate(list(by_class.values()))
    low, high = min(0.0, float(everything.min())), float(everything.max()) or 1.0
    edges = np.linspace(low, high, points + 1)
    step = edges[1] - edges[0]
    densities = {}
    for name, activations in by_class.items():
        values = activations[activations != 0]
        if len(values) > 1 and values.std() > 0:
            quartiles = np.quantile(values, (0.25, 0.75))
            spread = min(float(values.std()), float(np.ptp(quartiles)) / 1.34) or float(
                values.std()
            )
            bandwidth = 0.9 * spread * len(values) ** -0.2
            counts = np.histogram(values, edges)[0].astype(float)
            density = scipy.ndimage.gaussian_filter1d(counts, bandwidth / step, mode="reflect")
            densities[name] = density / density.max()
    return ActivationCurves(
        values=(edges[1:] + edges[:-1]) / 2,
        densities=densities,
        zero_share=float((everything == 0).mean()),
    )
