"""Patient-level resampling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluation.validation import Array

# Numbers in one block of resamples: 32 MB.
BLOCK = 4_000_000


def drawn_clusters(clusters: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each patient is drawn, in blocks of resamples that fit the memory, float64 [block,
    clusters]; every row sums to `clusters`.
    """
    generator, block = np.random.default_rng(seed), max(1, BLOCK // clusters)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        picks = (
            generator.integers(0, clusters, size=(rows, clusters))
            + clusters * np.arange(rows)[:, None]
        )
        yield (
            np.bincount(picks.ravel(), minlength=rows * clusters)
            .reshape(rows, clusters)
            .astype(np.float64)
        )


def draw_clusters(clusters: int, resamples: int, seed: int) -> Array:
    """All blocks of `drawn_clusters` as one array [resamples, clusters]."""
    return np.concatenate(list(drawn_clusters(clusters, resamples, seed)))
