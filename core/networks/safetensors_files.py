"""Reading of safetensors files: a JSON header and raw tensors, without any code.

Format: 8 bytes with the length of the header (little-endian), the header (name -> dtype, shape and
the range of its bytes), then the bytes of all tensors in row-major order
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LENGTH_BYTES = 8


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins like a safetensors file, whatever its name."""
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES + 1)
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    return start[_LENGTH_BYTES:] == b"{" and length <= path.stat().st_size - _LENGTH_BYTES


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; ValueError if its header does not fit its content."""
    data = path.read_bytes()
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    header = json.loads(data[_LENGTH_BYTES:start])
    header.pop("__metadata__", None)
    # A copy: tensors over read-only bytes are not supported.
    content = bytearray(data[start:])
    return {name: _read_tensor(name, entry, content) for name, entry in header.items()}


def _read_tensor(name: str, entry: dict[str, Any], content: bytearray) -> Tensor:
    try:
        dtype, shape = _DTYPES[entry["dtype"]], [int(length) for length in entry["shape"]]
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the entry of {name} is not readable: {error}") from error
    count = math.prod(shape)
    if not 0 <= begin <= end <= len(content) or end - begin != count * dtype.itemsize:
        raise ValueError(f"{name} needs {count * dtype.itemsize} bytes at {begin} to {end}")
    if not count:
        return torch.empty(shape, dtype=dtype)
    # Bytes first: torch.frombuffer demands offsets that are multiples of the item's size.
    values = torch.frombuffer(content, dtype=torch.uint8, count=end - begin, offset=begin)
    return values.clone().view(dtype).reshape(shape)
