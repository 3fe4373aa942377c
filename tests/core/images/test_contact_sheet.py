"""Contact sheets: outlines at their places, doubtful mammograms marked, sixty a sheet."""

from __future__ import annotations

import numpy as np
from PIL import Image

from core.images.contact_sheet import (
    MAMMOGRAMS_PER_SHEET,
    THUMBNAIL_HEIGHT,
    THUMBNAIL_WIDTH,
    SheetEntry,
    draw_contact_sheet,
    save_contact_sheets,
)


def entry(note: str = "", pathology: str = "MALIGNANT") -> SheetEntry:
    """A mammogram of the exact size of a thumbnail with a square outline."""
    pixels = np.full((THUMBNAIL_HEIGHT, THUMBNAIL_WIDTH), 90, np.uint8)
    square = np.array([[40.0, 100], [80, 100], [80, 150], [40, 150]])
    return SheetEntry("A_LCC", pixels, [(square, pathology)], note)


def test_outlines_have_the_color_of_their_pathology():
    for pathology, color in (("MALIGNANT", (255, 107, 107)), ("BENIGN", (91, 192, 235))):
        sheet = np.asarray(draw_contact_sheet([entry(pathology=pathology)]))
        # The gap of six pixels precedes the first thumbnail.
        column = sheet[6 + 125, 6 : 6 + THUMBNAIL_WIDTH]
        colored = np.flatnonzero((column == color).all(axis=1))
        assert set(colored) <= set(range(38, 43)) | set(range(78, 83)) and len(colored) >= 2
        assert tuple(sheet[6 + 125, 6 + 60]) == (90, 90, 90)


def test_doubtful_mammograms_have_a_frame():
    plain, doubtful = (
        np.asarray(draw_contact_sheet([entry(note)]))[6, 6 : 6 + THUMBNAIL_WIDTH]
        for note in ("", "outside the breast")
    )
    assert (doubtful == (255, 180, 84)).all()
    assert not (plain == (255, 180, 84)).all(axis=1).any()


def test_tiny_outlines_are_circled():
    pixels = np.zeros((2300, 1700), np.uint8)
    point = np.array([[850.0, 1150.0]])
    sheet = np.asarray(draw_contact_sheet([SheetEntry("A", pixels, [(point, "MALIGNANT")])]))
    assert (sheet == (255, 107, 107)).all(axis=2).sum() > 15


def test_sheets_hold_sixty(tmp_path):
    small = SheetEntry("A", np.zeros((23, 17), np.uint8))
    entries = (small for _ in range(MAMMOGRAMS_PER_SHEET + 1))
    files = save_contact_sheets(entries, tmp_path / "sheet.png")
    assert [file.name for file in files] == ["sheet.png", "sheet-2.png"]
    heights = []
    for file in files:
        with Image.open(file) as sheet:
            heights.append(sheet.height)
    assert heights[0] > 9 * heights[1]
    (empty,) = save_contact_sheets([], tmp_path / "none.png")
    assert empty.exists()
