"""Dissection of maps that are the patches themselves: samples, blocks, progress and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.interpretation import dissection
from core.interpretation.dissection import TopPatches
from support.array_patches import ArrayPatches, no_progress


class PixelProbe:
    """A layer with two units whose maps are a patch and its negative; counts the patches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.is_attached = False

    @contextmanager
    def attached(self) -> Iterator[None]:
        self.is_attached = True
        yield
        self.is_attached = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert self.is_attached
        self.sizes.append(len(x))
        maps = torch.cat([x.float(), -x.float()], 1)
        return maps, maps + 1000


def patches_of(values: np.ndarray) -> ArrayPatches:
    """Return patches of 2 x 3 pixels: a value, and smaller ones."""
    pixels = np.zeros((len(values), 1, 2, 3), np.uint8)
    pixels[:, 0, 1, 2], pixels[:, 0, 0, 1] = values, values // 2
    return ArrayPatches(pixels)


def test_activations_and_their_progress(tmp_path: Path) -> None:
    values = np.array([3, 9, 200, 7, 0, 11, 5, 8, 50], np.uint8)
    probe, reports = PixelProbe(), []
    found = dissection.compute_max_activations(
        probe, patches_of(values), tmp_path / "a.npy", "float16",
        lambda *report: reports.append(report), batch=1,
    )  # fmt: skip
    assert found.tolist() == [[value, 0] for value in values.tolist()]
    assert found.dtype == np.load(tmp_path / "a.npy").dtype == np.float16
    assert reports == [(row, 9, "patches") for row in range(1, 10)]
    # Every eighth batch is recorded.
    assert json.loads((tmp_path / "resume.json").read_text()) == {"rows": 8}
    # What is recorded is not computed again.
    (tmp_path / "resume.json").write_text('{"rows": 7}')
    stored = np.load(tmp_path / "a.npy", mmap_mode="r+")
    stored[2], stored[8] = (1, 2), (0, 0)
    again = PixelProbe()
    found = dissection.compute_max_activations(
        again, patches_of(values), tmp_path / "a.npy", "float16", no_progress
    )
    assert again.sizes == [2] and found[:, 0].tolist() == [3, 9, 1, 7, 0, 11, 5, 8, 50]


def test_patches_of_a_pass_come_by_64(tmp_path: Path) -> None:
    probe, patches = PixelProbe(), patches_of(np.arange(70, dtype=np.uint8))
    found = dissection.compute_max_activations(
        probe, patches, tmp_path / "a.npy", "float32", no_progress
    )
    assert probe.sizes == [64, 6] and not (tmp_path / "resume.json").exists()
    top = dissection.compute_top_patches(found)
    assert top.rows.shape == (2, 64)
    assert top.rows[0].tolist() == list(range(69, 5, -1)) and top.rows.dtype == np.int64
    probe = PixelProbe()
    dissection.compute_top_maps(probe, patches, TopPatches(top.rows, top.values), no_progress)
    # 64 patches of the first unit, and all of the second whose maps end at 0.
    assert probe.sizes == [64, 6]


@pytest.mark.parametrize("missing", ["resume.json", "a.npy"])
def test_nothing_is_resumed_without_both_files(tmp_path: Path, missing: str) -> None:
    values = np.array([3, 9], np.uint8)
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float32))
    (tmp_path / "resume.json").write_text('{"rows": 1}')
    (tmp_path / missing).unlink()
    found = dissection.compute_max_activations(
        PixelProbe(), patches_of(values), tmp_path / "a.npy", "float32", no_progress
    )
    assert found.tolist() == [[3, 0], [9, 0]]


def test_pages_of_mapped_files_are_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", np.arange(12, dtype=np.float32).reshape(6, 2))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    advice: list[int] = []
    # A memory map's method cannot be replaced, but the attribute can.
    mapped._mmap = SimpleNamespace(madvise=advice.append)
    dissection.release_mapped_pages(mapped)
    assert advice == [dissection.mmap.MADV_DONTNEED]
    dissection.release_mapped_pages(np.zeros(3))
    released: list[np.ndarray] = []
    monkeypatch.setattr(dissection, "release_mapped_pages", released.append)
    activations = np.arange(12, dtype=np.float32).reshape(6, 2)
    dissection.compute_top_patches(activations, 2)
    # Six groups of one patch are read twice.
    assert len(released) == 12 and all(array is activations for array in released)
    released.clear()
    dissection.compute_max_activations(
        PixelProbe(), patches_of(np.arange(9)), tmp_path / "b.npy", "float32", no_progress, batch=1
    )
    assert [array.shape for array in released] == [(9, 2)]


def test_maps_of_top_patches() -> None:
    patches = patches_of(np.array([10, 20, 30, 40], np.uint8))
    rows = np.array([[3, 1, 0], [1, 0, 3]])
    reports: list[tuple] = []
    found = dissection.compute_top_maps(
        PixelProbe(), patches, TopPatches(rows, np.zeros((2, 3), np.float32)),
        lambda *report: reports.append(report), batch=2,
    )  # fmt: skip
    assert reports == [(2, 3, "top patches"), (3, 3, "top patches")]
    assert found.dtype == np.float16 and found.shape == (2, 3, 2, 3)
    for unit, sign in ((0, 1), (1, -1)):
        for rank in range(3):
            pixels = patches.x[rows[unit, rank], 0].astype(int)
            assert np.array_equal(found[unit, rank], sign * pixels)


@pytest.mark.parametrize(("quantile", "seed"), [(0.05, 1), (0.01, 4), (1e-9, 1)])
def test_thresholds_of_a_sample_of_512_patches(quantile: float, seed: int) -> None:
    patches = patches_of(np.arange(600) % 251)
    probe = PixelProbe()
    thresholds, positions = dissection.compute_quantile_thresholds(probe, patches, quantile, seed)
    assert positions == 512 * 6 and probe.sizes == [64] * 8
    sample = np.random.default_rng([seed, 7]).choice(600, 512, replace=False)
    values = np.sort(patches.x[sample].ravel())[::-1].astype(int)
    rank = max(1, round(quantile * 512 * 6))
    assert thresholds.tolist() == [values[rank - 1], -values[::-1][rank - 1]]


def test_thresholds_of_few_patches() -> None:
    patches, probe = patches_of(np.array([3, 9, 1])), PixelProbe()
    thresholds, positions = dissection.compute_quantile_thresholds(probe, patches, 0.1, 1)
    # The second largest of 18 values: 9, 4, 3, 1, 1, then zeros.
    assert (thresholds.tolist(), positions, probe.sizes) == ([4, 0], 18, [3])


class Convolution:
    """A network of one convolution; its layer is the module itself, or the last maps."""

    channels = 1

    def __init__(self, module: nn.Module, layer: nn.Module | None) -> None:
        self.module, self._layer = module, layer

    def layer(self, name: str) -> nn.Module | None:
        return self._layer

    def feature_maps(self, x: Tensor) -> Tensor:
        return self.module(x)

    def layer_maps(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        return maps


@pytest.mark.parametrize(
    ("kernel", "weight", "side"), [((3, 5), 1.0, 5), ((7, 5), 1.0, 7), ((1, 1), 1.0, 1),
                                   ((3, 5), 0.0, 20)]
)  # fmt: skip
def test_side_of_a_receptive_field(kernel: tuple[int, int], weight: float, side: int) -> None:
    """The larger side of the kernel; that of the patch where no position responds."""
    module = nn.Conv2d(1, 2, kernel, padding="same")
    nn.init.constant_(module.weight, weight)
    for layer in (None, module):
        probe: Any = SimpleNamespace(network=Convolution(module, layer), layer="layer")
        assert dissection.receptive_field_side(probe, 20) == side
        assert not module._forward_hooks
