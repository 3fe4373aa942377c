"""Contact sheets: outlines at their places, doubtful mammograms marked, sixty a sheet."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from core.images import contact_sheet
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


def grey(width: int, height: int, level: int) -> np.ndarray:
    return np.full((height, width), level, np.uint8)


def test_places_of_mammograms() -> None:
    """Each fits into 170 x 230 pixels; gaps of 6 and captions of 30 pixels lie between them."""
    entries = [
        SheetEntry("", grey(170, 230, 50)),
        # A narrow one is 115 wide, 27 from the left; a wide one is 34 high.
        SheetEntry("", grey(20, 40, 90)),
        SheetEntry("", grey(100, 20, 130)),
        # At least one pixel high.
        SheetEntry("", grey(1700, 1, 170)),
    ]
    expected = np.full((6 + 2 * 266, 6 + 3 * 176, 3), (20, 24, 28), np.uint8)
    expected[6:236, 6:176] = 50
    expected[6:236, 182 + 27 : 182 + 27 + 115] = 90
    expected[6:40, 358:528] = 130
    expected[272:273, 6:176] = 170
    sheet = draw_contact_sheet(entries, columns=3)
    assert sheet.mode == "RGB" and np.array_equal(np.asarray(sheet), expected)
    assert draw_contact_sheet([], 1).size == (182, 272)


def thumbnail() -> Image.Image:
    return Image.new("RGB", (170, 260), (20, 24, 28))


@pytest.mark.parametrize(
    ("pathology", "color"),
    [
        ("MALIGNANT", (255, 107, 107)),
        ("BENIGN", (91, 192, 235)),
        ("BENIGN_WITHOUT_CALLBACK", (91, 192, 235)),
        ("UNPROVEN", (195, 200, 206)),
    ],
)
def test_outlines_of_an_enlarged_mammogram(pathology: str, color: tuple[int, int, int]) -> None:
    """Twice its size: pixel (10, 20) is centred at (21, 41). Small outlines get a circle."""
    outlines = [
        (np.array([[10, 20], [30, 20], [30, 45], [10, 45]]), pathology),
        # The larger side is 4 pixels, then 6: too large for a circle.
        (np.array([[50, 60], [52, 60], [52, 61]]), pathology),
        (np.array([[60, 80], [63, 80], [60, 81]]), pathology),
        (np.array([[70, 100]]), pathology),
    ]
    expected = thumbnail()
    pen = ImageDraw.Draw(expected)
    pen.rectangle([0, 0, 169, 229], fill=(90, 90, 90))
    pen.line([(21, 41), (61, 41), (61, 91), (21, 91), (21, 41)], fill=color, width=2)
    pen.line([(101, 121), (105, 121), (105, 123), (101, 121)], fill=color, width=2)
    x, y = (101 + 105 + 105) / 3, (121 + 121 + 123) / 3
    pen.ellipse([x - 6, y - 6, x + 6, y + 6], outline=color, width=2)
    pen.line([(121, 161), (127, 161), (121, 163), (121, 161)], fill=color, width=2)
    pen.ellipse([135, 195, 147, 207], outline=color, width=2)
    drawn = contact_sheet._thumbnail(SheetEntry("", grey(85, 115, 90), outlines))
    assert np.array_equal(np.asarray(drawn), np.asarray(expected))


@pytest.mark.parametrize("note", ["", "outside the breast"])
def test_captions(note: str) -> None:
    expected, color = thumbnail(), (255, 180, 84) if note else (230, 233, 236)
    pen, font = ImageDraw.Draw(expected), ImageFont.load_default(size=11)
    pen.rectangle([0, 0, 169, 229], fill=(90, 90, 90))
    if note:
        pen.rectangle([0, 0, 169, 229], outline=color, width=2)
        pen.text((2, 245), note, fill=color, font=font)
    pen.text((2, 231), "A_LCC", fill=color, font=font)
    drawn = contact_sheet._thumbnail(SheetEntry("A_LCC", grey(170, 230, 90), (), note))
    assert np.array_equal(np.asarray(drawn), np.asarray(expected))


def test_long_captions_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of letters 2 pixels wide 83 fit into 166 pixels."""
    font = SimpleNamespace(getlength=lambda text: 2 * len(text))
    monkeypatch.setattr(contact_sheet, "_font", lambda: font)
    assert contact_sheet._fitted("x" * 83) == "x" * 83
    for letters in (84, 85):
        assert contact_sheet._fitted("x" * letters) == "x" * 80 + "..."
    font.getlength = lambda _: 200
    assert contact_sheet._fitted("long") == "..."
