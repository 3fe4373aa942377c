"""The four published networks as plain functions.

Written from torchvision's definitions at the time of the papers (v0.1.9 for ResNet, v0.2.0 for the
other three), with functional operations only, so that no layer of the product is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
_IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
_IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@contextmanager
def cheap_initial_weights() -> Iterator[None]:
    """Draw initial weights from one short random sequence: large networks take seconds less."""
    # A prime length: neighbouring filters get different parts of the sequence.
    sequence = torch.randn(65521, generator=torch.Generator().manual_seed(5))

    def fill(tensor: Tensor, *_: object, **__: object) -> Tensor:
        with torch.no_grad():
            repeats = math.ceil(tensor.numel() / len(sequence))
            values = sequence.repeat(repeats)[: tensor.numel()].view(tensor.shape)
            # He initialisation: activations neither vanish nor grow from layer to layer.
            return tensor.copy_(values * math.sqrt(2 / max(tensor[0].numel(), 1)))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_"):
            patch.setattr(torch.nn.init, name, fill)
        yield


def published_input(patches: np.ndarray) -> Tensor:
    """Return grey patches uint8 [n, 1, h, w] as the published programs normalised them."""
    grey = torch.from_numpy(patches).float() / 255
    return (grey.repeat(1, 3, 1, 1) - _IMAGENET_MEAN) / _IMAGENET_DEVIATION


def alexnet(state: State, x: Tensor) -> Tensor:
    """torchvision 0.2.0, alexnet.py: no adaptive pooling in front of the classifier."""
    for layer, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        weight, bias = state[f"features.{layer}.weight"], state[f"features.{layer}.bias"]
        x = F.relu(F.conv2d(x, weight, bias, stride, padding))
        if layer in (0, 3, 10):
            x = F.max_pool2d(x, 3, 2)
    return _classifier(state, x.view(len(x), -1), (1, 4, 6))


def vgg16(state: State, x: Tensor) -> Tensor:
    """torchvision 0.2.0, vgg.py, configuration D."""
    layer = 0
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width == 0:
            x, layer = F.max_pool2d(x, 2, 2), layer + 1
            continue
        weight, bias = state[f"features.{layer}.weight"], state[f"features.{layer}.bias"]
        x, layer = F.relu(F.conv2d(x, weight, bias, padding=1)), layer + 2
    return _classifier(state, x.view(len(x), -1), (0, 3, 6))


def _classifier(state: State, x: Tensor, layers: tuple[int, int, int]) -> Tensor:
    for layer in layers:
        x = F.linear(x, state[f"classifier.{layer}.weight"], state[f"classifier.{layer}.bias"])
        x = x if layer == layers[-1] else F.relu(x)
    return x


def _norm(state: State, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], eps=eps)


def resnet152(state: State, x: Tensor) -> Tensor:
    """torchvision 0.1.9, resnet.py: average pooling of 7 x 7 positions with stride 7."""
    x = F.relu(_norm(state, "bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for number, blocks in enumerate((3, 8, 36, 3), start=1):
        for block in range(blocks):
            name = f"layer{number}.{block}"
            stride = 2 if number > 1 and block == 0 else 1
            out = F.conv2d(x, state[f"{name}.conv1.weight"])
            out = F.relu(_norm(state, f"{name}.bn1", out))
            out = F.conv2d(out, state[f"{name}.conv2.weight"], stride=stride, padding=1)
            out = F.relu(_norm(state, f"{name}.bn2", out))
            out = _norm(state, f"{name}.bn3", F.conv2d(out, state[f"{name}.conv3.weight"]))
            if block == 0:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = _norm(state, f"{name}.downsample.1", x)
            x = F.relu(out + x)
    x = F.avg_pool2d(x, 7)
    return F.linear(x.view(len(x), -1), state["fc.weight"], state["fc.bias"])


def inception_v3(state: State, x: Tensor) -> Tensor:
    """torchvision 0.2.0, inception.py with transform_input, in evaluation: without AuxLogits."""

    def conv(name: str, x: Tensor, stride: int = 1, padding: int | tuple[int, int] = 0) -> Tensor:
        x = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
        return F.relu(_norm(state, f"{name}.bn", x, eps=0.001))

    def pooled(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1)

    channels = [
        x[:, i : i + 1] * (deviation / 0.5) + (mean - 0.5) / 0.5
        for i, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225)))
    ]
    x = torch.cat(channels, 1)
    x = conv("Conv2d_2a_3x3", conv("Conv2d_1a_3x3", x, 2))
    x = F.max_pool2d(conv("Conv2d_2b_3x3", x, padding=1), 3, 2)
    x = F.max_pool2d(conv("Conv2d_4a_3x3", conv("Conv2d_3b_1x1", x)), 3, 2)
    for m in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        double = conv(f"{m}.branch3x3dbl_2", conv(f"{m}.branch3x3dbl_1", x), padding=1)
        parts = [
            conv(f"{m}.branch1x1", x),
            conv(f"{m}.branch5x5_2", conv(f"{m}.branch5x5_1", x), padding=2),
            conv(f"{m}.branch3x3dbl_3", double, padding=1),
            conv(f"{m}.branch_pool", pooled(x)),
        ]
        x = torch.cat(parts, 1)
    m = "Mixed_6a"
    double = conv(f"{m}.branch3x3dbl_2", conv(f"{m}.branch3x3dbl_1", x), padding=1)
    parts = [conv(f"{m}.branch3x3", x, 2), conv(f"{m}.branch3x3dbl_3", double, 2)]
    x = torch.cat([*parts, F.max_pool2d(x, 3, 2)], 1)
    for m in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        single = conv(f"{m}.branch7x7_2", conv(f"{m}.branch7x7_1", x), padding=(0, 3))
        double = conv(f"{m}.branch7x7dbl_2", conv(f"{m}.branch7x7dbl_1", x), padding=(3, 0))
        double = conv(f"{m}.branch7x7dbl_3", double, padding=(0, 3))
        double = conv(f"{m}.branch7x7dbl_4", double, padding=(3, 0))
        parts = [
            conv(f"{m}.branch1x1", x),
            conv(f"{m}.branch7x7_3", single, padding=(3, 0)),
            conv(f"{m}.branch7x7dbl_5", double, padding=(0, 3)),
            conv(f"{m}.branch_pool", pooled(x)),
        ]
        x = torch.cat(parts, 1)
    m = "Mixed_7a"
    single = conv(f"{m}.branch7x7x3_2", conv(f"{m}.branch7x7x3_1", x), padding=(0, 3))
    single = conv(f"{m}.branch7x7x3_3", single, padding=(3, 0))
    parts = [
        conv(f"{m}.branch3x3_2", conv(f"{m}.branch3x3_1", x), 2),
        conv(f"{m}.branch7x7x3_4", single, 2),
        F.max_pool2d(x, 3, 2),
    ]
    x = torch.cat(parts, 1)
    for m in ("Mixed_7b", "Mixed_7c"):
        single = conv(f"{m}.branch3x3_1", x)
        double = conv(f"{m}.branch3x3dbl_2", conv(f"{m}.branch3x3dbl_1", x), padding=1)
        parts = [
            conv(f"{m}.branch1x1", x),
            conv(f"{m}.branch3x3_2a", single, padding=(0, 1)),
            conv(f"{m}.branch3x3_2b", single, padding=(1, 0)),
            conv(f"{m}.branch3x3dbl_3a", double, padding=(0, 1)),
            conv(f"{m}.branch3x3dbl_3b", double, padding=(1, 0)),
            conv(f"{m}.branch_pool", pooled(x)),
        ]
        x = torch.cat(parts, 1)
    x = F.avg_pool2d(x, 8)
    return F.linear(x.view(len(x), -1), state["fc.weight"], state["fc.bias"])


FORWARD = {"alexnet": alexnet, "vgg16": vgg16, "resnet152": resnet152, "inception_v3": inception_v3}
