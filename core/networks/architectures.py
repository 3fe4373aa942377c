"""Architectures: the torchvision families that DeepMiner supports, and the small network.

For each family this module lists the modules that compute the last feature maps, the head, and what
the head computes. It is the only module that imports torchvision.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal

from torch import Tensor, nn

from core.errors import UserError
from core.networks._torchvision_compat import declare_missing_operators

SMALL = "small"
MEDIUM = "medium"
# Networks of this project, with one input channel; they are trained from scratch.
OWN_NETWORKS = (SMALL, MEDIUM)
DEFAULT_INPUT_SIDE = 227  # pixels, the patch side of both papers
INPUT_SIDES = {SMALL: 64, MEDIUM: 208, "inception_v3": 299, "maxvit_t": 224}

# What turns the last maps into logits:
# linear: one linear layer on the mean of the maps; influence is activation x weight.
# rectified: a 1x1 convolution and a ReLU, then the mean over positions.
# grid: several dense layers on a grid of fixed size.
# pooled: several dense layers on the mean of the maps.
Head = Literal["linear", "rectified", "grid", "pooled"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Architectures of one construction.

    body: names of the modules that compute the last maps, in order of execution; head: name of the
    head; kind: see `Head`; half_normalization: inputs have mean and deviation .5 (torchvision's
    `transform_input`) in place of ImageNet's; channels_last: the layers before the last maps give
    [n, h, w, units]; tiled: the network takes inputs of its native side only.
    """

    body: tuple[str, ...]
    head: str
    kind: Head = "linear"
    half_normalization: bool = False
    channels_last: bool = False
    tiled: bool = False


_RESNET = Family(
    body=("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"), head="fc"
)
_INCEPTION_BODY = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "maxpool1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "maxpool2",
    *(f"Mixed_{n}" for n in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")),
)
_GOOGLENET_BODY = (
    *("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3"),
    *(f"inception4{letter}" for letter in "abcde"),
    *("maxpool4", "inception5a", "inception5b"),
)
# By the beginning of the architecture's name.
FAMILIES: dict[str, Family] = {
    SMALL: Family(body=("features",), head="fc"),
    MEDIUM: Family(body=("features",), head="fc"),
    "resnet": _RESNET,
    "resnext": _RESNET,
    "wide_resnet": _RESNET,
    "inception_v3": Family(body=_INCEPTION_BODY, head="fc", half_normalization=True),
    "googlenet": Family(body=_GOOGLENET_BODY, head="fc", half_normalization=True),
    "densenet": Family(body=("features", "relu"), head="classifier"),
    "regnet": Family(body=("stem", "trunk_output"), head="fc"),
    "efficientnet": Family(body=("features",), head="classifier"),
    "mobilenet_v2": Family(body=("features",), head="classifier"),
    "mnasnet": Family(body=("layers",), head="classifier"),
    "shufflenet": Family(
        body=("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"), head="fc"
    ),
    "swin": Family(body=("features", "norm", "permute"), head="head", channels_last=True),
    # The layer normalisation between pooling and the linear layer: see `Classifier.feature_maps`.
    "convnext": Family(body=("features",), head="classifier"),
    "squeezenet": Family(body=("features",), head="classifier", kind="rectified"),
    "alexnet": Family(body=("features",), head="classifier", kind="grid"),
    "vgg": Family(body=("features",), head="classifier", kind="grid"),
    "mobilenet_v3": Family(body=("features",), head="classifier", kind="pooled"),
    "maxvit": Family(
        body=("stem", *(f"blocks.{i}" for i in range(4))),
        head="classifier",
        kind="pooled",
        tiled=True,
    ),
}
CONVNEXT = FAMILIES["convnext"]

# The papers' layer names, as modules whose output holds the unit maps (after the non-linearity
# where there is one).
_NAMED_LAYERS = {
    "alexnet": {
        "conv1": "features.1",
        "conv2": "features.4",
        "conv3": "features.7",
        "conv4": "features.9",
        "conv5": "features.11",
    },
    "vgg16": {
        "conv1_2": "features.3",
        "conv2_2": "features.8",
        "conv3_3": "features.15",
        "conv4_3": "features.22",
        "conv5_3": "features.29",
    },
    "inception_v3": {name.lower(): name for name in _INCEPTION_BODY if name.startswith("Mixed_")},
    "resnet": {name: name for name in ("bn1", "layer1", "layer2", "layer3", "layer4")},
    # Not from the papers: the stages of transformers, whose inner modules give no maps.
    "swin": {f"stage{i + 1}": f"features.{2 * i + 1}" for i in range(4)},
    "maxvit": {"stem": "stem", **{f"stage{i + 1}": f"blocks.{i}" for i in range(4)}},
}


# Layers of the own networks: (output channels, kernel side, stride, whether 2x2 max-pooling
# follows). A 1x1 convolution to the units comes last.
_LAYERS = {
    SMALL: (
        (16, 5, 2, False),
        (32, 3, 1, True),
        (48, 3, 1, True),
        (64, 3, 1, False),
        (96, 3, 1, False),
    ),
    MEDIUM: (
        (24, 7, 4, False),
        (32, 3, 1, True),
        (48, 3, 1, False),
        (64, 3, 1, True),
        (96, 3, 1, False),
        (96, 3, 1, False),
    ),
}


class OwnNet(nn.Module):
    """Convolutions with batch normalisation, for the phantom and for tests.

    The last convolution is 1x1 with `units` channels, at stride 8 ("small", six convolutions) or 16
    ("medium", seven). The network takes one input channel and is trained from scratch.
    """

    def __init__(self, arch: str, classes: int, units: int = 256, channels: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, kernel, stride, pooled in (*_LAYERS[arch], (units, 1, 1, False)):
            layers += [
                nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            layers += [nn.MaxPool2d(2)] if pooled else []
            channels = width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(units, classes)


@cache
def torchvision_models() -> ModuleType:
    """Return the module of torchvision's architectures.

    Its import loads PyTorch's compiler, which takes a second: it happens at need.
    """
    declare_missing_operators()
    from torchvision import models

    return models


def family_name(arch: str) -> str:
    """Return the family's name of an architecture ("resnet" for "resnet152"), or its own name."""
    return next((name for name in FAMILIES if arch.startswith(name)), arch)


def family_of(arch: str) -> Family:
    """Return the family of a supported architecture."""
    return FAMILIES[family_name(arch)]


def named_layers(arch: str) -> dict[str, str]:
    """Return the named layers of an architecture and the modules they stand for."""
    return _NAMED_LAYERS.get(arch) or _NAMED_LAYERS.get(family_name(arch)) or {}


def published_side(arch: str) -> int | None:
    """Return the side in pixels for which an architecture was published, None where it is free.

    The papers' networks and those of fixed input have one.
    """
    family = family_of(arch)
    is_fixed = family.kind == "grid" or family.tiled or arch == "resnet152"
    default = DEFAULT_INPUT_SIDE if is_fixed else None
    return default if arch in OWN_NETWORKS else INPUT_SIDES.get(arch, default)


def published_pool(arch: str) -> str:
    """Return the pooling with which published checkpoints of an architecture were trained.

    torchvision 0.1.9 averaged the top-left 7 x 7 positions of ResNet's 8 x 8 map at 227 px.
    """
    return "top_left_7" if family_name(arch) == "resnet" else "global"


def supported_architectures() -> list[str]:
    """Return the names of torchvision's classifiers that can be used."""
    return [name for name in _torchvision_names() if family_name(name) in FAMILIES]


def _torchvision_names() -> list[str]:
    """Return the names of torchvision's classifiers."""
    models = torchvision_models()
    return models.list_models(module=models)


def check_architecture(arch: str) -> None:
    """Raise UserError for an architecture that is not supported, with similar names."""
    if arch in OWN_NETWORKS:
        return
    if arch in _torchvision_names() and arch.startswith("vit"):
        raise UserError(
            f"{arch} classifies by a class token, which has no position in the image: its class map"
            " is not its logit. Choose another architecture, such as swin_t."
        )
    supported = supported_architectures()
    if arch not in supported:
        similar = difflib.get_close_matches(arch, supported, 4) or [
            *OWN_NETWORKS,
            "alexnet",
            "vgg16",
            "inception_v3",
            "resnet152",
        ]
        raise UserError(
            f"There is no architecture {arch!r}; choose {', '.join(similar)}, another torchvision"
            " classifier, or package.module:function for a network of your own."
        )


def create_module(arch: str, classes: int, units: int, channels: int = 1) -> nn.Module:
    """Return the plain module of an architecture with random weights.

    channels: of the images, 1 or 3; networks of torchvision take three in either case.
    """
    if arch in OWN_NETWORKS:
        return OwnNet(arch, classes, units, channels)
    options: dict[str, Any] = {}
    if family_of(arch).half_normalization:
        # Without the auxiliary classifiers, whose outputs would change the training loss; inputs
        # are normalised by Classifier, so that torchvision's own transform stays off.
        options = {"aux_logits": False, "init_weights": False, "transform_input": False}
    return torchvision_models().get_model(arch, weights=None, num_classes=classes, **options)


# torchvision renames these parameters of its older DenseNet files.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)$")
# Auxiliary classifiers of Inception-v3 and GoogLeNet act in training only.
_AUXILIARY_CLASSIFIERS = ("AuxLogits.", "aux1.", "aux2.")


def current_parameter_names(arch: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict under today's parameter names, without auxiliary classifiers."""
    if family_name(arch) == "densenet":
        state = {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
    if FAMILIES.get(family_name(arch), _RESNET).half_normalization:
        return {k: v for k, v in state.items() if not k.startswith(_AUXILIARY_CLASSIFIERS)}
    return state


def imagenet_state(arch: str) -> dict[str, Tensor]:
    """Return torchvision's ImageNet weights of an architecture, downloaded on first use.

    UserError if the download fails.
    """
    try:
        weights = torchvision_models().get_model_weights(arch).DEFAULT
        return weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise UserError(
            f"The ImageNet weights of {arch} cannot be fetched ({error}); download torchvision's"
            " file of them elsewhere and give it with --weights FILE, or give --weights none."
        ) from error
