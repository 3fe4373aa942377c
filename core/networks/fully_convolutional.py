"""The fully convolutional form of a classifier: class maps over whole mammograms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.networks.classifier import Classifier, native_grid, vector_head


class FullyConvolutional(nn.Module):
    """Class maps over whole mammograms: no pooling, the head as a convolution.

    A single linear head becomes a 1x1 convolution. On any input the spatial mean of such a class
    map equals the globally pooled logits; so it does for SqueezeNet, whose convolution and ReLU
    stay as they are. The first linear layer of AlexNet and VGG becomes a 6x6 or 7x7 convolution
    over the native grid; a head of several layers on pooled maps (MobileNet-v3, MaxViT) is applied
    to the mean over every window of the native size. There the class map of a patch is its logit. A
    patient's columns are not part of it: they act as a factor and a constant
    (`Classifier.attention`).
    """

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network
        self.head = _class_map_head(network)
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


def _class_map_head(network: Classifier) -> nn.Module:
    kind = network.family.kind
    if kind == "linear":
        return _as_convolution(network.last_linear(), 1)
    if kind == "grid":
        return _convolutional_head(network.net)
    if kind == "rectified":
        return nn.Sequential(network.last_linear(), nn.ReLU())
    return _WindowHead(network)


class _WindowHead(nn.Module):
    """The head of several layers, applied to the mean over each window of the native map."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.layers = vector_head(network.net.get_submodule(network.family.head))
        self.window = _native_map(network)

    def forward(self, maps: Tensor) -> Tensor:
        """Return class maps [n, classes, h'', w''] of unit maps [n, units, h', w']."""
        # An image smaller than a patch is one window.
        window = [min(own, length) for own, length in zip(self.window, maps.shape[2:])]
        pooled = F.avg_pool2d(maps, window, stride=1)
        return self.layers(pooled.movedim(1, -1)).movedim(-1, 1)


def _native_map(network: Classifier) -> tuple[int, int]:
    """Return height and width of the maps of one patch."""
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        side = network.input_side
        maps = network.feature_maps(torch.zeros(1, network.channels, side, side))
    network.train(was_training)
    return int(maps.shape[2]), int(maps.shape[3])


def _convolutional_head(net: nn.Module) -> nn.Sequential:
    """Return the head of AlexNet or VGG as convolutions."""
    layers: list[nn.Module] = []
    kernel = native_grid(net)
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
