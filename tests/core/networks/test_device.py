"""Networks on another device: whatever leaves a network is brought back before NumPy sees it.

Without a GPU the `meta` device stands for one: its tensors have no numbers, and `.numpy()` of one
raises, as on a GPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import networks, training
from core.errors import UserError
from core.interpretation import ablation, dissection, inference
from core.networks import auxiliary_inputs, device
from support.array_patches import Memory


def quiet(*_: object) -> None:
    """No progress."""


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> networks.Classifier:
    """A network on the stand-in; what is fetched from there is zeros."""
    fetch = torch.Tensor.cpu
    monkeypatch.setattr(
        torch.Tensor,
        "cpu",
        lambda t: torch.zeros(t.shape, dtype=t.dtype) if t.device.type == "meta" else fetch(t),
    )
    network = networks.build("small", 3, units=8)
    networks.join(network, auxiliary_inputs.Columns((auxiliary_inputs.Column("age"),)))
    return network.eval().requires_grad_(False).to("meta")


@pytest.mark.parametrize("layer", ["last", "features.6"])
def test_everything_a_network_says_is_fetched(
    away: networks.Classifier, layer: str, tmp_path: Path
) -> None:
    reader = Memory(np.zeros((5, 1, 64, 64), np.uint8))
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        away(torch.zeros(1, 1, 64, 64)).numpy()  # the stand-in refuses what a GPU refuses
    columns = np.zeros((5, 2), np.float32)
    assert inference.predict(away, reader, quiet, columns=columns).shape == (5, 3)
    probe, full = inference.Probe(away, layer), networks.to_fully_convolutional(away)
    film = np.zeros((96, 80), np.uint8)
    maps = inference.film_maps(full, probe, film, columns[0])
    assert (
        maps.probabilities.shape == (3, 12, 10)
        and maps.weights is not None
        and maps.units.device.type == "cpu"
    )
    assert inference.by_gradient(full, probe, film).shape[0] == 3
    activations = dissection.compute_max_activations(
        probe, reader, tmp_path / "a.npy", "float32", quiet
    )
    assert (
        dissection.top_maps(probe, reader, dissection.top_patches(activations, 2), quiet).shape[1]
        == 2
    )
    assert len(dissection.quantiles(probe, reader, 0.1, 1)[0]) == activations.shape[1]
    zero = ablation.Ablation(away, layer, reader, quiet)
    assert zero.without([0, 1]).shape == (5, 3) and away.class_weights().device.type == "cpu"
    assert (
        training.measure(away, training.Part(reader, np.arange(5) % 3, columns))[2]["auc_normal"]
        == 0.5
    )


def test_a_gpu_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.device().type == "cpu"
    monkeypatch.setenv("DEEPMINER_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="this machine has 0 GPUs for process 1"):
        device.device()
