"""Step `evaluate`: predictions of a classifier on held-out patches and whole mammograms, with AUC
and partial AUC at every level.

DEFINITIONS "Classifier statistics" and "Image and case scores". Intervals are Obuchowski's with
patients as clusters: patches of one patient are not independent. The threshold between normal and
not is fixed on hold-out (largest Youden index of s_normal) and used on both splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, runs, store
from core.class_labels import CLASSES
from core.images.working_images import Films, PatchReader
from core.interpretation import inference
from core.interpretation.explanation import ImageScores, image_scores, predicted_class
from core.interpretation.inference import Probe, film_maps, tissue_positions
from core.networks import Classifier, to_fully_convolutional
from core.networks.auxiliary_inputs import IMAGE, Columns
from core.pipeline.inputs import (
    StepResult,
    film_table,
    image_labels_only,
    latest,
    parent_of,
    patch_table,
)
from core.runs import Report, Run
from core.store import dataset_table
from evaluation.queries import performance, performance_cache
from evaluation.roc import auc_interval
from evaluation.roc.diagnostic import fixed_threshold
from evaluation.roc.partial_area import partial_auc

VERSION = 1
SPLITS = ["holdout", "test"]
SCORES = ("s_normal", "s_benign", "s_malignant")


def make(study: Path, report: Report, train: str | None = None) -> StepResult:
    """Evaluate a train run (the newest one if not given) on hold-out and test."""
    parent = latest(study, "train", given=train)
    patches_run = parent_of(study, parent, "patches")
    try:
        with runs.building(
            study, "evaluate", VERSION, {"splits": SPLITS}, [parent, patches_run], ""
        ) as run:
            _evaluate(study, run, parent, patches_run, run.reporting(report))
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        if distributed.first():
            performance_cache.ensure(study, found.name)
        return StepResult(found.name, fresh=False)


def _evaluate(study: Path, run: Run, parent: str, patches_run: str, report: Report) -> None:
    network, films = inference.load(study, parent), Films(study)
    patches = patch_table(study, patches_run, SPLITS)
    predicted = _predictions(study, network, films, patches, report)
    run.table("predictions", predicted)
    images, threshold, attention = _image_table(
        study, network, films, film_table(study, patches_run, SPLITS), report
    )
    if len(attention):
        run.table("attention", attention)
    distributed.once(
        lambda: _measure(
            study,
            run,
            patches_run,
            patches.merge(predicted, on="patch_id"),
            images,
            threshold,
            network.classes,
        )
    )


def _measure(
    study: Path,
    run: Run,
    patches_run: str,
    patches: pd.DataFrame,
    images: pd.DataFrame,
    threshold: float,
    classes: int,
) -> None:
    """The statistics of predicted patches and images."""
    run.table("image_scores", images.drop(columns="patient_id"))
    rows = [row for split in SPLITS for row in _split_metrics(split, patches, images, classes)]
    run.table("metrics", pd.DataFrame(rows))
    run.manifest |= {
        "normal_threshold": threshold,
        "classes": classes,
        "image_labels": image_labels_only(study),
    }
    _keep_shown(study, run, patches_run, patches, images, threshold, classes)


def _keep_shown(
    study: Path,
    run: Run,
    patches_run: str,
    patches: pd.DataFrame,
    images: pd.DataFrame,
    threshold: float,
    classes: int,
) -> None:
    """What the Performance page shows, computed now so that the page need not."""
    with store.read(study) as con:
        films = dataset_table.mammograms(con)[["mammogram_id", "view", "scanner"]]
        people, findings = (
            dataset_table.patients(con)[["patient_id", "density"]],
            dataset_table.findings(con),
        )
    # The store keeps scores in single precision; what is shown must equal what anybody computes
    # from the store.
    images = images.merge(films, on="mammogram_id").astype(dict.fromkeys(SCORES, np.float32))

    def part(split: str, level: str) -> pd.DataFrame:
        frame = patches if level == "patch" else images
        return frame[frame["split"] == split]

    looks = {
        (split, level): performance.observed(part(split, level), level, classes)
        for split in SPLITS
        for level in performance.LEVELS
    }
    groups = {
        split: performance.subgroups_of(part(split, "image"), people, findings) for split in SPLITS
    }
    performance_cache.write(
        run.folder,
        lambda split, level: looks[split, level],
        threshold,
        groups,
        performance_cache.earlier(study, patches_run),
    )


def _predictions(
    study: Path, network: Classifier, films: Films, patches: pd.DataFrame, report: Report
) -> pd.DataFrame:
    columns = inference.patient_numbers(study, network.columns, patches["patient_id"])
    p = inference.predict(network, PatchReader(films, patches), report, columns=columns)
    none = np.full(len(p), np.nan, np.float32)
    normal, benign = (p[:, 0], p[:, 1]) if p.shape[1] == 3 else (none, none)
    return pd.DataFrame(
        {
            "patch_id": patches["patch_id"],
            "p_normal": normal,
            "p_benign": benign,
            "p_malignant": p[:, -1],
        }
    )


def _image_table(
    study: Path, network: Classifier, films: Films, table: pd.DataFrame, report: Report
) -> tuple[pd.DataFrame, float, pd.DataFrame]:
    """Scores and decision per mammogram, the decision's threshold, and the attention weights where
    the network takes auxiliary columns.
    """
    full, probe = to_fully_convolutional(network), Probe(network, "last")
    columns = inference.patient_numbers(study, network.columns, table["patient_id"])
    files = list(table["file"])

    def one(i: int) -> tuple[ImageScores, np.ndarray | None]:
        maps = film_maps(full, probe, films[files[i]], None if columns is None else columns[i])
        return (
            image_scores(
                maps.probabilities,
                tissue_positions(films.tissue(files[i]), maps.probabilities.shape[1:]),
            ),
            maps.weights,
        )

    scores, weights = [], []
    for i, (score, weight) in distributed.dealt(range(len(files)), one):
        scores.append(score)
        weights.append(weight)
        report(i + 1, len(table), "mammograms")
    attention = (
        attention_table(network.columns, table, inference.patient_table(study), weights)
        if columns is not None
        else pd.DataFrame()
    )
    frame = table[["mammogram_id", "patient_id", "split", "truth"]].assign(
        s_normal=[s.normal for s in scores],
        s_benign=[s.benign for s in scores],
        s_malignant=[s.malignant for s in scores],
    )
    # A film without tissue has no score; it cannot be judged and is left out, and the table's
    # length says so.
    frame = (
        frame[frame["s_malignant"].notna()]
        .reset_index(drop=True)
        .astype(dict.fromkeys(SCORES, float))
    )
    threshold = normal_threshold(frame[frame["split"] == "holdout"], network.classes)
    frame["predicted"] = [predicted_class(_scores(row), threshold) for row in frame.itertuples()]
    return frame, threshold, attention


def attention_table(
    columns: Columns, films: pd.DataFrame, patients: pd.DataFrame, weights: list[np.ndarray | None]
) -> pd.DataFrame:
    """A row per mammogram and source ("image", then the columns): mammogram_id, place, source,
    value (as text), missing, weight.
    """
    known = patients.set_index("patient_id")
    rows = []
    for film, found in zip(films.itertuples(), weights):
        assert found is not None  # the network takes columns
        rows.append((film.mammogram_id, 0, IMAGE, "", False, float(found[0])))
        for place, column in enumerate(columns.columns, start=1):
            value = known.loc[film.patient_id, column.name]
            missing = bool(pd.isna(value))
            rows.append(
                (
                    film.mammogram_id,
                    place,
                    column.name,
                    "" if missing else _text(value),
                    missing,
                    float(found[place]),
                )
            )
    return pd.DataFrame(
        rows, columns=["mammogram_id", "place", "source", "value", "missing", "weight"]
    ).astype({"place": "int32"})


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def _scores(row: Any) -> ImageScores:
    return ImageScores(
        *(
            None if np.isnan(value) else float(value)
            for value in (row.s_normal, row.s_benign, row.s_malignant)
        )
    )


def normal_threshold(holdout: pd.DataFrame, classes: int) -> float:
    """Decision threshold from hold-out images: on s_normal for three classes, on s_malignant for
    two; .5 where hold-out has one class only.
    """
    known = holdout[holdout["truth"].notna()]
    positive, score = (
        ((known["truth"] == 0), known["s_normal"])
        if classes == 3
        else ((known["truth"] == 2), known["s_malignant"])
    )
    if positive.nunique() < 2:
        return 0.5
    return fixed_threshold(positive.to_numpy(bool), score.to_numpy(float), "youden")


def _split_metrics(
    split: str, patches: pd.DataFrame, images: pd.DataFrame, classes: int
) -> Iterator[dict[str, Any]]:
    mine = patches[patches["split"] == split]
    columns = dict(zip(CLASSES, ("p_normal", "p_benign", "p_malignant")))
    films = images[(images["split"] == split) & images["truth"].notna()]
    cases = performance.cases(films)
    for name in CLASSES if classes == 3 else ("malignant",):
        code = CLASSES.index(name)
        yield from class_metrics(
            split, "patch", name, mine["label"] == code, mine[columns[name]], mine["patient_id"]
        )
        for level, table in (("image", films), ("case", cases)):
            yield from class_metrics(
                split, level, name, table["truth"] == code, table[f"s_{name}"], table["patient_id"]
            )


def class_metrics(
    split: str, level: str, name: str, positive: pd.Series, score: pd.Series, patient: pd.Series
) -> Iterator[dict[str, Any]]:
    """AUC with its patient-clustered interval, and the partial areas at sensitivity >= .8, as rows
    of the metrics table.
    """
    y, s, who = positive.to_numpy(bool), score.to_numpy(float), patient.to_numpy(str)
    base = {
        "split": split,
        "level": level,
        "class": name,
        "n": len(y),
        "positives": int(y.sum()),
        "patients": len(set(who)),
    }
    if not len(y):
        yield base | {
            "name": "auc",
            "estimate": None,
            "low": None,
            "high": None,
            "method": "Obuchowski",
            "reason": f"the {split} split has no {level}",
        }
        return
    area = auc_interval(y, s, who, "obuchowski")
    yield base | {
        "name": "auc",
        "estimate": area.estimate,
        "low": area.low,
        "high": area.high,
        "method": "Obuchowski, patients as clusters",
        "reason": area.reason or "",
    }
    part = partial_auc(y, s)
    for field, value in (
        ("pauc", part.raw),
        ("pauc_fraction", part.fraction),
        ("pauc_mcclish", part.mcclish),
        ("pauc_deepminer_2021", part.deepminer_2021),
    ):
        yield base | {
            "name": field,
            "estimate": value,
            "low": None,
            "high": None,
            "method": "trapezoid, sensitivity >= .8",
            "reason": part.reason or "",
        }
