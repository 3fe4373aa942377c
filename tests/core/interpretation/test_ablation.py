"""Units at zero against a network whose maps are changed by hand; matched draws; localisation by
literal loops.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core import networks
from core.interpretation.ablation import Ablation, matched
from core.interpretation.localization import cell_cover, localise, randomised
from support.array_patches import Memory


def nothing(*_: object) -> None:
    return None


@pytest.fixture
def reader() -> Memory:
    return Memory(np.random.default_rng(0).integers(0, 256, (5, 1, 64, 64)).astype(np.uint8))


@pytest.mark.parametrize(("arch", "layer", "pool"), [("small", "last", "global"), ("resnet18", "last", "top_left_7"), ("resnet18", "layer3", "global")])  # fmt: skip
def test_units_at_zero_are_zero_in_the_running_network(
    arch: str, layer: str, pool: str, reader: Memory
) -> None:
    torch.manual_seed(0)
    network = networks.build(arch, 3, pool=pool, units=16).eval().requires_grad_(False)
    found = Ablation(network, layer, reader, nothing, batch=4)
    off = np.array([1, 5, 7])
    x = torch.from_numpy(reader.x)

    def zero(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        for unit in off:
            output[:, unit] = 0
        return output

    with torch.inference_mode():
        assert np.allclose(found.logits, network(x).numpy(), atol=1e-5)
        module = network.layer(layer)
        if module is None:
            expected = network.logits(zero(None, None, network.maps(x)))
        else:
            with module.register_forward_hook(zero):
                expected = network(x)
    assert np.allclose(found.without(off), expected.numpy(), atol=1e-4)
    assert found.exact == (layer == "last") and not np.allclose(found.without(off), found.logits)


def test_random_units_are_others_of_like_activity_and_never_dead() -> None:
    activity = np.array([0.0, 1, 1.1, 1.2, 5, 5.1, 5.2, 9])
    for seed in range(30):
        drawn = matched(activity, np.array([1, 4]), np.random.default_rng(seed), nearest=2)
        assert len(set(drawn.tolist())) == 2 and not {0, 1, 4} & set(drawn.tolist())
        assert {2, 3} & set(drawn.tolist()) and {5, 6} & set(drawn.tolist())
    assert len(matched(activity, np.arange(7), np.random.default_rng(0))) == 1


def test_localisation_by_hand() -> None:
    probability = np.array([[0.1, 0.2], [0.6, 0.9]])
    tissue, cover = np.array([[True, True], [True, False]]), np.array([[0.0, 0.5], [1.0, 1.0]])
    found = localise(probability, tissue, cover)
    assert found is not None and found.peak
    assert (
        found.mass == pytest.approx((0.2 * 0.5 + 0.6) / 0.9)
        and found.area == pytest.approx(0.5)
        and found.chance == pytest.approx(2 / 3)
    )
    assert (
        localise(probability, np.zeros((2, 2), bool), cover) is None
        and localise(probability, tissue, np.array([[0, 0], [0, 1.0]])) is None
    )
    mask = np.zeros((8, 8), bool)
    mask[:4, :2] = True
    assert cell_cover(mask, (2, 2)).tolist() == [[0.5, 0.0], [0.0, 0.0]]


def test_random_weights_are_other_weights_and_leave_the_network_alone() -> None:
    torch.manual_seed(0)
    network = networks.build("small", 3, units=8).eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    other = randomised(network, 1)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not torch.equal(other.class_weights(), network.class_weights())
    assert torch.equal(other.class_weights(), randomised(network, 1).class_weights())
