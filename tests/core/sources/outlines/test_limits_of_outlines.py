"""Limits of mask files and of notations, on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.sources.outlines import json_notations, mask_files, notations
from core.sources.outlines.mask_files import MaskReference

FILE = Path("m.png")


def values(*given: int) -> np.ndarray:
    return np.array([given], np.uint8)


def test_shares_of_soft_edges() -> None:
    """Beside white, grey may be half of a mask at most where it is more than 5 % of the film."""
    white = [200] * 4
    grey = [60, 80, 100, 120]
    assert mask_files._two_valued(values(0, *grey, *white), FILE, lossy=False).sum() == 5
    with pytest.raises(UserError, match=r"m\.png is a picture: 50% of it are shades of grey"):
        mask_files._two_valued(values(0, *grey, 70, *white), FILE, lossy=False)
    # 5 of 100 pixels are allowed, 6 are not; white are two.
    for number, fits in ((5, True), (6, False)):
        mask = values(*[0] * (98 - number), *range(60, 60 + 2 * number, 2), 200, 200)
        if fits:
            assert mask_files._two_valued(mask, FILE, lossy=False).sum() == 2
        else:
            with pytest.raises(UserError, match="6% of it are shades of grey"):
                mask_files._two_valued(mask, FILE, lossy=False)


def test_middle_of_two_values() -> None:
    assert mask_files._two_valued(values(10, 20), FILE, lossy=False).tolist() == [[False, True]]
    mask = mask_files._two_valued(values(0, 100, 101, 200, 200, 200), FILE, lossy=False)
    assert mask.tolist() == [[False, False, True, True, True, True]]
    assert not mask_files._two_valued(values(0, 0), FILE, lossy=False).any()
    assert mask_files._two_valued(values(7, 7), FILE, lossy=False).all()


def test_tolerance_of_white_and_black() -> None:
    """Values within 2 % of white are white, in a JPEG within 15 %, there also those of black."""
    two_valued = mask_files._two_valued
    assert two_valued(values(0, 60, 80, 100, 196, 200, 200), FILE, lossy=False).sum() == 3
    with pytest.raises(UserError, match="57% of it are shades"):
        two_valued(values(0, 60, 80, 100, 195, 200, 200), FILE, lossy=False)
    assert two_valued(values(0, 30, 31, 80, 170, 200), FILE, lossy=True).sum() == 2
    with pytest.raises(UserError, match="50% of it are shades"):
        two_valued(values(0, 30, 31, 80, 169, 200), FILE, lossy=True)


def test_mask_of_the_whole_image(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 2), 255, np.uint8)).save(tmp_path / "m.png")
    reference = MaskReference("m.png")
    filled = mask_files.read_mask_file(tmp_path / "m.png", reference, (3, 2), may_fill=True)
    assert filled.shape == (3, 2) and filled.all()
    with pytest.raises(UserError, match="marks 100% of the film"):
        mask_files.read_mask_file(tmp_path / "m.png", reference, (3, 2))
    with pytest.raises(UserError, match="is 2 x 3 pixels, its image 3 x 2"):
        mask_files.read_mask_file(tmp_path / "m.png", reference, (2, 3))


def test_plateaus() -> None:
    pixels = np.zeros((9, 9), np.uint8)
    pixels[2:5, 2:5] = 90
    pixels[6, 6] = 80
    between = pixels > 0
    assert mask_files._plateau_values(pixels, between) == [90]
    assert mask_files._plateau_values(pixels, between & (pixels < 90)) == []
    assert mask_files._plateau_values(pixels, pixels > 200) == []


def test_values_of_classes() -> None:
    chosen = mask_files._chosen_value(values(1, 2, 2), 2, FILE, lossy=False)
    assert chosen.tolist() == [[False, True, True]]
    with pytest.raises(UserError, match="no pixel of the value 3, only 1, 2; choose one"):
        mask_files._chosen_value(values(1, 2, 2), 3, FILE, lossy=False)
    listed = mask_files._list_values
    assert listed(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed(range(9)) == "0, 1, 2, 3, 4, 5, 6, 7, ..."


@pytest.mark.parametrize(
    ("marked", "fits"),
    [([], True), ([0, 1, 2], True), ([0, 1, 2, 3], False), ([4, 5, 6, 7], True)],
)
def test_ground_of_a_mask(marked: list[int], fits: bool) -> None:
    """Less than half of a film may be marked, but not all four of its corners."""
    mask = np.zeros((3, 3), bool)
    pixels = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1), (0, 1), (1, 0), (1, 2)]
    for k in marked:
        mask[pixels[k]] = True
    if fits:
        mask_files._check_not_ground(mask, FILE, MaskReference("m.png"))
    else:
        with pytest.raises(UserError, match='marks 44% .* write "m.png inverted"'):
            mask_files._check_not_ground(mask, FILE, MaskReference("m.png"))


def test_more_than_half_is_ground() -> None:
    mask = np.zeros((2, 4), bool)
    mask[0] = True
    mask_files._check_not_ground(mask, FILE, MaskReference("m.png"))
    mask[1, 1] = True
    with pytest.raises(UserError, match='marks 62% .*; remove the word "inverted"'):
        mask_files._check_not_ground(mask, FILE, MaskReference("m.png", inverted=True))


def test_jpeg_by_its_content(tmp_path: Path) -> None:
    for content, is_jpeg in (
        (b"\xff\xd8\xff\xe0", True),
        (b"\xff\xd8", False),
        (b"\x89PNG", False),
    ):
        (tmp_path / "m").write_bytes(content)
        assert mask_files._is_jpeg(tmp_path / "m") is is_jpeg


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("m.png", MaskReference("m.png")),
        ("m.png value 65535", MaskReference("m.png", 65535)),
        ("m.png value 123456", MaskReference("m.png value 123456")),
        ("m.png Inverted", MaskReference("m.png", inverted=True)),
        (" value 3 ", MaskReference("value 3")),
        ("a\nb.png value 0", MaskReference("a\nb.png", 0)),
    ],
)
def test_words_behind_a_mask(text: str, reference: MaskReference) -> None:
    assert mask_files.parse_mask_reference(text) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "Feature", "geometry": 4}', "GeoJSON Feature has no area"),
        ('{"type": "Polygon", "coordinates": 4}', "GeoJSON Polygon has no area"),
        ('{"type": "Polygon", "coordinates": []}', "GeoJSON has no coordinates"),
        ('{"type": "MultiPolygon", "coordinates": [[], 3]}', "GeoJSON has no coordinates"),
        ('{"type": 4, "coordinates": [[[1, 2]]]}', "GeoJSON without a type has no area"),
        ('{"type": "Polygon", "coordinates": [[]]}', "neither numbers|three pairs"),
        ('{"type": "Polygon", "coordinates": [[4]]}', "neither numbers"),
        ("[[1, 2], [3, 4], []]", "mixes numbers and lists"),
        ("[[[1, 2], [3, 4], [5, true]]]", "neither numbers"),
        ("[true, 2, 3, 4, 5, 6]", "mixes numbers and lists"),
        ("[[1, 2, 3], [4, 5, 6]]", "a polygon has 3 numbers"),
        ("[" * 100_000, "it begins like JSON but is not JSON|too deeply"),
    ],
)
def test_json_without_a_certain_meaning(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        json_notations.parse_json_outline(text)


def test_json_of_no_outline() -> None:
    for value in ("text", 4, None):
        with pytest.raises(UserError, match="neither a GeoJSON object nor a list"):
            json_notations.outline_from_json(value)
    ring, hole = [[1, 1], [9, 1], [9, 9]], [[3, 2], [4, 2], [4, 3]]
    outline = json_notations.outline_from_json(
        {"type": "MultiPolygon", "coordinates": [[ring], [hole]]}
    )
    assert len(outline.polygons) == 2 and outline.notes == ()
    with_hole = json_notations.outline_from_json(
        {"type": "MultiPolygon", "coordinates": [[hole], [ring, hole]]}
    )
    assert with_hole.polygons[1] == ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0))
    assert with_hole.notes == ("a hole in the outline counts as part of the finding",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("POLYGON (10 20, 30 20, 30 45)", "do not match its kind"),
        ("POLYGON (((10 20, 30 20, 30 45)))", "do not match its kind"),
        ("MULTIPOLYGON ((10 20, 30 20, 30 45))", "do not match its kind"),
        ("POLYGON ((10 20, 30 20, 30 45)", "not complete"),
        ("POLYGON ()", "not complete"),
        ("POLYGON ((10 20, 30 x, 30 45))", "not a number"),
        ("MULTIPOLYGON EMPTY", "the WKT text is empty"),
        ("box (1, 2, 3, 4, 5)", "a box has four numbers, not 5"),
        ("box radius 1 2 3", "a box is followed by numbers only"),
        ("circle 1 2 x", "a circle is followed by numbers only"),
        ("circle 1 2", "a circle has three numbers, not 2$"),
        ("point 1", "a point has three numbers, not 1$"),
        ("circle 9 9 0", "its radius is 0"),
        ("10 20, 30 20; x 30 45", "cannot be interpreted"),
    ],
)
def test_notations_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        notations.parse_outline(text)


def test_rings_of_several_polygons() -> None:
    """Of each polygon the first ring counts; the others are holes."""
    first, hole, second = "(1 1, 9 1, 9 9)", "(3 2, 4 2, 4 3)", "(20 20, 30 20, 30 29)"
    outline = notations.parse_outline(f"MULTIPOLYGON (({first}, {hole}), ({second}))")
    assert [polygon[0] for polygon in outline.polygons] == [(1, 1), (20, 20)]
    assert outline.notes == (json_notations.HOLE_NOTE,)
    plain = notations.parse_outline(f"SRID=4326; multipolygon Z (({first}), ({second}))")
    assert len(plain.polygons) == 2 and plain.notes == ()
    assert notations.parse_outline("box: 1, 2; 5 (8)").polygons[0][2] == (5, 8)
    assert notations.parse_outline("point 4 5 radius=2").circles == ((4, 5, 2),)
    assert notations.parse_outline("-1.5 .5, 3e1 0, 4 4").polygons[0][:2] == ((-1.5, 0.5), (30, 0))


@pytest.mark.parametrize("suffix", sorted(notations._MASK_SUFFIXES))
def test_names_of_masks(suffix: str) -> None:
    assert not notations.is_outline_text(f"1{suffix.upper()}")
    assert not notations.is_outline_text(f"circle\\1{suffix}")
    assert notations.is_outline_text(f"normalised 1{suffix}")


def test_kinds_of_masks() -> None:
    assert " ".join(sorted(notations._MASK_SUFFIXES)) == (
        ".bmp .dcm .dicom .gif .jpeg .jpg .pgm .png .tif .tiff"
    )
