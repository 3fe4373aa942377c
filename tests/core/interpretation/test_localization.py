"""Localization scores computed by hand; random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core import networks
from core.interpretation.localization import (
    cell_coverage,
    localization_scores,
    with_random_weights,
)


def test_localization_scores_by_hand() -> None:
    probability = np.array([[0.1, 0.2], [0.6, 0.9]])
    tissue, cover = np.array([[True, True], [True, False]]), np.array([[0.0, 0.5], [1.0, 1.0]])
    scores = localization_scores(probability, tissue, cover)
    assert scores is not None and scores.peak
    assert scores.mass == pytest.approx((0.2 * 0.5 + 0.6) / 0.9)
    assert scores.area == pytest.approx(0.5)
    assert scores.chance == pytest.approx(2 / 3)


def test_localization_needs_finding_on_tissue() -> None:
    probability = np.array([[0.1, 0.2], [0.6, 0.9]])
    tissue, cover = np.array([[True, True], [True, False]]), np.array([[0.0, 0.5], [1.0, 1.0]])
    assert localization_scores(probability, np.zeros((2, 2), bool), cover) is None
    assert localization_scores(probability, tissue, np.array([[0, 0], [0, 1.0]])) is None


def test_cell_coverage() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4, :2] = True
    assert cell_coverage(mask, (2, 2)).tolist() == [[0.5, 0.0], [0.0, 0.0]]


def test_random_weights_leave_the_network_unchanged() -> None:
    torch.manual_seed(0)
    network = networks.build("small", 3, units=8).eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random = with_random_weights(network, 1)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not torch.equal(random.class_weights(), network.class_weights())
    assert torch.equal(random.class_weights(), with_random_weights(network, 1).class_weights())


@torch.inference_mode()
def test_random_weights_replace_the_fused_form() -> None:
    """The fused form of a trained network would give the trained maps."""
    network = networks.build("small", 3, units=8).eval()
    network.fuse()
    patches = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    maps = network.feature_maps(patches)
    random = with_random_weights(network, 1)
    assert network.fused is not None and random.fused is None
    assert not torch.allclose(random.feature_maps(patches), maps)
    assert torch.equal(network.feature_maps(patches), maps)
