"""The device that networks run on: the CPU, or a GPU by the variable DEEPMINER_DEVICE."""

from __future__ import annotations

import os

import torch

from core.errors import UserError


def select_device() -> torch.device:
    """Return the device of this process's networks.

    DEEPMINER_DEVICE is "cpu" (also without the variable), "cuda", or "auto" for a GPU where there
    is one. Under torchrun each process takes the GPU of its local rank. UserError if there is no
    such GPU.
    """
    name = os.environ.get("DEEPMINER_DEVICE", "cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cuda":
        return torch.device(name)
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise UserError(
            f"DEEPMINER_DEVICE is cuda, but this machine has {torch.cuda.device_count()} GPUs for"
            f" process {number + 1}; start fewer processes, or unset it."
        )
    torch.cuda.set_device(number)
    # cuDNN otherwise picks algorithms by timing, and the same seed gives other weights.
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda", number)
