"""Pictures for image arms of a reading study: mammograms and class maps as JPEG, without metadata.

Which pictures a case has belongs in `evaluation.reading_study`. Everything outside the breast is
black, because burnt-in labels lie there; class maps of all cases share one scale.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.images.colormaps import INFERNO
from core.images.tissue_segmentation import tissue_mask, with_margin

# Stored kinds of pictures.
MAMMOGRAM, CLASS_MAP = "film", "class_map"
PICTURES_FOLDER = "pictures"


@dataclass(frozen=True)
class FilmPlace:
    """Place of a film in the layout of an exam, by laterality and view of the mammogram."""

    laterality: str
    view: str

    @property
    def name(self) -> str:
        """Name of the film for readers, such as right CC."""
        return f"{self.laterality.lower()} {self.view}"


# The index is the stored slot of a film. The usual hanging: the right breast on the left, CC above.
FILM_PLACES = (
    FilmPlace("RIGHT", "CC"),
    FilmPlace("LEFT", "CC"),
    FilmPlace("RIGHT", "MLO"),
    FilmPlace("LEFT", "MLO"),
)
# Margin around the tissue mask that keeps the skin line, as a share of the image width.
_SKIN_MARGIN = 0.01


def mammogram_source(file: str, whole: bool = False) -> str:
    """Return the stored source of a mammogram, by the name of its working image.

    whole: the whole image is displayed, because it does not show a breast.
    """
    return json.dumps({"film": file} | ({"whole": True} if whole else {}))


def class_map_source(run: str, maps: str, file: str, output: int = -1, whole: bool = False) -> str:
    """Return the stored source of a class map: explain run, file of maps, and working image.

    output: index of the positive class among the network's outputs, where it is not the last.
    whole: as for `mammogram_source`.
    """
    stated: dict[str, Any] = {} if output == -1 else {"output": output}
    stated |= {"whole": True} if whole else {}
    return json.dumps({"run": run, "maps": maps, "film": file} | stated)


def prerendered_source(name: str) -> str:
    """Return the stored source of a picture that a site bundle carries as a file."""
    return json.dumps({"ready": name})


def render_jpeg(study: Path, kind: str, source: str) -> bytes:
    """Return a picture as JPEG.

    Parameters
    ----------
    study : Path
        The study folder.
    kind : str
        MAMMOGRAM or CLASS_MAP.
    source : str
        As returned by one of the `*_source` functions.

    Raises
    ------
    OSError
        If a file is missing.
    """
    fields: dict[str, Any] = json.loads(source)
    if "ready" in fields:
        return prerendered_path(study, fields["ready"]).read_bytes()
    pixels = np.load(study / "images" / f"{fields['film']}.npy")
    inside = np.ones(pixels.shape[:2], bool) if "whole" in fields else breast_mask(pixels)
    if kind == MAMMOGRAM:
        masked = np.where(inside[..., None] if pixels.ndim == 3 else inside, pixels, 0)
        return _encode_jpeg(masked.astype(np.uint8))
    with np.load(study / "runs" / fields["run"] / fields["maps"]) as maps:
        # Without a statement, the positive class (malignant) is the last one.
        probability = maps["probability"][fields.get("output", -1)].astype(np.float32)
    return _encode_jpeg(color_class_map(probability, inside))


def original_source(source: str) -> str:
    """Return a stored source without the name of the file into which it was rendered.

    The source of a picture that exists as a file only stays as it is.
    """
    fields: dict[str, Any] = json.loads(source)
    if set(fields) == {"ready"}:
        return source
    return json.dumps({name: value for name, value in fields.items() if name != "ready"})


def source_files(study: Path, kind: str, source: str) -> list[Path]:
    """Return the files from which a picture is drawn; kind, source: as for `render_jpeg`."""
    fields: dict[str, Any] = json.loads(source)
    if "ready" in fields:
        return [prerendered_path(study, fields["ready"])]
    files = [study / "images" / f"{fields['film']}.npy"]
    if kind == CLASS_MAP:
        files.append(study / "runs" / fields["run"] / fields["maps"])
    return files


def prerendered_path(study: Path, name: str) -> Path:
    """Return the path of a picture that a site bundle carries as a file."""
    return study / PICTURES_FOLDER / f"{name}.jpg"


def breast_mask(pixels: np.ndarray) -> np.ndarray:
    """Return the breast with its skin line, bool [h, w], of a working image uint8 [h, w]."""
    return with_margin(tissue_mask(pixels), max(1.0, _SKIN_MARGIN * pixels.shape[1]))


def color_class_map(probability: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return a class map in colours of the map inferno, enlarged to its mammogram.

    Parameters
    ----------
    probability : float32 array, shape [h', w']
        Class probability from 0 to 1; the scale is the same for all cases.
    inside : bool array, shape [h, w]
        Region to colour; outside is black.

    Returns
    -------
    uint8 array, shape [h, w, 3]

    Examples
    --------
    >>> color_class_map(np.ones((1, 1), np.float32), np.array([[True, False]])).tolist()
    [[[252, 255, 164], [0, 0, 0]]]
    """
    height, width = inside.shape
    enlarged = Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR)
    levels = np.rint(np.asarray(enlarged).clip(0, 1) * 255).astype(int)
    return np.where(inside[..., None], INFERNO[levels], 0).astype(np.uint8)


def _encode_jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, optimize=True)
    return buffer.getvalue()
