"""Step `dissect`: what excites every unit, how much each matters on the hold-out mammograms, and
which are selected for the experts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core import distributed, runs
from core.errors import UserError
from core.images.working_images import Films, PatchReader
from core.interpretation import inference
from core.interpretation.dissection import (
    TopPatches,
    compute_max_activations,
    quantiles,
    receptive_field,
    top_maps,
    top_patches,
)
from core.interpretation.inference import Probe, influences
from core.interpretation.influence import DEPTH, SPIE_TOP, ranked, select, spie_units
from core.networks import Classifier, to_fully_convolutional
from core.pipeline.inputs import StepResult, film_table, latest, parent_of, patch_table
from core.runs import Report, Run
from core.settings import Settings

VERSION = 2  # 2: receptive fields measured


def make(study: Path, settings: Settings, report: Report, train: str | None = None) -> StepResult:
    """Dissect a train run (the newest one if not given)."""
    parent = latest(study, "train", given=train)
    patches_run = parent_of(study, parent, "patches")
    frame = patch_table(study, patches_run, list(settings.dissection.splits))
    films = film_table(study, patches_run, ["holdout"])
    if not len(films):
        raise UserError(
            "The hold-out split has no mammograms, so no unit can be selected; raise splits.holdout"
            " and run `deepminer patches` again."
        )
    if not len(frame):
        raise UserError(
            f"There are no patches in {', '.join(settings.dissection.splits)}; check"
            " dissection.splits in study.toml."
        )
    try:
        with runs.building(
            study,
            "dissect",
            VERSION,
            {"dissection": settings.dissection.model_dump()},
            [parent, patches_run],
            "",
        ) as run:
            _dissect(study, settings, run, parent, frame, films, run.reporting(report))
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def _dissect(
    study: Path,
    settings: Settings,
    run: Run,
    parent: str,
    frame: pd.DataFrame,
    films: pd.DataFrame,
    report: Report,
) -> None:
    network = inference.load(study, parent)
    layer = settings.dissection.layer
    probe, opened = Probe(network, layer), Films(study)
    reader = PatchReader(opened, frame)
    activations = compute_max_activations(
        probe, reader, run.folder / "activations.npy", settings.dissection.precision, report
    )
    top = distributed.once(lambda: top_patches(activations))
    maps = top_maps(probe, reader, top, report)
    influence = influences(
        network, to_fully_convolutional(network), probe, opened, list(films["file"]), report
    )
    distributed.once(
        lambda: _kept(run, settings, network, probe, reader, frame, films, top, maps, influence)
    )


def _kept(
    run: Run,
    settings: Settings,
    network: Classifier,
    probe: Probe,
    reader: PatchReader,
    frame: pd.DataFrame,
    films: pd.DataFrame,
    top: TopPatches,
    maps: np.ndarray,
    influence: np.ndarray,
) -> None:
    """What the run keeps of a dissection."""
    layer = probe.name
    run.save("top_maps.npy", maps)
    run.save("patch_ids.npy", frame["patch_id"].to_numpy(np.int32))
    quantile, positions = quantiles(
        probe, reader, settings.dissection.quantile, settings.study.seed
    )
    run.table(
        "units", _units(layer, top.values, quantile, frame["patient_id"].to_numpy()[top.rows])
    )
    run.table(
        "top_patches", _top_table(layer, top.rows, top.values, maps, frame["patch_id"].to_numpy())
    )
    run.save("influence.npy", influence)
    run.table("influences", influence_table(influence, films["mammogram_id"].to_numpy()))
    if settings.dissection.rule == "spie":
        run.table(
            "selected", _selected_by_patches(influence, top, frame["label"].to_numpy(), settings)
        )
    else:
        run.table("selected", _selected(influence, settings))
    run.manifest |= {
        "layer": layer,
        "units": int(influence.shape[2]),
        "patches": len(frame),
        "mammograms": list(films["mammogram_id"]),
        "influence": (
            "activation x weight"
            if network.single_linear and layer == "last"
            else "activation x gradient"
        ),
        "quantile_positions": positions,
        "map_side": int(maps.shape[2]),
        "receptive_field": receptive_field(probe, reader.side),
        "dead_units": np.flatnonzero(top.values[:, 0] <= 0).tolist(),
    }


def _units(
    layer: str, values: np.ndarray, quantile: np.ndarray, patients: np.ndarray
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "layer": layer,
            "unit": np.arange(len(values), dtype=np.int32),
            "largest": values[:, 0],
            "quantile": quantile,
            "dead": values[:, 0] <= 0,
            "top_patients": [len(set(row[:32])) for row in patients],
        }
    )


def _top_table(
    layer: str, rows: np.ndarray, values: np.ndarray, maps: np.ndarray, patch_ids: np.ndarray
) -> pd.DataFrame:
    units, k = rows.shape
    peak = maps.reshape(units * k, -1).argmax(1)
    return pd.DataFrame(
        {
            "layer": layer,
            "unit": np.repeat(np.arange(units, dtype=np.int32), k),
            "rank": np.tile(np.arange(k, dtype=np.int32), units),
            "patch_id": patch_ids[rows.ravel()],
            "activation": values.ravel(),
            "y": peak // maps.shape[3],
            "x": peak % maps.shape[3],
        }
    )


def influence_table(
    influence: np.ndarray, mammogram_ids: np.ndarray, depth: int = DEPTH
) -> pd.DataFrame:
    """Rows mammogram_id, class, rank (from 1), unit, influence of the most influential units of
    float [images, classes, units].
    """
    order = ranked(influence, depth)
    images, classes, kept = order.shape
    return pd.DataFrame(
        {
            "mammogram_id": np.repeat(mammogram_ids, classes * kept),
            "class": np.tile(np.repeat(class_codes(classes), kept), images),
            "rank": np.tile(np.arange(1, kept + 1, dtype=np.int32), images * classes),
            "unit": order.ravel().astype(np.int32),
            "influence": np.take_along_axis(influence, order, 2).ravel(),
        }
    )


def class_codes(classes: int) -> np.ndarray:
    """Codes of the network's outputs: 0, 1, 2; for two classes 0 (other) and 2 (malignant)."""
    return np.array([0, 1, 2] if classes == 3 else [0, 2], np.int32)


def _selected(influence: np.ndarray, settings: Settings) -> pd.DataFrame:
    frames = []
    for c, code in enumerate(class_codes(influence.shape[1])):
        chosen = select(
            ranked(influence[:, c], settings.dissection.top),
            influence.shape[2],
            settings.dissection.select,
        )
        frames.append(
            pd.DataFrame(
                {
                    "class": code,
                    "rank": np.arange(1, len(chosen.units) + 1, dtype=np.int32),
                    "unit": chosen.units.astype(np.int32),
                    "count": chosen.counts.astype(np.int32),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _selected_by_patches(
    influence: np.ndarray, top: TopPatches, labels: np.ndarray, settings: Settings
) -> pd.DataFrame:
    """The same units for every class, chosen by what their top patches are; ranked by how often
    each is among the class's top influences.
    """
    units, shown_rows = len(top.rows), top.rows[:, :SPIE_TOP]
    shown = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(units), len(shown_rows[0])),
            "label": labels[shown_rows].ravel(),
        }
    )
    alive = set(np.flatnonzero(top.values[:, 0] > 0).tolist())
    chosen = np.array(spie_units(shown, alive, seed=settings.study.seed), np.int32)
    frames = []
    for c, code in enumerate(class_codes(influence.shape[1])):
        counts = np.bincount(
            ranked(influence[:, c], settings.dissection.top).ravel(), minlength=units
        )[chosen]
        order = np.argsort(-counts, kind="stable")
        frames.append(
            pd.DataFrame(
                {
                    "class": code,
                    "rank": np.arange(1, len(chosen) + 1, dtype=np.int32),
                    "unit": chosen[order],
                    "count": counts[order].astype(np.int32),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
