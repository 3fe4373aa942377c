"""Architectures: the torchvision families that DeepMiner supports, and the small network.

For each family this module lists the modules that compute the last feature maps and the name of the
classification head. It is the only module that imports torchvision.
"""

from __future__ import annotations

import difflib

from torch import Tensor, nn

from core.errors import UserError
from core.networks._torchvision_compat import declare_missing_operators

declare_missing_operators()
from torchvision import models  # noqa: E402  (fails before the operators are declared)

SMALL = "small"
_RESNET_BODY = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
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
# Families whose head is one linear layer on pooled maps: the modules of the body in order of
# execution, and the head. Only here is influence = activation x weight (class activation mapping).
LINEAR_HEADS: dict[str, tuple[tuple[str, ...], str]] = {
    SMALL: (("features",), "fc"),
    "resnet": (_RESNET_BODY, "fc"),
    "resnext": (_RESNET_BODY, "fc"),
    "wide_resnet": (_RESNET_BODY, "fc"),
    "inception_v3": (_INCEPTION_BODY, "fc"),
    "densenet": (("features", "relu"), "classifier"),
    "regnet": (("stem", "trunk_output"), "fc"),
    "efficientnet": (("features",), "classifier"),
    "mobilenet_v2": (("features",), "classifier"),
    "mnasnet": (("layers",), "classifier"),
    "shufflenet": (("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"), "fc"),
}
# Families with several linear layers on a grid of fixed size.
DENSE_HEADS: dict[str, tuple[tuple[str, ...], str]] = {
    "alexnet": (("features",), "classifier"),
    "vgg": (("features",), "classifier"),
}

DEFAULT_INPUT_SIDE = 227  # pixels, the patch side of both papers
INPUT_SIDES = {SMALL: 64, "inception_v3": 299}

# The papers' layer names, as modules whose output holds the unit maps (after the non-linearity
# where there is one).
_PAPER_LAYERS = {
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
}


class SmallNet(nn.Module):
    """Six convolutions with batch normalisation, for the phantom and for tests.

    The last convolution is 1x1 with `units` channels at stride 8. The network takes one input
    channel and is trained from scratch.
    """

    def __init__(self, classes: int, units: int = 256, base: int = 16) -> None:
        super().__init__()
        # (output channels, kernel side, stride, whether 2x2 max-pooling follows)
        plan = [
            (base, 5, 2, False),
            (2 * base, 3, 1, True),
            (3 * base, 3, 1, True),
            (4 * base, 3, 1, False),
            (6 * base, 3, 1, False),
            (units, 1, 1, False),
        ]
        layers: list[nn.Module] = []
        channels = 1
        for width, kernel, stride, pooled in plan:
            layers += [
                nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            layers += [nn.MaxPool2d(2)] if pooled else []
            channels = width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(units, classes)


def family_of(arch: str) -> str:
    """Return the family of an architecture ("resnet" for "resnet152"), or its own name."""
    families = (*LINEAR_HEADS, *DENSE_HEADS)
    return next((family for family in families if arch.startswith(family)), arch)


def body_and_head(arch: str) -> tuple[tuple[str, ...], str]:
    """Return the names of the body's modules in order of execution, and of the head."""
    return {**LINEAR_HEADS, **DENSE_HEADS}[family_of(arch)]


def paper_layers(arch: str) -> dict[str, str]:
    """Return the papers' layer names of an architecture and the modules they stand for."""
    return _PAPER_LAYERS.get(arch) or _PAPER_LAYERS.get(family_of(arch)) or {}


def check_architecture(arch: str) -> None:
    """Raise UserError for an architecture that is not supported, with similar names."""
    supported = [
        name
        for name in models.list_models(module=models)
        if family_of(name) in LINEAR_HEADS or family_of(name) in DENSE_HEADS
    ]
    if arch != SMALL and arch not in supported:
        similar = difflib.get_close_matches(arch, supported, 4) or [
            SMALL,
            "alexnet",
            "vgg16",
            "inception_v3",
            "resnet152",
        ]
        raise UserError(
            f"There is no architecture {arch!r} with a linear head; choose {', '.join(similar)} or"
            " another torchvision classifier."
        )


def create_module(arch: str, classes: int, units: int) -> nn.Module:
    """Return the plain module of an architecture with random weights."""
    if arch == SMALL:
        return SmallNet(classes, units)
    # Without the auxiliary classifier, whose output would change the training loss; inputs are
    # normalised by Classifier, so that torchvision's own transform stays off.
    options = (
        {"aux_logits": False, "init_weights": False, "transform_input": False}
        if arch == "inception_v3"
        else {}
    )
    return models.get_model(arch, weights=None, num_classes=classes, **options)


def imagenet_state(arch: str) -> dict[str, Tensor]:
    """Return torchvision's ImageNet weights of an architecture, downloaded on first use.

    UserError if the download fails.
    """
    try:
        state = models.get_model_weights(arch).DEFAULT.get_state_dict(
            progress=False, check_hash=True
        )
    except OSError as error:
        raise UserError(
            f"The ImageNet weights of {arch} cannot be fetched ({error}); give a file with"
            " --weights FILE, or --weights none."
        ) from error
    return {key: value for key, value in state.items() if not key.startswith("AuxLogits.")}
