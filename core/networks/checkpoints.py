"""Checkpoints: reading weight files without executing code, and loading them into classifiers."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from core.errors import UserError
from core.networks.architectures import imagenet_state
from core.networks.classifier import AUXILIARY_PREFIX, Classifier


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file, without executing code from it.

    The file holds a plain state dict or a dict with the key `state_dict`. `module.` is removed from
    the parameter names. UserError if the file is missing, damaged or contains pickled code.
    """
    if not path.is_file():
        raise UserError(
            f"There is no weights file {path}; give an existing file, imagenet or none."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # The restricted unpickler raises almost any exception type on a damaged or foreign file.
    except Exception as error:
        raise _unreadable(path, error) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise UserError(
            f"{path} holds no state dict; a checkpoint is a dict of tensors, or has one under"
            " 'state_dict'."
        )
    # DataParallel put `module.` in front of the published names; for AlexNet and VGG, where only
    # the features ran in parallel, it stands inside `features.`.
    return {
        ".".join(part for part in key.split(".") if part != "module"): value
        for key, value in state.items()
    }


def _unreadable(path: Path, error: Exception) -> UserError:
    """Return the error for a file that torch.load rejects."""
    if isinstance(error, pickle.UnpicklingError):
        # torch names the global that it refuses to import: the file is a pickle with code.
        if "GLOBAL" in str(error) or "class" in str(error):
            return UserError(
                f"{path} was rejected: besides weights it contains a pickle that would run code;"
                " ask its author for a plain state dict."
            )
        reason = "not a weights file"
    elif isinstance(error, LookupError):
        reason = "not a weights file"
    else:
        reason = str(error).split(". ")[0].split("\n")[0] or type(error).__name__
    return UserError(f"{path} is not a readable checkpoint ({reason}); download it again.")


def load_state(network: Classifier, state: dict[str, Tensor], path: Path) -> None:
    """Load a state dict of the same architecture and number of classes.

    The auxiliary block's weights are ignored. path: named in the UserError if the state dict does
    not fit.
    """
    own = network.net.state_dict()
    state = {
        key: value
        for key, value in state.items()
        if not key.startswith(("AuxLogits.", AUXILIARY_PREFIX))
    }
    # Checkpoints older than PyTorch 0.4.1 lack the counters of batch normalisation.
    state = {**{k: v for k, v in own.items() if k.endswith("num_batches_tracked")}, **state}
    missing, unknown = [k for k in own if k not in state], [k for k in state if k not in own]
    if missing or unknown:
        raise UserError(
            f"{path} is not a checkpoint of {network.arch}: {(missing or unknown)[0]} is"
            f" {'missing' if missing else 'unknown'}; give the right --arch."
        )
    for key, value in own.items():
        if value.shape != state[key].shape:
            raise UserError(
                f"{path} does not fit {network.arch} with {network.classes} classes: {key} is"
                f" {tuple(state[key].shape)}, not {tuple(value.shape)}."
            )
    network.net.load_state_dict(state)


def load_imagenet_weights(network: Classifier) -> None:
    """Load torchvision's ImageNet weights into everything but the classification head.

    UserError for the small network, and where the weights do not fit.
    """
    if network.small:
        raise UserError(
            'The "small" network has no ImageNet weights; set training.weights = "none".'
        )
    state, own = imagenet_state(network.arch), network.net.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    # Only the last linear layer may differ: it has 1,000 outputs in ImageNet's weights.
    classes = network.last_linear().weight.shape[:1]
    missing = [k for k in own if k not in fitting and own[k].shape[:1] != classes]
    if missing:
        raise UserError(f"The ImageNet weights do not fit {network.arch}: {missing[0]} is missing.")
    network.net.load_state_dict({**own, **fitting})
