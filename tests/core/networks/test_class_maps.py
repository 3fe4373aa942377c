"""Class maps: where their spatial mean is the logit, where a window is, and own modules."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core import networks
from core.errors import UserError
from core.interpretation.ablation import Ablation
from core.interpretation.dissection import compute_max_activations, receptive_field_side
from core.interpretation.explanation import compute_image_scores
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram
from core.interpretation.mammogram_influence import compute_influences, gradient_influence
from core.networks.architectures import torchvision_models
from support.array_patches import ArrayPatches, no_progress
from support.narrow_networks import narrow_transformers
from support.published_networks import cheap_initial_weights

EXACT = (
    *("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"),
    *("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    *("googlenet", "squeezenet1_0", "squeezenet1_1"),
)


def build(arch: str, classes: int = 3) -> networks.Classifier:
    """Return a network with few channels; SqueezeNet, GoogLeNet and MobileNet are small."""
    torch.manual_seed(7)
    with narrow_transformers(), cheap_initial_weights():
        return networks.build(arch, classes).eval().requires_grad_(False)


def mammogram(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (h, w), np.uint8)


@pytest.mark.parametrize("arch", EXACT)
def test_mean_of_class_map_is_the_logit(arch: str, tmp_path: Path) -> None:
    network = build(arch)
    full, probe = networks.to_fully_convolutional(network), FeatureProbe(network, "last")
    # No multiple of any stride, and not square.
    pixels = mammogram(70, 101)
    x = torch.from_numpy(pixels)[None, None]
    with torch.inference_mode():
        logits = network(x)
        # torchvision's own module on the input that the classifier gives it.
        reference = network.net(network.normalize(x))
    maps = forward_mammogram(full, probe, pixels)
    scale = float(logits.abs().max())
    assert scale > 0
    assert float((maps.logits.mean((1, 2)) - logits[0]).abs().max()) <= 1e-5 * scale
    assert float((reference - logits).abs().max()) <= 1e-5 * scale
    # Dissection and explanation of the same layer.
    reader = ArrayPatches(np.stack([pixels[None, :64, :64], pixels[None, 6:70, 37:101]]))
    activations = compute_max_activations(probe, reader, tmp_path / "a.npy", "float32", no_progress)
    assert activations.shape == (2, network.unit_count)
    influence = compute_influences(network, full, probe, {"m": pixels}, ["m"], no_progress)
    assert influence.shape == (1, 3, network.unit_count)
    if network.single_linear:
        # The class map is the sum over units of weight x map, and a bias.
        weights = network.class_weights()
        summed = torch.einsum("cu,uhw->chw", weights, maps.units)
        bias = network.last_linear().bias[:, None, None]
        assert torch.allclose(summed + bias, maps.logits, atol=1e-4 * scale)
    scores = compute_image_scores(maps.probabilities, np.ones(maps.probabilities.shape[1:], bool))
    assert len(scores.lesions) == 2


def test_squeezenet_influence_follows_its_rectified_class_map() -> None:
    network = build("squeezenet1_1")
    full = networks.to_fully_convolutional(network)
    pixels = mammogram(64, 80)
    influence = gradient_influence(full, FeatureProbe(network, "last"), pixels)
    maps = forward_mammogram(full, FeatureProbe(network, "last"), pixels)
    weights = network.last_linear().weight[:, :, 0, 0]
    is_positive = (maps.logits > 0).float() / maps.logits[0].numel()
    expected = [
        (maps.units * weights[c][:, None, None] * is_positive[c]).amax((1, 2)) for c in range(3)
    ]
    assert np.allclose(influence, torch.stack(expected).numpy(), atol=1e-6)
    with pytest.raises(UserError, match="activation x gradient"):
        network.class_weights()


@pytest.mark.parametrize(
    ("arch", "side"), [("mobilenet_v3_small", 96), ("mobilenet_v3_large", 96), ("maxvit_t", 224)]
)
def test_nonlinear_heads_have_one_logit_per_window(arch: str, side: int) -> None:
    network = build(arch)
    network.input_side = side
    full = networks.to_fully_convolutional(network)
    pixels = mammogram(side, side + side // 2)
    patch = torch.from_numpy(pixels[:side, :side].copy())[None, None]
    with torch.inference_mode():
        logits, class_map = network(patch), full(patch)
        reference = network.net(network.normalize(patch))
    scale = float(logits.abs().max())
    assert class_map.shape == (1, 3, 1, 1)
    assert float((class_map[:, :, 0, 0] - logits).abs().max()) <= 1e-5 * scale
    assert float((reference - logits).abs().max()) <= 1e-5 * scale
    if arch == "mobilenet_v3_large":
        return
    probe = FeatureProbe(network, "last")
    maps = forward_mammogram(full, probe, pixels)
    assert maps.logits.shape[2] > 1
    influence = gradient_influence(full, probe, pixels)
    assert influence.shape == (3, network.unit_count) and np.abs(influence).max() > 0


def test_maxvit_sees_a_mammogram_as_patches() -> None:
    network = build("maxvit_t")
    pixels = mammogram(224, 448)
    left, right = (
        torch.from_numpy(pixels[None, None, :, s].copy()) for s in (slice(224), slice(224, 448))
    )
    with torch.inference_mode(), FeatureProbe(network, "stage2").attached() as probe:
        whole = torch.from_numpy(pixels[None, None].copy())
        inner, last = probe.forward(whole)
        parts = [probe.forward(x) for x in (left, right)]
    for joined, position in ((last, 1), (inner, 0)):
        separate = torch.cat([part[position] for part in parts], 3)
        assert joined.shape == separate.shape
        # Batches of another size are summed in another order.
        assert float((joined - separate).abs().max()) <= 1e-3 * float(separate.abs().max())


def test_layers_of_swin_are_maps_of_units() -> None:
    network = build("swin_t")
    reader = ArrayPatches(mammogram(64, 64)[None, None])
    probe = FeatureProbe(network, "stage2")
    with torch.inference_mode(), probe.attached():
        maps, _ = probe.forward(torch.from_numpy(reader.x))
    assert maps.shape == (1, 48, 8, 8)
    full = networks.to_fully_convolutional(network)
    assert gradient_influence(full, probe, mammogram(64, 96)).shape == (3, 48)
    assert receptive_field_side(probe, 64, draws=1) > 8
    ablation = Ablation(network, "stage2", reader, no_progress)
    assert ablation.means.shape == (1, 48)
    handle = network.layer("stage2").register_forward_hook(
        lambda _module, _inputs, output: output * (torch.arange(48) != 5)
    )
    with torch.inference_mode():
        expected = network(torch.from_numpy(reader.x)).numpy()
    handle.remove()
    assert np.allclose(ablation.logits_with_units_zeroed([5]), expected, atol=1e-6)
    with pytest.raises(UserError, match="has no layer 'features.1.0'; it has stage1"):
        network.layer("features.1.0")


def test_every_torchvision_classifier_is_supported_or_refused_with_a_reason() -> None:
    models = torchvision_models()
    for arch in models.list_models(module=models):
        if arch.startswith("vit"):
            with pytest.raises(UserError, match=f"{arch} classifies by a class token"):
                networks.build(arch, 3)
        else:
            networks.architectures.check_architecture(arch)


class Convolutional(nn.Module):
    """A network in the form of timm's: forward_features, forward_head and get_classifier."""

    input_mean, input_std = (0.5,), (0.25,)
    input_side = 64

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 5, 4), nn.ReLU())
        self.num_features = 6
        self.fc = nn.Linear(6, classes)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.stem(x)

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)))

    def get_classifier(self) -> nn.Module:
        return self.fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


class WithNormalization(Convolutional):
    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(nn.functional.layer_norm(x.mean((2, 3)), (6,)))


class WithMaximum(Convolutional):
    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.amax((2, 3)))


class WithTokens(Convolutional):
    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.stem(x).flatten(2).movedim(1, 2)

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean(1))


class FixedSide(Convolutional):
    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.stem(x) + torch.zeros(16, 16)[: x.shape[2] // 4]


class TwoLayers(Convolutional):
    def get_classifier(self) -> nn.Module:
        return nn.Sequential(self.fc)


def no_methods(classes: int) -> nn.Module:
    return nn.Linear(2, classes)


def fails(classes: int) -> nn.Module:
    raise KeyError(classes)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The classes above as an importable module of this file."""
    module = types.ModuleType("own_networks_of_a_test")
    for entry in (
        *(Convolutional, WithNormalization, WithMaximum, WithTokens, FixedSide, TwoLayers),
        *(no_methods, fails),
    ):
        setattr(module, entry.__name__, entry)
    module.four = lambda classes: Convolutional(4)
    module.constant = 3
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield module.__name__


def test_own_module(package: str) -> None:
    network = networks.build(f"{package}:Convolutional", 2).eval()
    assert (network.input_side, network.single_linear) == (64, True)
    x = torch.randint(0, 256, (1, 1, 70, 90), dtype=torch.uint8)
    assert float(network.normalize(torch.full((1, 1, 1, 1), 255))) == pytest.approx(2.0)
    full = networks.to_fully_convolutional(network)
    assert torch.allclose(full(x).mean((2, 3)), network(x), atol=1e-6)
    assert network.class_weights().shape == (2, 6)
    assert FeatureProbe(network, "stem.0") and network.head_parameters() == [
        "fc.weight",
        "fc.bias",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("WithNormalization", "The class map of .* is not its logit: its spatial mean differs by"),
        ("WithMaximum", "The class map of .* is not its logit"),
        ("WithTokens", r"forward_features\(\) gives \(2, .*a class token or units"),
        ("FixedSide", "must take whole mammograms"),
        ("TwoLayers", r"get_classifier\(\) gives a Sequential, not a torch.nn.Linear"),
        ("no_methods", "must return a torch.nn.Module with forward_features and get_classifier"),
        ("fails", r"fails\(2\) failed \(KeyError: 2\)"),
        ("four", r"gives logits of shape \(2, 4\) for two inputs and 2 classes"),
        ("constant", "is not a function"),
        ("absent", "cannot be imported"),
    ],
)
def test_own_modules_that_break_the_contract(name: str, words: str, package: str) -> None:
    with pytest.raises(UserError, match=words):
        networks.build(f"{package}:{name}", 2)


@pytest.mark.parametrize("arch", ["no_such_package_xyz:function", ":function", "core.networks:"])
def test_own_modules_that_do_not_exist(arch: str) -> None:
    with pytest.raises(UserError, match="cannot be imported"):
        networks.build(arch, 2)
