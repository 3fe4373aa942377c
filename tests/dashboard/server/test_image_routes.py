"""Pictures: opaque addresses, one audience each, no metadata, the region where the map says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dashboard.server import context, image_routes
from support import synthetic_study
from support.image_requests import get

PLACE = {"file": "zqxfile003", "y": 64, "x": 32, "side": 64}
UNIT = {"run": synthetic_study.DISSECT, "unit": 5, "rank": 2, "level": 0.2}


@pytest.fixture
def there(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(context.VARIABLE, str(study))
    return study


def test_an_address_says_nothing_and_stays(there: Path) -> None:
    one = image_routes.url("patch", "A1", **PLACE)
    assert (
        one == image_routes.url("patch", "A1", **PLACE)
        and one.startswith("/image/")
        and len(one) >= 28
    )
    assert (
        one
        != image_routes.url("patch", "A2", **PLACE)
        != image_routes.url("patch", image_routes.TEAM, **PLACE)
    )
    assert "secret" not in one
    with pytest.raises(ValueError, match="kind"):
        image_routes.url("secret", "A1")


def test_only_the_audience_sees_a_picture(there: Path) -> None:
    mine, teams = (
        image_routes.url("film", "A1", file="zqxfile001"),
        image_routes.url("film", image_routes.TEAM, file="zqxfile001"),
    )
    assert get(mine).status_code == 200 and get(teams, "team", "T1").status_code == 200
    assert (
        get(mine, "annotator", "A2").status_code == 404
        and get(teams).status_code == 404
        and get(mine, "team", "A1").status_code == 404
    )
    for url in (mine, teams, "/image/unknown"):
        assert get(url, "reader", "R1").status_code == 403 and get(url, "", "").status_code == 403
    assert get("/image/unknown").status_code == 404


def test_pictures_are_the_films_pixels_without_metadata(there: Path) -> None:
    array = np.load(there / "images" / "zqxfile003.npy")
    for url, expected in (
        (image_routes.url("film", "A1", file="zqxfile003"), array),
        (image_routes.url("patch", "A1", size=64, **PLACE), array[64:128, 32:96]),
    ):
        body = get(url).body
        image = Image.open(io.BytesIO(body))
        assert not image.getexif() and "comment" not in image.info and b"secret" not in body
        assert image.size == expected.shape[::-1]
        assert np.abs(np.asarray(image, float) - expected).mean() < 4
    assert Image.open(
        io.BytesIO(get(image_routes.url("film", "A1", file="zqxfile003", width=64)).body)
    ).size == (64, 80)


def test_the_region_is_the_upsampled_map_above_the_level(there: Path) -> None:
    inside = image_routes.region(there, synthetic_study.DISSECT, 5, 2, 0.2, 88)
    maps = np.load(there / "runs" / synthetic_study.DISSECT / "top_maps.npy")[5, 2].astype(float)
    centre = (np.arange(88) + 0.5) * 8 / 88 - 0.5
    low = np.clip(np.floor(centre).astype(int), 0, 7)
    high, weight = np.clip(low + 1, 0, 7), np.clip(centre - np.floor(centre), 0, 1)
    weight[centre < 0] = 0
    rows = maps[low] * (1 - weight[:, None]) + maps[high] * weight[:, None]
    expected = rows[:, low] * (1 - weight) + rows[:, high] * weight > 0.2
    assert (inside == expected).mean() > 0.995 and 0.02 < inside.mean() < 0.9
    lit = np.asarray(
        Image.open(io.BytesIO(get(image_routes.url("unit", "A1", **PLACE, **UNIT)).body)).convert(
            "L"
        ),
        float,
    )
    plain = np.asarray(
        Image.open(io.BytesIO(get(image_routes.url("patch", "A1", **PLACE)).body)), float
    )
    region = image_routes.region(there, synthetic_study.DISSECT, 5, 2, 0.2, 176)
    far = ~region & (plain > 60)
    assert lit[far].mean() < 0.6 * plain[far].mean()
    inner = (
        region
        & np.roll(region, 12, 0)
        & np.roll(region, -12, 0)
        & np.roll(region, 12, 1)
        & np.roll(region, -12, 1)
    )
    assert np.abs(lit[inner] - plain[inner]).mean() < 4


def test_the_cache_is_bounded_by_bytes() -> None:
    cache, made = image_routes.Cache(100), []

    def picture(name: str) -> bytes:
        return cache.get((name,), lambda: made.append(name) or bytes(40))

    for name in ("a", "b", "a", "c", "a", "b"):
        picture(name)
    assert made == ["a", "b", "c", "b"]


def test_a_missing_film_is_said_and_a_unit_without_maps_is_a_patch(there: Path) -> None:
    assert get(image_routes.url("film", "A1", file="nowhere")).status_code == 410
    assert image_routes.region(there, "no-run", 5, 2, 0.2, 88) is None
    assert (
        get(image_routes.url("unit", "A1", **PLACE, **{**UNIT, "run": "no-run"})).status_code == 200
    )
