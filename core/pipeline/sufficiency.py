"""Network half of step `sufficiency`: logits of the test patches from some units of a layer alone.

All other units of the layer are set to their mean over the hold-out patches. Units were selected
and named without the test split, and the means come from hold-out: nothing of the test split
chooses anything. `evaluation.pipeline.sufficiency` measures the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.class_labels import ClassDefinition
from core.errors import UserError
from core.images.working_images import PatchReader
from core.interpretation import inference
from core.interpretation.ablation import Ablation
from core.pipeline.ablate import sample_test_patches
from core.pipeline.inputs import load_patch_table, open_training_images
from core.progress import ProgressCallback
from core.store import run_table

# Random sets where the logits are arithmetic on pooled maps, and where each set is a forward pass.
EXACT_SETS, FORWARD_SETS = 200, 10
BOTTLENECK_PATCHES = 10_000
_SEED = 37


@dataclass(frozen=True, kw_only=True)
class KeptUnits:
    """Logits of the test patches from one set of units, and from random sets of the same size.

    subject: what the set is; units: its size; logits: [patches, classes]; random: one array per
    random set.
    """

    subject: str
    units: int
    logits: np.ndarray
    random: list[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class BottleneckData:
    """Largest activations of the named units, float [patches, units], and class columns int.

    train is a seeded sample of at most `BOTTLENECK_PATCHES` patches; of the test patches the
    classes stand in `SufficiencyRun.labels`.
    """

    train: np.ndarray
    train_labels: np.ndarray
    holdout: np.ndarray
    holdout_labels: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SufficiencyRun:
    """Everything that `sufficiency` computes with the network.

    codes: class codes of the logits' columns; labels: class column of each test patch; patients:
    its patient; full: logits of the whole network [patches, classes]; living: units of the layer
    that fire; holdout_patches: patches over which the means were taken; inference: form in which
    the classifier ran (`Classifier.inference`); bottleneck: for a classifier on the named units
    alone, None without names or where training patches were not dissected.
    """

    codes: list[int]
    labels: np.ndarray
    patients: np.ndarray
    full: np.ndarray
    sets: list[KeptUnits]
    living: int
    holdout_patches: int
    inference: dict[str, str | float]
    bottleneck: BottleneckData | None = None


def keep_units(
    study: Path,
    dissect_run: str,
    sets: Mapping[str, list[int]],
    report: ProgressCallback,
    head: Sequence[int] = (),
) -> SufficiencyRun:
    """Run the classifier of a dissect run on some of its units alone, on the test split.

    Parameters
    ----------
    study : Path
        The study folder.
    dissect_run : str
        Id of the dissect run.
    sets : mapping of str to list of int
        Units to keep by the name of the set. Empty sets are left out.
    report : callable
        Progress callback.
    head : sequence of int
        Units of the classifier on units alone; none: without it.

    Raises
    ------
    UserError
        If the hold-out or the test split has no patches.
    """
    patches_run = lineage.ancestor_run(study, dissect_run, "patches")
    train_run = lineage.ancestor_run(study, dissect_run, "train")
    with store.read(study) as con:
        layer = run_table.load_run(con, dissect_run)["manifest"]["layer"]
    network = inference.load_network(study, train_run)
    holdout = load_patch_table(study, patches_run, ["holdout"])
    test = sample_test_patches(load_patch_table(study, patches_run, ["test"]), network, layer)
    for name, patches in (("hold-out", holdout), ("test", test)):
        if not len(patches):
            raise UserError(
                f"The {name} split contains no patches, so that sufficiency cannot be measured;"
                " change splits.train or splits.holdout and run `deepminer patches` again."
            )
    images, classes = (
        open_training_images(study, train_run),
        lineage.run_classes(study, dissect_run),
    )
    means = Ablation(network, layer, PatchReader(images, holdout), report).means.mean(0)
    ablation = Ablation(network, layer, PatchReader(images, test), report)
    # A unit that is zero on every patch is no part of a random set: it would weaken the set.
    living = np.flatnonzero((means > 0) | (ablation.means.max(0) > 0))
    count = EXACT_SETS if ablation.exact else FORWARD_SETS
    results = []
    for subject, units in sets.items():
        if not units:
            continue
        rng = np.random.default_rng([len(units), _SEED])
        size = min(len(units), len(living))
        draws = [np.sort(rng.choice(living, size, replace=False)) for _ in range(count)]
        results.append(
            KeptUnits(
                subject=subject,
                units=len(units),
                logits=ablation.logits_keeping_units(units, means),
                random=[ablation.logits_keeping_units(draw, means) for draw in draws],
            )
        )
    return SufficiencyRun(
        codes=list(classes.codes),
        labels=classes.output_indices(test["label"].to_numpy()),
        patients=test["patient_id"].to_numpy(str),
        full=ablation.logits,
        sets=results,
        living=len(living),
        holdout_patches=len(holdout),
        inference=network.inference,
        bottleneck=_bottleneck_data(study, dissect_run, classes, head, ablation.maxima),
    )


def _bottleneck_data(
    study: Path, dissect_run: str, classes: ClassDefinition, units: Sequence[int], test: np.ndarray
) -> BottleneckData | None:
    """Return the activations that the dissection stored for training and hold-out patches."""
    folder = runs.run_folder(study, dissect_run)
    stored = pd.DataFrame({"patch_id": np.load(folder / "patch_ids.npy")}).reset_index()
    patches_run = lineage.ancestor_run(study, dissect_run, "patches")
    patches = load_patch_table(study, patches_run, ["train", "holdout"])
    rows = patches[["patch_id", "split", "label"]].merge(stored, on="patch_id")
    train, holdout = (rows[rows["split"] == split] for split in ("train", "holdout"))
    if not len(units) or not len(train) or not len(holdout):
        return None
    if len(train) > BOTTLENECK_PATCHES:
        train = train.sample(BOTTLENECK_PATCHES, random_state=_SEED)
    activations = np.load(folder / "activations.npy", mmap_mode="r")

    def read(part: pd.DataFrame) -> np.ndarray:
        """Return the units' activations on these patches."""
        return np.array(activations[part["index"].to_numpy()][:, list(units)], np.float32)

    return BottleneckData(
        train=read(train),
        train_labels=classes.output_indices(train["label"].to_numpy()),
        holdout=read(holdout),
        holdout_labels=classes.output_indices(holdout["label"].to_numpy()),
        test=test[:, list(units)],
    )
