"""Classifiers by the numbers of their construction, and what their fused form has to keep to."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import networks
from core.errors import UserError
from core.networks import architectures
from core.networks.auxiliary_inputs import AuxiliaryColumn, AuxiliaryColumns
from core.networks.classifier import Classifier, _normalize_by_image
from core.networks.fully_convolutional import to_fully_convolutional
from core.networks.fused_body import FusedConvolution, fuse_body
from core.networks.tiles import join_tiles, split_tiles


def empty(arch: str) -> Classifier:
    """Return a classifier whose module computes nothing."""
    return Classifier(arch, 2, nn.Identity())


@pytest.mark.parametrize(
    ("arch", "side", "single_linear", "axis", "from_scratch", "black", "white"),
    [
        ("small", 64, True, 1, True, [-110 / 45], [145 / 45]),
        ("medium", 208, True, 1, True, [-110 / 45], [145 / 45]),
        *((arch, side, is_linear, axis, False, [-m / s for m, s in zip(mean, deviation)],
           [(1 - m) / s for m, s in zip(mean, deviation)])
          for arch, side, is_linear, axis, mean, deviation in (
            ("resnet18", 227, True, 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ("alexnet", 227, False, 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ("swin_t", 227, True, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ("maxvit_t", 224, False, 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ("inception_v3", 299, True, 1, (0.5,) * 3, (0.5,) * 3),
            ("googlenet", 227, True, 1, (0.5,) * 3, (0.5,) * 3),
        )),
    ],
)  # fmt: skip
def test_facts_of_a_classifier(
    arch: str, side: int, single_linear: bool, axis: int, from_scratch: bool,
    black: list[float], white: list[float],
) -> None:  # fmt: skip
    network = empty(arch)
    assert (network.input_side, network.single_linear, network.unit_axis) == (
        *(side, single_linear, axis),
    )
    assert (network.from_scratch, network.channels, network.precision) == (
        *(from_scratch, 1, "float32"),
    )
    assert network.fused is None and network.auxiliary is None
    assert network.inference == {"form": "modules"} and network.columns.columns == ()
    x = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert torch.allclose(network.normalize(x)[0, :, 0, 0], torch.tensor(black), atol=1e-5)
    assert torch.allclose(network.normalize(x)[0, :, 0, 1], torch.tensor(white), atol=1e-5)
    assert not network.state_dict()


def test_kinds_of_families() -> None:
    families = architectures.FAMILIES

    def having(is_true: Callable[[Any], bool]) -> set[str]:
        return {name for name, family in families.items() if is_true(family)}

    assert having(lambda f: f.half_normalization) == {"inception_v3", "googlenet"}
    assert having(lambda f: f.channels_last) == {"swin"}
    assert having(lambda f: f.tiled) == {"maxvit"}
    assert having(lambda f: f.kind == "grid") == {"alexnet", "vgg"}
    assert having(lambda f: f.kind == "rectified") == {"squeezenet"}
    assert having(lambda f: f.kind == "pooled") == {"mobilenet_v3", "maxvit"}
    assert having(lambda f: f.head == "fc") == {
        *("small", "medium", "resnet", "resnext", "wide_resnet", "inception_v3", "googlenet"),
        *("regnet", "shufflenet"),
    }
    assert having(lambda f: f.head == "head") == {"swin"}
    assert families["shufflenet"].body == (
        "conv1",
        "maxpool",
        "stage2",
        "stage3",
        "stage4",
        "conv5",
    )
    assert families["googlenet"].body == (
        *("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b"),
        *("maxpool3", "inception4a", "inception4b", "inception4c", "inception4d", "inception4e"),
        *("maxpool4", "inception5a", "inception5b"),
    )
    assert families["maxvit"].body == ("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3")
    own = architectures.OwnNet("small", 2)
    assert own.features[0].in_channels == 1 and own.fc.out_features == 2
    assert architectures.create_module("small", 2, 9).features[0].in_channels == 1


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("resnet18", {}),
        ("googlenet", {"aux_logits": False, "init_weights": False, "transform_input": False}),
    ],
)
def test_modules_of_torchvision(
    arch: str, options: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(
        architectures.torchvision_models(), "get_model", lambda *a, **k: calls.append((a, k))
    )
    architectures.create_module(arch, 4, 8)
    assert calls == [((arch,), {"weights": None, "num_classes": 4, **options})]


def test_downloads_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict] = []
    weights = types.SimpleNamespace(get_state_dict=lambda **k: calls.append(k) or {"a": 1})
    monkeypatch.setattr(
        architectures.torchvision_models(),
        "get_model_weights",
        lambda _: types.SimpleNamespace(DEFAULT=weights),
    )
    assert architectures.imagenet_state("resnet18") == {"a": 1}
    assert calls == [{"progress": False, "check_hash": True}]


def test_defaults_of_a_new_classifier() -> None:
    network = networks.build("small", 2, "none")
    assert (network.unit_count, network.pool, network.channels) == (256, "global", 1)
    assert network.training and network.head_parameters() == ["fc.weight", "fc.bias"]
    assert not any(key.startswith("auxiliary") for key in network.checkpoint_state())
    networks.attach_auxiliary_block(network, AuxiliaryColumns())
    assert network.auxiliary is None
    columns = AuxiliaryColumns((AuxiliaryColumn("age"), AuxiliaryColumn("gene", ("no", "yes"))))
    networks.attach_auxiliary_block(network, columns)
    block = network.auxiliary
    assert block is not None and network.columns is columns and block.widths == [2, 3]
    assert block.image.in_features == 256 and block.value.out_features == 2
    assert block.image.out_features == 16
    added = set(network.checkpoint_state()) - set(network.net.state_dict())
    assert added == {f"auxiliary.{name}" for name in block.state_dict()}
    with pytest.raises(UserError, match="at least two classes; 1 requested"):
        networks.build("small", 1)


def test_layers_that_do_not_exist() -> None:
    network = networks.build("small", 2, units=4)
    assert network.layer("last") is None
    assert network.layer("features.3") is network.net.features[3]
    for name in ("", "features.99"):
        with pytest.raises(
            UserError,
            match="small has no layer '.*'; it has no named layers and its modules such as"
            " features, features.0, features.1, features.2, features.3",
        ):
            network.layer(name)
    swin = empty("swin_t")
    with pytest.raises(UserError, match="it has stage1, stage2, stage3, stage4\\.$"):
        swin.layer("stage9")
    maps = torch.arange(120).view(2, 3, 4, 5)
    assert torch.equal(swin.layer_maps(maps, (6, 8)), maps.permute(0, 3, 1, 2))
    assert empty("resnet18").layer_maps(maps, (6, 8)) is not None
    assert torch.equal(empty("resnet18").layer_maps(maps, (6, 8)), maps)
    with pytest.raises(UserError, match="alexnet has no single linear head"):
        empty("alexnet").class_weights()


def test_last_layers_of_other_heads() -> None:
    net = nn.Module()
    net.features = nn.Sequential(*(nn.Identity() for _ in range(13)))
    assert Classifier("alexnet", 2, net).layer("last") is net.features[11]
    assert Classifier("alexnet", 2, net).layer("conv1") is net.features[1]
    assert Classifier("squeezenet1_1", 2, net).layer("last") is net.features


def test_logits_with_and_without_columns() -> None:
    torch.manual_seed(5)
    network = networks.build("small", 2, units=4).eval()
    maps, columns = torch.rand(3, 4, 5, 6), torch.randn(3, 2)
    head = network.last_linear()
    expected = maps.mean((2, 3)) @ head.weight.T + head.bias
    assert torch.allclose(network.logits(maps, columns), expected, atol=1e-6)
    networks.attach_auxiliary_block(network, AuxiliaryColumns((AuxiliaryColumn("age"),)))
    assert network.auxiliary is not None
    for part in (network.auxiliary.value, network.auxiliary.score):
        nn.init.normal_(part.weight)
    assert torch.allclose(network.logits(maps), expected, atol=1e-6)
    factor, added, _ = network.auxiliary(maps.mean((2, 3)), columns)
    found = network.logits(maps, columns)
    assert torch.allclose(found, factor * expected + added, atol=1e-6) and added.abs().min() > 0
    # All weights, under their names, fit into another network.
    other = networks.build("small", 2, units=4).eval()
    networks.attach_auxiliary_block(other, network.columns)
    other.load_checkpoint_state(network.checkpoint_state())
    assert torch.equal(other.logits(maps, columns), found)
    # Of a larger map the first 7 x 7 positions.
    network.pool, large = "top_left_7", torch.rand(1, 4, 9, 8)
    pooled = large[:, :, :7, :7].mean((2, 3)) @ head.weight.T + head.bias
    assert torch.allclose(network.logits(large), pooled, atol=1e-6)


class Scaled:
    """A fused form whose maps differ by a share of the largest value."""

    def __init__(self, network: Classifier, share: float) -> None:
        self.network, self.share = network, share

    def __call__(self, x: Tensor) -> Tensor:
        maps = self.network._run_body(x)
        return maps + self.share * maps.abs().max()


@pytest.mark.parametrize(
    ("precision", "share", "form"),
    [
        ("float32", 0.8e-4, "fused"),
        ("float32", 1.5e-4, "modules"),
        ("float32", -1.5e-4, "modules"),
        ("float32", float("nan"), "modules"),
        ("bfloat16", 0.08, "fused"),
        ("bfloat16", 0.15, "modules"),
    ],
)
def test_a_fused_form_that_differs_is_not_used(
    precision: str, share: float, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = networks.build("small", 2, units=4).eval()
    network.precision = precision
    # bfloat16 itself rounds the separate operations.
    monkeypatch.setattr(network, "_autocast", lambda _: torch.no_grad())
    fused = Scaled(network, share)
    monkeypatch.setattr(network, "fused_form", lambda: fused)
    network.fuse()
    assert network.inference["form"] == form and (network.fused is fused) == (form == "fused")
    if not math.isnan(share):
        assert network.inference["difference"] == pytest.approx(abs(share), rel=1e-2)
    monkeypatch.setattr(network, "fused_form", lambda: None)
    network.fuse()
    assert network.fused is None and network.inference == {"form": "modules"}


def test_fused_form_of_colour_images() -> None:
    network = networks.build("small", 2, units=4, channels=3).eval()
    network.fuse()
    assert network.inference["form"] == "fused"


def test_maps_of_convnext_are_normalised_like_their_mean() -> None:
    torch.manual_seed(2)
    maps, norm = torch.randn(2, 5, 3, 4) * 0.3 + 1, nn.LayerNorm(5, eps=0.2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    found = _normalize_by_image(maps, norm).mean((2, 3))
    assert torch.allclose(found, norm(maps.mean((2, 3))), atol=1e-5)


def test_tiles_of_images_that_are_no_multiples() -> None:
    """Means of 2 x 2 pixels within tiles of 4 x 4 are those of the image, filled up with black."""
    x = torch.arange(2 * 3 * 5 * 9, dtype=torch.float32).view(2, 3, 5, 9)
    tiles = split_tiles(x, 4)
    assert tiles.shape == (12, 3, 4, 4)
    assert torch.equal(tiles[1], x[0, :, :4, 4:8])
    assert torch.equal(tiles[8, :, :, 0], x[1, :, :4, 8]) and not tiles[8, :, :, 1:].any()
    joined = join_tiles(F.avg_pool2d(tiles, 2), (5, 9), 4)
    # A position of which one pixel belongs to the image is kept.
    expected = F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2)
    assert joined.shape == (2, 3, 3, 5) and torch.equal(joined, expected)


def dense_classifier() -> Classifier:
    """Return AlexNet's construction with four units and two dense layers."""
    net = nn.Module()
    net.features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8))
    net.avgpool = nn.AdaptiveAvgPool2d((6, 6))
    net.classifier = nn.Sequential(
        nn.Dropout(0.3), nn.Linear(4 * 36, 5), nn.ReLU(), nn.Dropout(0.6), nn.Linear(5, 2)
    )
    return Classifier("alexnet", 2, net)


def test_dense_heads_as_convolutions() -> None:
    torch.manual_seed(1)
    network = dense_classifier()
    assert network.unit_count == 4 and to_fully_convolutional(network).training
    network.eval()
    full = to_fully_convolutional(network)
    assert not full.training
    first, second, third, fourth, fifth = full.head
    assert (first.p, fourth.p) == (0.3, 0.6) and isinstance(third, nn.ReLU)
    assert (second.kernel_size, fifth.kernel_size) == ((6, 6), (1, 1))
    assert not second.weight.requires_grad and not second.bias.requires_grad
    x = torch.randint(0, 256, (2, 1, 51, 51), dtype=torch.uint8)
    maps = full(x)
    assert maps.shape == (2, 2, 2, 2)
    # The first 6 x 6 positions are those of a patch of 43 to 50 pixels.
    assert torch.allclose(maps[:, :, 0, 0], network(x[:, :, :43, :43]), atol=1e-5)
    assert torch.allclose(full.from_maps(network.feature_maps(x)), maps)
    network.last_linear().bias = None
    assert to_fully_convolutional(network).head[4].bias is None


def test_windows_of_pooled_heads() -> None:
    net = nn.Module()
    net.features = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4))
    net.classifier = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), nn.ReLU()
    )
    network = Classifier("mobilenet_v3_small", 3, net)
    network.input_side = 8
    for is_training in (True, False):
        network.train(is_training)
        full = to_fully_convolutional(network)
        assert (network.training, full.training) == (is_training, is_training)
    assert full.head.window == (4, 4) and len(full.head.layers) == 2
    # The statistics of training are left alone.
    assert net.features[1].num_batches_tracked == 0
    x = torch.randint(0, 256, (1, 1, 12, 10), dtype=torch.uint8)
    maps = full(x)
    assert maps.shape == (1, 3, 3, 2)
    assert torch.allclose(maps[0, :, 1, 1], network(x[:, :, 2:10, 2:10])[0], atol=1e-5)
    # A smaller image is one window.
    small = x[:, :, :6, :10]
    assert torch.allclose(full(small)[0, :, 0, 1], network(small[:, :, :, 2:10])[0], atol=1e-5)


def test_convolutions_of_every_form_fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the library for CPUs, against the separate operations."""
    torch.manual_seed(3)
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    for bias, relu, has_residual in itertools.product((True, False), repeat=3):
        convolution = nn.Conv2d(4, 6, 3, bias=bias, **options).requires_grad_(False)
        norm = nn.BatchNorm2d(6).eval().requires_grad_(False)
        for values in (norm.running_mean, norm.weight, norm.bias):
            nn.init.normal_(values)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        x = torch.randn(2, 4, 9, 8).contiguous(memory_format=torch.channels_last)
        expected = norm(convolution(x))
        residual = torch.randn_like(expected) if has_residual else None
        expected = expected if residual is None else expected + residual
        expected = expected.relu() if relu else expected
        fused = FusedConvolution(convolution)
        assert not fused.relu
        fused.fold(norm)
        fused.convert(torch.float32)
        fused.relu = relu
        with torch.inference_mode():
            for is_available in (True, False):
                with monkeypatch.context() as patch:
                    if not is_available:
                        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
                    given = None if residual is None else residual.clone()
                    assert torch.allclose(fused(x, given), expected, atol=1e-5)
            # Another size needs weights in another order.
            other = x[:, :, :7]
            alone = fused(other, None if residual is None else residual[:, :, :4].contiguous())
            assert torch.allclose(alone[:, :, :3], expected[:, :, :3], atol=1e-5)


class Body(nn.Module):
    """Two convolutions of one input and an operation on both."""

    def __init__(self, join: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.join = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 3, 1), join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.a(x), self.b(x), x)


@pytest.mark.parametrize(
    ("join", "convolutions"),
    [
        (lambda a, b, x: a + b, 1),
        (lambda a, b, x: torch.add(a, b), 1),
        (lambda a, b, x: F.relu(a) * torch.relu(b), 2),
        (lambda a, b, x: a.relu() * b.relu_(), 2),
        (lambda a, b, x: (a + 1.0) * b, 0),
        (lambda a, b, x: a - b, 0),
        (lambda a, b, x: torch.add(a, b, alpha=2.0), 0),
        (lambda a, b, x: (a + a) * b, 0),
        (lambda a, b, x: F.relu(a) + a + b, 0),
    ],
)
def test_followers_of_convolutions(
    join: Callable[[Tensor, Tensor, Tensor], Tensor], convolutions: int
) -> None:
    torch.manual_seed(4)
    body = Body(join).eval().requires_grad_(False)
    fused = fuse_body(body, None, torch.float32)
    x = torch.randn(1, 1, 4, 5)
    assert (fused is None) == (convolutions == 0)
    if fused is not None:
        kinds = [type(part) for part in fused._graph.modules()]
        assert kinds.count(FusedConvolution) == convolutions
        assert fused.dtype == torch.float32 and fused.layer_output is None
        with torch.inference_mode():
            assert torch.allclose(fused(x), body(x), atol=1e-5) and fused.layer_output is None
