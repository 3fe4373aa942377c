"""Pipeline step `explain`: class maps, decision and most influential units of each mammogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, lineage, runs, store
from core.class_labels import ClassDefinition
from core.images.tissue_segmentation import with_margin
from core.images.working_images import WorkingImages
from core.interpretation import inference
from core.interpretation.explanation import (
    STORED_UNITS,
    STORED_UNITS_BY_GROUPS,
    compute_image_scores,
    lesion_output,
    predicted_output,
)
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram, tissue_positions
from core.interpretation.influence import rank_units
from core.interpretation.localization import cell_coverage, response_outside
from core.interpretation.mammogram_influence import gradient_influence
from core.networks import Classifier, FullyConvolutional, to_fully_convolutional
from core.pipeline.dissect import influence_table
from core.pipeline.inputs import (
    StepResult,
    load_breast_margins,
    load_breast_rule,
    load_mammogram_table,
    open_training_images,
)
from core.progress import ProgressCallback
from core.runs import Run
from core.settings import Settings
from core.store import run_table
from core.store.labels.label_sets import DEFAULT_SET

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class MammogramExplanation:
    """The explanation of one mammogram.

    influence: float [classes, units]; row: its row of the table `explanations`;
    largest_contribution: of any stored unit at any position; largest_probability: of the positive
    class at any position.
    """

    influence: np.ndarray
    row: dict[str, object]
    largest_contribution: float
    largest_probability: float


def run_explanation(
    study: Path,
    settings: Settings,
    report: ProgressCallback,
    dissect: str | None = None,
    mammograms: Sequence[str] = (),
    label_set: str = DEFAULT_SET,
) -> StepResult:
    """Explain the mammograms of the explained splits, or only those named.

    Uses a dissect run, by default the latest one, and the latest evaluation of the same network.
    label_set: the labels that name the units; UserError if the dissection does not have it.
    """
    dissect_run = lineage.resolve_run(study, "dissect", dissect)
    if label_set != DEFAULT_SET:
        distributed.run_on_rank_zero(lambda: lineage.check_label_set(study, dissect_run, label_set))
    train_run = lineage.ancestor_run(study, dissect_run, "train")
    # The decision's threshold was fixed by the evaluation of the same network.
    evaluate_run = lineage.resolve_run(study, "evaluate", parent=train_run)
    patches_run = lineage.ancestor_run(study, dissect_run, "patches")
    table = load_mammogram_table(study, patches_run, list(settings.explanation.splits))
    if mammograms:
        table = table[table["mammogram_id"].isin(mammograms)].reset_index(drop=True)
    request: dict[str, Any] = {
        "splits": list(settings.explanation.splits),
        "mammograms": sorted(mammograms),
    }
    # Explanations with the default labels keep the hash of earlier versions.
    if label_set != DEFAULT_SET:
        request["label_set"] = label_set
    parents = [dissect_run, evaluate_run, train_run]
    try:
        with runs.create_run(study, "explain", _VERSION, request, parents, "") as run:
            run.manifest["label_set"] = label_set
            _explain(study, run, parents, table, run.track_progress(report))
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def _explain(
    study: Path, run: Run, parents: Sequence[str], table: pd.DataFrame, report: ProgressCallback
) -> None:
    """Explain each mammogram of the table; parents: the dissect, evaluate and train run."""
    dissect_run, evaluate_run, train_run = parents
    layer, threshold, stored = distributed.run_on_rank_zero(
        lambda: _load_parameters(study, dissect_run, evaluate_run)
    )
    network = inference.load_network(study, train_run)
    classes = lineage.run_classes(study, train_run)
    full, probe = to_fully_convolutional(network), FeatureProbe(network, layer)
    images = open_training_images(study, train_run)
    margins = load_breast_margins(study, load_breast_rule(study, train_run))
    columns = inference.encode_patient_columns(study, network.columns, table["patient_id"])
    distributed.run_on_rank_zero(lambda: (run.folder / "maps").mkdir(exist_ok=True))
    rows = list(table.itertuples())

    def explain_row(i: int) -> MammogramExplanation:
        """Return the explanation of the mammogram in row i."""
        own_columns = None if columns is None else columns[i]
        return explain_mammogram(
            network,
            classes,
            full,
            probe,
            images,
            rows[i],
            threshold,
            run.folder / "maps",
            own_columns,
            margin=margins[rows[i].file],
            stored=stored,
        )

    explanations = []
    for i, explanation in distributed.map_round_robin(range(len(rows)), explain_row):
        explanations.append(explanation)
        report(i + 1, len(rows), "mammograms")
    influence = np.stack([e.influence for e in explanations])
    ids = table["mammogram_id"].to_numpy()
    run.add_table("influences", influence_table(influence, ids, classes.codes))
    run.add_table(
        "explanations",
        pd.DataFrame([e.row for e in explanations]).astype({"truth": "Int64", "outside": float}),
    )
    # One colour scale for all mammograms: the largest value among them.
    run.manifest |= {
        "threshold": threshold,
        "inference": network.inference,
        "largest_unit_contribution": max([0.0, *(e.largest_contribution for e in explanations)]),
        "largest_class_probability": max([0.0, *(e.largest_probability for e in explanations)]),
    }


def _load_parameters(study: Path, dissect_run: str, evaluate_run: str) -> tuple[str, float, int]:
    """Return the layer, the threshold of the normal score, and the number of stored units."""
    with store.read(study) as con:
        dissect = run_table.load_run(con, dissect_run)
        evaluate = run_table.load_run(con, evaluate_run)
    by_groups = dissect["settings"]["dissection"]["rule"] == "groups"
    return (
        dissect["manifest"]["layer"],
        evaluate["manifest"]["normal_threshold"],
        STORED_UNITS_BY_GROUPS if by_groups else STORED_UNITS,
    )


def explain_mammogram(
    network: Classifier,
    classes: ClassDefinition,
    full: FullyConvolutional,
    probe: FeatureProbe,
    images: WorkingImages,
    mammogram: Any,
    threshold: float,
    folder: Path,
    columns: np.ndarray | None = None,
    *,
    margin: float,
    stored: int = STORED_UNITS,
) -> MammogramExplanation:
    """Explain one mammogram and write its maps to `<folder>/<file>.npz`.

    Parameters
    ----------
    network, full : Classifier, FullyConvolutional
        A network and its fully convolutional form.
    classes : ClassDefinition
        What the network's outputs are.
    probe : FeatureProbe
        Access to the dissected layer.
    images : WorkingImages
        The working images of the study.
    mammogram : row of a table
        Has the attributes file, mammogram_id, split and truth.
    threshold : float
        Threshold of the normal score.
    folder : Path
        Folder for the maps.
    columns : ndarray, float [width], optional
        Encoded auxiliary values of the patient.
    margin : float
        Margin around the breast in pixels, within which a response counts as inside.
    stored : int
        Number of the most influential units whose maps are stored.
    """
    pixels = images[mammogram.file]
    maps = forward_mammogram(full, probe, pixels, columns)
    probability = maps.probabilities
    tissue = images.tissue(mammogram.file)
    scores = compute_image_scores(probability, tissue_positions(tissue, probability.shape[1:]))
    # Behind one linear layer, activation x weight is the exact contribution to the class score;
    # other layers and heads need the gradient.
    is_linear = network.single_linear and probe.layer == "last"
    if is_linear:
        influence = maps.units.amax((1, 2)).numpy() * network.class_weights().numpy()
    else:
        influence = gradient_influence(full, probe, pixels)
    decision, codes = predicted_output(scores, threshold), classes.codes
    # A mammogram without tissue has no decision; the units of the positive class are stored then.
    positive = codes.index(classes.positive_code)
    displayed, lesion = positive, positive
    if decision is not None:
        displayed, lesion = decision, lesion_output(scores)
    top = rank_units(influence[displayed], stored)
    contributions = maps.units[top.copy()].numpy()
    if is_linear:
        contributions = (
            contributions * network.class_weights().numpy()[displayed, top][:, None, None]
        )
    file = f"{mammogram.file}.npz"
    np.savez(
        folder / file,
        probability=probability.astype(np.float16),
        units=top.astype(np.int32),
        maps=to_half_precision(contributions),
    )
    row = {
        "mammogram_id": mammogram.mammogram_id,
        "split": mammogram.split,
        "predicted": -1 if decision is None else codes[decision],
        "truth": mammogram.truth,
        "lesion_class": codes[lesion],
        **{
            f"p_{name}": float("nan") if score is None else score
            for name, score in scores.row(classes).items()
        },
        "file": f"maps/{file}",
        "outside": response_outside(
            contributions[:STORED_UNITS],
            cell_coverage(with_margin(tissue, margin), contributions.shape[1:]),
        ),
    }
    return MammogramExplanation(
        influence=influence,
        row=row,
        largest_contribution=float(contributions.max(initial=0.0)),
        largest_probability=float(probability[positive].max()),
    )


def to_half_precision(values: np.ndarray) -> np.ndarray:
    """Return values as float16 if none of them overflows, else unchanged."""
    largest = float(np.abs(values).max(initial=0))
    return values.astype(np.float16) if largest < float(np.finfo(np.float16).max) else values
