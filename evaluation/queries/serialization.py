"""Results as JSON and back: dataclasses by their names, arrays, and plain values.

What comes back equals what went in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

NAME, ARRAY = "is", "array"


def encode(value: Any) -> Any:
    """A result as what JSON can hold. A tuple becomes a list; keys of dicts must be texts."""
    if is_dataclass(value) and not isinstance(value, type):
        return {NAME: type(value).__name__} | {
            f.name: encode(getattr(value, f.name)) for f in fields(value)
        }
    if isinstance(value, np.ndarray):
        return {ARRAY: value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: encode(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(part) for part in value]
    return value


def decode(value: Any, types: Iterable[type]) -> Any:
    """What `encode` made, with its dataclasses among `types`; lists become tuples.

    KeyError for a dataclass that is not among them, TypeError for one whose fields have changed
    since.
    """
    known = {kind.__name__: kind for kind in types}

    def back(part: Any) -> Any:
        if isinstance(part, list):
            return tuple(back(p) for p in part)
        if not isinstance(part, dict):
            return part
        if ARRAY in part:
            return np.array(part[ARRAY])
        if NAME in part:
            return known[part[NAME]](**{key: back(p) for key, p in part.items() if key != NAME})
        return {key: back(p) for key, p in part.items()}

    return back(value)
