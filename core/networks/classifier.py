"""Classifiers: a body that computes unit maps, a pooling, and a head.

Every classifier takes patches or whole mammograms as uint8 or float [n, 1, h, w] (grey) or
[n, 3, h, w] (colour) in 0..255 and normalises them itself, so that patches and mammograms cannot
be prepared differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import UserError
from core.networks import architectures
from core.networks.auxiliary_inputs import AuxiliaryAttention, AuxiliaryColumns
from core.networks.fused_body import FusedBody, fuse_body
from core.networks.own_modules import is_own
from core.networks.tiles import join_tiles, split_tiles

AUXILIARY_PREFIX = "auxiliary."  # of the auxiliary block's weights in a checkpoint
# Means and standard deviations per channel of inputs in 0..1.
_Normalization = tuple[Sequence[float], Sequence[float]]
IMAGENET_NORMALIZATION: _Normalization = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF_NORMALIZATION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_SMALL_NORMALIZATION = ((110 / 255,), (45 / 255,))
# Between the fused form and the separate operations, in units of the largest value: rounding.
_LARGEST_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.1}
# The body of an own module is its `forward_features`.
_OWN_FAMILY = architectures.Family(body=(), head="")


class Classifier(nn.Module):
    """A patch classifier with named layers.

    Parameters
    ----------
    arch : str
        Name of the architecture: "small", a torchvision classifier, or "package.module:function".
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
        Side of a patch in pixels: the architecture's own, or that of the patches it was trained on.
    family : Family
        How the architecture is built.
    single_linear : bool
        Whether the head is one linear layer on pooled maps. Influence is then activation x weight.
    precision : {"float32", "bfloat16"}
        Number format of the body. Feature maps and logits are float32 in either case.
    fused : FusedBody or None
        Form of the body that `feature_maps` runs for inference, once `fuse` has set it.
    inference : dict
        What `fuse` chose, for the record of a run: "form" is "fused" or "modules", "difference" the
        largest difference between both on one patch, in units of the largest value.
    channels : int
        Channels of the images: 1 (grey) or 3 (colour).
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
        own = is_own(arch)
        self.family = _OWN_FAMILY if own else architectures.family_of(arch)
        default_side = getattr(net, "input_side", architectures.DEFAULT_INPUT_SIDE)
        self.input_side = architectures.INPUT_SIDES.get(arch, default_side)
        self.precision = "float32"
        self.channels = 1
        self.fused: FusedBody | None = None
        self._hooked: tuple[nn.Module, ...] = ()  # the modules whose hooks the fused form lacks
        self.inference: dict[str, str | float] = {"form": "modules"}
        self.columns = AuxiliaryColumns()
        self.auxiliary: AuxiliaryAttention | None = None
        self.from_scratch = arch in architectures.OWN_NETWORKS
        self.single_linear = self.family.kind == "linear"
        normalization: _Normalization = IMAGENET_NORMALIZATION
        if self.from_scratch:
            normalization = _SMALL_NORMALIZATION
        elif self.family.half_normalization:
            normalization = _HALF_NORMALIZATION
        elif own:
            mean, std = IMAGENET_NORMALIZATION
            normalization = (getattr(net, "input_mean", mean), getattr(net, "input_std", std))
        # Not persistent: the state dict keeps torchvision's names.
        self.register_buffer("mean", torch.zeros(1), persistent=False)
        self.register_buffer("std", torch.ones(1), persistent=False)
        self.set_normalization(*normalization)

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set mean and standard deviation per channel of inputs in 0..1."""
        self.mean = (255 * torch.tensor(mean, dtype=torch.float64)).float().view(1, -1, 1, 1)
        self.std = (255 * torch.tensor(std, dtype=torch.float64)).float().view(1, -1, 1, 1)

    def normalize(self, x: Tensor) -> Tensor:
        """Return the normalised input [n, 1 or 3, h, w] of uint8 or float [n, 1, h, w] in 0..255.

        torchvision networks get three channels with ImageNet's mean and standard deviation;
        Inception-v3 and GoogLeNet with .5 and .5, which is what torchvision's `transform_input`
        makes of them.
        """
        # The memory order of the weights: no convolution has to reorder its input.
        x = (x.to(self.mean.device, self.mean.dtype) - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last)

    def feature_maps(self, x: Tensor) -> Tensor:
        """Return the unit maps that feed the head, float32 [n, units, h', w'].

        x: uint8 or float [n, 1, h, w] in 0..255.
        """
        shape = (int(x.shape[2]), int(x.shape[3]))
        x = split_tiles(x, self._native_side) if self.family.tiled else x
        x = self.normalize(x)
        if self.fused is not None and self._can_run_fused():
            maps = self.fused(x)
        else:
            with self._autocast(x):
                maps = self._run_body(x)
        if self.family.tiled:
            maps = join_tiles(maps, shape, self._native_side)
        if self.family is architectures.CONVNEXT:
            norm = self.net.get_submodule("classifier.0")
            assert isinstance(norm, nn.LayerNorm)
            maps = _normalize_by_image(maps, norm)
        return maps.float()

    def _run_body(self, x: Tensor) -> Tensor:
        if is_own(self.arch):
            return self.net.forward_features(x)  # type: ignore[operator]
        for name in self.family.body:
            # DenseNet applies its last ReLU as a function, so that there is no such module.
            if name == "relu" and not hasattr(self.net, "relu"):
                x = F.relu(x)
            else:
                x = self.net.get_submodule(name)(x)
        return x

    def _can_run_fused(self) -> bool:
        """Return whether only values are wanted: no gradients, and no module's hook."""
        return not (
            self.training
            or torch.is_grad_enabled()
            or any(module._forward_hooks for module in self._hooked)
        )

    def fused_form(self, layer: nn.Module | None = None) -> FusedBody | None:
        """Return the fused form of the body with the output of a layer; None if there is none.

        The network is in evaluation mode, and its weights do not change afterwards.
        """
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        return fuse_body(_Body(self), layer, dtype)

    def fuse(self) -> None:
        """Run the fused form of the body for inference from now on, where it gives the same."""
        self.fused, self.inference = None, {"form": "modules"}
        fused = self.fused_form()
        if fused is None:
            return
        self._hooked = tuple(self.net.modules())
        generator = torch.Generator().manual_seed(0)
        channels = max(self.channels, int(self.mean.shape[1]))
        shape, kind = (1, channels, self.input_side, self.input_side), torch.uint8
        patch = torch.randint(0, 256, shape, generator=generator, dtype=kind)
        with torch.inference_mode():
            expected = self.feature_maps(patch)
            self.fused = fused
            maps = self.feature_maps(patch)
        largest = expected.abs().max().clamp(min=1e-30)
        difference = float(((maps - expected).abs().max() / largest).cpu())
        # Also refuses NaN.
        if not difference <= _LARGEST_DIFFERENCE[self.precision]:
            self.fused = None
        form = "modules" if self.fused is None else "fused"
        self.inference = {"form": form, "difference": difference}

    @property
    def _native_side(self) -> int:
        return architectures.INPUT_SIDES[self.arch]

    def _autocast(self, x: Tensor) -> AbstractContextManager[object]:
        if self.precision == "bfloat16":
            return torch.autocast(x.device.type, torch.bfloat16)
        return nullcontext()

    def _head(self) -> nn.Module:
        if is_own(self.arch):
            return self.net.get_classifier()  # type: ignore[operator]
        return self.net.get_submodule(self.family.head)

    def last_linear(self) -> nn.Linear:
        """Return the last linear layer (of SqueezeNet: the last convolution)."""
        kind = nn.Conv2d if self.family.kind == "rectified" else nn.Linear
        layers = [module for module in self._head().modules() if isinstance(module, kind)]
        return layers[-1]  # type: ignore[return-value]

    def head_parameters(self) -> list[str]:
        """Return the names of the parameters whose size depends on the number of classes."""
        last = self.last_linear()
        prefix = next(name for name, module in self.net.named_modules() if module is last)
        return [f"{prefix}.{name}" for name, _ in last.named_parameters()]

    @property
    def unit_count(self) -> int:
        """Channels of the maps that feed the head."""
        if self.family.kind == "rectified":
            return self.last_linear().in_channels  # type: ignore[return-value]
        first = next(layer for layer in self._head().modules() if isinstance(layer, nn.Linear))
        # The first dense layer of AlexNet and VGG takes every position of the native grid.
        positions = native_grid(self.net) ** 2 if self.family.kind == "grid" else 1
        return first.in_features // positions

    def class_weights(self) -> Tensor:
        """Return the weights [classes, units] of the single linear head, on the CPU.

        UserError for networks whose head is more than one linear layer, such as AlexNet and VGG.
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
        kind, head = self.family.kind, self._head()
        if kind == "linear":
            pooled = maps[:, :, :7, :7] if self.pool == "top_left_7" else maps
            # The maps of ConvNeXt are normalised already: only its linear layer is left.
            head = self.last_linear() if self.family is architectures.CONVNEXT else head
            return head(pooled.mean((2, 3)))
        if kind == "grid":
            return head(torch.flatten(self.net.get_submodule("avgpool")(maps), 1))
        if kind == "rectified":
            return head(maps).flatten(1)
        return vector_head(head)(maps.mean((2, 3)))

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
        named = {} if is_own(self.arch) else architectures.named_layers(self.arch)
        if name == "last":
            if self.single_linear:
                return None
            return self.net.get_submodule(list(named.values())[-1] if named else "features")
        modules = dict(self.net.named_modules())
        path = named.get(name, name)
        # Modules inside the stages of transformers give tokens of windows, no maps.
        has_map = path in named.values() or not (self.family.channels_last or self.family.tiled)
        if path not in modules or not name or not has_map:
            modules_text = f" and its modules such as {', '.join(list(modules)[1:6])}"
            raise UserError(
                f"{self.arch} has no layer {name!r}; it has {', '.join(named) or 'no named layers'}"
                f"{modules_text if has_map else ''}."
            )
        return modules[path]

    @property
    def unit_axis(self) -> int:
        """Axis of the units in the output of the modules that `layer` returns."""
        return 3 if self.family.channels_last else 1

    def layer_maps(self, output: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return the output of a module of `layer` as maps [n, units, h', w'].

        shape: height and width of the input.
        """
        output = output.movedim(self.unit_axis, 1)
        return join_tiles(output, shape, self._native_side) if self.family.tiled else output


class _Body(nn.Module):
    """The body of a classifier as a module, which can be traced."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the last maps of the normalised input."""
        return self.network._run_body(x)


def attach_auxiliary_block(network: Classifier, columns: AuxiliaryColumns) -> None:
    """Give a network an untrained block for patient columns; without columns nothing changes."""
    if not columns.columns:
        return
    network.columns = columns
    network.auxiliary = AuxiliaryAttention(
        network.unit_count, network.classes, columns.encoded_widths
    )


def native_grid(net: nn.Module) -> int:
    """Return the positions per side that AlexNet's (6) or VGG's (7) pooling leaves."""
    return int(net.avgpool.output_size[0])  # type: ignore[union-attr, index]


def vector_head(head: nn.Module) -> nn.Sequential:
    """Return the layers of a head behind its pooling, which act on vectors [..., units]."""
    return nn.Sequential(
        *(m for m in head.children() if not isinstance(m, (nn.AdaptiveAvgPool2d, nn.Flatten)))
    )


def _normalize_by_image(maps: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Return maps [n, units, h', w'] normalised by the mean and deviation of their pooled units.

    ConvNeXt normalises the pooled vector (layer normalisation) before its linear layer. With the
    same mean and deviation at every position, the mean over positions is that vector.
    """
    pooled = maps.float().mean((2, 3), keepdim=True)
    mean = pooled.mean(1, keepdim=True)
    variance = pooled.var(1, unbiased=False, keepdim=True)
    weight, bias = (getattr(norm, name).view(1, -1, 1, 1) for name in ("weight", "bias"))
    return (maps.float() - mean) / (variance + norm.eps).sqrt() * weight + bias
