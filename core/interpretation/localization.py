"""Where a class map looks: its mass and its peak against a finding's outline, and the same network
with random weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.networks import Classifier


@dataclass(frozen=True)
class Localised:
    """One mammogram. mass: share of the map's sum over tissue that lies inside the finding; peak:
    whether the largest value's cell touches it (pointing game, Zhang et al. 2016); area and chance:
    what an even map, and a random cell, would give.
    """

    mass: float
    peak: bool
    area: float
    chance: float


def localise(probability: np.ndarray, tissue: np.ndarray, finding: np.ndarray) -> Localised | None:
    """A class's map [h, w] at tissue positions bool [h, w] against the share of every cell that the
    finding covers [h, w]. None without tissue, or where no tissue position is touched by the
    finding.
    """
    if not (tissue & (finding > 0)).any():
        return None
    values, inside = probability[tissue].astype(float), finding[tissue].astype(float)
    return Localised(
        float((values * inside).sum() / values.sum()),
        bool(inside[values.argmax()] > 0),
        float(inside.mean()),
        float((inside > 0).mean()),
    )


def cell_cover(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Share of every map cell [h', w'] that a mask bool [h, w] covers."""
    return F.adaptive_avg_pool2d(torch.from_numpy(mask.astype(np.float32))[None, None], shape)[
        0, 0
    ].numpy()


def randomised(network: Classifier, seed: int) -> Classifier:
    """The same architecture with weights drawn anew (Adebayo et al. 2018, sanity check): what its
    maps find is owed to the architecture alone.
    """
    other = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in other.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
                module.reset_parameters()
    return other.eval().requires_grad_(False)
