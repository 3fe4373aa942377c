"""Dissection: what excites every unit.

One forward pass over the patches writes each unit's largest activation per patch (DEFINITIONS
"Units": activation) to a patch-major file; the 64 patches with the largest activations follow from
it, and a second look at only those patches keeps the units' maps for the pictures.
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
from core.errors import UserError
from core.images.working_images import PatchReader
from core.interpretation.inference import BATCH, Probe
from core.runs import Report
from core.study_folder import write_text

TOP = 64
SAMPLE_PATCHES = 512
FLUSH_BATCHES = 8


@dataclass(frozen=True)
class TopPatches:
    """Per unit the patches with the largest activations: rows int64 [units, k] into the patch
    table, values float32 [units, k], largest first, equal values in order of the row.
    """

    rows: np.ndarray
    values: np.ndarray


@torch.inference_mode()
def compute_max_activations(
    probe: Probe,
    reader: PatchReader,
    path: Path,
    precision: str,
    report: Report,
    batch: int = BATCH,
) -> np.ndarray:
    """Largest activation of every unit on every patch: a memory-mapped `.npy` [patches, units] at
    `path`. A killed pass goes on where it was flushed last (the note `resume.json` beside the file
    says how far). Of many processes each looks at its part, and the first writes; in the others the
    array is empty.
    """
    note = path.parent / "resume.json"
    done = distributed.once(
        lambda: json.loads(note.read_text())["rows"] if note.exists() and path.exists() else 0
    )
    out = np.load(path, mmap_mode="r+") if done and distributed.first() else None

    def look(rows: np.ndarray) -> np.ndarray:
        return probe.run(torch.from_numpy(reader.batch(rows)))[0].amax((2, 3)).float().cpu().numpy()

    with probe.watching():
        for count, (rows, largest) in enumerate(
            distributed.dealt(distributed.blocks(len(reader), batch, done), look), start=1
        ):
            if not distributed.first():
                continue
            if out is None:
                out = np.lib.format.open_memmap(
                    path,
                    mode="w+",
                    dtype=np.dtype(precision),
                    shape=(len(reader), largest.shape[1]),
                )
            out[rows] = largest
            if count % FLUSH_BATCHES == 0:
                out.flush()
                forget(out)
                write_text(note, json.dumps({"rows": int(rows[-1]) + 1}))
            report(int(rows[-1]) + 1, len(reader), "patches")
    if out is None:
        return np.empty((0, 0), np.float32)
    out.flush()
    return out


def top_patches(activations: np.ndarray, k: int = TOP) -> TopPatches:
    """The k patches with the largest activation of every unit, from [patches, units]; of equal
    values the smallest rows win. Two readings of the file in its own order: the k-th largest
    maximum of groups of patches bounds the k-th largest value from below, so that only the few
    values that reach the bound are ever sorted. UserError if an activation is not a number.
    """
    patches, units = activations.shape
    k = min(k, patches)
    size = max(1, patches // (8 * k))
    groups = range(0, patches, size)
    largest = np.stack([_rows(activations, start, size).max(0) for start in groups])
    if np.isnan(largest).any():
        raise UserError(
            "The network gives activations that are not numbers; look at its training history,"
            " train again and dissect that."
        )
    bound = np.partition(largest, len(largest) - k, axis=0)[len(largest) - k]
    equal = np.zeros(units, np.int64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in groups:
        x = _rows(activations, start, size)
        reached = x >= bound
        # A dead unit is equal to its bound everywhere: of equal values the first k are enough.
        full = np.flatnonzero(equal >= k)
        reached[:, full] = x[:, full] > bound[full]
        rows, columns = np.nonzero(reached)
        values = x[rows, columns]
        equal += np.bincount(columns[values == bound[columns]], minlength=units)
        found.append((rows + start, columns, values))
    row, unit, value = (np.concatenate(part) for part in zip(*found))
    order = np.lexsort((row, -value, unit))
    first = np.searchsorted(unit[order], np.arange(units))
    chosen = order[first[:, None] + np.arange(k)]
    return TopPatches(row[chosen].astype(np.int64), value[chosen])


def _rows(activations: np.ndarray, start: int, size: int) -> np.ndarray:
    part = np.array(activations[start : start + size], np.float32)
    forget(activations)
    return part


def forget(array: np.ndarray) -> None:
    """Let go of the pages of a memory-mapped file that have been read or written: a file larger
    than memory must not fill it.
    """
    if isinstance(array, np.memmap):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


@torch.inference_mode()
def top_maps(
    probe: Probe, reader: PatchReader, top: TopPatches, report: Report, batch: int = BATCH
) -> np.ndarray:
    """Maps float16 [units, k, h, w] of every unit on its top patches; each patch is looked at once,
    for all its units (of many processes by one of them).
    """
    units, k = top.rows.shape
    order = np.argsort(top.rows, axis=None, kind="stable")
    wanted = top.rows.ravel()[order]
    unique, first = np.unique(wanted, return_index=True)
    ends = np.append(first[1:], len(wanted))
    out: np.ndarray | None = None

    def look(some: np.ndarray) -> np.ndarray:
        return probe.run(torch.from_numpy(reader.batch(unique[some])))[0].half().cpu().numpy()

    with probe.watching():
        for some, maps in distributed.dealt(distributed.blocks(len(unique), batch), look):
            if out is None:
                out = np.zeros((units * k, *maps.shape[2:]), np.float16)
            for i, patch in enumerate(some):
                slots = order[first[patch] : ends[patch]]
                out[slots] = maps[i, slots // k]
            report(int(some[-1]) + 1, len(unique), "top patches")
    assert out is not None
    return out.reshape(units, k, *out.shape[1:])


@torch.inference_mode()
def quantiles(
    probe: Probe, reader: PatchReader, quantile: float, seed: int
) -> tuple[np.ndarray, int]:
    """Network Dissection's threshold: the value that the share `quantile` of a unit's map positions
    exceeds, float32 [units], estimated on all positions of up to 512 patches drawn at random; and
    the number of positions (Bau et al. 2017, section 2.2).
    """
    rng = np.random.default_rng([seed, 7])
    rows = np.sort(rng.choice(len(reader), min(SAMPLE_PATCHES, len(reader)), replace=False))
    parts: list[Tensor] = []
    with probe.watching():
        for some in np.array_split(rows, max(1, len(rows) // 64)):
            maps = probe.run(torch.from_numpy(reader.batch(some)))[0]
            parts.append(maps.permute(1, 0, 2, 3).flatten(1).half())
    values = torch.cat(parts, 1)
    k = max(1, round(quantile * values.shape[1]))
    return values.float().topk(k, dim=1).values[:, -1].cpu().numpy(), values.shape[1]


def region(unit_map: np.ndarray, side: int, threshold: float) -> np.ndarray:
    """bool [side, side]: where a unit's map [h, w], upsampled bilinearly to the patch, exceeds the
    threshold (published: 0.2 x the unit's largest).
    """
    up = torch.nn.functional.interpolate(
        torch.from_numpy(np.asarray(unit_map, np.float32))[None, None],
        size=(side, side),
        mode="bilinear",
        align_corners=False,
    )
    return up[0, 0].numpy() > threshold


def receptive_field(probe: Probe, side: int, draws: int = 4, seed: int = 3) -> int:
    """Side in pixels of what one position of the layer's map can see of a patch of `side`, from the
    gradient of a position in the middle to noise patches (the union of `draws`; at most the patch).
    """
    module, seen = probe.network.layer(probe.name), torch.zeros(side, side, dtype=torch.bool)
    kept: list[Tensor] = []
    generator = torch.Generator().manual_seed(seed)
    handle = (
        module.register_forward_hook(lambda _m, _i, output: kept.append(output))
        if module is not None
        else None
    )
    try:
        with torch.enable_grad():
            for _ in range(draws):
                kept.clear()
                x = (torch.rand(1, 1, side, side, generator=generator) * 255).requires_grad_(True)
                last = probe.network.maps(x)
                maps = kept[0] if kept else last
                middle = maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum()
                seen |= torch.autograd.grad(middle, x)[0][0, 0] != 0
    finally:
        if handle is not None:
            handle.remove()
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    if not len(rows):
        return side
    return int(max(rows.max() - rows.min(), columns.max() - columns.min())) + 1
