"""Network half of step `ablate`: logits with units set to zero, and localisation of class maps.

Selected units, and those of them that carry a label, are set to zero on the test split, beside as
many random units of equal activation. Nothing of the test split chooses anything: units were
selected on hold-out. `evaluation.pipeline.ablate` measures the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.class_labels import ClassDefinition
from core.errors import UserError
from core.images.polygons import fill_polygons
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation import inference
from core.interpretation.ablation import Ablation, sample_matched_units
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram, tissue_positions
from core.interpretation.localization import cell_coverage, localization_scores, with_random_weights
from core.networks import Classifier, to_fully_convolutional
from core.pipeline.inputs import load_mammogram_table, load_patch_table, open_training_images
from core.progress import ProgressCallback
from core.store import dataset_table, run_table, unit_table

# Random unit sets and random orders where zeroing is arithmetic on pooled maps, and where every
# set needs another forward pass.
EXACT_DRAWS, EXACT_ORDERS = 40, 20
FORWARD_DRAWS, FORWARD_PATCHES = 3, 400
DELETION_STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
LOCALIZATION_COLUMNS = ["class", "patient_id", "mass", "peak", "area", "chance"]


@dataclass(frozen=True, kw_only=True)
class UnitAblation:
    """Logits of the test patches with a set of units at zero.

    code: class code; column: the class's column in the logits; subject: "selected" or "labelled";
    units: number of units at zero; before, after: logits [patches, classes]; random: the same with
    random units of equal activation, one array per draw.
    """

    code: int
    column: int
    subject: str
    units: int
    before: np.ndarray
    after: np.ndarray
    random: list[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class DeletionStep:
    """Logits of one class on its patches with the first units of an order at zero.

    column: the class's column in the logits; by_influence: logits [patches of the class] in order
    of mean hold-out influence; random_means: mean logit per random order.
    """

    code: int
    column: int
    step: int
    by_influence: np.ndarray
    random_means: list[float]


@dataclass(frozen=True, kw_only=True)
class AblationRun:
    """Everything that `ablate` computes with the network.

    labels: class column of each test patch; patients: its patient; localization: table of subject
    ("map" or "random weights") -> LOCALIZATION_COLUMNS; inference: form in which the classifier ran
    (`Classifier.inference`).
    """

    labels: np.ndarray
    patients: np.ndarray
    groups: list[UnitAblation | DeletionStep]
    localization: dict[str, pd.DataFrame]
    inference: dict[str, str | float]


def ablate_units(
    study: Path, dissect_run: str, labelled: set[int], report: ProgressCallback
) -> AblationRun:
    """Set units of a dissect run to zero on the test split.

    Parameters
    ----------
    study : Path
        The study folder.
    dissect_run : str
        Id of the dissect run.
    labelled : set of int
        Units that carry a label.
    report : callable
        Progress callback.

    Raises
    ------
    UserError
        If the test split has no patches.
    """
    patches_run = lineage.ancestor_run(study, dissect_run, "patches")
    train_run = lineage.ancestor_run(study, dissect_run, "train")
    with store.read(study) as con:
        layer = run_table.load_run(con, dissect_run)["manifest"]["layer"]
        chosen = unit_table.load_selected_units(con, dissect_run)
    network = inference.load_network(study, train_run)
    patches = sample_test_patches(load_patch_table(study, patches_run, ["test"]), network, layer)
    if not len(patches):
        raise UserError(
            "The test split contains no patches, so faithfulness cannot be tested on it; lower"
            " splits.train or splits.holdout and run `deepminer patches` again."
        )
    ablation = Ablation(
        network, layer, PatchReader(open_training_images(study, train_run), patches), report
    )
    influence = np.load(runs.run_folder(study, dissect_run) / "influence.npy", mmap_mode="r")
    classes = lineage.run_classes(study, patches_run)
    labels = classes.output_indices(patches["label"].to_numpy())
    groups: list[UnitAblation | DeletionStep] = []
    for column, code in enumerate(classes.codes):
        positive = labels == column
        if not positive.any():
            continue
        selected = chosen[chosen["class"] == code]["unit"].to_numpy(int)
        sets = {
            "selected": selected,
            "labelled": np.array([u for u in selected if u in labelled], int),
        }
        for subject, units in sets.items():
            if len(units):
                groups.append(_ablate_set(ablation, code, column, subject, units))
        # Influence of hold-out mammograms: the order does not depend on the test split.
        mean_influence = np.asarray(influence[:, column]).mean(0)
        groups += _delete_in_order(ablation, code, column, mean_influence, positive)
    return AblationRun(
        labels=labels,
        patients=patches["patient_id"].to_numpy(str),
        groups=groups,
        inference=network.inference,
        localization=_localize(study, patches_run, train_run, network, report),
    )


def sample_test_patches(patches: pd.DataFrame, network: Classifier, layer: str) -> pd.DataFrame:
    """Return all test patches, or a seeded sample where every draw is another forward pass.

    Half of the sample shows findings, where there are as many.
    """
    exact = network.single_linear and layer == "last"
    if exact or len(patches) <= FORWARD_PATCHES:
        return patches
    rng = np.random.default_rng(17)
    lesions = np.flatnonzero(patches["label"] > 0)
    others = np.flatnonzero(patches["label"] == 0)
    drawn_lesions = rng.choice(lesions, min(FORWARD_PATCHES // 2, len(lesions)), replace=False)
    room = FORWARD_PATCHES - len(drawn_lesions)
    drawn_others = rng.choice(others, min(room, len(others)), replace=False)
    rows = np.sort(np.concatenate([drawn_lesions, drawn_others]))
    return patches.iloc[rows].reset_index(drop=True)


def _ablate_set(
    ablation: Ablation, code: int, column: int, subject: str, units: np.ndarray
) -> UnitAblation:
    # Seeded by the class, so that its draws do not depend on which other classes are present.
    rng, activity = np.random.default_rng([column, 19]), ablation.means.mean(0)
    draws = EXACT_DRAWS if ablation.exact else FORWARD_DRAWS
    random = [
        ablation.logits_with_units_zeroed(sample_matched_units(activity, units, rng))
        for _ in range(draws)
    ]
    return UnitAblation(
        code=code,
        column=column,
        subject=subject,
        units=len(units),
        before=ablation.logits,
        after=ablation.logits_with_units_zeroed(units),
        random=random,
    )


def _delete_in_order(
    ablation: Ablation, code: int, column: int, influence: np.ndarray, positive: np.ndarray
) -> Iterator[DeletionStep]:
    """Yield the logits of a class with 0, 1, 2, 4, ... units at zero."""
    units = len(influence)
    orders = [
        np.random.default_rng([column, i, 23]).permutation(units)
        # One order where every step is another forward pass.
        for i in range(EXACT_ORDERS if ablation.exact else 1)
    ]
    by_influence = np.argsort(-influence, kind="stable")

    def class_logits(zeroed: np.ndarray) -> np.ndarray:
        """Return the logits of the class on its patches with these units at zero."""
        return ablation.logits_with_units_zeroed(zeroed)[positive, column]

    # The last step has all units at zero: a single linear head then gives its bias.
    for step in sorted({s for s in DELETION_STEPS if s < units} | {units}):
        yield DeletionStep(
            code=code,
            column=column,
            step=step,
            by_influence=class_logits(by_influence[:step]),
            random_means=[float(class_logits(order[:step]).mean()) for order in orders],
        )


def _localize(
    study: Path, patches_run: str, train_run: str, network: Classifier, report: ProgressCallback
) -> dict[str, pd.DataFrame]:
    """Return localisation scores of the class maps, and of the same network with random weights."""
    mammograms = load_mammogram_table(study, patches_run, ["test"])
    with store.read(study) as con:
        findings = dataset_table.load_findings(con)
    images = open_training_images(study, train_run)
    classes = lineage.run_classes(study, patches_run)
    networks = {"map": network, "random weights": with_random_weights(network, 29)}
    return {
        subject: _localization_rows(net, classes, images, mammograms, findings, report)
        for subject, net in networks.items()
    }


def _localization_rows(
    network: Classifier,
    classes: ClassDefinition,
    images: WorkingImages,
    mammograms: pd.DataFrame,
    findings: pd.DataFrame,
    report: ProgressCallback,
) -> pd.DataFrame:
    """Return one row per mammogram and class with an outlined finding of that class."""
    full, probe, rows = to_fully_convolutional(network), FeatureProbe(network, "last"), []
    codes, pathology_codes = classes.codes, classes.pathology_codes
    findings_of = dict(list(findings.groupby("mammogram_id")))
    outlined = [row for row in mammograms.itertuples() if row.mammogram_id in findings_of]
    for i, mammogram in enumerate(outlined):
        image = images[mammogram.file]
        probability = forward_mammogram(full, probe, image).probabilities
        tissue = tissue_positions(images.tissue(mammogram.file), probability.shape[1:])
        # Class 0 has no findings.
        for code in codes[1:]:
            # All findings of a class together form the region.
            polygons = [
                polygon
                for finding in findings_of[mammogram.mammogram_id].itertuples()
                if pathology_codes.get(finding.pathology) == code
                for polygon in finding.outline
            ]
            outlined_area = fill_polygons(polygons, images.ingested_shape(mammogram.file))
            cover = cell_coverage(outlined_area, probability.shape[1:])
            scores = localization_scores(probability[codes.index(code)], tissue, cover)
            if scores:
                rows.append(
                    {
                        "class": code,
                        "patient_id": mammogram.patient_id,
                        "mass": scores.mass,
                        "peak": scores.peak,
                        "area": scores.area,
                        "chance": scores.chance,
                    }
                )
        report(i + 1, len(outlined), "mammograms")
    return pd.DataFrame(rows, columns=LOCALIZATION_COLUMNS)
