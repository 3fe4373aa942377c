"""Working images of a study, patches as views into them, and films at source resolution.

Resizing belongs in `core.images.decoding`, patch positions in `core.dataset.patches`.
"""

from __future__ import annotations

import mmap
import os
import resource
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pandas as pd
from PIL import Image

from core.errors import UserError
from core.images.decoding import working_image
from core.images.tissue_segmentation import with_margin

# Folders of copies that are made when they are needed.
_BREAST_FOLDER = "breast_only"
_RESIZED_FOLDER = "resized"
PATCHES_PER_WIDTH = 4  # a working image is this many patches wide
# Files of a mammogram: pixels, breast tissue and, in phantoms, concepts.
IMAGE_SUFFIXES = (".npy", ".tissue.npy", ".concepts.npy")
# A film at source resolution, for people only: no step reads it.
SOURCE_SUFFIX = ".source.jpg"
_SOURCE_QUALITY = 85
_LONGEST_JPEG_SIDE = 65500
_STRIP_ROWS = 64
_MAX_OPEN_IMAGES = 4096


@dataclass(frozen=True)
class _ArrayLayout:
    """Where the values of a `.npy` file begin, in bytes, and how they are arranged."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    order: Literal["C", "F"]


class WorkingImages:
    """Working images by file name, memory-mapped as uint8 [h, w], or [h, w, 3] in colour.

    Patches are cut from them; no patch files exist. Positions of patches, tissue and outlines refer
    to the images as they were ingested. A network of another input side takes resized images, of
    which the same positions are cut (`PatchReader`).

    Parameters
    ----------
    study : Path
        The study folder.
    margins : mapping of str to float, optional
        Margin around the breast in pixels by file name. Images are then black outside; a copy is
        kept in `images/breast_only`, because masking every patch would slow training down.
    input_side : int, optional
        Input side of the network in pixels; None: as ingested. Images of another width than 4 times
        this side are resized; a copy is kept in `images/resized`.
    """

    def __init__(
        self,
        study: Path,
        margins: Mapping[str, float] | None = None,
        input_side: int | None = None,
    ) -> None:
        self.folder = study / "images"
        self.input_side = input_side
        self._margins = margins
        self._open: OrderedDict[str, np.ndarray] = OrderedDict()
        self._open_limit = _open_images_limit()
        # Parsing the header of a file takes longer than opening it.
        self._layouts: dict[Path, _ArrayLayout] = {}

    def __getitem__(self, file: str) -> np.ndarray:
        image = self._open.pop(file, None)
        if image is None:
            image = self._prepare(file)
            if len(self._open) >= self._open_limit:
                self._open.popitem(last=False)
        self._open[file] = image
        return image

    def _prepare(self, file: str) -> np.ndarray:
        """Return an image as the network takes it; missing copies are made."""
        if self._margins is None:
            image, name = self._map(self.folder / f"{file}.npy"), file
        else:
            image, name = self._breast_only(file, self._margins[file])
        if self.input_side is not None:
            image = self._resized(name, image, PATCHES_PER_WIDTH * self.input_side)
        return image

    def ingested_shape(self, file: str) -> tuple[int, int]:
        """Return height and width of the image as it was ingested, in pixels."""
        height, width = self._map(self.folder / f"{file}.npy").shape[:2]
        return height, width

    def _map(self, path: Path) -> np.ndarray:
        """Return the array of a file, memory-mapped; UserError if it is missing or damaged."""
        # np.load takes four times as long, which delays a training whose images are not all open.
        try:
            with path.open("rb", buffering=0) as stream:
                if path not in self._layouts:
                    self._layouts[path] = _read_layout(stream)
                layout = self._layouts[path]
                pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            values = np.frombuffer(pages, layout.dtype, offset=layout.offset)
            return values.reshape(layout.shape, order=layout.order)
        except (FileNotFoundError, ValueError) as error:
            raise UserError(
                f"The working image {path} is missing or damaged ({error}); restore the folder"
                " `images` of the study, or ingest into a new one."
            ) from error

    def _breast_only(self, file: str, margin: float) -> tuple[np.ndarray, str]:
        """Return the image that is black outside the breast, and the name of its copy.

        A missing copy is made.
        """
        name = f"{file}-{margin:.2f}"
        path = self.folder / _BREAST_FOLDER / f"{name}.npy"
        if not path.exists():
            original = self._map(self.folder / f"{file}.npy")
            inside = with_margin(self._unpack_tissue(file, original.shape[:2]), margin)
            inside = inside[..., None] if original.ndim == 3 else inside
            masked = np.where(inside, original, 0).astype(np.uint8)
            self._store_copy(path, masked)
        return self._map(path), name

    def _resized(self, name: str, image: np.ndarray, width: int) -> np.ndarray:
        """Return an image at another width, from its copy or newly made."""
        if image.shape[1] == width:
            return image
        path = self.folder / _RESIZED_FOLDER / f"{name}-{width}.npy"
        if not path.exists():
            self._store_copy(path, working_image(np.asarray(image), 255, width)[0])
        return self._map(path)

    def _store_copy(self, path: Path, image: np.ndarray) -> None:
        path.parent.mkdir(exist_ok=True)
        # Processes of a distributed training may make the same copy at the same time.
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with partial.open("wb") as stream:
            np.save(stream, image)
        os.replace(partial, path)

    def concepts(self, file: str) -> np.ndarray:
        """Return the phantom concept bits, uint32 [h, w]."""
        return np.load(self.folder / f"{file}.concepts.npy", mmap_mode="r")

    def tissue(self, file: str) -> np.ndarray:
        """Return the breast tissue, bool [h, w], in pixels of the image as it was ingested."""
        return self._unpack_tissue(file, self.ingested_shape(file))

    def _unpack_tissue(self, file: str, shape: tuple[int, ...]) -> np.ndarray:
        return load_tissue(self.folder, file, shape)


def load_tissue(folder: Path, file: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the breast tissue of a working image of this shape in a folder, bool [h, w]."""
    packed = np.load(folder / f"{file}.tissue.npy")
    return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(bool)


class PatchReader:
    """Patches of a table with columns file, y, x and side, in batches.

    Parameters
    ----------
    images : WorkingImages
        The images from which patches are cut.
    patches : DataFrame
        One row per patch; all patches share one side.

    Attributes
    ----------
    side : int
        Side of the patches in pixels as the network takes them: `images.input_side`, or that of
        the table.
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
        table_side = int(patches["side"].iloc[0]) if len(patches) else 0
        self.side = images.input_side or table_side
        if table_side and self.side != table_side:
            # The same share of the image: the windows overlap by half at every side.
            self._y, self._x = (
                np.rint(origins * self.side / table_side).astype(np.int64)
                for origins in (self._y, self._x)
            )

    def __len__(self) -> int:
        return len(self._y)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Return the patches of the table's rows, in that order.

        uint8 [n, 1, side, side], or [n, 3, side, side] in colour.
        """
        out = np.empty((len(rows), self._channels(), self.side, self.side), np.uint8)
        for i, row in enumerate(rows):
            y, x = self._y[row], self._x[row]
            image = self._images[self._files[self._file[row]]]
            # Rounding of a resized image's height may leave one row less than the windows need.
            y = min(y, image.shape[0] - self.side)
            patch = image[y : y + self.side, x : x + self.side]
            out[i] = patch if patch.ndim == 2 else patch.transpose(2, 0, 1)
        return out

    def _channels(self) -> int:
        """Return 3 if the images have colours, else 1; all images of a study are of one kind."""
        return 3 if self._files and self._images[self._files[0]].ndim == 3 else 1


def write_source_film(path: Path, pixels: np.ndarray, maximum: int, width: int) -> None:
    """Write an image at source resolution as JPEG, with the grey values of its working image.

    Nothing is written for an image that its working image shows in full, and for one that is larger
    than a JPEG file can be. The file holds pixels alone: no name, date or tag of the source.

    Parameters
    ----------
    path : Path
        The file to write.
    pixels : uint8 or uint16 array, shape [h, w] or [h, w, 3]
        The image of the source.
    maximum : int
        Grey value of white.
    width : int
        Width of the working image, in pixels.
    """
    if pixels.shape[1] <= width or max(pixels.shape) > _LONGEST_JPEG_SIDE:
        return
    grey = np.empty(pixels.shape, np.uint8)
    # By strips that stay in the processor's cache. Arithmetic, unlike a table of grey values,
    # releases the interpreter lock.
    for top in range(0, len(pixels), _STRIP_ROWS):
        strip = pixels[top : top + _STRIP_ROWS] * np.float32(255 / maximum)
        np.minimum(strip, 255, out=strip)
        np.rint(strip, out=strip)
        grey[top : top + _STRIP_ROWS] = strip
    Image.fromarray(grey).save(path, "JPEG", quality=_SOURCE_QUALITY)


def move_working_images(folder: Path, study: Path, mammograms: pd.DataFrame) -> None:
    """Move staged files of mammograms into a study.

    mammograms: columns file and has_concepts. Files that an interrupted command has moved already
    stay where they are; FileNotFoundError if a working image is in neither folder.
    """
    # By name: searching the folder for the files of each mammogram would take quadratic time.
    for file, has_concepts in zip(mammograms["file"], mammograms["has_concepts"]):
        for suffix in IMAGE_SUFFIXES if has_concepts else IMAGE_SUFFIXES[:2]:
            moved = study / "images" / f"{file}{suffix}"
            try:
                os.replace(folder / moved.name, moved)
            except FileNotFoundError:
                if not moved.is_file():
                    raise
        source_film = folder / f"{file}{SOURCE_SUFFIX}"
        if source_film.is_file():
            os.replace(source_film, study / "images" / source_film.name)


def remove_working_images(study: Path, files: Iterable[str]) -> None:
    """Delete the working images of these names with everything that was derived from them."""
    removed = set(files)
    if not removed:
        return
    # One search for all of them. Interrupted writers leave files that end with .partial.
    for path in (study / "images").rglob("*.*"):
        # Copies are named FILE-MARGIN.npy, FILE-WIDTH.npy or FILE-MARGIN-WIDTH.npy.
        if path.name.split(".")[0].split("-")[0] in removed:
            path.unlink()


def _read_layout(stream: BinaryIO) -> _ArrayLayout:
    """Read the header of a `.npy` file; ValueError for another format."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    return _ArrayLayout(stream.tell(), shape, dtype, "F" if is_fortran else "C")


def _open_images_limit() -> int:
    """Return how many images one object may keep open: a quarter of the process's descriptors."""
    # Two objects may be in use at the same time, and the store and libraries need some as well.
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return _MAX_OPEN_IMAGES
    return max(1, min(allowed // 4, _MAX_OPEN_IMAGES))
