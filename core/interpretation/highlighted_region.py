"""The highlighted region of a patch: where a unit's upsampled map exceeds a threshold.

Without torch, because the web server draws these regions too.
"""

from __future__ import annotations

import numpy as np
from PIL import Image


def upsample_map(unit_map: np.ndarray, side: int) -> np.ndarray:
    """Return a unit's map [h, w], upsampled bilinearly to float32 [side, side].

    Positions are aligned at pixel centres, as with `align_corners=False` in PyTorch.
    """
    # Pillow averages when it shrinks, unlike PyTorch: the map must not exceed the region.
    image = Image.fromarray(np.asarray(unit_map, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def highlighted_region(unit_map: np.ndarray, side: int, threshold: float) -> np.ndarray:
    """Return the region of a patch that a unit responds to.

    Parameters
    ----------
    unit_map : ndarray, float [h, w]
        The unit's map on the patch, at most as large as the region.
    side : int
        Side of the patch in pixels.
    threshold : float
        Published rule: 0.2 times the unit's largest activation over all patches.

    Returns
    -------
    ndarray, bool [side, side]

    References
    ----------
    Bau et al. 2017, Network Dissection, section 2.2 (bilinear upsampling and threshold).
    Wu et al. 2021 (HDSR) for the share 0.2. docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> highlighted_region(np.array([[0.0, 1.0], [0.0, 0.0]]), side=4, threshold=0.5).astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1],
           [0, 0, 0, 0],
           [0, 0, 0, 0]])
    """
    return upsample_map(unit_map, side) > threshold
