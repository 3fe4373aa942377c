"""Pictures as readers of an image arm see them: films with everything outside the breast black
(burnt-in labels lie there), class maps on one scale for all cases; plain JPEG without any metadata.
"""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from core import runs
from core.images.tissue_segmentation import tissue_mask

FILM, CLASS_MAP = "film", "class_map"
KINDS = (FILM, CLASS_MAP)
FOLDER = "pictures"
# Probability 0 to 1 as colours of growing lightness (black, violet, orange, pale yellow), the same
# in both themes and for every case.
COLOURS = (
    (0.0, (16, 14, 28)),
    (0.25, (84, 39, 143)),
    (0.5, (188, 55, 84)),
    (0.75, (249, 142, 9)),
    (1.0, (252, 255, 191)),
)
SKIN = 0.01  # of the film's width: the mask keeps the skin line


def source_of_film(file: str) -> str:
    """What is stored of a film that readers see."""
    return json.dumps({"film": file})


def source_of_map(run: str, maps: str, file: str) -> str:
    """What is stored of a class map that readers see: an explain run, its file of maps, and the
    film it belongs to.
    """
    return json.dumps({"run": run, "maps": maps, "film": file})


def source_of_ready(name: str) -> str:
    """What is stored of a picture that was rendered before, as bundles hold them."""
    return json.dumps({"ready": name})


def rendered(study: Path, kind: str, source: str) -> bytes:
    """The picture as JPEG. OSError where its file is missing."""
    what: dict[str, Any] = json.loads(source)
    if "ready" in what:
        return ready_file(study, what["ready"]).read_bytes()
    pixels = np.load(study / "images" / f"{what['film']}.npy")
    inside = breast(pixels)
    if kind == FILM:
        return _encoded(Image.fromarray(np.where(inside, pixels, 0).astype(np.uint8)))
    with np.load(runs.folder(study, what["run"]) / what["maps"]) as maps:
        return _encoded(
            Image.fromarray(coloured(maps["probability"][-1].astype(np.float32), inside))
        )


def ready_file(study: Path, name: str) -> Path:
    """Where a picture that was rendered before lies."""
    return study / FOLDER / f"{name}.jpg"


def breast(pixels: np.ndarray) -> np.ndarray:
    """Where a film uint8 [h, w] shows the breast, its skin line included: bool [h, w]."""
    mask = tissue_mask(pixels)
    return (
        ndimage.distance_transform_edt(~mask) <= max(1.0, SKIN * pixels.shape[1])
        if mask.any()
        else mask
    )


def coloured(probability: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A map of probabilities [h', w'] stretched bilinearly over the film and coloured on the fixed
    scale from 0 to 1; black where `inside` bool [h, w] is false. uint8 [h, w, 3].
    """
    height, width = inside.shape
    values = np.asarray(
        Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR)
    ).clip(0, 1)
    table = _colours()[np.rint(values * 255).astype(int)]
    return np.where(inside[..., None], table, 0).astype(np.uint8)


@cache
def _colours() -> np.ndarray:
    """The scale as uint8 [256, 3]."""
    places = [place for place, _ in COLOURS]
    steps = np.linspace(0, 1, 256)
    return (
        np.stack(
            [np.interp(steps, places, [colour[c] for _, colour in COLOURS]) for c in range(3)],
            axis=1,
        )
        .round()
        .astype(np.uint8)
    )


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, optimize=True)
    return buffer.getvalue()
