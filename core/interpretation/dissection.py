"""Network dissection: per-unit maximum activations, top patches and highlight thresholds.

One forward pass over the patches writes each unit's maximum activation per patch to a patch-major
file. The patches with the largest activations follow from it. A second pass over those patches
only stores the units' maps (Bau et al. 2017; docs/reference/definitions.md, "Units").
"""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import distributed
from core.atomic_files import write_text
from core.errors import UserError
from core.images.working_images import PatchReader
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.inference import BATCH_SIZE
from core.progress import ProgressCallback

TOP_PATCH_COUNT = 64
QUANTILE_PATCHES = 512  # sample on which quantile thresholds are estimated
FLUSH_BATCHES = 8
_QUANTILE_BATCH = 64


@dataclass(frozen=True)
class TopPatches:
    """The patches with the largest activations of every unit.

    rows: int64 [units, k] into the patch table; values: float32 [units, k], largest first, equal
    values in order of the row.
    """

    rows: np.ndarray
    values: np.ndarray


@torch.inference_mode()
def compute_max_activations(
    probe: FeatureProbe,
    reader: PatchReader,
    path: Path,
    precision: str,
    report: ProgressCallback,
    batch: int = BATCH_SIZE,
) -> np.ndarray:
    """Compute the maximum activation of every unit on every patch.

    The result is written to `path` as it is computed. An interrupted pass resumes after the last
    flushed batch; `resume.json` in the same folder records its row.

    Parameters
    ----------
    probe : FeatureProbe
        Layer of the units.
    reader : PatchReader
        Patches as uint8 batches [n, 1, side, side].
    path : pathlib.Path
        The `.npy` file to write.
    precision : {"float16", "float32"}
        Number format of the file.
    report : callable
        Called with (done, total, unit of progress) after each batch.
    batch : int
        Patches per forward pass.

    Returns
    -------
    ndarray [patches, units]
        Memory-mapped. Under torchrun every rank computes a part; rank 0 writes, and on other ranks
        the array is empty.

    References
    ----------
    Bau et al. 2017, Network Dissection, section 2.2. docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import tempfile
    >>> from core.networks import build
    >>> class Patches:
    ...     def __len__(self):
    ...         return 5
    ...     def batch(self, rows):
    ...         return np.full((len(rows), 1, 64, 64), 100, np.uint8)
    >>> probe = FeatureProbe(build("small", classes=3, units=8).eval(), "last")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "activations.npy"
    ...     compute_max_activations(probe, Patches(), path, "float32", lambda *_: None).shape
    (5, 8)
    """
    progress = path.parent / "resume.json"
    # Rank 0 decides for all: every rank must join the same number of exchanges.
    done = distributed.run_on_rank_zero(lambda: _flushed_rows(progress, path))
    out = np.load(path, mmap_mode="r+") if done and distributed.is_rank_zero() else None

    def forward_batch(rows: np.ndarray) -> np.ndarray:
        """Return the maxima [n, units] of these rows."""
        maps = probe.forward(torch.from_numpy(reader.batch(rows)))[0]
        return maps.amax((2, 3)).float().cpu().numpy()

    batches = distributed.row_blocks(len(reader), batch, done)
    with probe.attached():
        for count, (rows, maxima) in enumerate(
            distributed.map_round_robin(batches, forward_batch), start=1
        ):
            if not distributed.is_rank_zero():
                continue
            if out is None:
                shape = (len(reader), maxima.shape[1])
                out = np.lib.format.open_memmap(path, "w+", np.dtype(precision), shape)
            out[rows] = maxima
            if count % FLUSH_BATCHES == 0:
                # Data first, then the record of it: a kill in between only repeats batches.
                out.flush()
                release_mapped_pages(out)
                write_text(progress, json.dumps({"rows": int(rows[-1]) + 1}))
            report(int(rows[-1]) + 1, len(reader), "patches")
    if out is None:
        return np.empty((0, 0), np.float32)
    out.flush()
    return out


def _flushed_rows(progress: Path, path: Path) -> int:
    """Return the number of rows that an interrupted pass has written."""
    if not progress.exists() or not path.exists():
        return 0
    return json.loads(progress.read_text())["rows"]


def compute_top_patches(activations: np.ndarray, k: int = TOP_PATCH_COUNT) -> TopPatches:
    """Return the patches with the largest activations of every unit.

    Parameters
    ----------
    activations : ndarray, float [patches, units]
        Maximum activations, possibly memory-mapped and larger than memory.
    k : int
        Patches per unit; all patches if there are fewer.

    Returns
    -------
    TopPatches
        Of equal activations the smallest rows.

    Raises
    ------
    UserError
        If an activation is not a number.

    References
    ----------
    Bau et al. 2017, Network Dissection, section 2.2. docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> top = compute_top_patches(np.array([[0.0, 3.0], [2.0, 1.0], [2.0, 5.0]]), k=2)
    >>> top.rows.tolist(), top.values.tolist()
    ([[1, 2], [2, 0]], [[2.0, 2.0], [5.0, 3.0]])
    """
    patches, units = activations.shape
    k = min(k, patches)
    # About 8 k groups: enough maxima for a tight bound, few enough to keep in memory.
    size = max(1, patches // (8 * k))
    starts = range(0, patches, size)
    maxima = np.stack([_read_rows(activations, start, size).max(0) for start in starts])
    if np.isnan(maxima).any():
        raise UserError(
            "The network computes activations that are not numbers; check its training history,"
            " train again and dissect the new run."
        )
    # At least k groups reach the k-th largest group maximum, so that the k-th largest activation
    # is no smaller: only the few values that reach this bound are sorted. The file is read twice
    # in its own order, never sorted as a whole.
    bound = np.partition(maxima, len(maxima) - k, axis=0)[len(maxima) - k]
    at_bound = np.zeros(units, np.int64)
    candidates: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in starts:
        block = _read_rows(activations, start, size)
        reached = block >= bound
        # A dead unit equals its bound on every patch: the first k equal values are enough.
        full = np.flatnonzero(at_bound >= k)
        reached[:, full] = block[:, full] > bound[full]
        rows, columns = np.nonzero(reached)
        values = block[rows, columns]
        at_bound += np.bincount(columns[values == bound[columns]], minlength=units)
        candidates.append((rows + start, columns, values))
    row, unit, value = (np.concatenate(part) for part in zip(*candidates))
    # lexsort takes its last key first: unit, then falling value, then row.
    order = np.lexsort((row, -value, unit))
    first = np.searchsorted(unit[order], np.arange(units))
    # Every unit has at least k candidates, by the choice of the bound.
    selected = order[first[:, None] + np.arange(k)]
    return TopPatches(row[selected].astype(np.int64), value[selected])


def _read_rows(activations: np.ndarray, start: int, size: int) -> np.ndarray:
    # A copy, because the pages behind it are released.
    block = np.array(activations[start : start + size], np.float32)
    release_mapped_pages(activations)
    return block


def release_mapped_pages(array: np.ndarray) -> None:
    """Release cached pages of a memory-mapped array.

    Files larger than RAM would otherwise exhaust it. Other arrays are left alone.
    """
    if isinstance(array, np.memmap):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def compute_top_maps(
    probe: FeatureProbe,
    reader: PatchReader,
    top: TopPatches,
    report: ProgressCallback,
    batch: int = BATCH_SIZE,
) -> np.ndarray:
    """Return every unit's maps on its top patches, float16 [units, k, h, w].

    Each patch passes the network once, for all units that have it among their top.
    """
    return compute_top_maps_and_maxima(probe, reader, top, report, batch)[0]


@torch.inference_mode()
def compute_top_maps_and_maxima(
    probe: FeatureProbe,
    reader: PatchReader,
    top: TopPatches,
    report: ProgressCallback,
    batch: int = BATCH_SIZE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps as `compute_top_maps` does, and their maxima float32 [units, k].

    The maxima are not rounded as the maps are.
    """
    units, k = top.rows.shape
    order = np.argsort(top.rows, axis=None, kind="stable")
    sorted_rows = top.rows.ravel()[order]
    unique, first = np.unique(sorted_rows, return_index=True)
    ends = np.append(first[1:], len(sorted_rows))
    out: np.ndarray | None = None
    maxima = np.zeros(units * k, np.float32)

    def forward_batch(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps [n, units, h, w] of these patches, and their maxima [n, units]."""
        maps = probe.forward(torch.from_numpy(reader.batch(unique[indices])))[0]
        return maps.half().cpu().numpy(), maps.amax((2, 3)).float().cpu().numpy()

    batches = distributed.row_blocks(len(unique), batch)
    with probe.attached():
        for indices, (maps, largest) in distributed.map_round_robin(batches, forward_batch):
            if out is None:
                out = np.zeros((units * k, *maps.shape[2:]), np.float16)
            for i, patch in enumerate(indices):
                # Flat positions (unit * k + rank) at which this patch is a top patch.
                slots = order[first[patch] : ends[patch]]
                out[slots] = maps[i, slots // k]
                maxima[slots] = largest[i, slots // k]
            report(int(indices[-1]) + 1, len(unique), "top patches")
    assert out is not None
    return out.reshape(units, k, *out.shape[1:]), maxima.reshape(units, k)


@torch.inference_mode()
def compute_quantile_thresholds(
    probe: FeatureProbe, reader: PatchReader, quantile: float, seed: int
) -> tuple[np.ndarray, int]:
    """Return Network Dissection's threshold of every unit.

    The value that the share `quantile` of all positions of a unit's maps exceeds, estimated on a
    random sample of up to 512 patches.

    Parameters
    ----------
    probe : FeatureProbe
        Layer of the units.
    reader : PatchReader
        Patches to sample from.
    quantile : float
        Share of positions; .005 in the publication.
    seed : int
        Seed of the sample.

    Returns
    -------
    thresholds : ndarray, float32 [units]
    positions : int
        Number of positions in the sample.

    References
    ----------
    Bau et al. 2017, Network Dissection, section 2.2. docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> from core.networks import build
    >>> class Patches:
    ...     def __len__(self):
    ...         return 3
    ...     def batch(self, rows):
    ...         return np.full((len(rows), 1, 64, 64), 100, np.uint8)
    >>> probe = FeatureProbe(build("small", classes=3, units=8).eval(), "last")
    >>> thresholds, positions = compute_quantile_thresholds(probe, Patches(), 0.005, seed=1)
    >>> thresholds.shape, positions
    ((8,), 192)
    """
    rng = np.random.default_rng([seed, 7])
    rows = np.sort(rng.choice(len(reader), min(QUANTILE_PATCHES, len(reader)), replace=False))
    parts: list[Tensor] = []
    with probe.attached():
        for batch_rows in np.array_split(rows, max(1, len(rows) // _QUANTILE_BATCH)):
            maps = probe.forward(torch.from_numpy(reader.batch(batch_rows)))[0]
            # Half precision, as the stored maps: halves the memory of the sample.
            parts.append(maps.permute(1, 0, 2, 3).flatten(1).half())
    values = torch.cat(parts, 1)
    k = max(1, round(quantile * values.shape[1]))
    # topk, because torch.quantile accepts at most 2^24 values.
    return values.float().topk(k, dim=1).values[:, -1].cpu().numpy(), values.shape[1]


def receptive_field_side(probe: FeatureProbe, side: int, draws: int = 4, seed: int = 3) -> int:
    """Return the side of a layer's receptive field in pixels, at most the side of the patch.

    Measured by the gradient of the map's central position with respect to noise patches.

    Parameters
    ----------
    probe : FeatureProbe
        Layer of the units.
    side : int
        Side of the patch in pixels.
    draws : int
        Noise patches. Their union counts, since ReLU and max-pooling hide pixels in a single one.
    seed : int
        Seed of the noise.

    Returns
    -------
    int

    References
    ----------
    docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> from core.networks import build
    >>> _ = torch.manual_seed(0)
    >>> receptive_field_side(FeatureProbe(build("small", classes=3).eval(), "last"), side=64)
    55
    """
    module = probe.network.layer(probe.layer)
    reached = torch.zeros(side, side, dtype=torch.bool)
    captured: list[Tensor] = []
    generator = torch.Generator().manual_seed(seed)
    handle = (
        module.register_forward_hook(lambda _m, _i, output: captured.append(output))
        if module is not None
        else None
    )
    try:
        with torch.enable_grad():
            for _ in range(draws):
                captured.clear()
                shape = (1, probe.network.channels, side, side)
                x = (torch.rand(shape, generator=generator) * 255).requires_grad_(True)
                last = probe.network.feature_maps(x)
                maps = last
                if captured:
                    maps = probe.network.layer_maps(captured[0], (side, side))
                centre = maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum()
                reached |= (torch.autograd.grad(centre, x)[0][0] != 0).any(0)
    finally:
        if handle is not None:
            handle.remove()
    rows, columns = reached.any(1).nonzero(), reached.any(0).nonzero()
    if not len(rows):
        # All central positions are dead: the patch is the only bound.
        return side
    return int(max(rows.max() - rows.min(), columns.max() - columns.min())) + 1
