"""Facts about architectures: published sides and layers, own networks, parameters left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from core import networks
from core.errors import UserError
from core.networks import architectures, checkpoints


@pytest.mark.parametrize(
    ("arch", "family", "side", "pool"),
    [
        ("small", "small", None, "global"),
        ("medium", "medium", None, "global"),
        ("resnet152", "resnet", 227, "top_left_7"),
        ("resnet50", "resnet", None, "top_left_7"),
        ("resnext50_32x4d", "resnext", None, "global"),
        ("alexnet", "alexnet", 227, "global"),
        ("vgg16", "vgg", 227, "global"),
        ("inception_v3", "inception_v3", 299, "global"),
        ("googlenet", "googlenet", None, "global"),
        ("convnext_tiny", "convnext", None, "global"),
        ("maxvit_t", "maxvit", 224, "global"),
    ],
)
def test_published_form(arch: str, family: str, side: int | None, pool: str) -> None:
    assert architectures.family_name(arch) == family
    assert architectures.published_side(arch) == side
    assert architectures.published_pool(arch) == pool


def test_names_of_layers() -> None:
    """The convolutions of the papers, at the ReLU behind each in torchvision's modules."""
    layers = architectures.named_layers
    assert layers("alexnet") == {
        "conv1": "features.1", "conv2": "features.4", "conv3": "features.7",
        "conv4": "features.9", "conv5": "features.11",
    }  # fmt: skip
    for arch, name in (("alexnet", "conv5"), ("vgg16", "conv4_3"), ("vgg16", "conv1_2")):
        with torch.device("meta"):  # without its millions of parameters
            module = architectures.create_module(arch, 2, 8)
        position = int(layers(arch)[name].removeprefix("features."))
        assert isinstance(module.features[position], nn.ReLU)
        # Counted from the start, the convolutions before it.
        count = sum(isinstance(m, nn.Conv2d) for m in module.features[:position])
        assert count == {"conv5": 5, "conv4_3": 10, "conv1_2": 2}[name]
    assert list(layers("resnet50")) == ["bn1", "layer1", "layer2", "layer3", "layer4"]
    mixed = layers("inception_v3")
    assert len(mixed) == 11 and mixed["mixed_6b"] == "Mixed_6b"
    assert layers("swin_t") == {f"stage{i}": f"features.{2 * i - 1}" for i in (1, 2, 3, 4)}
    assert layers("maxvit_t") == {
        "stem": "stem", **{f"stage{i}": f"blocks.{i - 1}" for i in (1, 2, 3, 4)},
    }  # fmt: skip
    assert layers("small") == layers("densenet121") == {}


@pytest.mark.parametrize(
    ("arch", "rows", "stride"),
    [
        ("small", [(1, 16, 5, 2), (16, 32, 3, 1), (32, 48, 3, 1), (48, 64, 3, 1), (64, 96, 3, 1),
                   (96, 12, 1, 1)], 8),
        ("medium", [(1, 24, 7, 4), (24, 32, 3, 1), (32, 48, 3, 1), (48, 64, 3, 1), (64, 96, 3, 1),
                    (96, 96, 3, 1), (96, 12, 1, 1)], 16),
    ],
)  # fmt: skip
def test_layers_of_own_networks(arch: str, rows: list[tuple], stride: int) -> None:
    """Channels in and out, side of the kernel and step of every convolution."""
    module = architectures.create_module(arch, 3, 12)
    convolutions = [m for m in module.features if isinstance(m, nn.Conv2d)]
    found = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions]
    assert found == rows
    assert [m.padding[0] for m in convolutions] == [row[2] // 2 for row in rows]
    assert not any(m.bias is not None for m in convolutions)
    assert module.fc.in_features == 12 and module.fc.out_features == 3
    maps = module.features(torch.zeros(1, 1, 64, 64))
    assert maps.shape == (1, 12, 64 // stride, 64 // stride)
    colour = architectures.create_module(arch, 3, 12, channels=3)
    assert colour.features[0].in_channels == 3
    assert architectures.OwnNet("small", 2).fc.in_features == 256


def test_parameters_of_older_files() -> None:
    rename = architectures.current_parameter_names
    old = {"features.denseblock1.denselayer2.norm.1.weight": 1, "conv.2.weight": 2}
    new = {"features.denseblock1.denselayer2.norm1.weight": 1, "conv.2.weight": 2}
    assert rename("densenet121", old) == new and rename("resnet50", old) == old
    extra = {"AuxLogits.fc.bias": 1, "aux1.x": 2, "aux2.x": 3, "fc.bias": 4}
    assert rename("inception_v3", extra) == rename("googlenet", extra) == {"fc.bias": 4}
    assert rename("resnet50", extra) == extra


def test_unknown_architectures() -> None:
    architectures.check_architecture("small")
    architectures.check_architecture("vgg16")
    with pytest.raises(UserError, match=r"no architecture 'resnet15'; choose resnet1\d"):
        architectures.check_architecture("resnet15")
    with pytest.raises(UserError, match="choose small, medium, alexnet, vgg16, inception_v3"):
        architectures.check_architecture("qqqq")
    with pytest.raises(UserError, match="classifies by a class token"):
        architectures.check_architecture("vit_b_16")


def test_bodies_of_other_heads(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source, target = networks.build("small", 5, units=8), networks.build("small", 3, units=8)
    state = {f"module.{k}": v for k, v in source.net.state_dict().items()}
    state |= {"projection.weight": torch.zeros(4, 2)}
    head = target.last_linear().weight.clone()
    left_out = checkpoints.load_body(target, state, "file")
    assert left_out == ["fc.bias (5,)", "fc.weight (5, 8)", "projection.weight (4, 2)"]
    first = target.net.features[0].weight
    assert torch.equal(first, source.net.features[0].weight)
    assert torch.equal(target.last_linear().weight, head)
    with pytest.raises(
        UserError, match="file is not a checkpoint of small: projection.weight is unk"
    ):
        checkpoints.load_state(target, state, "file")
    del state["projection.weight"]
    with pytest.raises(UserError, match=r"fc\.weight is \(5, 8\), not \(3, 8\)"):
        checkpoints.load_state(target, state, "file")
    del state["module.features.0.weight"]
    with pytest.raises(UserError, match=r"features\.0\.weight is missing; give the right --arch"):
        checkpoints.load_body(target, state, "file")
    assert checkpoints.head_size({"a.bias": torch.zeros(4), "b.bias": torch.zeros(2)}) == 2
    with pytest.raises(UserError, match="no bias of a last layer"):
        checkpoints.head_size({"a.weight": torch.zeros(4)})
    with pytest.raises(UserError, match='The "small" network has no ImageNet weights'):
        checkpoints.load_imagenet_weights(target)
