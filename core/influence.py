"""Influence: how much each unit has to do with each class on each mammogram, and which units are selected for the experts.

DEFINITIONS "Units": I[i, c, u] = (largest value of unit u's map over the whole mammogram i) x (weight of u for class c), no bias. AlexNet and VGG have
no single linear head: there it is the largest product of activation and gradient of the class logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.films import Films
from core.inference import Probe, as_tensor, film_maps
from core.networks import Classifier, FullyConvolutional
from core.runs import Report

DEPTH = 64


@dataclass(frozen=True)
class Selection:
    """Units of one class, most frequent first: units int [n] (0-based), counts int [n] of images that have the unit among their top."""

    units: np.ndarray
    counts: np.ndarray


def influences(network: Classifier, full: FullyConvolutional, probe: Probe, films: Films, files: Sequence[str], report: Report) -> np.ndarray:
    """float32 [images, classes, units] over whole mammograms. For single-linear networks and their last layer activation x weight, otherwise
    activation x gradient."""
    linear = network.single_linear and probe.name == "last"
    weights = network.class_weights().numpy() if linear else None
    rows = []
    for i, file in enumerate(files):
        if weights is not None:
            rows.append(film_maps(full, probe, films[file]).units.amax((1, 2)).numpy() * weights)
        else:
            rows.append(by_gradient(full, probe, films[file]))
        report(i + 1, len(files), "mammograms")
    return np.stack(rows).astype(np.float32)


def by_gradient(full: FullyConvolutional, probe: Probe, film: np.ndarray) -> np.ndarray:
    """float32 [classes, units]: largest over positions of activation x gradient of the class logit (the class map's spatial mean) on film uint8 [h, w]."""
    module = probe.network.layer(probe.name)
    caught: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        # A leaf in the middle of the graph: the gradient is wanted with respect to the maps, not to any weight. A copy goes on, for in-place layers.
        caught.append(output.detach().requires_grad_(True))
        return caught[-1].clone()

    with torch.enable_grad():
        x = as_tensor(film)
        if module is None:
            caught.append(full.network.maps(x).detach().requires_grad_(True))
            logits = full.from_maps(caught[0])
        else:
            handle = module.register_forward_hook(keep)
            try:
                logits = full(x)
            finally:
                handle.remove()
        means = logits.mean((2, 3))[0]
        return np.stack([(caught[0] * torch.autograd.grad(mean, caught[0], retain_graph=True)[0]).detach().amax((2, 3))[0].numpy() for mean in means])


def ranked(influence: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Unit indices int [..., depth] by falling influence [..., units]; equal influences in order of the unit."""
    return np.argsort(-influence, axis=-1, kind="stable")[..., :depth]


def select(top: np.ndarray, units: int, number: int) -> Selection:
    """The `number` units most often among the top units int [images, top]; equal counts in order of the unit; units that never occur are not selected."""
    counts = np.bincount(top.ravel(), minlength=units)
    order = np.argsort(-counts, kind="stable")[:number]
    order = order[counts[order] > 0]
    return Selection(order, counts[order])
