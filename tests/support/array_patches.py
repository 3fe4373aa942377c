"""Stand-ins that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Memory:
    """Patches uint8 [n, 1, s, s] from an array, in place of films."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.side = x.shape[-1]

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        return self.x[rows]

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(self.x), size):
            rows = np.arange(start, min(start + size, len(self.x)))
            yield rows, self.x[rows]
