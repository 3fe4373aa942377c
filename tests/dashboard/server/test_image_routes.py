"""Images: opaque addresses, one audience each, no metadata, the region of the unit's map."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.images.blinded_rendering import MAMMOGRAM, mammogram_source
from core.images.working_images import write_source_film
from core.sessions import reading_pictures
from core.sessions.reading_pictures import render_reading_pictures
from core.store.reading.reading_table import CasePicture
from dashboard.server import context, image_routes
from support import synthetic_study
from support.image_requests import request_image

PATCH = {"file": "zqxfile003", "y": 64, "x": 32, "side": 64}
UNIT = {"run": synthetic_study.DISSECT, "unit": 5, "rank": 2, "level": 0.2}


@pytest.fixture
def served_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    return study


def test_addresses_are_opaque_and_stable(served_study: Path) -> None:
    one = image_routes.image_url("patch", "A1", **PATCH)
    assert (
        one == image_routes.image_url("patch", "A1", **PATCH)
        and one.startswith("/image/")
        and len(one) >= 28
    )
    assert (
        one
        != image_routes.image_url("patch", "A2", **PATCH)
        != image_routes.image_url("patch", image_routes.TEAM_AUDIENCE, **PATCH)
    )
    assert "secret" not in one
    with pytest.raises(ValueError, match="kind"):
        image_routes.image_url("secret", "A1")


def test_only_the_audience_gets_an_image(served_study: Path) -> None:
    expert_url, team_url = (
        image_routes.image_url("mammogram", "A1", file="zqxfile001"),
        image_routes.image_url("mammogram", image_routes.TEAM_AUDIENCE, file="zqxfile001"),
    )
    assert (
        request_image(expert_url).status_code == 200
        and request_image(team_url, "team", "T1").status_code == 200
    )
    assert (
        request_image(expert_url, "annotator", "A2").status_code == 404
        and request_image(team_url).status_code == 404
        and request_image(expert_url, "team", "A1").status_code == 404
    )
    for url in (expert_url, team_url, "/image/unknown"):
        assert (
            request_image(url, "reader", "R1").status_code == 403
            and request_image(url, "", "").status_code == 403
        )
    assert request_image("/image/unknown").status_code == 404


def test_images_have_the_mammograms_pixels_and_no_metadata(served_study: Path) -> None:
    array = np.load(served_study / "images" / "zqxfile003.npy")
    for url, expected in (
        (image_routes.image_url("mammogram", "A1", file="zqxfile003"), array),
        (image_routes.image_url("patch", "A1", size=64, **PATCH), array[64:128, 32:96]),
    ):
        body = request_image(url).body
        image = Image.open(io.BytesIO(body))
        assert not image.getexif() and "comment" not in image.info and b"secret" not in body
        assert image.size == expected.shape[::-1]
        assert np.abs(np.asarray(image, float) - expected).mean() < 4
    assert Image.open(
        io.BytesIO(
            request_image(
                image_routes.image_url("mammogram", "A1", file="zqxfile003", width=64)
            ).body
        )
    ).size == (64, 80)


def test_films_at_source_resolution_are_for_the_team(served_study: Path) -> None:
    assert image_routes.source_url("zqxfile003") == ""
    film = np.tile(np.arange(96, dtype=np.uint8), (120, 1))
    path = served_study / "images" / "zqxfile003.source.jpg"
    write_source_film(path, film, 255, 64)
    url = image_routes.source_url("zqxfile003")
    assert request_image(url, "team", "T1").body == path.read_bytes()
    assert request_image(url, "annotator", "A1").status_code == 404
    assert request_image(url, "reader", "R1").status_code == 403
    with pytest.raises(ValueError, match="team only"):
        image_routes.image_url("source", "A1", file="zqxfile003")


def test_the_region_is_the_upsampled_map_above_the_level(served_study: Path) -> None:
    inside = image_routes.tile_region(served_study, synthetic_study.DISSECT, 5, 2, 0.2, 88)
    maps = np.load(served_study / "runs" / synthetic_study.DISSECT / "top_maps.npy")[5, 2].astype(
        float
    )
    centre = (np.arange(88) + 0.5) * 8 / 88 - 0.5
    low = np.clip(np.floor(centre).astype(int), 0, 7)
    high, weight = np.clip(low + 1, 0, 7), np.clip(centre - np.floor(centre), 0, 1)
    weight[centre < 0] = 0
    rows = maps[low] * (1 - weight[:, None]) + maps[high] * weight[:, None]
    expected = rows[:, low] * (1 - weight) + rows[:, high] * weight > 0.2
    assert (inside == expected).mean() > 0.995 and 0.02 < inside.mean() < 0.9
    lit = np.asarray(
        Image.open(
            io.BytesIO(request_image(image_routes.image_url("unit", "A1", **PATCH, **UNIT)).body)
        ).convert("L"),
        float,
    )
    plain = np.asarray(
        Image.open(io.BytesIO(request_image(image_routes.image_url("patch", "A1", **PATCH)).body)),
        float,
    )
    region = image_routes.tile_region(served_study, synthetic_study.DISSECT, 5, 2, 0.2, 176)
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
    cache, rendered = image_routes.ImageCache(100), []

    def load(name: str) -> bytes:
        return cache.get((name,), lambda: rendered.append(name) or bytes(40))

    for name in ("a", "b", "a", "c", "a", "b"):
        load(name)
    assert rendered == ["a", "b", "c", "b"]


def test_pictures_of_readers_come_from_files_at_one_time(
    served_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [mammogram_source(f"zqxfile{number:03d}") for number in (1, 2)]
    pictures = [CasePicture(1, MAMMOGRAM, sources[0]), CasePicture(2, MAMMOGRAM, sources[1])]
    rendered = render_reading_pictures(served_study, pictures)
    clock, waits = [50.0], []
    monkeypatch.setattr(image_routes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(image_routes.time, "sleep", waits.append)
    load = reading_pictures.load_picture
    # The first read is from a cold disk, the second from the system's memory.
    durations = iter((0.02, 0.001, 0.02, 0.05))

    def slow_load(*arguments: object) -> bytes:
        clock[0] += next(durations)
        return load(*arguments)

    monkeypatch.setattr(reading_pictures, "load_picture", slow_load)
    urls = [
        image_routes.image_url(
            "blinded", "R1", content=MAMMOGRAM, source=rendered[index].source, position=position
        )
        for position, index in enumerate((0, 0, 1), start=1)
    ]
    bodies = [request_image(url, "reader", "R1").body for url in urls]
    assert waits == pytest.approx([0.01, 0.029, 0.01])
    assert len({len(body) for body in bodies}) == 1
    assert len(set(bodies)) == 3  # the repeat of a picture has other bytes
    assert request_image(urls[0], "reader", "R1").status_code == 200
    assert waits[3] == pytest.approx(0.01)  # 50 ms: the second step


def test_missing_images_and_units_without_maps(served_study: Path) -> None:
    assert (
        request_image(image_routes.image_url("mammogram", "A1", file="nowhere")).status_code == 410
    )
    assert image_routes.tile_region(served_study, "no-run", 5, 2, 0.2, 88) is None
    assert (
        request_image(
            image_routes.image_url("unit", "A1", **PATCH, **{**UNIT, "run": "no-run"})
        ).status_code
        == 200
    )
