"""Network half of step `evaluate`: predictions of patches and scores of whole mammograms.

`evaluation.pipeline.evaluate` measures these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, lineage
from core.class_labels import ClassDefinition
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation import inference
from core.interpretation.explanation import ImageScores, compute_image_scores
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram, tissue_positions
from core.networks import Classifier, to_fully_convolutional
from core.networks.auxiliary_inputs import IMAGE_SOURCE, AuxiliaryColumns
from core.pipeline.inputs import load_mammogram_table, load_patch_table, open_training_images
from core.progress import ProgressCallback

ATTENTION_COLUMNS = ["mammogram_id", "place", "source", "value", "missing", "weight"]


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions of a classifier on some splits.

    classes: what the outputs of the classifier are.
    patches: the patch table with p_<class> for every class that has a score.
    mammograms: mammogram_id, patient_id, split, truth, and s_<class> for the same classes.
    attention: one row per mammogram and input of a classifier with auxiliary columns, else empty.
    inference: form in which the classifier ran (`Classifier.inference`).
    """

    classes: ClassDefinition
    patches: pd.DataFrame
    mammograms: pd.DataFrame
    attention: pd.DataFrame
    inference: dict[str, str | float]


def predict_splits(
    study: Path, train_run: str, patches_run: str, splits: list[str], report: ProgressCallback
) -> SplitPredictions:
    """Run a trained classifier on the patches and mammograms of some splits.

    Under torchrun, batches and mammograms are distributed; every rank returns all tables.
    """
    network = inference.load_network(study, train_run)
    classes = lineage.run_classes(study, train_run)
    images = open_training_images(study, train_run)
    patches = load_patch_table(study, patches_run, splits)
    probabilities = _predict_patches(study, network, classes, images, patches, report)
    mammograms = load_mammogram_table(study, patches_run, splits)
    scores, attention = _score_mammograms(study, network, classes, images, mammograms, report)
    return SplitPredictions(
        classes=classes,
        patches=patches.merge(probabilities, on="patch_id"),
        mammograms=scores,
        attention=attention,
        inference=network.inference,
    )


def _predict_patches(
    study: Path,
    network: Classifier,
    classes: ClassDefinition,
    images: WorkingImages,
    patches: pd.DataFrame,
    report: ProgressCallback,
) -> pd.DataFrame:
    columns = inference.encode_patient_columns(study, network.columns, patches["patient_id"])
    reader = PatchReader(images, patches)
    probability = inference.predict_probabilities(network, reader, report, columns=columns)
    scored = {
        f"p_{name}": probability[:, c]
        for c, name in enumerate(classes.outputs.values())
        if name in classes.scored
    }
    return pd.DataFrame({"patch_id": patches["patch_id"], **scored})


def _score_mammograms(
    study: Path,
    network: Classifier,
    classes: ClassDefinition,
    images: WorkingImages,
    mammograms: pd.DataFrame,
    report: ProgressCallback,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return scores per mammogram, and attention weights if the classifier takes columns."""
    full, probe = to_fully_convolutional(network), FeatureProbe(network, "last")
    columns = inference.encode_patient_columns(study, network.columns, mammograms["patient_id"])
    files = list(mammograms["file"])

    def score_mammogram(index: int) -> tuple[ImageScores, np.ndarray | None]:
        """Return the scores and the attention weights of one mammogram."""
        maps = forward_mammogram(
            full, probe, images[files[index]], None if columns is None else columns[index]
        )
        tissue = tissue_positions(images.tissue(files[index]), maps.probabilities.shape[1:])
        return compute_image_scores(maps.probabilities, tissue), maps.weights

    scores, weights = [], []
    for i, (score, weight) in distributed.map_round_robin(range(len(files)), score_mammogram):
        scores.append(score)
        weights.append(weight)
        report(i + 1, len(mammograms), "mammograms")
    rows = [score.row(classes) for score in scores]
    table = mammograms[["mammogram_id", "patient_id", "split", "truth"]].assign(
        **{f"s_{name}": np.array([row[name] for row in rows], float) for name in classes.scored}
    )
    # A mammogram without tissue has no score. It is left out here, and the length of the table
    # shows how many were.
    table = table[table[f"s_{classes.positive}"].notna()].reset_index(drop=True)
    if columns is None:
        return table, pd.DataFrame()
    patients = inference.load_patient_columns(study)
    return table, attention_rows(network.columns, mammograms, patients, weights)


def attention_rows(
    columns: AuxiliaryColumns,
    mammograms: pd.DataFrame,
    patients: pd.DataFrame,
    weights: list[np.ndarray | None],
) -> pd.DataFrame:
    """Return one row per mammogram and input: the image first, then each auxiliary column.

    Columns: mammogram_id, place, source, value (as text), missing, weight.
    """
    patient_rows = patients.set_index("patient_id")
    rows = []
    for mammogram, weight in zip(mammograms.itertuples(), weights):
        assert weight is not None  # the classifier takes columns
        rows.append((mammogram.mammogram_id, 0, IMAGE_SOURCE, "", False, float(weight[0])))
        for position, column in enumerate(columns.columns, start=1):
            value = patient_rows.loc[mammogram.patient_id, column.name]
            missing = bool(pd.isna(value))
            text = "" if missing else _value_text(value)
            rows.append(
                (
                    mammogram.mammogram_id,
                    position,
                    column.name,
                    text,
                    missing,
                    float(weight[position]),
                )
            )
    return pd.DataFrame(rows, columns=ATTENTION_COLUMNS).astype({"place": "int32"})


def _value_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)
