"""Contact sheet: small mammograms with their outlines, for scanning a whole source by eye."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT = 170, 230
# As many as a person can look at in a minute.
MAMMOGRAMS_PER_SHEET = 60
_COLUMNS, _CAPTION_HEIGHT, _GAP = 6, 30, 6
_BACKGROUND, _TEXT, _WARNING = "#14181C", "#E6E9EC", "#FFB454"
_PATHOLOGY_COLORS = {
    "MALIGNANT": "#FF6B6B",
    "BENIGN": "#5BC0EB",
    "BENIGN_WITHOUT_CALLBACK": "#5BC0EB",
}
_OTHER_COLOR = "#C3C8CE"


@dataclass(frozen=True)
class SheetEntry:
    """One mammogram of a contact sheet.

    title: its identifier. pixels: uint8 [h, w]. outlines: polygons [n, 2] of (x, y) in pixels of
    the image with their pathology. note: what is doubtful, or "".
    """

    title: str
    pixels: np.ndarray
    outlines: Sequence[tuple[np.ndarray, str]] = ()
    note: str = ""


def save_contact_sheets(entries: Iterable[SheetEntry], file: Path) -> list[Path]:
    """Write contact sheets of 60 mammograms each: FILE, then FILE-2, FILE-3 and so on.

    Parameters
    ----------
    entries : iterable of SheetEntry
        Read one sheet at a time.
    file : Path
        A name that ends with .png.

    Returns
    -------
    list of Path
        The files, at least one.
    """
    remaining = iter(entries)
    written: list[Path] = []
    while batch := list(itertools.islice(remaining, MAMMOGRAMS_PER_SHEET)):
        number = len(written) + 1
        path = file if number == 1 else file.with_stem(f"{file.stem}-{number}")
        draw_contact_sheet(batch).save(path)
        written.append(path)
    if not written:
        draw_contact_sheet([]).save(file)
        written.append(file)
    return written


def draw_contact_sheet(entries: Iterable[SheetEntry], columns: int = _COLUMNS) -> Image.Image:
    """Draw mammograms in rows, each with its outlines and its title.

    Parameters
    ----------
    entries : iterable of SheetEntry
        In the order of the sheet. Malignant outlines are red, benign ones blue, others grey;
        doubtful mammograms have an amber frame and caption.
    columns : int
        Number of mammograms in a row.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Examples
    --------
    >>> entry = SheetEntry("A_LCC", np.zeros((40, 30), np.uint8), note="outside the breast")
    >>> draw_contact_sheet([entry] * 7).size
    (1062, 538)
    """
    thumbnails = [_thumbnail(entry) for entry in entries]
    rows = max(1, -(-len(thumbnails) // columns))
    step_x = THUMBNAIL_WIDTH + _GAP
    step_y = THUMBNAIL_HEIGHT + _CAPTION_HEIGHT + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), _BACKGROUND)
    for index, thumbnail in enumerate(thumbnails):
        row, column = divmod(index, columns)
        sheet.paste(thumbnail, (_GAP + column * step_x, _GAP + row * step_y))
    return sheet


def _thumbnail(entry: SheetEntry) -> Image.Image:
    height, width = entry.pixels.shape[:2]
    scale = min(THUMBNAIL_WIDTH / width, THUMBNAIL_HEIGHT / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(np.ascontiguousarray(entry.pixels)).resize(size).convert("RGB")
    pen = ImageDraw.Draw(image)
    for polygon, pathology in entry.outlines:
        color = _PATHOLOGY_COLORS.get(pathology, _OTHER_COLOR)
        points = [(float(x), float(y)) for x, y in (np.asarray(polygon, float) + 0.5) * scale]
        if len(points) > 1:
            pen.line([*points, points[0]], fill=color, width=2)
        # A small outline would be invisible at this size.
        center = np.mean(points, axis=0)
        if np.ptp(points, axis=0).max() < 6:
            x, y = center
            pen.ellipse([x - 6, y - 6, x + 6, y + 6], outline=color, width=2)
    framed = Image.new("RGB", (THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT + _CAPTION_HEIGHT), _BACKGROUND)
    framed.paste(image, ((THUMBNAIL_WIDTH - size[0]) // 2, 0))
    pen = ImageDraw.Draw(framed)
    color = _WARNING if entry.note else _TEXT
    if entry.note:
        pen.rectangle([0, 0, THUMBNAIL_WIDTH - 1, THUMBNAIL_HEIGHT - 1], outline=_WARNING, width=2)
    pen.text((2, THUMBNAIL_HEIGHT + 1), _fitted(entry.title), fill=color, font=_font())
    if entry.note:
        pen.text((2, THUMBNAIL_HEIGHT + 15), _fitted(entry.note), fill=color, font=_font())
    return framed


@lru_cache(maxsize=1)
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=11)


def _fitted(text: str) -> str:
    """Return a text that fits below a thumbnail, cut at the end where necessary."""
    font = _font()
    if font.getlength(text) <= THUMBNAIL_WIDTH - 4:
        return text
    while text and font.getlength(text + "...") > THUMBNAIL_WIDTH - 4:
        text = text[:-1]
    return text + "..."
