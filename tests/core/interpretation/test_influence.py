"""Influence, ranking and selection of units against literal versions of their definitions."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from core import networks
from core.interpretation import influence
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.mammogram_influence import gradient_influence


@given(st.integers(1, 12), st.integers(1, 10), st.integers(0, 9999))
def test_ranking_and_selection(images: int, units: int, seed: int) -> None:
    # Small integers: many ties, also of negative values.
    values = np.random.default_rng(seed).integers(-3, 4, (images, units)).astype(float)
    top = influence.rank_units(values, 3)
    slow = [sorted(range(units), key=lambda u: (-row[u], u))[:3] for row in values]
    assert top.tolist() == slow
    counts = [sum(u in row for row in slow) for u in range(units)]
    expected = [u for u in sorted(range(units), key=lambda u: (-counts[u], u))[:4] if counts[u]]
    selection = influence.select_frequent_units(top, units, 4)
    assert selection.units.tolist() == expected
    assert selection.counts.tolist() == [counts[u] for u in expected]


def test_gradient_influence_of_linear_head() -> None:
    """The gradient of a globally pooled linear head's mean logit is weight / positions.

    The two definitions of influence therefore differ by that factor only.
    """
    torch.manual_seed(0)
    network = networks.build("small", 3, units=12).eval()
    mammogram = np.random.default_rng(2).integers(0, 256, (96, 80)).astype(np.uint8)
    full = networks.to_fully_convolutional(network)
    maps = network.feature_maps(torch.from_numpy(mammogram)[None, None])[0].detach()
    positions = maps[0].numel()
    weights = network.class_weights()
    slow = torch.stack(
        [
            torch.stack([(maps[u] * weights[c, u] / positions).max() for u in range(12)])
            for c in range(3)
        ]
    )
    values = gradient_influence(full, FeatureProbe(network, "last"), mammogram)
    assert np.allclose(values, slow.numpy(), atol=1e-6)


def test_gradient_influence_of_dense_head_at_any_size() -> None:
    torch.manual_seed(0)
    network = networks.build("alexnet", 2).eval()
    mammogram = np.random.default_rng(2).integers(0, 256, (300, 260)).astype(np.uint8)
    probe = FeatureProbe(network, "conv5")
    values = gradient_influence(networks.to_fully_convolutional(network), probe, mammogram)
    assert values.shape == (2, 256)
