"""Stand-ins for patch readers and progress callbacks, shared by several tests."""

from __future__ import annotations

import numpy as np


class ArrayPatches:
    """Patches uint8 [n, 1, s, s] from an array, in place of a PatchReader."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.side = x.shape[-1]

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Return the patches of these rows."""
        return self.x[rows]


def no_progress(*_: object) -> None:
    """Ignore progress."""
