"""Images and their addresses in this process: who gets what, and what is drawn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from core.sessions import reading_pictures
from dashboard.server import (
    context,
    image_routes,
)
from support.image_requests import request_image


@pytest.fixture
def served(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    monkeypatch.setattr(image_routes, "_tokens", {})
    monkeypatch.setattr(image_routes, "_images", {})
    return study


def test_addresses_end_with_their_cases(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's earlier cases end; other readers' and the team's addresses stay."""
    monkeypatch.setattr(image_routes.time, "sleep", lambda _: None)
    monkeypatch.setattr(reading_pictures, "load_picture", lambda *_: b"jpeg")

    def address(code: str, position: int) -> str:
        return image_routes.image_url(
            "blinded", code, content="image", source=f"s{position}", position=position
        )

    urls = {(code, n): address(code, n) for code in ("R1", "R2") for n in (1, 2, 3)}
    team = image_routes.image_url("mammogram", "team", file="zqxfile001")
    own = image_routes.image_url("patch", "R1", file="zqxfile001", y=0, x=0, side=64)
    image_routes.revoke_image_urls("R1", (2, 3, 4))
    statuses = {key: request_image(url, "reader", key[0]).status_code for key, url in urls.items()}
    assert statuses == {
        ("R1", 1): 403,
        ("R1", 2): 200,
        ("R1", 3): 200,
        ("R2", 1): 200,
        ("R2", 2): 200,
        ("R2", 3): 200,
    }
    assert request_image(team, "team", "T1").status_code == 200
    # Only addresses of cases end.
    assert own.rsplit("/", 1)[1] in image_routes._images
    # An ended address is not given again.
    assert address("R1", 1) != urls["R1", 1] and address("R1", 2) == urls["R1", 2]
    # One reader's address is not another's, and the team reads no blinded picture.
    assert request_image(urls["R2", 1], "reader", "R1").status_code == 403
    assert request_image(urls["R2", 1], "team", "R2").status_code == 404
    assert request_image(own, "reader", "R1").status_code == 403


def test_blinded_picture_is_kept_nowhere(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    asked: list[Any] = []
    clock = iter((10.0, 10.004))
    monkeypatch.setattr(image_routes.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(image_routes.time, "sleep", slept.append)
    monkeypatch.setattr(image_routes, "seconds_until_reply", lambda used: round(used, 3) * 2)
    monkeypatch.setattr(reading_pictures, "load_picture", lambda *a: asked.append(a) or b"jpeg")
    url = image_routes.image_url("blinded", "R1", content="image", source="s", position=1)
    reply = request_image(url, "reader", "R1")
    assert reply.headers["cache-control"] == "no-store" and reply.body == b"jpeg"
    assert reply.media_type == "image/jpeg" and slept == [0.008]
    assert asked == [(served, "image", "s")]
    clock = iter((1.0, 2.0))

    def missing(*_: Any) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(reading_pictures, "load_picture", missing)
    assert request_image(url, "reader", "R1").status_code == 410 and len(slept) == 2


@pytest.mark.parametrize("kind", ["mammogram", "patch", "unit", "source"])
def test_image_of_each_kind(served: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    drawn: list[Any] = []

    def draw(name: str, result: Any) -> Any:
        return lambda root, *a, **o: drawn.append((name, root, a, o)) or result

    monkeypatch.setattr(image_routes, "_rendered", image_routes.ImageCache(10_000))
    monkeypatch.setattr(image_routes, "render_mammogram", draw("mammogram", "film"))
    monkeypatch.setattr(image_routes, "render_patch", draw("patch", "tile"))
    monkeypatch.setattr(image_routes, "tile_region", draw("region", "inside"))
    monkeypatch.setattr(image_routes, "highlight_region", lambda tile, inside: f"{tile} {inside}")
    monkeypatch.setattr(image_routes, "_jpeg", lambda image, quality: f"{image} {quality}".encode())
    file = served / "images" / f"f{image_routes.SOURCE_SUFFIX}"
    file.write_bytes(b"source film")
    square = {"file": "f", "y": 1, "x": 2, "side": 3}
    region = {"run": "r", "unit": 4, "rank": 5, "level": 0.5}
    parameters: dict[str, Any] = {
        "mammogram": {"file": "f", "width": 9},
        "patch": {**square, "size": 8},
        "unit": {**square, **region, "size": 7},
        "source": {"file": "f"},
    }[kind]
    url = image_routes.image_url(kind, "team", **parameters)
    for _ in range(2):
        reply = request_image(url, "team", "T1")
    assert reply.headers["cache-control"] == "private, max-age=3600, immutable"
    bodies = {
        "mammogram": b"film 90",
        "patch": b"tile 88",
        "unit": b"tile inside 88",
        "source": b"source film",
    }
    assert reply.body == bodies[kind] and reply.media_type == "image/jpeg"
    # Rendered once.
    calls: dict[str, Any] = {
        "mammogram": [("mammogram", served, (), parameters)],
        "patch": [("patch", served, (), parameters)],
        "unit": [
            ("patch", served, (), {**square, "size": 7}),
            ("region", served, (), {**region, "size": 7}),
        ],
        "source": [],
    }
    assert drawn == calls[kind]


def test_sizes_of_images(served: Path) -> None:
    film = np.load(served / "images" / "zqxfile003.npy")
    height, width = film.shape
    for asked, expected in (
        (None, width),
        (width, width),
        (width + 1, width),
        (100, 100),
        (0, width),
    ):
        image = image_routes.render_mammogram(served, "zqxfile003", asked)
        assert image.size == (expected, round(height * expected / width))
    tile = image_routes.render_patch(served, "zqxfile003", 32, 64, 48)
    assert tile.size == (176, 176)
    same = image_routes.render_patch(served, "zqxfile003", 32, 64, 48, 48)
    assert np.array_equal(np.asarray(same), film[32:80, 64:112])


def test_highlighted_region() -> None:
    """Dimmed outside to .38, unchanged inside, with a line in the colour of outlines between."""
    tile = Image.fromarray(np.full((60, 60), 200, np.uint8))
    inside = np.zeros((60, 60), bool)
    inside[20:40, 15:45] = True
    image = np.asarray(image_routes.highlight_region(tile, inside))
    assert image.shape == (60, 60, 3)
    assert image[30, 30].tolist() == [200] * 3 and image[3, 3].tolist() == [76] * 3
    edge = image[19:21, 30].astype(int)
    colour = np.array(image_routes.OUTLINE_COLOUR)
    assert np.abs(edge - colour).min(axis=0).max() < 60
    assert image_routes.IMAGE_KINDS == ("mammogram", "source", "patch", "unit", "blinded")
    assert image_routes.READER_KINDS == ("blinded",)


@pytest.mark.parametrize("channels", [1, 3])
def test_highlighted_pixels(channels: int) -> None:
    """Every pixel, from the formula in float32: colour (1 - weight) + outline weight."""
    rng = np.random.default_rng(channels)
    for side in (7, 31, 60):
        values = rng.integers(0, 256, (side, side, channels)).astype(np.uint8)
        coarse = Image.fromarray(rng.uniform(size=(4, 4)).astype(np.float32))
        inside = np.asarray(coarse.resize((side, side), Image.Resampling.BILINEAR)) > 0.5
        mask = np.pad(inside, 3).astype(np.uint8)
        outer, inner = (f(mask, size=3) for f in (ndimage.maximum_filter, ndimage.minimum_filter))
        edge = Image.fromarray((outer - inner) * np.uint8(255))
        blurred = np.asarray(edge.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
        weight = blurred[3:-3, 3:-3, None] / 255
        colour = np.where(inside[..., None], values.astype(np.float32), values * np.float32(0.38))
        expected = colour * (1 - weight) + np.array((214, 178, 84), np.float32) * weight
        tile = Image.fromarray(values if channels == 3 else values[..., 0])
        found = np.asarray(image_routes.highlight_region(tile, inside))
        assert np.array_equal(found, expected.astype(np.uint8))


def test_limits_of_regions(served: Path) -> None:
    maps = np.load(served / "runs" / "dissect-000000000002" / "top_maps.npy")
    units, ranks = maps.shape[:2]
    region = image_routes.tile_region
    run_name = "dissect-000000000002"
    assert region(served, run_name, units - 1, ranks - 1, 0.2, 8) is not None
    assert region(served, run_name, units, 0, 0.2, 8) is None
    assert region(served, run_name, 0, ranks, 0.2, 8) is None
    # Exactly at the level does not count.
    found = region(served, run_name, 0, 0, float(maps[0, 0].max()), 8)
    assert found is not None and not found.any()


def test_cache_of_images() -> None:
    cache = image_routes.ImageCache(10)
    assert cache.get(("a",), lambda: b"12345") == b"12345"
    assert cache.get(("b",), lambda: b"67890") == b"67890"
    # Exactly full: nothing is dropped.
    assert cache.get(("a",), lambda: b"new") == b"12345"
    cache.get(("c",), lambda: b"1")
    assert cache.get(("b",), lambda: b"again") == b"again"
    large = image_routes.ImageCache(2)
    assert large.get(("a",), lambda: b"123") == b"123"
    assert large.get(("a",), lambda: b"4") == b"4"


def test_images_are_encoded_with_their_quality() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 40), np.uint8))
    sizes = [len(image_routes._jpeg(image, quality)) for quality in (20, 90)]
    assert sizes[0] < sizes[1]
    opened = Image.open(io.BytesIO(image_routes._jpeg(image, 90)))
    assert opened.format == "JPEG" and opened.size == (40, 40)


def test_addresses_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(context.STUDY_VARIABLE, str(tmp_path))
    monkeypatch.setenv(context.PREFIX_VARIABLE, "/mining")
    monkeypatch.setattr(image_routes, "_tokens", {})
    monkeypatch.setattr(image_routes, "_images", {})
    url = image_routes.image_url
    first = url("patch", "A1", file="f", y=1, x=2)
    assert first.startswith("/mining/image/") and len(first.rsplit("/")[-1]) == 22
    assert url("patch", "A1", x=2, y=1, file="f") == first
    others = [url("patch", "A2", file="f", y=1, x=2), url("patch", "A1", file="f", y=2, x=1)]
    others.append(url("mammogram", "A1", file="f", y=1, x=2))
    assert len({first, *others}) == 4
    with pytest.raises(ValueError, match="'film' is not a kind of image"):
        url("film", "team", file="f")
    with pytest.raises(ValueError, match="are for the team only"):
        url("source", "A1", file="f")
    assert image_routes.source_url("f") == ""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"f{image_routes.SOURCE_SUFFIX}").touch()
    assert image_routes.source_url("f") == url("source", "team", file="f")


def test_reader_keeps_the_addresses_of_some_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_routes, "_tokens", {})
    monkeypatch.setattr(image_routes, "_images", {})
    for audience in ("R1", "R2"):
        for position in (1, 2, 3):
            image_routes.image_url("blinded", audience, content="c", source="s", position=position)
        image_routes.image_url("patch", audience, file="f")
    image_routes.revoke_image_urls("R1", (2,))
    left = [(kind, who, dict(items).get("position")) for kind, who, items in image_routes._tokens]
    assert left == [
        ("blinded", "R1", 2), ("patch", "R1", None),
        *(("blinded", "R2", position) for position in (1, 2, 3)), ("patch", "R2", None),
    ]  # fmt: skip
    assert sorted(image_routes._images) == sorted(image_routes._tokens.values())


def test_memory_of_images_drops_what_was_used_longest_ago() -> None:
    cache = image_routes.ImageCache(6)
    made: list[str] = []

    def get(name: str, size: int = 3) -> bytes:
        return cache.get((name,), lambda: made.append(name) or name.encode() * size)

    get("a"), get("b"), get("a"), get("c")
    assert made == ["a", "b", "c"] and cache._bytes == 6
    assert get("a") == b"aaa" and get("b") == b"bbb" and made == ["a", "b", "c", "b"]
    get("d", 7)
    assert cache._bytes == 0 and not cache._images
