"""Notations of outlines: recognised with certainty, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import UserError
from core.sources.outlines.notations import is_outline_text, parse_outline
from core.sources.outlines.records import Outline, box_outline, place_on_film

TRIANGLE = ((10.0, 20.0), (30.0, 20.0), (30.0, 45.0))
OTHER = ((70.0, 71.0), (90.0, 71.0), (90.0, 95.0))


@pytest.mark.parametrize(
    ("text", "polygons"),
    [
        ("10 20, 30 20, 30 45", (TRIANGLE,)),
        ("10,20,30,20,30,45", (TRIANGLE,)),
        ("10 20 30 20 30 45 | 70 71 90 71 90 95", (TRIANGLE, OTHER)),
        ("POLYGON ((10 20, 30 20, 30 45))", (TRIANGLE,)),
        ("Polygon((10 20,30 20,30 45))", (TRIANGLE,)),
        ("MULTIPOLYGON (((10 20,30 20,30 45)), ((70 71, 90 71, 90 95)))", (TRIANGLE, OTHER)),
        ('{"type": "Polygon", "coordinates": [[[10,20],[30,20],[30,45]]]}', (TRIANGLE,)),
        (
            '{"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates":'
            " [[[[10,20],[30,20],[30,45]]], [[[70,71],[90,71],[90,95]]]]}}",
            (TRIANGLE, OTHER),
        ),
        ("[10, 20, 30, 20, 30, 45]", (TRIANGLE,)),
        ("[[10, 20], [30, 20], [30, 45]]", (TRIANGLE,)),
        ("[(10, 20), (30, 20), (30, 45)]", (TRIANGLE,)),
        ("[[10, 20, 30, 20, 30, 45], [70, 71, 90, 71, 90, 95]]", (TRIANGLE, OTHER)),
        ("[[[10,20],[30,20],[30,45]], [[70,71],[90,71],[90,95]]]", (TRIANGLE, OTHER)),
    ],
)
def test_polygons(text: str, polygons: tuple[object, ...]) -> None:
    assert is_outline_text(text)
    assert parse_outline(text).polygons == polygons


@pytest.mark.parametrize(
    "text",
    ["circle 40 50 7.5", "point 40 50 radius 7.5", "Point 40, 50, 7.5", "circle (40 50 7.5)"],
)
def test_circles(text: str) -> None:
    assert parse_outline(text) == Outline(circles=((40.0, 50.0, 7.5),))


def test_circle_covers_its_area() -> None:
    (polygon,), warnings = place_on_film(parse_outline("circle 40 50 20"), (100, 80))
    x, y = polygon.T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert area == pytest.approx(np.pi * 20**2, rel=0.01) and warnings == []
    assert polygon.mean(0) == pytest.approx([40, 50])


def test_holes_are_filled_and_stated() -> None:
    wkt = parse_outline("POLYGON ((10 20, 30 20, 30 45), (20 22, 25 22, 25 25))")
    json = parse_outline(
        '{"type": "Polygon", "coordinates": [[[10,20],[30,20],[30,45]], [[20,22],[25,22],[25,25]]]}'
    )
    assert wkt.polygons == json.polygons == (TRIANGLE,)
    assert len(wkt.notes) == len(json.notes) == 1 and "hole" in wkt.notes[0]


@pytest.mark.parametrize(
    ("text", "corners"),
    [
        ("normalised box .25 .1 .5 .3", [[20, 20], [40, 20], [40, 60], [20, 60]]),
        ("normalized 0.25 0.1, 0.5 0.1, 0.5 0.3", [[20, 20], [40, 20], [40, 60]]),
        ("Normalised [[0.25, 0.1], [0.5, 0.1], [0.5, 0.3]]", [[20, 20], [40, 20], [40, 60]]),
    ],
)
def test_shares_of_the_film(text: str, corners: list[list[float]]) -> None:
    (polygon,), _ = place_on_film(parse_outline(text), (200, 80))
    assert np.allclose(polygon, corners)


def test_normalised_radius_is_a_share_of_the_width() -> None:
    (polygon,), _ = place_on_film(parse_outline("normalised circle .5 .5 .25"), (200, 80))
    assert np.ptp(polygon, axis=0) == pytest.approx([40, 40])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.2 0.4, 0.35 0.4, 0.35 0.55", "shares of the film"),
        ("box 0.2 0.4 0.35 0.55", "shares of the film"),
        ("[[0.2, 0.4], [0.35, 0.4], [1.002, 0.55]]", "shares of the film"),
        ("circle 0.5 0.5 0.1", "shares of the film"),
        ("normalised box 2 4 30 50", "between 0 and 1"),
        ("[10, 20, 30, 40]", "no certain meaning"),
        ("[[10, 20, 30, 40], [50, 60, 70, 80]]", "no certain meaning"),
        ("[[10, 20], 30]", "mixes numbers and lists"),
        ("[[[[10, 20]]]]", "neither numbers"),
        ("[]", "empty"),
        ("[10, 20,", "not JSON"),
        ("POINT (10 20 30)", "POINT has no area"),
        ("LINESTRING (10 20, 30 20)", "LINESTRING has no area"),
        ("POLYGON ((10 20 5, 30 20 5, 30 45 5))", "two coordinates"),
        ("POLYGON ((10 20, 30 20, 30 45)))", "not complete"),
        ("POLYGON EMPTY", "WKT text is empty"),
        ('{"type": "Point", "coordinates": [10, 20]}', "Point has no area"),
        ('{"counts": [1, 2], "size": [3, 1]}', "no area"),
        ("point 10 20", "needs a radius"),
        ("circle 10 20 -3", "radius is -3"),
        ("circle 10 20 30 40", "three numbers"),
        ("box 10 20 30", "four numbers"),
        ("box 10 20 5 40", "encloses nothing"),
        ("10 20, 30 20", "three pairs"),
        ("10 20, 20 30, 40 50", "encloses nothing"),
    ],
)
def test_uncertain_texts_are_refused(text: str, message: str) -> None:
    assert is_outline_text(text)
    with pytest.raises(UserError, match=message):
        parse_outline(text)


@pytest.mark.parametrize(
    "name", ["mask.png", "masks/a 1.PNG", "box.png", "1.tif", "circle 1.dcm", "polygon", "m.png v"]
)
def test_file_names_are_no_outlines(name: str) -> None:
    assert not is_outline_text(name)


def test_edge_of_the_film() -> None:
    """Two percent of 300 x 400 pixels: 6 pixels sideways, 8 up or down."""
    inside, warnings = place_on_film(box_outline(200, 100, 300, 400), (400, 300))
    assert inside[0].max(0).tolist() == [300, 400] and warnings == []
    clipped, warnings = place_on_film(box_outline(-5.5, 100, 120, 407), (400, 300))
    assert clipped[0].min(0).tolist() == [0, 100] and clipped[0].max(0).tolist() == [120, 400]
    assert [cause for cause, _ in warnings] == [
        "the outline leaves the film (300 x 400 pixels) by up to 7 pixels"
    ]
    for box in ((-6.5, 100, 120, 300), (50, 100, 120, 409)):
        with pytest.raises(UserError, match="leaves its film"):
            place_on_film(box_outline(*box), (400, 300))


def test_y_from_below() -> None:
    outline = Outline(polygons=(((10, 0), (30, 0), (30, 25)),), from_below=True)
    (polygon,), _ = place_on_film(outline, (100, 50))
    assert polygon.tolist() == [[10, 100], [30, 100], [30, 75]]
