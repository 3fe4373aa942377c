"""Architectures of torchvision with few channels, under its own names: the published four first.

Layers, kernels and parameter names are torchvision's, so that checkpoints of the published form fit
and every step runs the code that it runs for the full networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from core.networks.architectures import torchvision_models

models = torchvision_models()
convnext, inception, resnet, vgg = models.convnext, models.inception, models.resnet, models.vgg
maxvit, swin_transformer = models.maxvit, models.swin_transformer

# Units of the last convolution.
UNITS = {"alexnet": 48, "vgg16": 48, "inception_v3": 128, "resnet152": 512}
_NARROWING = 16  # of Inception-v3; divides the channels of all its convolutions


def _alexnet(num_classes: int) -> nn.Module:
    with torch.device("meta"):  # the parameters of the full network are never made
        network = models.AlexNet(num_classes=num_classes)
    channels = iter((8, 12, 24, 16, UNITS["alexnet"]))
    width = 3
    for number, layer in enumerate(network.features):
        if isinstance(layer, nn.Conv2d):
            out = next(channels)
            network.features[number] = nn.Conv2d(
                width, out, layer.kernel_size, layer.stride, layer.padding
            )
            width = out
    for number, (inputs, outputs) in zip(
        (1, 4, 6), ((36 * width, 32), (32, 32), (32, num_classes))
    ):
        network.classifier[number] = nn.Linear(inputs, outputs)
    return network


def _vgg16(num_classes: int) -> nn.Module:
    with torch.device("meta"):
        network = models.vgg16(num_classes=num_classes, init_weights=False)
    last = UNITS["vgg16"]
    widths: list[str | int] = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 16, 16, 16, "M"]
    network.features = vgg.make_layers([*widths, 16, 16, last, "M"])
    for number, (inputs, outputs) in zip((0, 3, 6), ((49 * last, 32), (32, 32), (32, num_classes))):
        network.classifier[number] = nn.Linear(inputs, outputs)
    return network


class _NarrowBottleneck(resnet.Bottleneck):
    expansion = 1


def _resnet152(num_classes: int) -> nn.Module:
    # One block for each stage.
    return resnet.ResNet(
        _NarrowBottleneck, [1, 1, 1, 1], num_classes=num_classes, width_per_group=4
    )


def _deep_resnet152(num_classes: int) -> nn.Module:
    return models.resnet152(num_classes=num_classes, width_per_group=4)


def _narrow_convolution(inputs: int, outputs: int, **options: Any) -> nn.Module:
    narrowed = inputs if inputs == 3 else inputs // _NARROWING
    return inception.BasicConv2d(narrowed, outputs // _NARROWING, **options)


def _inception_v3(num_classes: int, **options: Any) -> nn.Module:
    blocks = [
        partial(block, conv_block=_narrow_convolution)
        for block in (
            inception.InceptionA,
            inception.InceptionB,
            inception.InceptionC,
            inception.InceptionD,
            inception.InceptionE,
            inception.InceptionAux,
        )
    ]
    network = inception.Inception3(
        num_classes=num_classes, inception_blocks=[_narrow_convolution, *blocks], **options
    )
    network.fc = nn.Linear(UNITS["inception_v3"], num_classes)
    if network.AuxLogits is not None:
        network.AuxLogits.fc = nn.Linear(768 // _NARROWING, num_classes)
    return network


_BUILDERS = {
    "alexnet": _alexnet,
    "vgg16": _vgg16,
    "resnet152": _resnet152,
    "inception_v3": _inception_v3,
}


@contextmanager
def narrow_published_networks(full_depth: bool = False) -> Iterator[None]:
    """Let torchvision build the four published architectures narrow.

    full_depth: with all 50 blocks of ResNet-152, of which only the inner convolutions are narrow.
    """
    build = models.get_model
    builders = _BUILDERS | ({"resnet152": _deep_resnet152} if full_depth else {})

    def build_narrow(name: str, weights: None = None, **options: Any) -> nn.Module:
        builder = builders.get(name)
        return builder(**options) if builder else build(name, weights=weights, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "get_model", build_narrow)
        yield


@contextmanager
def narrow_transformers() -> Iterator[None]:
    """Let torchvision build Swin, ConvNeXt and MaxViT with a quarter of the channels.

    Depth, number of heads and windows remain.
    """
    swin, next_, vit = swin_transformer.SwinTransformer, convnext.ConvNeXt, maxvit.MaxVit

    def build_swin(*, embed_dim: int, **options: Any) -> nn.Module:
        return swin(embed_dim=embed_dim // 4, **options)

    def build_convnext(settings: list[convnext.CNBlockConfig], **options: Any) -> nn.Module:
        narrow = [
            convnext.CNBlockConfig(
                block.input_channels // 4,
                None if block.out_channels is None else block.out_channels // 4,
                block.num_layers,
            )
            for block in settings
        ]
        return next_(narrow, **options)

    def build_maxvit(
        *, stem_channels: int, block_channels: list[int], head_dim: int, **options: Any
    ) -> nn.Module:
        return vit(
            stem_channels=stem_channels // 4,
            block_channels=[channels // 4 for channels in block_channels],
            head_dim=head_dim // 4,
            **options,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swin_transformer, "SwinTransformer", build_swin)
        patch.setattr(convnext, "ConvNeXt", build_convnext)
        patch.setattr(maxvit, "MaxVit", build_maxvit)
        yield
