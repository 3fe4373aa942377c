"""Where networks compute: the processor, or a GPU where `DEEPMINER_DEVICE=cuda` asks for it."""

from __future__ import annotations

import os

import torch

from core.errors import UserError


def device() -> torch.device:
    """The device of this process's networks.

    Of many processes on one machine each takes its own GPU. UserError if there is none.
    """
    name = os.environ.get("DEEPMINER_DEVICE", "cpu")
    if name != "cuda":
        return torch.device(name)
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise UserError(
            f"DEEPMINER_DEVICE is cuda, but this machine has {torch.cuda.device_count()} GPUs for"
            f" process {number + 1}; start fewer, or unset it."
        )
    torch.cuda.set_device(number)
    torch.backends.cudnn.deterministic = True  # the same seed gives the same weights
    return torch.device("cuda", number)
