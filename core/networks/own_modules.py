"""Networks of the user's own, named "package.module:function", under a checked contract.

The function takes the number of classes and returns a torch module with

- `forward(x)`: logits [n, classes] of normalised inputs [n, channels, h, w] of any size,
- `forward_features(x)`: the maps [n, units, h', w'] that feed the head,
- `get_classifier()`: the last layer, a `torch.nn.Linear` on the mean of the maps,
- optionally `input_mean` and `input_std`, per channel in 0..1 (default: ImageNet's three), and
  `input_side` in pixels (default: 227).

Convolutional classifiers of timm have these methods. The check computes the class map (the linear
layer at every position) of random inputs and compares its spatial mean with the logits.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UserError

TOLERANCE = 1e-4  # of the largest logit
_METHODS = ("forward_features", "get_classifier")


def is_own(arch: str) -> bool:
    """Return whether an architecture's name has the form "package.module:function"."""
    return ":" in arch


def source_hash(arch: str) -> str:
    """Return the SHA-256 of the file that defines the function of an architecture."""
    path = inspect.getsourcefile(_load_function(arch))
    if path is None:
        raise UserError(f"{arch} is not defined in a Python file; move it to one.")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def create_own_module(arch: str, classes: int) -> nn.Module:
    """Return the module that the function creates; UserError if it lacks a method."""
    function = _load_function(arch)
    try:
        created: Any = function(classes)
    # Any exception of foreign code is a fault of the named function.
    except Exception as error:
        raise UserError(
            f"{arch}({classes}) failed ({type(error).__name__}: {error}); correct the function."
        ) from error
    missing = [name for name in _METHODS if not callable(getattr(created, name, None))]
    classifier = None if missing else created.get_classifier()
    if not isinstance(created, nn.Module) or missing:
        raise UserError(
            f"{arch} must return a torch.nn.Module with {' and '.join(missing or _METHODS)}; see"
            " docs/guides/networks.md."
        )
    if not isinstance(classifier, nn.Linear):
        raise UserError(
            f"{arch}: get_classifier() gives a {type(classifier).__name__}, not a"
            " torch.nn.Linear; without one linear layer on pooled maps there is no class map."
        )
    return created


def _load_function(arch: str) -> Callable[[int], Any]:
    module_name, _, name = arch.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"The architecture {arch!r} cannot be imported ({error}); name an installed"
            " package.module:function, or add its folder to PYTHONPATH."
        ) from error
    if not callable(function):
        raise UserError(f"The architecture {arch!r} is not a function; name one.")
    return function


def check_class_map(arch: str, module: nn.Module, classes: int, channels: int, side: int) -> None:
    """Raise UserError if the mean of the class map of random inputs differs from the logits.

    Parameters
    ----------
    arch : str
        Named in the message.
    module : torch.nn.Module
        Left in its mode of training or evaluation.
    classes : int
        Number of logits that the module has to give.
    channels, side : int
        Channels and height of the inputs; they are 1.5 times as wide.
    """
    own: Any = module  # has the methods of the contract, which nn.Module does not declare
    was_training = module.training
    module.eval()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, side, side + side // 2, generator=generator)
    try:
        with torch.inference_mode():
            logits, maps = own(x), own.forward_features(x)
            _check_shapes(arch, logits, maps, classes, own.get_classifier())
            class_map = own.get_classifier()(maps.movedim(1, -1))
            difference = float((class_map.mean((1, 2)) - logits).abs().max())
    except RuntimeError as error:
        raise UserError(
            f"{arch} cannot compute inputs of {side} x {side + side // 2} px ({error}); a network"
            " must take whole mammograms, which are larger than patches."
        ) from error
    finally:
        module.train(was_training)
    scale = float(logits.abs().max())
    if not difference <= TOLERANCE * scale:
        raise UserError(
            f"The class map of {arch} is not its logit: its spatial mean differs by"
            f" {difference:.2g} from logits of up to {scale:.2g}. forward() must be"
            " get_classifier() applied to the mean over positions of forward_features(), without"
            " layers in between."
        )


def _check_shapes(
    arch: str, logits: Tensor, maps: Tensor, classes: int, classifier: nn.Linear
) -> None:
    if logits.shape != (2, classes):
        raise UserError(
            f"{arch} gives logits of shape {tuple(logits.shape)} for two inputs and {classes}"
            f" classes; it must give (2, {classes})."
        )
    if maps.ndim != 4 or maps.shape[1] != classifier.in_features:
        raise UserError(
            f"{arch}: forward_features() gives {tuple(maps.shape)}, but must give [n, units, h, w]"
            f" with the {classifier.in_features} units of get_classifier(); a class token or units"
            " in the last dimension do not fit."
        )
