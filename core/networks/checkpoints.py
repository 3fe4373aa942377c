"""Checkpoints: reading weight files without executing code, and loading them into classifiers."""

from __future__ import annotations

import codecs
import io
import pickle
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from core.networks.architectures import current_parameter_names, imagenet_state
from core.networks.classifier import AUXILIARY_PREFIX, Classifier
from core.networks.safetensors_files import is_safetensors, read_safetensors

# Keys under which training programs store the state dict.
_STATE_KEYS = ("state_dict", "model_state_dict", "model")
# What wrappers put in front of all parameter names: DataParallel puts `module.` also inside.
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
# Numbers that training programs store beside the weights, such as the best accuracy, as NumPy
# scalars: constructors of plain numbers, under the names of NumPy 1 and 2.
_NUMPY_SCALAR: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    np.dtype,
    *(type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    (codecs.encode, "_codecs.encode"),
]


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file, without executing code from it.

    The file holds a plain state dict, a dict with the key `state_dict` (or `model_state_dict`, or
    `model`), or safetensors. `module.` is removed from the parameter names. UserError if the file
    is missing, damaged or empty, was written by a newer PyTorch, or contains pickled code.
    """
    if not path.is_file():
        raise UserError(
            f"There is no weights file {path}; give an existing file, imagenet or none."
        )
    content = _read_file(path)
    state = content
    if isinstance(content, dict):
        nested = [content[key] for key in _STATE_KEYS if isinstance(content.get(key), dict)]
        state = nested[0] if nested else content
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise UserError(
            f"{path} holds no state dict; a checkpoint is a dict of tensors, or has one under"
            " 'state_dict'."
        )
    if not state:
        raise UserError(f"{path} holds no weights: its state dict is empty; export it again.")
    # DataParallel put `module.` in front of the published names; for AlexNet and VGG, where only
    # the features ran in parallel, it stands inside `features.`.
    return {
        ".".join(part for part in key.split(".") if part != "module"): value
        for key, value in state.items()
    }


def _read_file(path: Path) -> object:
    try:
        if is_safetensors(path):
            return read_safetensors(path)
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    # The restricted unpickler raises almost any exception type on a damaged or foreign file.
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    """Return the error for a file that torch.load rejects."""
    stored, supported = _format_version(path), _written_version()
    if stored > supported:
        return UserError(
            f"{path} was written in version {stored} of PyTorch's file format, but the installed"
            f" {torch.__version__} writes version {supported}; update PyTorch, or store the weights"
            " as safetensors."
        )
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
    elif isinstance(error, EOFError):
        reason = "it is empty or ends too early"
    else:
        reason = str(error).split(". ")[0].split("\n")[0] or type(error).__name__
    return UserError(f"{path} is not a readable checkpoint ({reason}); download it again.")


def _format_version(file: Path | io.BytesIO) -> int:
    """Return the version that a file of torch.save states, 0 for another kind of file."""
    if not zipfile.is_zipfile(file):
        return 0
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.split("/")[-1] == "version"]
        text = archive.read(names[0]).strip() if names else b""
    return int(text) if text.isdigit() else 0


def _written_version() -> int:
    """Return the version of the files that the installed PyTorch writes."""
    buffer = io.BytesIO()
    torch.save({}, buffer)
    return _format_version(buffer)


def head_size(state: dict[str, Tensor]) -> int:
    """Return the number of classes of a state dict: the length of its last bias.

    UserError for a state dict without any bias.

    Examples
    --------
    >>> head_size({"conv.bias": torch.zeros(64), "fc.weight": torch.zeros(3, 64),
    ...            "fc.bias": torch.zeros(3)})
    3
    """
    biases = [value for key, value in state.items() if key.endswith("bias") and value.ndim == 1]
    if not biases:
        raise UserError(
            "The state dict holds no bias of a last layer; give the checkpoint of a classifier."
        )
    return len(biases[-1])


def load_state(network: Classifier, state: dict[str, Tensor], origin: Path | str) -> None:
    """Load a state dict of the same architecture and number of classes.

    The auxiliary block's weights are ignored. origin: the file, named in the UserError if the state
    dict does not fit.
    """
    _load_fitting(network, state, origin, head_replaceable=False)


def load_body(network: Classifier, state: dict[str, Tensor], origin: Path | str) -> list[str]:
    """Load a state dict whose head may be absent or have another number of classes.

    Return the parameters of the file that were left out, with their shapes: of the head, and of
    parts that the architecture does not have, such as a projection. UserError if the body does not
    fit.
    """
    return _load_fitting(network, state, origin, head_replaceable=True)


def _load_fitting(
    network: Classifier, state: dict[str, Tensor], origin: Path | str, *, head_replaceable: bool
) -> list[str]:
    own, head = network.net.state_dict(), network.head_parameters()
    state = _own_names(network.arch, state, own, origin)
    replaced = {
        key
        for key in head
        if head_replaceable and (key not in state or state[key].shape != own[key].shape)
    }
    # A part of another name is no part of this architecture; one inside a known part is a sign of
    # another architecture, such as a deeper one.
    known_parts = {key.split(".")[0] for key in own}
    foreign = {
        key
        for key in state
        if key not in own and head_replaceable and key.split(".")[0] not in known_parts
    }
    # Checkpoints older than PyTorch 0.4.1 lack the counters of batch normalisation.
    complete = {**{k: v for k, v in own.items() if k.endswith("num_batches_tracked")}, **state}
    missing = [k for k in own if k not in complete and k not in replaced]
    unknown = [k for k in state if k not in own and k not in foreign]
    if missing or unknown:
        raise UserError(
            f"{origin} is not a checkpoint of {network.arch}: {(missing or unknown)[0]} is"
            f" {'missing' if missing else 'unknown'}; give the right --arch."
        )
    fitting = {key: complete[key] for key in own if key not in replaced}
    _check_values(network, fitting, own, origin)
    network.net.load_state_dict({**own, **fitting})
    return [f"{k} {tuple(state[k].shape)}" for k in sorted(replaced | foreign) if k in state]


def _own_names(
    arch: str, state: dict[str, Tensor], own: Iterable[str], origin: Path | str
) -> dict[str, Tensor]:
    """Return a state dict under the module's own names, without prefixes and auxiliary parts."""
    known, renamed = set(own), {}
    for key, value in state.items():
        name = key
        while name not in known and name.startswith(_PREFIXES):
            name = name.partition(".")[2]
        if name in renamed:
            raise UserError(
                f"{origin} holds {name} twice, with and without a prefix; store one state dict."
            )
        renamed[name] = value
    renamed = current_parameter_names(arch, renamed)
    return {k: v for k, v in renamed.items() if not k.startswith(AUXILIARY_PREFIX)}


def _check_values(
    network: Classifier, state: dict[str, Tensor], own: dict[str, Tensor], origin: Path | str
) -> None:
    """Raise UserError for a tensor of another shape, or one with values that are not numbers."""
    for key, value in state.items():
        if own[key].shape != value.shape:
            raise UserError(
                f"{origin} does not fit {network.arch} with {network.classes} classes: {key} is"
                f" {tuple(value.shape)}, not {tuple(own[key].shape)}."
            )
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"{origin} holds values of {key} that are not finite numbers; export a checkpoint"
                " from before the training diverged."
            )


def load_imagenet_weights(network: Classifier) -> None:
    """Load torchvision's ImageNet weights into everything but the classification head.

    UserError for a network of this project, and where the weights do not fit.
    """
    if network.from_scratch:
        raise UserError(
            f'The "{network.arch}" network has no ImageNet weights; set training.weights = "none".'
        )
    load_body(network, imagenet_state(network.arch), "The file of ImageNet weights")
