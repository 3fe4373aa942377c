"""Pipeline step `dissect`: top patches, activation thresholds, influence and selection of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, lineage, runs
from core.annotation.lexicon_adoption import adopt_lexicon
from core.class_labels import ClassDefinition
from core.errors import UserError
from core.images.tissue_segmentation import with_margin
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation import inference
from core.interpretation.dissection import (
    TopPatches,
    compute_quantile_thresholds,
    receptive_field_side,
)
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.influence import (
    RANKING_DEPTH,
    SPIE_TOP_PATCHES,
    rank_units,
    select_frequent_units,
    select_spie_units,
)
from core.interpretation.localization import cell_coverage, response_outside
from core.interpretation.mammogram_influence import compute_influences
from core.interpretation.ranking_format import (
    FormatComparison,
    choose_ranking_format,
    compare_formats,
    draw_sample,
    load_or_choose_format,
    rank_patches,
)
from core.interpretation.unit_groups import group_units, select_frequent_groups
from core.networks import to_fully_convolutional
from core.pipeline.inputs import (
    StepResult,
    load_breast_margins,
    load_breast_rule,
    load_mammogram_table,
    load_patch_table,
    named_settings,
    open_training_images,
)
from core.progress import ProgressCallback
from core.runs import Run
from core.settings import DissectionSettings, Settings

_VERSION = 2  # 2: receptive fields are measured
# Of dissections that select by SPIE 2018: 3 fills the number of units at random.
_SPIE_VERSION = 3
_SETTINGS_ADDED_LATER = ("ranking_format",)


@dataclass(frozen=True, kw_only=True)
class _Dissection:
    """What the network gives for the units of a layer.

    ranking: how the patches were ranked, for the record of the run; top: the top patches; maps:
    float [units, k, h, w] on them; influence: float [mammograms, classes, units] on the hold-out
    mammograms; influence_method: how it was computed; classes: what the network's outputs are.
    """

    probe: FeatureProbe
    reader: PatchReader
    ranking: dict[str, Any]
    top: TopPatches
    maps: np.ndarray
    influence: np.ndarray
    influence_method: str
    classes: ClassDefinition


def run_dissection(
    study: Path, settings: Settings, report: ProgressCallback, train: str | None = None
) -> StepResult:
    """Dissect a train run, by default the latest one.

    UserError if the dissected splits have no patches, the hold-out split no mammograms, or the
    lexicon of the study is not valid.
    """
    # Before the computation: a mistake in the lexicon must not wait for the annotators.
    distributed.run_on_rank_zero(lambda: adopt_lexicon(study))
    train_run = lineage.resolve_run(study, "train", train)
    # The patches of the training, even if the study has a newer patches run.
    patches_run = lineage.ancestor_run(study, train_run, "patches")
    patches = load_patch_table(study, patches_run, list(settings.dissection.splits))
    # Hold-out alone selects units, so that the test split stays unseen.
    mammograms = load_mammogram_table(study, patches_run, ["holdout"])
    if not len(mammograms):
        raise UserError(
            "The hold-out split has no mammograms, so no unit can be selected; raise splits.holdout"
            " and run `deepminer patches` again."
        )
    if not len(patches):
        raise UserError(
            f"There are no patches in {', '.join(settings.dissection.splits)}; check"
            " dissection.splits in study.toml."
        )
    request = {"dissection": named_settings(settings.dissection, _SETTINGS_ADDED_LATER)}
    parents = [train_run, patches_run]
    version = _SPIE_VERSION if settings.dissection.rule == "spie" else _VERSION
    try:
        with runs.create_run(study, "dissect", version, request, parents, "") as run:
            dissection = _dissect(study, settings, run, train_run, patches, mammograms, report)
            margins = load_breast_margins(study, load_breast_rule(study, train_run))
            distributed.run_on_rank_zero(
                lambda: _save(
                    run, settings, dissection, patches, mammograms, WorkingImages(study), margins
                )
            )
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def _dissect(
    study: Path,
    settings: Settings,
    run: Run,
    train_run: str,
    patches: pd.DataFrame,
    mammograms: pd.DataFrame,
    report: ProgressCallback,
) -> _Dissection:
    network = inference.load_network(study, train_run)
    probe = FeatureProbe(network, settings.dissection.layer)
    images = open_training_images(study, train_run)
    reader = PatchReader(images, patches)
    classes = lineage.run_classes(study, train_run)
    report = run.track_progress(report)

    def compare() -> FormatComparison:
        """Compare the number formats on a sample of the patches."""
        sample = draw_sample(patches, settings.study.seed)
        return compare_formats(
            probe,
            PatchReader(images, sample),
            classes.output_indices(sample["label"].to_numpy()),
            classes,
            lambda *ranked: _taken_from_patches(settings, classes.positive_code, sample, *ranked),
            report,
        )

    used = settings.dissection
    ranking = load_or_choose_format(
        run.folder / "resume-ranking.json",
        lambda: choose_ranking_format(used.ranking_format, network, len(patches), compare),
    )
    top, maps, record = rank_patches(
        probe, reader, run.folder / "activations.npy", used.precision, ranking.format, report
    )
    influence = compute_influences(
        network, to_fully_convolutional(network), probe, images, list(mammograms["file"]), report
    )
    is_linear = network.single_linear and used.layer == "last"
    return _Dissection(
        probe=probe,
        reader=reader,
        ranking=asdict(ranking) | record,
        top=top,
        maps=maps,
        influence=influence,
        influence_method=(
            lineage.ACTIVATION_TIMES_WEIGHT if is_linear else "activation x gradient"
        ),
        classes=classes,
    )


def _save(
    run: Run,
    settings: Settings,
    dissection: _Dissection,
    patches: pd.DataFrame,
    mammograms: pd.DataFrame,
    images: WorkingImages,
    margins: Mapping[str, float],
) -> None:
    """Write the arrays, tables and manifest of the run."""
    top, maps, influence = dissection.top, dissection.maps, dissection.influence
    layer, codes = dissection.probe.layer, dissection.classes.codes
    patch_ids, patients = patches["patch_id"].to_numpy(), patches["patient_id"].to_numpy()
    run.save_array("top_maps.npy", maps)
    run.save_array("patch_ids.npy", patch_ids.astype(np.int32))
    run.save_array("influence.npy", influence)
    thresholds, positions = compute_quantile_thresholds(
        dissection.probe, dissection.reader, settings.dissection.quantile, settings.study.seed
    )
    units = _unit_table(layer, top.values, thresholds, patients[top.rows])
    units["outside"] = responses_outside(maps, patches.iloc[top.rows.ravel()], images, margins)
    run.add_table("units", units.astype({"outside": float}))
    run.add_table("top_patches", _top_patch_table(layer, top, maps, patch_ids))
    mammogram_ids = mammograms["mammogram_id"].to_numpy()
    run.add_table("influences", influence_table(influence, mammogram_ids, codes))
    if settings.dissection.rule == "spie":
        labels = patches["label"].to_numpy()
        positive = dissection.classes.positive_code
        selected = _select_by_patches(influence, codes, positive, top, labels, settings)
        run.add_table("selected", selected)
    elif settings.dissection.rule == "groups":
        activations = np.load(run.folder / "activations.npy", mmap_mode="r")
        groups = _groups_of_units(patches, activations, top)
        selected = _select_by_groups(influence, codes, groups, settings.dissection)
        run.add_table("selected", selected)
        run.manifest["groups"] = groups
    else:
        run.add_table("selected", _select_by_influence(influence, codes, settings.dissection))
    run.manifest |= {
        "layer": layer,
        "inference": dissection.probe.network.inference,
        "ranking": dissection.ranking,
        "units": int(influence.shape[2]),
        "patches": len(patches),
        "mammograms": list(mammograms["mammogram_id"]),
        "influence": dissection.influence_method,
        "quantile_positions": positions,
        "map_side": int(maps.shape[2]),
        "receptive_field": _receptive_field(dissection, int(patches["side"].iloc[0])),
        "dead_units": np.flatnonzero(top.values[:, 0] <= 0).tolist(),
    }


def _receptive_field(dissection: _Dissection, side: int) -> int:
    """Return the receptive field in pixels of the images as ingested, whose patches have `side`."""
    field = receptive_field_side(dissection.probe, dissection.reader.side)
    return round(field * side / dissection.reader.side)


def _unit_table(
    layer: str, values: np.ndarray, thresholds: np.ndarray, patients: np.ndarray
) -> pd.DataFrame:
    """Return one row a unit; values float and patients str [units, k] of the top patches."""
    return pd.DataFrame(
        {
            "layer": layer,
            "unit": np.arange(len(values), dtype=np.int32),
            "largest": values[:, 0],
            "quantile": thresholds,
            "dead": values[:, 0] <= 0,
            "top_patients": [len(set(row[:32])) for row in patients],
        }
    )


def responses_outside(
    maps: np.ndarray, patches: pd.DataFrame, images: WorkingImages, margins: Mapping[str, float]
) -> list[float | None]:
    """Return for each unit the share of its response outside the breast, on its leading patches.

    Parameters
    ----------
    maps : ndarray, float [units, k, h, w]
        Maps of each unit on its top patches.
    patches : DataFrame
        The patches, units x k rows with file, y, x and side.
    images : WorkingImages
        The working images of the study.
    margins : mapping of str to float
        Margin around the breast in pixels by file name.
    """
    units, k, *cells = maps.shape
    keys = ["file", "y", "x", "side"]
    unique = patches[keys].drop_duplicates().sort_values(keys, ignore_index=True)
    inside = np.empty((len(unique), *cells), np.float32)
    file, breast = None, np.empty((0, 0), bool)
    # File by file, so that one breast mask at a time is in memory.
    for index, (name, y, x, side) in enumerate(unique.itertuples(index=False, name=None)):
        if name != file:
            file, breast = name, with_margin(images.tissue(name), margins[name])
        inside[index] = cell_coverage(breast[y : y + side, x : x + side], tuple(cells))
    number = unique.reset_index().set_index(keys)["index"]
    places = number.loc[pd.MultiIndex.from_frame(patches[keys])].to_numpy().reshape(units, k)
    leading = slice(0, SPIE_TOP_PATCHES)
    return [
        response_outside(maps[unit, leading], inside[places[unit, leading]])
        for unit in range(units)
    ]


def _top_patch_table(
    layer: str, top: TopPatches, maps: np.ndarray, patch_ids: np.ndarray
) -> pd.DataFrame:
    """Return one row a unit and top patch, with the cell (y, x) of the largest activation."""
    units, k = top.rows.shape
    peak = maps.reshape(units * k, -1).argmax(1)
    return pd.DataFrame(
        {
            "layer": layer,
            "unit": np.repeat(np.arange(units, dtype=np.int32), k),
            "rank": np.tile(np.arange(k, dtype=np.int32), units),
            "patch_id": patch_ids[top.rows.ravel()],
            "activation": top.values.ravel(),
            "y": peak // maps.shape[3],
            "x": peak % maps.shape[3],
        }
    )


def influence_table(
    influence: np.ndarray,
    mammogram_ids: np.ndarray,
    codes: Sequence[int],
    depth: int = RANKING_DEPTH,
) -> pd.DataFrame:
    """Return the most influential units of each mammogram and class as table rows.

    Parameters
    ----------
    influence : ndarray, float [mammograms, classes, units]
        Influence of each unit on each class score.
    mammogram_ids : ndarray, str [mammograms]
        Ids in the same order.
    codes : sequence of int
        Stored code of each class.
    depth : int
        Number of units a mammogram and class.

    Returns
    -------
    DataFrame
        Columns mammogram_id, class (code), rank (from 1), unit, influence.
    """
    order = rank_units(influence, depth)
    mammograms, classes, stored = order.shape
    # Rows by mammogram, then class, then rank, as `order` is flattened.
    return pd.DataFrame(
        {
            "mammogram_id": np.repeat(mammogram_ids, classes * stored),
            "class": np.tile(np.repeat(np.array(codes, np.int32), stored), mammograms),
            "rank": np.tile(np.arange(1, stored + 1, dtype=np.int32), mammograms * classes),
            "unit": order.ravel().astype(np.int32),
            "influence": np.take_along_axis(influence, order, 2).ravel(),
        }
    )


def _selection_table(code: int, units: np.ndarray, counts: np.ndarray) -> pd.DataFrame:
    """Return the list of selected units of one class, in the given order."""
    return pd.DataFrame(
        {
            "class": np.int32(code),
            "rank": np.arange(1, len(units) + 1, dtype=np.int32),
            "unit": units.astype(np.int32),
            "count": counts.astype(np.int32),
        }
    )


def _select_by_influence(
    influence: np.ndarray, codes: Sequence[int], settings: DissectionSettings
) -> pd.DataFrame:
    """Select, for each class, the units most often among the most influential (HDSR 2021)."""
    tables = []
    for c, code in enumerate(codes):
        top = rank_units(influence[:, c], settings.top)
        selection = select_frequent_units(top, influence.shape[2], settings.select)
        tables.append(_selection_table(code, selection.units, selection.counts))
    return pd.concat(tables, ignore_index=True)


def _select_by_groups(
    influence: np.ndarray,
    codes: Sequence[int],
    groups: Sequence[Sequence[int]],
    settings: DissectionSettings,
) -> pd.DataFrame:
    """Select, for each class, the groups whose units are most often among the most influential."""
    tables = []
    for c, code in enumerate(codes):
        top = rank_units(influence[:, c], settings.top)
        selection = select_frequent_groups(top, groups, settings.select)
        tables.append(_selection_table(code, selection.units, selection.counts))
    return pd.concat(tables, ignore_index=True)


def _groups_of_units(
    patches: pd.DataFrame, activations: np.ndarray, top: TopPatches
) -> list[list[int]]:
    """Return the groups of similar units, by hold-out patches where there are any."""
    holdout = np.flatnonzero((patches["split"] == "holdout").to_numpy())
    return group_units(
        activations[holdout] if len(holdout) else activations, top.rows, len(patches)
    )


def _taken_from_patches(
    settings: Settings,
    positive: int,
    patches: pd.DataFrame,
    activations: np.ndarray,
    top: TopPatches,
) -> Sequence[object]:
    """Return what the rule of selection takes from the patches: SPIE's units, or the groups.

    The rule by influence takes nothing from them: influence comes from whole mammograms.
    """
    if settings.dissection.rule == "spie":
        return _spie_units(positive, top, patches["label"].to_numpy(), settings)
    if settings.dissection.rule == "groups":
        return _groups_of_units(patches, activations, top)
    return ()


def _select_by_patches(
    influence: np.ndarray,
    codes: Sequence[int],
    positive: int,
    top: TopPatches,
    labels: np.ndarray,
    settings: Settings,
) -> pd.DataFrame:
    """Select the same units for every class by the labels of their top patches (SPIE 2018).

    Each class ranks them by how often a unit is among its most influential.
    """
    selected = np.array(_spie_units(positive, top, labels, settings), np.int32)
    tables = []
    for c, code in enumerate(codes):
        most_influential = rank_units(influence[:, c], settings.dissection.top)
        # The counts rank the units within a class; they do not select them.
        counts = np.bincount(most_influential.ravel(), minlength=len(top.rows))[selected]
        order = np.argsort(-counts, kind="stable")
        tables.append(_selection_table(code, selected[order], counts[order]))
    return pd.concat(tables, ignore_index=True)


def _spie_units(
    positive: int, top: TopPatches, labels: np.ndarray, settings: Settings
) -> list[int]:
    """Return the units that the rule of SPIE 2018 selects by the labels of their top patches."""
    # SPIE 2018 judged a unit by its top 32 patches.
    rows = top.rows[:, :SPIE_TOP_PATCHES]
    units = len(rows)
    top_labels = pd.DataFrame(
        {"unit": np.repeat(np.arange(units), rows.shape[1]), "label": labels[rows].ravel()}
    )
    alive = set(np.flatnonzero(top.values[:, 0] > 0).tolist())
    return select_spie_units(top_labels, alive, seed=settings.study.seed, positive=positive)
