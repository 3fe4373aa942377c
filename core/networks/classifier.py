"""Classifiers: a body that computes unit maps, a pooling, a head; and the fully convolutional form.

Every classifier takes grey patches or whole mammograms as uint8 or float [n, 1, h, w] in 0..255 and
normalises them itself, so that patches and mammograms cannot be prepared differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import UserError
from core.networks import architectures
from core.networks.auxiliary_inputs import AuxiliaryAttention, AuxiliaryColumns

AUXILIARY_PREFIX = "auxiliary."  # of the auxiliary block's weights in a checkpoint
# ImageNet's channel means and standard deviations, .485 and .229 etc., times 255.
_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_SMALL_MEAN, _SMALL_STD = (110.0,), (45.0,)


class Classifier(nn.Module):
    """A patch classifier with named layers.

    Parameters
    ----------
    arch : str
        Name of the architecture: "small" or a torchvision classifier.
    classes : int
        Number of outputs.
    net : torch.nn.Module
        The plain module. Its state dict has torchvision's parameter names.
    pool : {"global", "top_left_7"}
        Average pooling in front of a single linear head. "top_left_7" averages the first 7 x 7
        positions only, as the published ResNet checkpoints need.

    Attributes
    ----------
    input_side : int
        Side of a patch in pixels.
    single_linear : bool
        Whether the head is one linear layer on pooled maps. Influence is then activation x weight.
    precision : {"float32", "bfloat16"}
        Number format of the body. Feature maps and logits are float32 in either case.
    columns : AuxiliaryColumns
        Patient columns that the classifier takes beside the image; empty for the image alone.
    auxiliary : AuxiliaryAttention or None
        The block that joins these columns to the image.

    References
    ----------
    docs/reference/definitions.md, "Networks".

    Examples
    --------
    >>> import torch
    >>> from core.networks import build
    >>> network = build("small", classes=3, units=8).eval()
    >>> patches = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    >>> tuple(network.feature_maps(patches).shape), tuple(network(patches).shape)
    ((2, 8, 8, 8), (2, 3))
    """

    mean: Tensor
    std: Tensor

    def __init__(self, arch: str, classes: int, net: nn.Module, pool: str = "global") -> None:
        super().__init__()
        self.arch, self.classes, self.pool, self.net = arch, classes, pool, net
        self.input_side = architectures.INPUT_SIDES.get(arch, architectures.DEFAULT_INPUT_SIDE)
        self.precision = "float32"
        self.columns = AuxiliaryColumns()
        self.auxiliary: AuxiliaryAttention | None = None
        self.small = arch == architectures.SMALL
        self.single_linear = architectures.family_of(arch) not in architectures.DENSE_HEADS
        self._body, self._head = architectures.body_and_head(arch)
        mean, std = (_SMALL_MEAN, _SMALL_STD) if self.small else (_IMAGENET_MEAN, _IMAGENET_STD)
        # Not persistent: the state dict keeps torchvision's names.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def normalize(self, x: Tensor) -> Tensor:
        """Return the normalised input [n, 1 or 3, h, w] of uint8 or float [n, 1, h, w] in 0..255.

        torchvision networks get three channels with ImageNet's mean and standard deviation.
        """
        # The memory order of the weights: no convolution has to reorder its input.
        x = (x.to(self.mean.device, self.mean.dtype) - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last)

    def feature_maps(self, x: Tensor) -> Tensor:
        """Return the unit maps that feed the head, float32 [n, units, h', w'].

        x: uint8 or float [n, 1, h, w] in 0..255.
        """
        x = self.normalize(x)
        with self._autocast(x):
            for name in self._body:
                # DenseNet applies its last ReLU as a function, so that there is no such module.
                if name == "relu" and not hasattr(self.net, "relu"):
                    x = F.relu(x)
                else:
                    x = self.net.get_submodule(name)(x)
        return x.float()

    def _autocast(self, x: Tensor) -> AbstractContextManager[object]:
        if self.precision == "bfloat16":
            return torch.autocast(x.device.type, torch.bfloat16)
        return nullcontext()

    def last_linear(self) -> nn.Linear:
        """Return the last linear layer."""
        head = self.net.get_submodule(self._head)
        return [module for module in head.modules() if isinstance(module, nn.Linear)][-1]

    def class_weights(self) -> Tensor:
        """Return the weights [classes, units] of the single linear head, on the CPU.

        UserError for AlexNet and VGG, whose head has several layers.
        """
        if not self.single_linear:
            raise UserError(
                f"{self.arch} has no single linear head; its influence is activation x gradient."
            )
        return self.last_linear().weight.detach().cpu()

    def logits(self, maps: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return the logits [n, classes] of unit maps [n, units, h', w'] of a native-size input.

        columns: float32 [n, encoded width], the patients' columns as `self.columns` encodes them.
        Without them the result is the image's part alone.
        """
        image_logits = self._image_logits(maps)
        if self.auxiliary is None or columns is None:
            return image_logits
        factor, added, _ = self.attention(maps, columns)
        return factor * image_logits + added

    def attention(self, maps: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return how the auxiliary block combines these maps and columns.

        Three tensors: the factor of the image's logits [n, 1], the columns' addend [n, classes],
        and the attention weights of image and columns [n, 1 + columns].
        """
        assert self.auxiliary is not None
        return self.auxiliary(maps.mean((2, 3)), columns.to(maps.device))

    def _image_logits(self, maps: Tensor) -> Tensor:
        if self.single_linear:
            pooled = maps[:, :, :7, :7] if self.pool == "top_left_7" else maps
            return self.net.get_submodule(self._head)(pooled.mean((2, 3)))
        grid = self.net.get_submodule("avgpool")(maps)
        return self.net.get_submodule("classifier")(torch.flatten(grid, 1))

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return the logits [n, classes] of patches [n, 1, side, side]; columns as in `logits`."""
        return self.logits(self.feature_maps(x), columns)

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Return all weights: the network's under torchvision's names, the block's prefixed."""
        block = self.auxiliary.state_dict() if self.auxiliary is not None else {}
        return {
            **self.net.state_dict(),
            **{f"{AUXILIARY_PREFIX}{key}": value for key, value in block.items()},
        }

    def load_checkpoint_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what `checkpoint_state` returned."""
        own, block = {}, {}
        for key, value in state.items():
            if key.startswith(AUXILIARY_PREFIX):
                block[key.removeprefix(AUXILIARY_PREFIX)] = value
            else:
                own[key] = value
        self.net.load_state_dict(own)
        if self.auxiliary is not None:
            self.auxiliary.load_state_dict(block)

    def layer(self, name: str) -> nn.Module | None:
        """Return the module whose output is the named layer.

        None for "last" of a single-linear network, whose maps are `feature_maps` itself. UserError
        with the known names if there is no such layer.
        """
        named = architectures.paper_layers(self.arch)
        if name == "last":
            if self.single_linear:
                return None
            return self.net.get_submodule(list(named.values())[-1] if named else "features")
        modules = dict(self.net.named_modules())
        path = named.get(name, name)
        if path not in modules or not name:
            raise UserError(
                f"{self.arch} has no layer {name!r}; it has {', '.join(named) or 'no named layers'}"
                f" and its modules such as {', '.join(list(modules)[1:6])}."
            )
        return modules[path]


def attach_auxiliary_block(network: Classifier, columns: AuxiliaryColumns) -> None:
    """Give a network an untrained block for patient columns; without columns nothing changes."""
    if not columns.columns:
        return
    units = network.last_linear().in_features
    if not network.single_linear:
        # The first dense layer of AlexNet and VGG takes every position of the native grid; the
        # block takes the mean over positions.
        head = network.net.get_submodule("classifier")
        first = next(layer for layer in head.modules() if isinstance(layer, nn.Linear))
        units = first.in_features // _native_grid(network.net) ** 2
    network.columns = columns
    network.auxiliary = AuxiliaryAttention(units, network.classes, columns.encoded_widths)


class FullyConvolutional(nn.Module):
    """Class maps over whole mammograms: no pooling, the head as a convolution.

    A single linear head becomes a 1x1 convolution. The first linear layer of AlexNet and VGG
    becomes a 6x6 or 7x7 convolution over the native grid. On any input the spatial mean of a
    single-linear network's class map equals its globally pooled logits. A patient's columns are not
    part of it: they act as a factor and a constant (`Classifier.attention`).
    """

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network
        self.head: nn.Module = (
            _as_convolution(network.last_linear(), 1)
            if network.single_linear
            else _convolutional_head(network.net)
        )
        # The dropout layers of the new head follow the mode of the network.
        self.train(network.training)

    def from_maps(self, maps: Tensor) -> Tensor:
        """Return class maps [n, classes, h', w'] (logits) of unit maps [n, units, h', w']."""
        return self.head(maps)

    def forward(self, x: Tensor) -> Tensor:
        """Return class maps (logits) [n, classes, h', w'] of mammograms [n, 1, h, w] in 0..255."""
        return self.head(self.network.feature_maps(x))


def to_fully_convolutional(network: Classifier) -> FullyConvolutional:
    """Return the fully convolutional form of a classifier.

    Parameters
    ----------
    network : Classifier
        A classifier for patches. The result shares its weights.

    Returns
    -------
    FullyConvolutional
        Maps mammograms [n, 1, h, w] of any size to class maps (logits) [n, classes, h', w'].

    References
    ----------
    Zhou et al. 2016, Learning deep features for discriminative localization, section 2.
    docs/reference/definitions.md, "Networks".

    Examples
    --------
    The spatial mean of the class map is the classifier's logit:

    >>> import torch
    >>> from core.networks import build, to_fully_convolutional
    >>> network = build("small", classes=2, units=8).eval()
    >>> mammogram = torch.arange(96 * 80).view(1, 1, 96, 80) % 256
    >>> class_maps = to_fully_convolutional(network)(mammogram)
    >>> tuple(class_maps.shape)
    (1, 2, 12, 10)
    >>> torch.allclose(class_maps.mean((2, 3)), network(mammogram), atol=1e-5)
    True
    """
    return FullyConvolutional(network)


def _native_grid(net: nn.Module) -> int:
    """Return the positions per side that AlexNet's (6) or VGG's (7) pooling leaves."""
    return int(net.avgpool.output_size[0])  # type: ignore[union-attr, index]


def _convolutional_head(net: nn.Module) -> nn.Sequential:
    """Return the head of AlexNet or VGG as convolutions."""
    layers: list[nn.Module] = []
    kernel = _native_grid(net)
    for layer in net.get_submodule("classifier").children():
        if isinstance(layer, nn.Linear):
            layers.append(_as_convolution(layer, kernel))
            kernel = 1  # the grid is consumed by the first linear layer
        elif isinstance(layer, nn.Dropout):
            layers.append(nn.Dropout(layer.p))
        else:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _as_convolution(linear: nn.Linear, kernel: int) -> nn.Conv2d:
    """Return a linear layer as a convolution that shares its weights."""
    channels = linear.in_features // (kernel * kernel)
    convolution = nn.Conv2d(
        channels,
        linear.out_features,
        kernel,
        device=linear.weight.device,
        dtype=linear.weight.dtype,
    )
    # A view without a copy: the first dense layer of VGG-16 takes 411 MB.
    weight = linear.weight.detach().view(linear.out_features, channels, kernel, kernel)
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    convolution.bias = (
        None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
    )
    return convolution
