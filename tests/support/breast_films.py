"""Synthetic films with a breast, for trees of public sets and annotation projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.dicom_writer import write_dicom


def breast_film(
    seed: int, height: int = 200, width: int = 150, *, right: bool = False
) -> np.ndarray:
    """Return uint16 [h, w] of 12 bits: a textured half disc at the left edge, or at the right."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(seed).integers(0, 500, (height, width))
    inside = (x / (0.7 * width)) ** 2 + ((y - height / 2) / (0.4 * height)) ** 2 < 1
    film = np.where(inside, 1500 + grain, 20).astype(np.uint16)
    return film[:, ::-1].copy() if right else film


def write_png(path: Path, film: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((film >> 4).astype(np.uint8)).save(path)
    return path


def write_mammogram(path: Path, film: np.ndarray, **tags: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_dicom(path, film, Modality="MG", **tags)
