"""Localization: a class map's mass and peak against the outline of a finding."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.networks import Classifier


@dataclass(frozen=True)
class LocalizationScores:
    """Localization of a finding by a class map.

    mass: share of the map's sum over tissue that lies inside the finding (energy-based pointing
    game); peak: whether the cell of the largest value touches the finding (pointing game); area and
    chance: the values of mass and peak expected from a constant map and from a random cell.
    """

    mass: float
    peak: bool
    area: float
    chance: float


def localization_scores(
    probability: np.ndarray, tissue: np.ndarray, finding: np.ndarray
) -> LocalizationScores | None:
    """Return how well a class map localizes a finding.

    Parameters
    ----------
    probability : ndarray, float [h, w]
        Probability map of the finding's class.
    tissue : ndarray, bool [h, w]
        Tissue positions of the map.
    finding : ndarray, float [h, w]
        Share of every cell that the finding covers, from `cell_coverage`.

    Returns
    -------
    LocalizationScores or None
        None if the finding touches no tissue position.

    References
    ----------
    Zhang et al. 2016, Top-down neural attention by excitation backprop (pointing game). Wang et al.
    2020, Score-CAM (energy-based pointing game).

    Examples
    --------
    >>> import numpy as np
    >>> probability = np.array([[0.1, 0.1], [0.2, 0.6]])
    >>> finding = np.array([[0.0, 0.0], [0.0, 1.0]])
    >>> scores = localization_scores(probability, np.ones((2, 2), bool), finding)
    >>> round(scores.mass, 2), scores.peak, scores.area, scores.chance
    (0.6, True, 0.25, 0.25)
    """
    if not (tissue & (finding > 0)).any():
        return None
    values, inside = probability[tissue].astype(float), finding[tissue].astype(float)
    return LocalizationScores(
        # Probabilities are positive, so that the sum is not 0.
        mass=float((values * inside).sum() / values.sum()),
        peak=bool(inside[values.argmax()] > 0),
        area=float(inside.mean()),
        chance=float((inside > 0).mean()),
    )


def cell_coverage(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the share of every map cell that a mask covers.

    Parameters
    ----------
    mask : ndarray, bool [h, w]
        Mask at the resolution of the working image.
    shape : tuple of int
        Height and width of the map.

    Returns
    -------
    ndarray, float32 [h', w']

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((4, 4), bool)
    >>> mask[:2, :1] = True
    >>> cell_coverage(mask, (2, 2)).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    # The sides of the image need not be multiples of the sides of the map.
    return F.adaptive_avg_pool2d(torch.from_numpy(mask.astype(np.float32))[None, None], shape)[
        0, 0
    ].numpy()


def response_outside(maps: np.ndarray, inside: np.ndarray) -> float | None:
    """Return the share of a positive response that lies outside the breast.

    Parameters
    ----------
    maps : ndarray, float [n, h, w]
        Maps of a unit on n patches, or contributions of n units on one mammogram; negative values
        count as 0.
    inside : ndarray, float [n, h, w] or [h, w]
        Share of every cell that the breast covers, from `cell_coverage`.

    Returns
    -------
    float or None
        None without any positive response.

    References
    ----------
    docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> maps, inside = np.array([[[3.0, 1.0, -5.0]]]), np.array([[1.0, 0.0, 0.0]])
    >>> response_outside(maps, inside)
    0.25
    """
    response = np.maximum(maps, 0).astype(float)
    total = float(response.sum())
    return float((response * (1 - inside)).sum()) / total if total > 0 else None


def with_random_weights(network: Classifier, seed: int) -> Classifier:
    """Return a copy of a classifier with newly initialised weights, in evaluation mode.

    Localization by the copy's maps is due to the architecture alone.

    Parameters
    ----------
    network : Classifier
        Left unchanged.
    seed : int
        Seed of the initialisation.

    Returns
    -------
    Classifier

    References
    ----------
    Adebayo et al. 2018, Sanity checks for saliency maps (model parameter randomization).

    Examples
    --------
    >>> from core.networks import build
    >>> network = build("small", classes=2, units=8).eval()
    >>> random = with_random_weights(network, seed=1)
    >>> bool((random.class_weights() == network.class_weights()).all())
    False
    """
    # The fused form holds the trained weights, which the copy must not run.
    fused, network.fused = network.fused, None
    random = copy.deepcopy(network)
    network.fused = fused
    # The fork restores the caller's random state afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in random.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm)):
                module.reset_parameters()
    return random.eval().requires_grad_(False)
