"""Step `ablate`: units set to zero, deletion curves, and where the class map looks, on the test
split.

Named units (those that carry a label, and all selected ones) are set to zero; the fall of the class
logit on patches of the class, and of the AUC, is held against as many random units of equal
activation. Nothing of the test split chooses anything here: units were selected on hold-out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import runs, store
from core.class_labels import CLASSES
from core.errors import UserError
from core.images.polygons import fill
from core.images.working_images import Films, PatchReader
from core.interpretation import inference
from core.interpretation.ablation import Ablation, matched
from core.interpretation.inference import Probe, film_maps, tissue_positions
from core.interpretation.localization import cell_cover, localise, randomised
from core.networks import Classifier, to_fully_convolutional
from core.pipeline.dissect import class_codes
from core.pipeline.inputs import StepResult, film_table, latest, parent_of, patch_table
from core.runs import Report
from core.store import annotation_table, dataset_table, run_table, unit_table
from evaluation.queries.faithfulness import auc_drop, clustered_mean

VERSION = 1
DRAWS, ORDERS = 40, 20  # of random units where the answer is arithmetic
PASSES, PASS_PATCHES = 3, 400  # where every draw is another pass
STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
Row = dict[str, Any]


def make(study: Path, report: Report, dissect: str | None = None) -> StepResult:
    """Test a dissect run (the newest if not given) with the labels of this moment.

    UserError where the test split is empty.
    """
    dissected = latest(study, "dissect", given=dissect)
    with store.read(study) as con:
        labelled = sorted(annotation_table.labels(con, dissected))
    try:
        with runs.building(
            study, "ablate", VERSION, {"labelled": labelled, "draws": DRAWS}, [dissected], ""
        ) as run:
            frame = measure(study, dissected, set(labelled), run.reporting(report))
            run.table("ablations", frame)
            run.manifest |= {"labelled": labelled}
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def measure(study: Path, dissect: str, labelled: set[int], report: Report) -> pd.DataFrame:
    """Rows class, subject, name, step, estimate, low, high, method, n."""
    patches_run, train = parent_of(study, dissect, "patches"), parent_of(study, dissect, "train")
    with store.read(study) as con:
        layer = run_table.get(con, dissect)["manifest"]["layer"]
        chosen = unit_table.selected(con, dissect)
    network = inference.load(study, train)
    patches = _patches(patch_table(study, patches_run, ["test"]), network, layer)
    if not len(patches):
        raise UserError(
            "The test split holds no patches, so nothing can be tested on it; lower splits.train or"
            " splits.holdout and run `deepminer patches` again."
        )
    ablation = Ablation(network, layer, PatchReader(Films(study), patches), report)
    influence = np.load(runs.folder(study, dissect) / "influence.npy", mmap_mode="r")
    rows: list[Row] = []
    for c, code in enumerate(class_codes(network.classes).tolist()):
        selected = chosen[chosen["class"] == code]["unit"].to_numpy(int)
        truth, who = patches["label"].to_numpy() == c, patches["patient_id"].to_numpy(str)
        for subject, units in (
            ("selected", selected),
            ("labelled", np.array([u for u in selected if u in labelled], int)),
        ):
            rows += (
                [_row(code, subject, **r) for r in against_random(ablation, c, units, truth, who)]
                if len(units) and truth.any()
                else []
            )
        rows += (
            [
                _row(code, **r)
                for r in deletion(ablation, c, np.asarray(influence[:, c]).mean(0), truth, who)
            ]
            if truth.any()
            else []
        )
    rows += _localisation(study, patches_run, network, layer, report)
    return pd.DataFrame(
        rows, columns=["class", "subject", "name", "step", "estimate", "low", "high", "method", "n"]
    ).astype({"step": float, "n": "Int64"})


def _patches(frame: pd.DataFrame, network: Classifier, layer: str) -> pd.DataFrame:
    """All test patches where the answer is arithmetic; else a seeded sample, half of it with
    findings where there are as many.
    """
    if (network.single_linear and layer == "last") or len(frame) <= PASS_PATCHES:
        return frame
    rng = np.random.default_rng(17)
    lesions, others = np.flatnonzero(frame["label"] > 0), np.flatnonzero(frame["label"] == 0)
    some = rng.choice(lesions, min(PASS_PATCHES // 2, len(lesions)), replace=False)
    rest = rng.choice(others, min(PASS_PATCHES - len(some), len(others)), replace=False)
    return frame.iloc[np.sort(np.concatenate([some, rest]))].reset_index(drop=True)


def _row(
    code: int,
    subject: str,
    name: str,
    estimate: float | None,
    low: float | None,
    high: float | None,
    method: str,
    n: int,
    step: float | None = None,
) -> Row:
    return {
        "class": code,
        "subject": subject,
        "name": name,
        "step": step,
        "estimate": estimate,
        "low": low,
        "high": high,
        "method": method,
        "n": n,
    }


def _probability(logits: np.ndarray, c: int) -> np.ndarray:
    shifted = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    return shifted[:, c] / shifted.sum(1)


def against_random(
    ablation: Ablation, c: int, units: np.ndarray, truth: np.ndarray, patients: np.ndarray
) -> Iterator[Row]:
    """Fall of class c's logit on its patches (bool [n]) and of its AUC, with these units at zero,
    with random ones, and the difference.
    """
    rng, activity = np.random.default_rng([c, 19]), ablation.means.mean(0)
    draws = [
        ablation.without(matched(activity, units, rng))
        for _ in range(DRAWS if ablation.exact else PASSES)
    ]
    before, after = ablation.logits, ablation.without(units)
    drop = (before - after)[truth, c]
    random = np.mean([(before - other)[truth, c] for other in draws], axis=0)
    who, n = patients[truth], len(units)
    for name, values in (
        ("logit_drop", drop),
        ("logit_drop_random", random),
        ("logit_beyond_random", drop - random),
    ):
        found = clustered_mean(values, who)
        yield {
            "name": name,
            "estimate": found.estimate,
            "low": found.low,
            "high": found.high,
            "method": f"{found.method}; {len(draws)} random draws",
            "n": n,
        }
    score = (
        _probability(before, c),
        _probability(after, c),
        [_probability(o, c) for o in draws[:10]],
    )
    for name, instead in (("auc_drop", None), ("auc_beyond_random", score[2])):
        area = auc_drop(truth, score[0], score[1], patients, instead)
        yield {
            "name": name,
            "estimate": area.estimate,
            "low": area.low,
            "high": area.high,
            "method": area.method,
            "n": n,
        }


def deletion(
    ablation: Ablation, c: int, influence: np.ndarray, truth: np.ndarray, patients: np.ndarray
) -> Iterator[Row]:
    """Mean logit of class c on its patches when 0, 1, 2, 4 ... units are at zero, in order of mean
    hold-out influence and in random orders.
    """
    units = len(influence)
    steps = sorted({s for s in STEPS if s < units} | {units})
    orders = [
        np.random.default_rng([c, i, 23]).permutation(units)
        for i in range(ORDERS if ablation.exact else 1)
    ]
    best = np.argsort(-influence, kind="stable")
    for step in steps:
        found = clustered_mean(ablation.without(best[:step])[truth, c], patients[truth])
        yield {
            "subject": "by influence",
            "name": "deletion",
            "step": step,
            "estimate": found.estimate,
            "low": found.low,
            "high": found.high,
            "method": found.method,
            "n": int(truth.sum()),
        }
        values = [float(ablation.without(order[:step])[truth, c].mean()) for order in orders]
        yield {
            "subject": "at random",
            "name": "deletion",
            "step": step,
            "estimate": float(np.mean(values)),
            "low": float(np.quantile(values, 0.025)),
            "high": float(np.quantile(values, 0.975)),
            "method": f"range of {len(orders)} random orders",
            "n": int(truth.sum()),
        }


def _localisation(
    study: Path, patches_run: str, network: Classifier, layer: str, report: Report
) -> list[Row]:
    films, opened = film_table(study, patches_run, ["test"]), Films(study)
    with store.read(study) as con:
        findings = dataset_table.findings(con)
    rows: list[Row] = []
    for subject, net in (("map", network), ("random weights", randomised(network, 29))):
        found = _localised(net, opened, films, findings, report)
        for code, mine in found.groupby("class"):
            for name in ("mass", "peak", "area", "chance"):
                mean = clustered_mean(mine[name].to_numpy(float), mine["patient_id"].to_numpy(str))
                rows.append(
                    _row(
                        int(code),
                        subject,
                        name,
                        mean.estimate,
                        mean.low,
                        mean.high,
                        mean.method,
                        len(mine),
                    )
                )
    return rows


def _localised(
    network: Classifier, opened: Films, films: pd.DataFrame, findings: pd.DataFrame, report: Report
) -> pd.DataFrame:
    """One row a film and class with an outlined finding of that class."""
    full, probe, rows = to_fully_convolutional(network), Probe(network, "last"), []
    codes = class_codes(network.classes).tolist()
    of_class = {1: ("BENIGN", "BENIGN_WITHOUT_CALLBACK"), 2: ("MALIGNANT",)}
    by_film = dict(list(findings.groupby("mammogram_id")))
    outlined = [f for f in films.itertuples() if f.mammogram_id in by_film]
    for i, film in enumerate(outlined):
        probability = film_maps(full, probe, opened[film.file]).probabilities
        tissue = tissue_positions(opened.tissue(film.file), probability.shape[1:])
        for code in codes[1:]:
            polygons = [
                p
                for f in by_film[film.mammogram_id].itertuples()
                if f.pathology in of_class[code]
                for p in f.outline
            ]
            cover = cell_cover(fill(polygons, opened[film.file].shape), probability.shape[1:])
            found = localise(probability[codes.index(code)], tissue, cover)
            if found:
                rows.append(
                    {
                        "class": code,
                        "patient_id": film.patient_id,
                        "mass": found.mass,
                        "peak": found.peak,
                        "area": found.area,
                        "chance": found.chance,
                    }
                )
        report(i + 1, len(outlined), "mammograms")
    return pd.DataFrame(rows, columns=["class", "patient_id", "mass", "peak", "area", "chance"])


def summary(frame: pd.DataFrame) -> str:
    """One line for the terminal: malignant's fall beyond random for the selected units."""
    rows = frame[
        (frame["subject"] == "selected") & (frame["name"] == "logit_beyond_random")
    ].to_dict("records")
    return "; ".join(
        f"{CLASSES[int(r['class'])]} logit falls {r['estimate']:.2f} more than with random units"
        f" ({r['low']:.2f} to {r['high']:.2f})"
        for r in rows
        if pd.notna(r["low"])
    )
