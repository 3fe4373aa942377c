"""The highlighted region against bilinear upsampling in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.interpretation.highlighted_region import highlighted_region, upsample_map


def torch_upsampled(unit_map: np.ndarray, side: int) -> np.ndarray:
    return F.interpolate(
        torch.from_numpy(unit_map)[None, None],
        size=(side, side),
        mode="bilinear",
        align_corners=False,
    )[0, 0].numpy()


def test_region_is_upsampled_map_above_threshold() -> None:
    unit_map = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    expected = torch_upsampled(unit_map, 64) > 0.3
    assert np.array_equal(highlighted_region(unit_map, 64, 0.3), expected)


@pytest.mark.parametrize(("shape", "side"), [((6, 6), 227), ((13, 13), 227), ((10, 8), 299)])
def test_upsampling_at_other_sizes(shape: tuple[int, int], side: int) -> None:
    unit_map = np.random.default_rng(2).normal(size=shape).astype(np.float16)
    expected = torch_upsampled(unit_map.astype(np.float32), side)
    assert np.allclose(upsample_map(unit_map, side), expected, atol=1e-4)
