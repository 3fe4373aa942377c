"""The fused body against the separate operations of the same network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.interpretation.feature_maps import FeatureProbe
from core.networks import build
from core.networks.fused_body import FusedConvolution, HalvingMaxPool, fuse_body

# One of each construction: residual blocks, branches, dense connections, depth-wise convolutions,
# squeeze and excitation, other activations.
FUSED = ["small", "resnet18", "googlenet", "densenet121", "mobilenet_v2", "efficientnet_b0"]


def network_with_statistics(arch: str):
    """Return a network whose batch normalisation is far from the identity."""
    torch.manual_seed(0)
    network = build(arch, classes=3, units=16).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.bias.normal_(0, 0.1)
    return network.to(memory_format=torch.channels_last)


def patches(side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 1, side, side + 16), generator=generator, dtype=torch.uint8)


def relative_error(values: torch.Tensor, expected: torch.Tensor) -> float:
    return float((values - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("arch", FUSED)
def test_maps_equal_those_of_the_separate_operations(arch):
    network = network_with_statistics(arch)
    with torch.inference_mode():
        expected = network.feature_maps(patches())
        network.fuse()
        assert network.fused is not None
        assert relative_error(network.feature_maps(patches()), expected) < 1e-5
        # Weights are packed anew for inputs of another shape.
        network.feature_maps(patches(96))
        assert relative_error(network.feature_maps(patches()), expected) < 1e-5


def test_weights_are_packed_for_each_number_of_patches():
    """The best memory order depends on it: the wrong one takes up to twice as long."""
    network = network_with_statistics("small")
    network.fuse()
    fused = next(m for m in network.fused._graph.modules() if isinstance(m, FusedConvolution))
    for count in (1, 2, 1):
        with torch.inference_mode():
            network.feature_maps(patches()[:count])
        assert fused._packed_shape[0] == count


def test_fused_body_runs_fewer_modules():
    network = network_with_statistics("resnet18")
    fused = network.fused_form()
    kinds = [type(module) for module in fused._graph.modules()]
    assert kinds.count(FusedConvolution) == 20
    assert not {nn.BatchNorm2d, nn.ReLU, nn.Conv2d} & set(kinds)


@pytest.mark.parametrize(
    ("arch", "layer"),
    [
        ("resnet18", "bn1"),
        ("resnet18", "layer2"),
        ("resnet18", "layer1.0.conv2"),
        ("small", "features.2"),
    ],
)
def test_probe_of_an_inner_layer_gives_its_own_output(arch, layer):
    # A layer inside a fused group must not show what follows it.
    network = network_with_statistics(arch)
    with torch.inference_mode():
        with (probe := FeatureProbe(network, layer)).attached():
            expected, last = probe.forward(patches())
        network.fuse()
        whole = network.fused
        with (probe := FeatureProbe(network, layer)).attached():
            assert network.fused is not whole
            maps, fused_last = probe.forward(patches())
    assert relative_error(maps, expected) < 1e-5 and relative_error(fused_last, last) < 1e-5
    assert network.fused is whole


def test_hooks_and_gradients_use_the_modules():
    network = network_with_statistics("small")
    network.fuse()
    seen: list[int] = []
    handle = network.net.get_submodule("features.0").register_forward_hook(
        lambda *_: seen.append(1)
    )
    with torch.inference_mode():
        network.feature_maps(patches())
    handle.remove()
    assert seen == [1]
    x = patches().float().requires_grad_()
    network(x).sum().backward()
    assert x.grad is not None and bool((x.grad != 0).any())


def test_training_mode_uses_batch_statistics():
    network = network_with_statistics("small")
    network.fuse()
    with torch.inference_mode():
        evaluated = network.feature_maps(patches())
        assert relative_error(network.train().feature_maps(patches()), evaluated) > 0.1


def test_bfloat16_is_as_close_as_the_separate_operations():
    network = network_with_statistics("resnet18")
    with torch.inference_mode():
        exact = network.feature_maps(patches())
        network.precision = "bfloat16"
        separate = relative_error(network.feature_maps(patches()), exact)
        network.fuse()
        maps = network.feature_maps(patches())
    assert maps.dtype == torch.float32
    assert 0 < relative_error(maps, exact) < 1.5 * separate


class Residual(nn.Module):
    """The sum of two convolutions of one input."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 1)
        self.scale = scale

    def forward(self, x):
        return F.relu(torch.add(self.a(x), self.b(x), alpha=self.scale))


class ReadLater(nn.Module):
    """A residual branch that is read again after the sum: by the result, or by a convolution."""

    def __init__(self, by_convolution: bool) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Conv2d(channels, 4, 3, padding=1) for channels in (1, 4, 4)
        )
        self.by_convolution = by_convolution

    def forward(self, x):
        branch = F.relu(self.first(x))
        third = self.third(branch) if self.by_convolution else branch
        total = self.second(branch) + branch
        # The third convolution is fused with this ReLU and computed at its place.
        return F.relu(third) * total


class OfTheInput(nn.Module):
    """A sum of a convolution and its input."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return F.relu(self.convolution(x) + x)


class Branching(nn.Module):
    """A module whose operations depend on the input's values."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))

    def forward(self, x):
        return self.layers(x) if x.mean() > 0 else x


@pytest.mark.parametrize(
    "body",
    [
        Residual(),
        Residual(scale=2.0),
        ReadLater(by_convolution=False),
        ReadLater(by_convolution=True),
        OfTheInput(),
        nn.Sequential(nn.Conv2d(1, 4, 3, padding="same"), nn.ReLU()),
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    ],
)
def test_unusual_bodies_give_the_same(body):
    body.eval().requires_grad_(False)
    x = torch.linspace(-1, 1, 2 * 9 * 9).view(2, 1, 9, 9)
    fused = fuse_body(body, None, torch.float32)
    with torch.inference_mode():
        expected = body(x.clone())
        values = body(x) if fused is None else fused(x)
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(x, torch.linspace(-1, 1, 2 * 9 * 9).view(2, 1, 9, 9))


def overwriting(body: nn.Module) -> list[bool]:
    """Return which convolutions with a residual branch write into its memory, in their order."""
    fused = fuse_body(body.eval().requires_grad_(False), None, torch.float32)
    assert fused is not None
    return [
        fused._graph.get_submodule(node.target).overwrites_residual
        for node in fused._graph.graph.nodes
        if node.op == "call_module" and len(node.args) == 2
    ]


def test_residual_branches_are_overwritten_where_nothing_reads_them_later():
    network = network_with_statistics("resnet18")
    body = network.fused_form()._graph
    sums = [m for m in body.modules() if isinstance(m, FusedConvolution) and m.overwrites_residual]
    assert len(sums) == 8  # one in each block
    assert overwriting(ReadLater(by_convolution=False)) == [False]
    assert overwriting(ReadLater(by_convolution=True)) == [False]
    assert overwriting(OfTheInput()) == [False]


def test_what_cannot_be_fused_gives_none():
    assert fuse_body(Branching().eval(), None, torch.float32) is None
    assert fuse_body(nn.Sequential(nn.Conv2d(1, 4, 3)), None, torch.float32) is None
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    assert fuse_body(body, nn.Identity(), torch.float32) is None


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (1, 2, 7, 9), (1, 1, 2, 3)])
def test_poolings_by_halves_give_the_same(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(HalvingMaxPool()(x), F.max_pool2d(x, 2))


@pytest.mark.parametrize(
    ("pool", "halves"),
    [
        (nn.MaxPool2d(2), True),
        (nn.MaxPool2d((2, 2), stride=(2, 2)), True),
        (nn.MaxPool2d(3, 2, 1), False),
        (nn.MaxPool2d(2, stride=1), False),
        (nn.MaxPool2d(2, padding=1), False),
        (nn.MaxPool2d(2, dilation=2), False),
        (nn.MaxPool2d(2, ceil_mode=True), False),
        (nn.AvgPool2d(2), False),
    ],
)
def test_only_poolings_by_halves_are_replaced(pool, halves):
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), pool, nn.Conv2d(4, 2, 3))
    body.eval().requires_grad_(False)
    fused = fuse_body(body, None, torch.float32)
    assert fused is not None
    parts = [type(part) for part in fused._graph.modules()]
    assert (HalvingMaxPool in parts, type(pool) in parts) == (halves, not halves)
    x = torch.randn(2, 1, 15, 13, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), body(x), rtol=1e-5, atol=1e-6)
