"""Working images of a study, and patches as views into them.

Resizing belongs in `core.images.decoding`, patch positions in `core.dataset.patches`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import UserError
from core.images.tissue_segmentation import with_margin

_BREAST_FOLDER = "breast_only"


class WorkingImages:
    """Working images by file name, memory-mapped as uint8 [h, w].

    Patches are cut from them; no patch files exist.

    Parameters
    ----------
    study : Path
        The study folder.
    margins : mapping of str to float, optional
        Margin around the breast in pixels by file name. Images are then black outside; a copy is
        kept in `images/breast_only`, because masking every patch would slow training down.
    """

    def __init__(self, study: Path, margins: Mapping[str, float] | None = None) -> None:
        self.folder = study / "images"
        self._margins = margins
        self._open: dict[str, np.ndarray] = {}

    def __getitem__(self, file: str) -> np.ndarray:
        if file not in self._open:
            original = self._load(self.folder / f"{file}.npy")
            if self._margins is not None:
                original = self._breast_only(file, original, self._margins[file])
            self._open[file] = original
        return self._open[file]

    def _load(self, path: Path) -> np.ndarray:
        try:
            return np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(
                f"The working image {path} is missing or damaged ({error}); restore the folder"
                " `images` of the study, or ingest into a new one."
            ) from error

    def _breast_only(self, file: str, original: np.ndarray, margin: float) -> np.ndarray:
        """Return the image that is black outside the breast, from its copy or newly made."""
        path = self.folder / _BREAST_FOLDER / f"{file}-{margin:.2f}.npy"
        if not path.exists():
            tissue = self._unpack_tissue(file, original.shape)
            masked = np.where(with_margin(tissue, margin), original, 0).astype(np.uint8)
            path.parent.mkdir(exist_ok=True)
            # Processes of a distributed training may make the same copy at the same time.
            partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
            with partial.open("wb") as stream:
                np.save(stream, masked)
            os.replace(partial, path)
        return self._load(path)

    def concepts(self, file: str) -> np.ndarray:
        """Return the phantom concept bits, uint32 [h, w]."""
        return np.load(self.folder / f"{file}.concepts.npy", mmap_mode="r")

    def tissue(self, file: str) -> np.ndarray:
        """Return the breast tissue, bool [h, w]."""
        return self._unpack_tissue(file, self[file].shape)

    def _unpack_tissue(self, file: str, shape: tuple[int, ...]) -> np.ndarray:
        packed = np.load(self.folder / f"{file}.tissue.npy")
        return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(bool)


class PatchReader:
    """Patches of a table with columns file, y, x and side, in batches.

    Parameters
    ----------
    images : WorkingImages
        The images from which patches are cut.
    patches : DataFrame
        One row per patch; all patches share one side.
    """

    def __init__(self, images: WorkingImages, patches: pd.DataFrame) -> None:
        files = sorted(set(patches["file"]))
        self._images = images
        self._files = files
        # Indices take less memory than one string per patch.
        self._file = (
            np.searchsorted(files, patches["file"].to_numpy(str)) if files else np.zeros(0, int)
        )
        self._y, self._x = patches["y"].to_numpy(np.int64), patches["x"].to_numpy(np.int64)
        self.side = int(patches["side"].iloc[0]) if len(patches) else 0

    def __len__(self) -> int:
        return len(self._y)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Return the patches of the table's rows, in that order, as uint8 [n, 1, side, side]."""
        out = np.empty((len(rows), 1, self.side, self.side), np.uint8)
        for i, row in enumerate(rows):
            y, x = self._y[row], self._x[row]
            image = self._images[self._files[self._file[row]]]
            out[i, 0] = image[y : y + self.side, x : x + self.side]
        return out


def remove_working_images(study: Path, files: Iterable[str]) -> None:
    """Delete the working images of these names with everything that was derived from them."""
    for file in files:
        for path in (study / "images").rglob(f"{file}*"):
            path.unlink()
