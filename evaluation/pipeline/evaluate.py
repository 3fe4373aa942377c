"""Step `evaluate`: AUC and partial AUC on held-out patches, mammograms and cases.

The network runs in `core.pipeline.predict`. Intervals are Obuchowski's with patients as clusters,
because patches of one patient are not independent. The threshold between normal and not normal is
fixed on hold-out (largest Youden index of s_normal) and used on both splits. See
docs/reference/definitions.md, "Classifier statistics" and "Image and case scores".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, lineage, runs, store
from core.class_labels import ClassDefinition
from core.interpretation.explanation import ImageScores, predicted_output
from core.pipeline.inputs import StepResult
from core.pipeline.predict import SplitPredictions, predict_splits
from core.progress import ProgressCallback
from core.runs import Run
from core.store import dataset_table
from evaluation.case_scores import pool_cases
from evaluation.queries import performance, performance_cache
from evaluation.queries.observations import LEVELS, to_observations
from evaluation.roc import auc_interval
from evaluation.roc.diagnostic import fixed_threshold
from evaluation.roc.partial_area import partial_auc

_VERSION = 2
EVALUATED_SPLITS = ["holdout", "test"]


def run_evaluation(study: Path, report: ProgressCallback, train: str | None = None) -> StepResult:
    """Evaluate a train run (the latest by default) on hold-out and test."""
    train_run = lineage.resolve_run(study, "train", train)
    patches_run = lineage.ancestor_run(study, train_run, "patches")
    settings, parents = {"splits": EVALUATED_SPLITS}, [train_run, patches_run]
    try:
        with runs.create_run(study, "evaluate", _VERSION, settings, parents, "") as run:
            predictions = predict_splits(
                study, train_run, patches_run, EVALUATED_SPLITS, run.track_progress(report)
            )
            # Every rank holds all predictions; the statistics and tables are computed once.
            distributed.run_on_rank_zero(lambda: _measure(study, run, patches_run, predictions))
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        if distributed.is_rank_zero():
            # A run of an earlier release may lack the stored results or hold an older form.
            performance_cache.ensure_summaries(study, existing.name)
        return StepResult(existing.name, created=False)


def _measure(study: Path, run: Run, patches_run: str, predictions: SplitPredictions) -> None:
    """Compute and store the statistics of predicted patches and mammograms."""
    classes, mammograms = predictions.classes, predictions.mammograms
    columns = ["patch_id", *(f"p_{name}" for name in classes.scored)]
    run.add_table("predictions", predictions.patches[columns])
    if len(predictions.attention):
        run.add_table("attention", predictions.attention)
    # Hold-out alone: a threshold chosen on test would make its accuracy optimistic.
    threshold = normal_threshold(mammograms[mammograms["split"] == "holdout"], classes)
    outputs = [
        predicted_output(_scores(row, classes), threshold) for row in mammograms.to_dict("records")
    ]
    mammograms = mammograms.assign(predicted=[classes.codes[k] for k in outputs if k is not None])
    run.add_table("image_scores", mammograms.drop(columns="patient_id"))
    metrics = [
        row
        for split in EVALUATED_SPLITS
        for row in split_metrics(split, predictions.patches, mammograms, classes)
    ]
    run.add_table("metrics", pd.DataFrame(metrics))
    run.manifest |= {
        "normal_threshold": threshold,
        "inference": predictions.inference,
        "classes": len(classes.outputs),
        "image_labels": lineage.has_image_level_labels(study),
        "truth": lineage.truth_statements(study),
    }
    _store_summaries(study, run, patches_run, predictions, mammograms)


def _store_summaries(
    study: Path,
    run: Run,
    patches_run: str,
    predictions: SplitPredictions,
    mammograms: pd.DataFrame,
) -> None:
    """Store what the Performance page shows, so that the page need not compute it."""
    with store.read(study) as con:
        described = dataset_table.load_mammograms(con)[["mammogram_id", "view", "scanner"]]
        patients = dataset_table.load_patients(con)[["patient_id", "density"]]
        findings = dataset_table.load_findings(con)
    # The store keeps scores in single precision. The page must equal what is computed from it.
    mammograms = mammograms.merge(described, on="mammogram_id")
    classes = predictions.classes
    mammograms = mammograms.astype({f"s_{name}": np.float32 for name in classes.scored})
    tables = {"patch": predictions.patches, "image": mammograms, "case": mammograms}
    observations = {
        (split, level): to_observations(
            tables[level][tables[level]["split"] == split], level, classes
        )
        for split in EVALUATED_SPLITS
        for level in LEVELS
    }
    subgroups = {
        split: performance.compute_subgroups(
            mammograms[mammograms["split"] == split], patients, findings, classes
        )
        for split in EVALUATED_SPLITS
    }
    performance_cache.write_summaries(
        run.folder,
        lambda split, level: observations[split, level],
        run.manifest["normal_threshold"],
        subgroups,
        performance_cache.earlier_evaluations(study, patches_run),
    )


def _scores(row: Mapping[Any, Any], classes: ClassDefinition) -> ImageScores:
    normal, *lesions = (float(row[f"s_{name}"]) for name in classes.scored)
    # Of two outputs only the positive one has a score.
    return ImageScores(normal, tuple(lesions)) if lesions else ImageScores(None, (normal,))


def normal_threshold(holdout: pd.DataFrame, classes: ClassDefinition) -> float:
    """Return the decision threshold from hold-out mammograms.

    On s_normal for three or more classes, on s_malignant for two; .5 if hold-out has one class.
    """
    # Without a truth: mammograms with UNPROVEN findings only.
    known = holdout[holdout["truth"].notna()]
    # The first class that has a score: normal, or of two outputs the positive one.
    name = classes.scored[0]
    positive, score = known["truth"] == classes.names.index(name), known[f"s_{name}"]
    if positive.nunique() < 2:
        return 0.5
    return fixed_threshold(positive.to_numpy(bool), score.to_numpy(float), "youden")


def split_metrics(
    split: str, patches: pd.DataFrame, mammograms: pd.DataFrame, classes: ClassDefinition
) -> Iterator[dict[str, Any]]:
    """Yield the metrics of one split, for every class and level.

    patches: patient_id, split, label, p_<class>; mammograms: patient_id, split, truth, s_<class>.
    """
    split_patches = patches[patches["split"] == split]
    images = mammograms[(mammograms["split"] == split) & mammograms["truth"].notna()]
    cases = pool_cases(images, classes)
    for name in classes.scored:
        code = classes.names.index(name)
        for level, table, truth, score in (
            ("patch", split_patches, "label", f"p_{name}"),
            ("image", images, "truth", f"s_{name}"),
            ("case", cases, "truth", f"s_{name}"),
        ):
            yield from class_metrics(
                {"split": split, "level": level, "class": name},
                table[truth] == code,
                table[score],
                table["patient_id"],
            )


def class_metrics(
    group: dict[str, Any], positive: pd.Series, score: pd.Series, patient: pd.Series
) -> Iterator[dict[str, Any]]:
    """Yield the AUC with its interval clustered by patient, and the partial areas.

    group: split, level and class, which every row repeats. Rows are those of the metrics table.
    """
    y, s, patients = positive.to_numpy(bool), score.to_numpy(float), patient.to_numpy(str)
    base = group | {"n": len(y), "positives": int(y.sum()), "patients": len(set(patients))}
    unknown = {"estimate": None, "low": None, "high": None}
    if not len(y):
        reason = f"the {group['split']} split has no {group['level']}"
        yield base | {"name": "auc", **unknown, "method": "logit scale", "reason": reason}
        return
    area = auc_interval(y, s, patients)
    yield base | {
        "name": "auc",
        "estimate": area.estimate,
        "low": area.low,
        "high": area.high,
        "method": "logit scale, small-sample t, patients as clusters",
        "reason": area.reason or "",
    }
    part = partial_auc(y, s)
    for name, value in (
        ("pauc", part.raw),
        ("pauc_fraction", part.fraction),
        ("pauc_mcclish", part.mcclish),
        ("pauc_deepminer_2021", part.deepminer_2021),
    ):
        yield base | {
            "name": name,
            **unknown,
            "estimate": value,
            "method": "trapezoid, sensitivity >= .8",
            "reason": part.reason or "",
        }
