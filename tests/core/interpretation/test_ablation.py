"""Unit ablation against changed feature maps; matched controls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core import networks
from core.interpretation.ablation import Ablation, sample_matched_units
from support.array_patches import ArrayPatches, no_progress


@pytest.fixture
def reader() -> ArrayPatches:
    return ArrayPatches(np.random.default_rng(0).integers(0, 256, (5, 1, 64, 64)).astype(np.uint8))


@pytest.mark.parametrize(
    ("arch", "layer", "pool"),
    [
        ("small", "last", "global"),
        ("resnet18", "last", "top_left_7"),
        ("resnet18", "layer3", "global"),
    ],
)
def test_zeroed_units_match_changed_maps(
    arch: str, layer: str, pool: str, reader: ArrayPatches
) -> None:
    torch.manual_seed(0)
    network = networks.build(arch, 3, pool=pool, units=16).eval().requires_grad_(False)
    ablation = Ablation(network, layer, reader, no_progress, batch=4)
    units = np.array([1, 5, 7])
    x = torch.from_numpy(reader.x)

    def zero(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        for unit in units:
            output[:, unit] = 0
        return output

    with torch.inference_mode():
        assert np.allclose(ablation.logits, network(x).numpy(), atol=1e-5)
        module = network.layer(layer)
        if module is None:
            expected = network.logits(zero(None, None, network.feature_maps(x)))
        else:
            with module.register_forward_hook(zero):
                expected = network(x)
    logits = ablation.logits_with_units_zeroed(units)
    assert np.allclose(logits, expected.numpy(), atol=1e-4)
    assert ablation.exact == (layer == "last") and not np.allclose(logits, ablation.logits)


@pytest.mark.parametrize(
    ("arch", "layer", "pool"),
    [
        ("small", "last", "global"),
        ("resnet18", "last", "top_left_7"),
        ("resnet18", "layer3", "global"),
    ],
)
def test_kept_units_alone_match_maps_with_all_others_constant(
    arch: str, layer: str, pool: str, reader: ArrayPatches
) -> None:
    torch.manual_seed(0)
    network = networks.build(arch, 3, pool=pool, units=16).eval().requires_grad_(False)
    ablation = Ablation(network, layer, reader, no_progress, batch=4)
    fill = np.linspace(0.1, 2.0, ablation.means.shape[1]).astype(np.float32)
    kept = [1, 5, 7]
    x = torch.from_numpy(reader.x)

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = torch.from_numpy(fill)[None, :, None, None].expand_as(output).clone()
        for unit in kept:
            changed[:, unit] = output[:, unit]
        return changed

    with torch.inference_mode():
        module = network.layer(layer)
        if module is None:
            expected = network.logits(keep(None, None, network.feature_maps(x)))
        else:
            with module.register_forward_hook(keep):
                expected = network(x)
    logits = ablation.logits_keeping_units(kept, fill)
    assert np.allclose(logits, expected.numpy(), atol=1e-4)
    everything = ablation.logits_keeping_units(np.arange(len(fill)), fill)
    assert np.allclose(everything, ablation.logits, atol=1e-4)


def test_matched_units_are_similar_and_alive() -> None:
    activity = np.array([0.0, 1, 1.1, 1.2, 5, 5.1, 5.2, 9])
    for seed in range(30):
        rng = np.random.default_rng(seed)
        drawn = set(sample_matched_units(activity, np.array([1, 4]), rng, nearest=2).tolist())
        assert len(drawn) == 2 and not {0, 1, 4} & drawn
        assert {2, 3} & drawn and {5, 6} & drawn
    rng = np.random.default_rng(0)
    assert len(sample_matched_units(activity, np.arange(7), rng)) == 1


def test_units_that_never_fire_are_no_controls() -> None:
    activity = np.array([0.0, 0.0, 0.0, 4.0, 0.1])
    for seed in range(10):
        rng = np.random.default_rng(seed)
        # Unit 0 is nearer to unit 4 than unit 3 is.
        assert sample_matched_units(activity, np.array([4]), rng, nearest=3).tolist() == [3]
        assert sample_matched_units(activity, np.array([3, 4]), rng).tolist() == []
