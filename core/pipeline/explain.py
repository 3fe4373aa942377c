"""Step `explain`: for every hold-out and test mammogram the class maps, the decision and the units
behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, runs, store
from core.images.working_images import Films
from core.interpretation import inference
from core.interpretation.explanation import image_scores, lesion_class, predicted_class
from core.interpretation.inference import Probe, by_gradient, film_maps, tissue_positions
from core.interpretation.influence import ranked
from core.networks import Classifier, FullyConvolutional, to_fully_convolutional
from core.pipeline.dissect import class_codes, influence_table
from core.pipeline.inputs import StepResult, film_table, latest, parent_of
from core.runs import Report, Run
from core.settings import Settings
from core.store import run_table

VERSION = 1
KEPT = 8


def make(
    study: Path,
    settings: Settings,
    report: Report,
    dissect: str | None = None,
    mammograms: Sequence[str] = (),
) -> StepResult:
    """Explain the mammograms of the explained splits (or only those named) with a dissect run and
    the evaluation of the same network.
    """
    dissected = latest(study, "dissect", given=dissect)
    train = parent_of(study, dissected, "train")
    evaluated = latest(study, "evaluate", parent=train)
    films = film_table(
        study, parent_of(study, dissected, "patches"), list(settings.explanation.splits)
    )
    if mammograms:
        films = films[films["mammogram_id"].isin(mammograms)].reset_index(drop=True)
    request = {"splits": list(settings.explanation.splits), "mammograms": sorted(mammograms)}
    try:
        with runs.building(
            study, "explain", VERSION, request, [dissected, evaluated, train], ""
        ) as run:
            _explain(study, run, dissected, evaluated, train, films, run.reporting(report))
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def _explain(
    study: Path,
    run: Run,
    dissected: str,
    evaluated: str,
    train: str,
    films: pd.DataFrame,
    report: Report,
) -> None:
    layer, threshold = distributed.once(lambda: _parents(study, dissected, evaluated))
    network = inference.load(study, train)
    full, probe, opened = to_fully_convolutional(network), Probe(network, layer), Films(study)
    columns = inference.patient_numbers(study, network.columns, films["patient_id"])
    distributed.once(lambda: (run.folder / "maps").mkdir(exist_ok=True))
    listed = list(films.itertuples())

    def one(i: int) -> tuple[np.ndarray, dict[str, object], tuple[float, float]]:
        mine = None if columns is None else columns[i]
        return explain_film(
            network, full, probe, opened, listed[i], threshold, run.folder / "maps", mine
        )

    influence, rows, largest_unit, largest_class = [], [], 0.0, 0.0
    for i, (values, row, peaks) in distributed.dealt(range(len(listed)), one):
        influence.append(values)
        rows.append(row)
        largest_unit, largest_class = max(largest_unit, peaks[0]), max(largest_class, peaks[1])
        report(i + 1, len(films), "mammograms")
    run.table("influences", influence_table(np.stack(influence), films["mammogram_id"].to_numpy()))
    run.table("explanations", pd.DataFrame(rows).astype({"truth": "Int64"}))
    # One scale for all cases: the largest value anywhere among the explained mammograms.
    run.manifest |= {
        "threshold": threshold,
        "largest_unit_contribution": largest_unit,
        "largest_class_probability": largest_class,
    }


def _parents(study: Path, dissected: str, evaluated: str) -> tuple[str, float]:
    """The dissected layer and the decision's threshold."""
    with store.read(study) as con:
        return (
            run_table.get(con, dissected)["manifest"]["layer"],
            run_table.get(con, evaluated)["manifest"]["normal_threshold"],
        )


def explain_film(
    network: Classifier,
    full: FullyConvolutional,
    probe: Probe,
    films: Films,
    film: Any,
    threshold: float,
    folder: Path,
    columns: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, object], tuple[float, float]]:
    """One mammogram (a row with file, mammogram_id, split, truth; columns: its patient's auxiliary
    numbers): influences [classes, units], its row of the table, and the largest unit contribution
    and malignant probability. Its maps go into `folder`.
    """
    pixels = films[film.file]
    maps = film_maps(full, probe, pixels, columns)
    probability = maps.probabilities
    scores = image_scores(
        probability, tissue_positions(films.tissue(film.file), probability.shape[1:])
    )
    if network.single_linear and probe.name == "last":
        influence = maps.units.amax((1, 2)).numpy() * network.class_weights().numpy()
    else:
        influence = by_gradient(full, probe, pixels)
    decision = predicted_class(scores, threshold)
    codes = class_codes(network.classes).tolist()
    # Without tissue there is no decision; the units of the malignant class are shown then, and the
    # page says why.
    shown = codes.index(decision) if decision is not None else len(codes) - 1
    lesion = codes.index(lesion_class(scores)) if decision is not None else len(codes) - 1
    top = ranked(influence[shown], KEPT)
    contributions = maps.units[top.copy()].numpy() * (
        network.class_weights().numpy()[shown, top][:, None, None]
        if network.single_linear and probe.name == "last"
        else 1.0
    )
    file = f"{film.file}.npz"
    np.savez(
        folder / file,
        probability=probability.astype(np.float16),
        units=top.astype(np.int32),
        maps=compact(contributions),
    )
    row = {
        "mammogram_id": film.mammogram_id,
        "split": film.split,
        "predicted": -1 if decision is None else decision,
        "truth": film.truth,
        "lesion_class": codes[lesion],
        "p_normal": scores.normal,
        "p_benign": scores.benign,
        "p_malignant": float("nan") if scores.malignant is None else scores.malignant,
        "file": f"maps/{file}",
    }
    return influence, row, (float(contributions.max(initial=0.0)), float(probability[-1].max()))


def compact(values: np.ndarray) -> np.ndarray:
    """As float16 where that holds them, else as they are."""
    return (
        values.astype(np.float16)
        if float(np.abs(values).max(initial=0)) < float(np.finfo(np.float16).max)
        else values
    )
