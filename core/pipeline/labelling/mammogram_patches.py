"""Patches of mammograms with their labels, block by block, in one or several processes.

Label rules belong in `core.dataset.patches`. The step that stores the patches is
`core.pipeline.patches`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from core.dataset.patches import (
    Patches,
    PatchRule,
    image_label_patches,
    label_patches,
    reaches_patch,
)
from core.errors import UserError
from core.images.polygons import fill_polygons
from core.images.working_images import WorkingImages
from core.sources.deepminer_patches import published_patches

# Few enough for frequent progress and even work; many enough that their transfer costs nothing.
_BLOCK_SIZE = 64
# Starting worker processes takes longer than labelling this many mammograms.
_MIN_MAMMOGRAMS_FOR_WORKERS = 1000


@dataclass(frozen=True)
class FindingOutline:
    """A finding of a mammogram.

    polygons: float [n, 2] of (x, y) in pixels of the working image; empty without an outline.
    is_checked: whether the mammogram is left out if the finding counts in no patch.
    """

    number: int
    pathology: str
    polygons: Sequence[np.ndarray]
    is_checked: bool


@dataclass(frozen=True, kw_only=True)
class LabellingTask:
    """A mammogram and all that its patches depend on.

    file: name of the working image. unlocated: a finding lies somewhere in the image. listed:
    published windows, which are used instead of the rule; scale: working pixels per pixel of the
    source in x and y, for these windows.
    """

    mammogram_id: str
    file: str
    image_label: str | None
    unlocated: bool
    findings: Sequence[FindingOutline]
    listed: pd.DataFrame | None = None
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class LabelledBlock:
    """Patches of successive mammograms.

    size: number of mammograms. counts: number of patches by id, without the mammograms that have an
    unreached finding. columns: columns of the table `patches`, mammogram by mammogram in the order
    of counts. unproven, ambiguous: numbers of dropped windows. unreached: findings that count in no
    patch, with the id of their mammogram.
    """

    size: int
    counts: dict[str, int]
    columns: dict[str, np.ndarray]
    unproven: int
    ambiguous: int
    unreached: list[tuple[str, FindingOutline]]


def label_mammograms(
    study: Path, tasks: Sequence[LabellingTask], side: int, rule: PatchRule, workers: int
) -> Iterator[LabelledBlock]:
    """Label the patches of mammograms; yield blocks in the order of the tasks.

    Parameters
    ----------
    study : Path
        The study folder.
    tasks : sequence of LabellingTask
        The mammograms.
    side : int
        Side of a patch, in pixels of the working images.
    rule : PatchRule
        Rule by which windows are kept and labelled.
    workers : int
        Number of processes. The blocks do not depend on it; few mammograms start no process.

    Raises
    ------
    UserError
        If a working image is damaged, a published window does not fit its mammogram, or a process
        was killed.
    """
    blocks = [tasks[start : start + _BLOCK_SIZE] for start in range(0, len(tasks), _BLOCK_SIZE)]
    label = partial(_label_block, study, side, rule)
    if workers <= 1 or len(tasks) < _MIN_MAMMOGRAMS_FOR_WORKERS:
        yield from map(label, blocks)
        return
    # "spawn": a forked process would inherit the locks of threads that it does not have.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        try:
            yield from pool.map(label, blocks)
        except BrokenProcessPool as error:
            raise UserError(
                "A labelling process was killed, probably because memory ran out. Run the command"
                " again with fewer --workers; the study is unchanged."
            ) from error


def _label_block(
    study: Path, side: int, rule: PatchRule, tasks: Sequence[LabellingTask]
) -> LabelledBlock:
    """Label successive mammograms."""
    images = WorkingImages(study)
    labelled: dict[str, Patches] = {}
    unreached: list[tuple[str, FindingOutline]] = []
    for task in tasks:
        patches, findings = label_mammogram(images, task, side, rule)
        unreached += [(task.mammogram_id, finding) for finding in findings]
        if patches is not None:
            labelled[task.mammogram_id] = patches
    parts = [_patch_columns(patches) for patches in labelled.values()]
    return LabelledBlock(
        size=len(tasks),
        counts={name: len(patches) for name, patches in labelled.items()},
        columns={
            name: np.concatenate([part[name] for part in parts])
            for name in (parts[0] if parts else ())
        },
        unproven=sum(patches.dropped_unproven for patches in labelled.values()),
        ambiguous=sum(patches.dropped_ambiguous for patches in labelled.values()),
        unreached=unreached,
    )


def label_mammogram(
    images: WorkingImages, task: LabellingTask, side: int, rule: PatchRule
) -> tuple[Patches | None, list[FindingOutline]]:
    """Return the patches of one mammogram, and its checked findings that count in no patch.

    With such a finding there are no patches, because its place is doubtful.
    """
    tissue = images.tissue(task.file)
    masks = [
        (finding, fill_polygons(finding.polygons, tissue.shape))
        for finding in task.findings
        if len(finding.polygons)
    ]
    # The labels of the release do not depend on outlines. Images without tissue are listed already.
    checked = masks if task.listed is None and tissue.any() else []
    unreached = [
        finding
        for finding, mask in checked
        if finding.is_checked and not reaches_patch(tissue, mask, side, rule)
    ]
    if unreached:
        return None, unreached
    return _label_patches(tissue, task, [(f.pathology, mask) for f, mask in masks], side, rule), []


def _label_patches(
    tissue: np.ndarray,
    task: LabellingTask,
    masks: list[tuple[str, np.ndarray]],
    side: int,
    rule: PatchRule,
) -> Patches:
    """Return the patches of a mammogram whose findings, pathology and mask, are all in place."""
    if task.listed is not None:
        return published_patches(task.listed, task.scale, tissue, masks, side, rule.classes)
    if task.unlocated:
        # A finding lies somewhere in this mammogram, so none of its patches can be called normal.
        return image_label_patches(tissue, "UNPROVEN", side, rule)
    if task.image_label is not None and not task.findings:
        return image_label_patches(tissue, task.image_label, side, rule)
    return label_patches(tissue, masks, side, rule)


def _patch_columns(patches: Patches) -> dict[str, np.ndarray]:
    """Return the columns of the table `patches` that do not name mammogram or split."""
    columns = {
        "y": patches.y.astype(np.int32),
        "x": patches.x.astype(np.int32),
        "side": np.full(len(patches), patches.side, np.int32),
        "tissue": patches.tissue,
    }
    for name, union in patches.union.items():
        columns[f"{name}_cover"] = union
        columns[f"{name}_part"] = patches.share[name]
    columns["label"] = patches.label.astype(np.int32)
    return columns
