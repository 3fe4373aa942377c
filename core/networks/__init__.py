"""Classifiers: a body that makes unit maps, a pooling, a head; and their fully convolutional form.

Every network takes grey patches or whole mammograms as uint8 or float [n, 1, h, w] in 0..255 and
normalises inside, so that patches and mammograms can never be prepared differently. `network.net`
is the plain torchvision module: its state dict has the field's usual names.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import UserError
from core.networks._torchvision_compat import prepare
from core.networks.auxiliary_inputs import Attention, Columns

prepare()
from torchvision import models  # noqa: E402  (torchvision cannot be imported before `prepare`)

# Families whose head is one linear layer on pooled maps: how to get the maps (module names in
# order) and where the head is.
_SINGLE_LINEAR = {
    "resnet": (("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "resnext": (("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "wide_resnet": (
        ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
        "fc",
    ),
    "inception_v3": (
        (
            "Conv2d_1a_3x3",
            "Conv2d_2a_3x3",
            "Conv2d_2b_3x3",
            "maxpool1",
            "Conv2d_3b_1x1",
            "Conv2d_4a_3x3",
            "maxpool2",
            "Mixed_5b",
            "Mixed_5c",
            "Mixed_5d",
            "Mixed_6a",
            "Mixed_6b",
            "Mixed_6c",
            "Mixed_6d",
            "Mixed_6e",
            "Mixed_7a",
            "Mixed_7b",
            "Mixed_7c",
        ),
        "fc",
    ),
    "densenet": (("features", "relu"), "classifier"),
    "regnet": (("stem", "trunk_output"), "fc"),
    "efficientnet": (("features",), "classifier"),
    "mobilenet_v2": (("features",), "classifier"),
    "mnasnet": (("layers",), "classifier"),
    "shufflenet": (("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"), "fc"),
}
_DENSE_HEAD = ("alexnet", "vgg")  # several linear layers on a fixed grid
AUXILIARY = "auxiliary."  # in front of the auxiliary block's weights in a checkpoint
INPUT_SIDES = {"small": 64, "inception_v3": 299}  # others: 227, the paper's

# The papers' names of layers, as modules whose output holds the units' maps (after the
# non-linearity where there is one).
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
    "inception_v3": {
        f"mixed_{n}": f"Mixed_{n}"
        for n in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
    },
    "resnet": {
        "bn1": "bn1",
        "layer1": "layer1",
        "layer2": "layer2",
        "layer3": "layer3",
        "layer4": "layer4",
    },
}


class SmallNet(nn.Module):
    """Six convolutions with batch-norm, the last 1x1 with `units` channels at stride 8, trained
    from scratch on the phantom.
    """

    def __init__(self, classes: int, units: int = 256, base: int = 16) -> None:
        super().__init__()
        plan = [
            (base, 5, 2, False),
            (2 * base, 3, 1, True),
            (3 * base, 3, 1, True),
            (4 * base, 3, 1, False),
            (6 * base, 3, 1, False),
            (units, 1, 1, False),
        ]
        layers: list[nn.Module] = []
        last = 1
        for width, kernel, stride, pool in plan:
            layers += [
                nn.Conv2d(last, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            layers += [nn.MaxPool2d(2)] if pool else []
            last = width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(units, classes)


class Classifier(nn.Module):
    """A network with a name. arch, classes, pool ("global" or "top_left_7"), input_side px;
    `single_linear`: influence is activation x weight; precision: number format of the body
    ("float32" or "bfloat16"; maps and logits are float32 in any case); columns, auxiliary: the
    patient's columns beside the image and the block that joins them (none: the image alone).
    """

    def __init__(self, arch: str, classes: int, net: nn.Module, pool: str = "global") -> None:
        super().__init__()
        self.arch, self.classes, self.pool, self.net = arch, classes, pool, net
        self.mean: Tensor
        self.std: Tensor
        self.input_side = INPUT_SIDES.get(arch, 227)
        self.precision = "float32"
        self.columns = Columns()
        self.auxiliary: Attention | None = None
        self.small = arch == "small"
        family = _family(arch)
        self.single_linear = family not in _DENSE_HEAD
        self._path, self._head = (
            (("features",), "fc")
            if self.small
            else _SINGLE_LINEAR.get(family, (("features",), "classifier"))
        )
        shape = (1, 1, 1, 1) if self.small else (1, 3, 1, 1)
        mean, std = (
            ((110.0,), (45.0,))
            if self.small
            else ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
        )
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(shape), persistent=False)

    def prepare(self, x: Tensor) -> Tensor:
        """uint8 or float [n, 1, h, w] in 0..255 to the normalised input [n, 1 or 3, h, w]
        (ImageNet's mean and deviation for torchvision networks).
        """
        x = (x.to(self.mean.device, self.mean.dtype) - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last)

    def maps(self, x: Tensor) -> Tensor:
        """Unit maps that feed the head: [n, units, h', w'] from uint8 or float [n, 1, h, w]."""
        x = self.prepare(x)
        with self._numbers(x):
            for name in self._path:
                # densenet applies its last ReLU as a function
                x = (
                    F.relu(x)
                    if name == "relu" and not hasattr(self.net, "relu")
                    else self.net.get_submodule(name)(x)
                )
        return x.float()

    def _numbers(self, x: Tensor) -> AbstractContextManager[object]:
        return (
            torch.autocast(x.device.type, torch.bfloat16)
            if self.precision == "bfloat16"
            else nullcontext()
        )

    def linear(self) -> nn.Linear:
        """The last linear layer."""
        head = self.net.get_submodule(self._head)
        return (
            head
            if isinstance(head, nn.Linear)
            else [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
        )

    def class_weights(self) -> Tensor:
        """[classes, units] of the single linear head, on the processor; UserError for AlexNet and
        VGG, which have none.
        """
        if not self.single_linear:
            raise UserError(
                f"{self.arch} has no single linear head; its influence is activation x gradient."
            )
        return self.linear().weight.detach().cpu()

    def logits(self, maps: Tensor, columns: Tensor | None = None) -> Tensor:
        """Pool and classify maps [n, units, h', w'] of a native-size input: [n, classes]. columns:
        float32 [n, numbers] of the inputs' patients, as `self.columns` encodes them; without them
        the image's part alone.
        """
        image = self._image_logits(maps)
        if self.auxiliary is None or columns is None:
            return image
        factor, added, _ = self.attention(maps, columns)
        return factor * image + added

    def attention(self, maps: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For inputs with these maps: the factor of the image's logits [n, 1], what the columns add
        to them [n, classes], and the weights of image and columns [n, 1 + columns].
        """
        assert self.auxiliary is not None
        return self.auxiliary(maps.mean((2, 3)), columns.to(maps.device))

    def _image_logits(self, maps: Tensor) -> Tensor:
        if self.single_linear:
            pooled = (
                maps[:, :, :7, :7].mean((2, 3)) if self.pool == "top_left_7" else maps.mean((2, 3))
            )
            return self.net.get_submodule(self._head)(pooled)
        return self.net.classifier(torch.flatten(self.net.avgpool(maps), 1))  # type: ignore[operator]

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Logits [n, classes] of patches uint8 or float [n, 1, side, side]; columns as in `logits`."""
        return self.logits(self.maps(x), columns)

    def state(self) -> dict[str, Tensor]:
        """All weights: the network's under their usual names, the auxiliary block's under
        `auxiliary.`.
        """
        block = self.auxiliary.state_dict() if self.auxiliary is not None else {}
        return {
            **self.net.state_dict(),
            **{f"{AUXILIARY}{key}": value for key, value in block.items()},
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.net.load_state_dict(
            {key: value for key, value in state.items() if not key.startswith(AUXILIARY)}
        )
        if self.auxiliary is not None:
            self.auxiliary.load_state_dict(
                {
                    key.removeprefix(AUXILIARY): value
                    for key, value in state.items()
                    if key.startswith(AUXILIARY)
                }
            )

    def layer(self, name: str) -> nn.Module | None:
        """The module whose output is the named layer; None for "last" of a single-linear network
        (the maps themselves). UserError listing the names if there is no such layer.
        """
        known = _PAPER_LAYERS.get(self.arch) or _PAPER_LAYERS.get(_family(self.arch)) or {}
        if name == "last":
            return (
                None
                if self.single_linear
                else self.net.get_submodule(list(known.values())[-1] if known else "features")
            )
        modules = dict(self.net.named_modules())
        if known.get(name, name) not in modules or not name:
            raise UserError(
                f"{self.arch} has no layer {name!r}; it has {', '.join(known) or 'no named layers'}"
                f" and its modules such as {', '.join(list(modules)[1:6])}."
            )
        return modules[known.get(name, name)]


def _native_grid(net: nn.Module) -> int:
    """Cells per side that AlexNet's or VGG's pooling leaves for the first linear layer (6, 7)."""
    return int(net.avgpool.output_size[0])  # type: ignore[union-attr, index]


class FullyConvolutional(nn.Module):
    """Class maps over whole mammograms (DEFINITIONS "Networks"): no pooling, the head as 1x1
    convolution; AlexNet's and VGG's first linear layer as a 6x6 or 7x7 convolution over the native
    grid. On any input the spatial mean of a single-linear network's class map equals its pooled
    logits. The image's part alone: what a patient's columns make of it is a factor and a constant
    (`Classifier.attention`).
    """

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network
        if network.single_linear:
            self.head: nn.Module = _as_convolution(network.linear(), 1)
        else:
            grid = _native_grid(network.net)
            layers: list[nn.Module] = []
            first = True
            for layer in network.net.classifier.children():  # type: ignore[union-attr]
                if isinstance(layer, nn.Linear):
                    layers.append(_as_convolution(layer, grid if first else 1))
                    first = False
                elif isinstance(layer, nn.Dropout):
                    layers.append(nn.Dropout(layer.p))
                else:
                    layers.append(nn.ReLU())
            self.head = nn.Sequential(*layers)
        self.train(network.training)

    def from_maps(self, maps: Tensor) -> Tensor:
        """Class maps [n, classes, h', w'] (logits) from unit maps [n, units, h', w']."""
        return self.head(maps)

    def forward(self, x: Tensor) -> Tensor:
        """Class maps (logits) [n, classes, h', w'] of mammograms uint8 or float [n, 1, h, w]."""
        return self.head(self.network.maps(x))


def _as_convolution(linear: nn.Linear, kernel: int) -> nn.Conv2d:
    channels = linear.in_features // (kernel * kernel)
    conv = nn.Conv2d(
        channels,
        linear.out_features,
        kernel,
        device=linear.weight.device,
        dtype=linear.weight.dtype,
    )
    conv.weight = nn.Parameter(
        linear.weight.detach().view(linear.out_features, channels, kernel, kernel),
        requires_grad=False,
    )
    conv.bias = (
        None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
    )
    return conv


def to_fully_convolutional(network: Classifier) -> FullyConvolutional:
    """The same network for whole mammograms of any size; shares the body's weights."""
    return FullyConvolutional(network)


def _family(arch: str) -> str:
    for family in (*_SINGLE_LINEAR, *_DENSE_HEAD):
        if arch.startswith(family):
            return family
    return arch


def _check_arch(arch: str) -> None:
    known = [
        name
        for name in models.list_models(module=models)
        if _family(name) in (*_SINGLE_LINEAR, *_DENSE_HEAD)
    ]
    if arch != "small" and arch not in known:
        near = difflib.get_close_matches(arch, known, 4) or [
            "small",
            "alexnet",
            "vgg16",
            "inception_v3",
            "resnet152",
        ]
        raise UserError(
            f"There is no architecture {arch!r} with a linear head; choose {', '.join(near)} or"
            " another torchvision classifier."
        )


def _bare(arch: str, classes: int, units: int) -> nn.Module:
    if arch == "small":
        return SmallNet(classes, units)
    options = (
        {"aux_logits": False, "init_weights": False, "transform_input": False}
        if arch == "inception_v3"
        else {}
    )
    return models.get_model(arch, weights=None, num_classes=classes, **options)


def build(
    arch: str, classes: int, weights: str | None = None, units: int = 256, pool: str = "global"
) -> Classifier:
    """A network ready for training or inference. weights:

    None or "none" (random), "imagenet" (fetched by torchvision on first use), or the path of a
    state dict, a `.pth.tar` in the published form, or ours. units: of the "small" network.
    UserError for an unknown architecture, fewer than two classes, or an unfit file.
    """
    _check_arch(arch)
    if classes < 2:
        raise UserError(f"A classifier has two classes or more; {classes} were asked for.")
    network = Classifier(arch, classes, _bare(arch, classes, units), pool)
    if weights in (None, "none"):
        return network
    if weights == "imagenet":
        _load_imagenet(network)
        return network
    _load_state(network, read_state(Path(weights)), Path(weights))
    return network


def _load_imagenet(network: Classifier) -> None:
    if network.small:
        raise UserError(
            'The "small" network has no ImageNet weights; set training.weights = "none".'
        )
    try:
        state = models.get_model_weights(network.arch).DEFAULT.get_state_dict(
            progress=False, check_hash=True
        )
    except OSError as error:
        raise UserError(
            f"The ImageNet weights of {network.arch} cannot be fetched ({error}); give a file with"
            " --weights FILE, or --weights none."
        ) from error
    state = {k: v for k, v in state.items() if not k.startswith("AuxLogits.")}
    head = network.linear()
    own = network.net.state_dict()
    # ImageNet's 1000 classes are not ours: every tensor that fits is taken, the last linear layer
    # starts anew.
    kept = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    missing = [k for k in own if k not in kept and own[k].shape[:1] != head.weight.shape[:1]]
    if missing:
        raise UserError(f"The ImageNet weights do not fit {network.arch}: {missing[0]} is missing.")
    network.net.load_state_dict({**own, **kept})


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from a file, without running any code in it (weights only).

    Accepts a plain state dict or a dict with `state_dict`; removes `module.` from the keys.
    UserError if the file is missing, damaged, or wants to execute code.
    """
    if not path.is_file():
        raise UserError(
            f"There is no weights file {path}; give an existing file, imagenet or none."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # the restricted unpickler raises nearly anything where a file is damaged or none
        if isinstance(error, pickle.UnpicklingError) and (
            "GLOBAL" in str(error) or "class" in str(error)
        ):
            raise UserError(
                f"{path} was refused: it holds more than weights (a pickle that would run code);"
                " ask its author for a plain state dict."
            ) from error
        said = (
            "no weights file at all"
            if isinstance(error, (pickle.UnpicklingError, LookupError))
            else f"{error}".split(". ")[0].split("\n")[0]
        )
        raise UserError(
            f"{path} is not a readable checkpoint ({said or type(error).__name__}); fetch it again."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise UserError(
            f"{path} holds no state dict; a checkpoint is a dict of tensors, or has one under"
            " 'state_dict'."
        )
    # The published files carry `module.` in front, or (AlexNet, VGG) only inside `features.`.
    return {
        ".".join(part for part in key.split(".") if part != "module"): value
        for key, value in state.items()
    }


def _load_state(network: Classifier, state: dict[str, Tensor], path: Path) -> None:
    own = network.net.state_dict()
    state = {k: v for k, v in state.items() if not k.startswith(("AuxLogits.", AUXILIARY))}
    # Checkpoints older than PyTorch 0.4.1 lack the counters of batch-norm.
    state = {**{k: v for k, v in own.items() if k.endswith("num_batches_tracked")}, **state}
    missing, extra = [k for k in own if k not in state], [k for k in state if k not in own]
    wrong = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or extra:
        raise UserError(
            f"{path} is not a checkpoint of {network.arch}: {(missing or extra)[0]} is"
            f" {'missing' if missing else 'unknown'}; give the right --arch."
        )
    if wrong:
        raise UserError(
            f"{path} does not fit {network.arch} with {network.classes} classes: {wrong[0]} is"
            f" {tuple(state[wrong[0]].shape)}, not {tuple(own[wrong[0]].shape)}."
        )
    network.net.load_state_dict(state)


def join(network: Classifier, columns: Columns) -> None:
    """Give a network a new block for a patient's columns; does nothing for no columns."""
    if not columns.columns:
        return
    units = network.linear().in_features
    if not network.single_linear:
        first = next(layer for layer in network.net.classifier if isinstance(layer, nn.Linear))  # type: ignore[union-attr]
        units = first.in_features // _native_grid(network.net) ** 2
    network.columns, network.auxiliary = columns, Attention(units, network.classes, columns.widths)


def load_published_checkpoint(path: Path | str, arch: str, classes: int) -> Classifier:
    """A published DeepMiner checkpoint (`.pth.tar` with `state_dict`), in evaluation mode.

    ResNets get `pool = "top_left_7"`: torchvision 0.1.9 averaged only the top-left 7 x 7 of the 8 x
    8 map at 227 px, and the published numbers come from that (DEFINITIONS "Networks", trap).
    """
    pool = "top_left_7" if arch.startswith("resnet") else "global"
    return build(arch, classes, str(path), pool=pool).eval()
