"""Networks on another device: results are copied to the CPU before NumPy uses them.

Without a GPU the `meta` device takes its place: its tensors have no values, and `.numpy()` of one
raises, as on a GPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import networks, training
from core.errors import UserError
from core.interpretation import (
    ablation,
    dissection,
    feature_maps,
    inference,
    mammogram_influence,
)
from core.networks import auxiliary_inputs, device
from support.array_patches import ArrayPatches, no_progress


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> networks.Classifier:
    """A network on the meta device; copies to the CPU are zeros."""
    to_cpu = torch.Tensor.cpu
    monkeypatch.setattr(
        torch.Tensor,
        "cpu",
        lambda t: torch.zeros(t.shape, dtype=t.dtype) if t.device.type == "meta" else to_cpu(t),
    )
    network = networks.build("small", 3, units=8)
    age = auxiliary_inputs.AuxiliaryColumn("age")
    networks.attach_auxiliary_block(network, auxiliary_inputs.AuxiliaryColumns((age,)))
    return network.eval().requires_grad_(False).to("meta")


@pytest.mark.parametrize("layer", ["last", "features.6"])
def test_results_are_copied_to_cpu(remote: networks.Classifier, layer: str, tmp_path: Path) -> None:
    reader = ArrayPatches(np.zeros((5, 1, 64, 64), np.uint8))
    # The meta device refuses what a GPU refuses.
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        remote(torch.zeros(1, 1, 64, 64)).numpy()
    columns = np.zeros((5, 2), np.float32)
    probabilities = inference.predict_probabilities(remote, reader, no_progress, columns=columns)
    assert probabilities.shape == (5, 3)
    probe = feature_maps.FeatureProbe(remote, layer)
    full = networks.to_fully_convolutional(remote)
    mammogram = np.zeros((96, 80), np.uint8)
    maps = feature_maps.forward_mammogram(full, probe, mammogram, columns[0])
    assert maps.probabilities.shape == (3, 12, 10)
    assert maps.weights is not None and maps.units.device.type == "cpu"
    assert mammogram_influence.gradient_influence(full, probe, mammogram).shape[0] == 3
    activations = dissection.compute_max_activations(
        probe, reader, tmp_path / "a.npy", "float32", no_progress
    )
    top = dissection.compute_top_patches(activations, 2)
    assert dissection.compute_top_maps(probe, reader, top, no_progress).shape[1] == 2
    thresholds, _ = dissection.compute_quantile_thresholds(probe, reader, 0.1, 1)
    assert len(thresholds) == activations.shape[1]
    zeroed = ablation.Ablation(remote, layer, reader, no_progress)
    assert zeroed.logits_with_units_zeroed([0, 1]).shape == (5, 3)
    assert remote.class_weights().device.type == "cpu"
    patches = training.LabeledPatches(reader, np.arange(5) % 3, columns)
    assert training.validate_epoch(remote, patches)[2]["auc_normal"] == 0.5


def test_missing_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.select_device().type == "cpu"
    monkeypatch.setenv("DEEPMINER_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="this machine has 0 GPUs for process 1"):
        device.select_device()
