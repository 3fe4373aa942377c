"""Overlap of units with descriptors, compared with the definition cell by cell."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from core.interpretation.concept_masks import PatchTruth
from core.pipeline import descriptor_overlap
from support.array_patches import ArrayPatches, no_progress

SIDE, CELLS, UNITS = 6, 3, 2
NAMES = ["mass", "normal", "nipple"]


class KnownMaps:
    """A probe whose maps are looked up by the first pixel of a patch."""

    def __init__(self, maps: np.ndarray) -> None:
        self.maps = torch.from_numpy(maps)

    def attached(self):
        return nullcontext()

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.maps[patches[:, 0, 0, 0].long()],)


def test_overlap_is_the_weighted_iou_of_all_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    maps = rng.random((5, UNITS, CELLS, CELLS)).astype(np.float32)
    masks = rng.random((5, 2, SIDE, SIDE)) < 0.4
    # Patch 3 has no mass, "normal" is a descriptor without pixels, and "other" is not asked for.
    truths = [
        PatchTruth(
            frozenset(NAMES),
            {"nipple": masks[i, 0], "other": masks[i, 0]}
            | ({"mass": masks[i, 1]} if i != 3 else {}),
        )
        for i in range(5)
    ]
    weights = np.array([1.0, 3.0, 0.5, 2.0, 1.5])
    quantile = np.array([0.6, 0.3], np.float32)
    patches = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 1, SIDE, SIDE), np.uint8
    )
    monkeypatch.setattr(descriptor_overlap, "BATCH_SIZE", 2)
    found = descriptor_overlap.compute_overlaps(
        KnownMaps(maps),  # type: ignore[arg-type]
        ArrayPatches(patches),  # type: ignore[arg-type]
        truths,
        NAMES,
        weights,
        quantile,
        no_progress,
    )
    assert found.shape == (UNITS, 3) and np.isnan(found[:, 1]).all()
    for unit in range(UNITS):
        for column, name in ((0, "mass"), (2, "nipple")):
            both = either = 0.0
            for i, truth in enumerate(truths):
                for y in range(CELLS):
                    for x in range(CELLS):
                        mask = truth.masks.get(name, np.zeros((SIDE, SIDE), bool))
                        covered = mask[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
                        above = maps[i, unit, y, x] > quantile[unit]
                        both += weights[i] * above * covered
                        either += weights[i] * (above + covered - above * covered)
            assert found[unit, column] == pytest.approx(both / either, rel=1e-5)
