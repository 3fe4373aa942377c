from __future__ import annotations

import numpy as np
from matplotlib import colormaps

from core.images.colormaps import INFERNO


def test_inferno_equals_matplotlib() -> None:
    expected = np.rint(colormaps["inferno"](np.arange(256))[:, :3] * 255)
    assert INFERNO.dtype == np.uint8 and np.array_equal(INFERNO, expected)
