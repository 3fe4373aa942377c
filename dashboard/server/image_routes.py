"""Pictures for the browser: rendered from the working images, under opaque tokens, to the audience
they were registered for, without any metadata.
"""

from __future__ import annotations

import io
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.images import blinded_rendering
from dashboard.server import context, identity

TEAM = "team"
KINDS = ("film", "patch", "unit", "blinded")
# All that a reader may see, and only what was registered for that reader's own code when a case was
# shown.
READERS = ("blinded",)
MOST_BYTES = 128 * 1024 * 1024
_lock = threading.Lock()
_tokens: dict[tuple[Any, ...], str] = {}
_pictures: dict[str, tuple[Any, ...]] = {}
OUTLINE = (214, 178, 84)


def url(kind: str, audience: str, **what: Any) -> str:
    """The address of a picture for an audience: "team", or one annotator's code.

    The same picture keeps its address while the server runs.

    kind "film": file, and optionally width (pixels) - a whole mammogram. kind "patch": file, y, x,
    side, and optionally size (pixels of the square tile). kind "unit": a patch with the unit's
    region bright and outlined: file, y, x, side, run, unit, rank, level (threshold x the unit's
    largest activation), and optionally size. A unit without maps is shown as its patch. kind
    "blinded": what a case of an image arm shows (shown, source as in `core.images.blinded_rendering`) at a place of
    one reader's order, so that a case that comes twice has two addresses.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of picture")
    picture = (kind, audience, tuple(sorted(what.items())))
    with _lock:
        if picture not in _tokens:
            _tokens[picture] = secrets.token_urlsafe(16)
            _pictures[_tokens[picture]] = picture
        return f"{context.prefix()}/image/{_tokens[picture]}"


def forget(audience: str, places: Collection[int]) -> None:
    """End a reader's addresses but those of these places: what was read before, and cannot be
    reopened, is not to be had any more.
    """
    with _lock:
        ended = [
            picture
            for picture in _tokens
            if picture[1] == audience
            and picture[0] in READERS
            and dict(picture[2])["place"] not in places
        ]
        for picture in ended:
            del _pictures[_tokens.pop(picture)]


def _array(root: Path, file: str) -> np.ndarray:
    return np.load(root / "images" / f"{file}.npy", mmap_mode="r")


def _encoded(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def film(root: Path, file: str, width: int | None = None) -> Image.Image:
    """A whole mammogram [h, w] in its own pixels, or scaled down to a width."""
    image = Image.fromarray(np.asarray(_array(root, file)))
    if width and width < image.width:
        image = image.resize(
            (width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS
        )
    return image


def patch(root: Path, file: str, y: int, x: int, side: int, size: int = 176) -> Image.Image:
    """One patch as a square tile of `size` pixels."""
    view = np.asarray(_array(root, file)[y : y + side, x : x + side])
    return Image.fromarray(view).resize((size, size), Image.Resampling.BICUBIC)


@lru_cache(maxsize=4)
def _maps(root: Path, run: str) -> np.ndarray | None:
    path = root / "runs" / run / "top_maps.npy"
    return np.load(path, mmap_mode="r") if path.is_file() else None


def region(
    root: Path, run: str, unit: int, rank: int, level: float, size: int
) -> np.ndarray | None:
    """Where the unit's map, upsampled bilinearly to the tile, exceeds the level (DEFINITIONS "top
    patches"): bool [size, size], None without maps.
    """
    maps = _maps(root, run)
    if maps is None or unit >= maps.shape[0] or rank >= maps.shape[1]:
        return None
    values = Image.fromarray(np.asarray(maps[unit, rank], np.float32))
    return np.asarray(values.resize((size, size), Image.Resampling.BILINEAR)) > level


def highlighted(tile: Image.Image, inside: np.ndarray) -> Image.Image:
    """The region as it is, the rest dimmed, a thin outline between."""
    grey = np.asarray(tile.convert("L"), np.float32)
    dimmed = np.where(inside, grey, grey * 0.38)
    colour = np.repeat(dimmed[..., None], 3, axis=2)
    mask = Image.fromarray(inside.astype(np.uint8) * 255)
    framed = Image.new("L", (mask.width + 6, mask.height + 6))
    framed.paste(mask, (3, 3))
    edge = np.asarray(framed.filter(ImageFilter.MaxFilter(3)), np.int16) - np.asarray(
        framed.filter(ImageFilter.MinFilter(3)), np.int16
    )
    line = Image.fromarray(((edge > 0) * 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(0.6)
    )
    weight = np.asarray(line, np.float32)[3:-3, 3:-3, None] / 255
    return Image.fromarray(
        (colour * (1 - weight) + np.array(OUTLINE, np.float32) * weight).astype(np.uint8)
    )


class Cache:
    """Rendered pictures up to a number of bytes; the longest unused go first."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._lock = most, 0, threading.Lock()
        self._pictures: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def get(self, key: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
        """The picture of that key, made if it is not here."""
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        body = make()
        with self._lock:
            if key not in self._pictures:
                self._pictures[key] = body
                self._held += len(body)
            while self._held > self._most:
                self._held -= len(self._pictures.popitem(last=False)[1])
        return body


_rendered = Cache(MOST_BYTES)


def _render(root: Path, picture: tuple[Any, ...]) -> bytes:
    kind, _, items = picture
    what = dict(items)
    if kind == "film":
        return _encoded(film(root, **what), 90)
    if kind == "blinded":
        return blinded_rendering.rendered(root, what["shown"], what["source"])
    if kind == "patch":
        return _encoded(patch(root, **what), 88)
    size = what.get("size", 176)
    tile = patch(root, what["file"], what["y"], what["x"], what["side"], size)
    inside = region(root, what["run"], what["unit"], what["rank"], what["level"], size)
    return _encoded(tile if inside is None else highlighted(tile, inside), 88)


def _picture(request: Request) -> Response:
    """The route. Whoever is not of the audience gets what an unknown token gets."""
    who = identity.from_headers(request.headers)
    picture = _pictures.get(request.path_params["token"])
    if (
        who.role == "reader"
        and picture is not None
        and picture[0] in READERS
        and picture[1] == who.code
    ):
        return _drawn(picture, "no-store")
    if who.role not in (TEAM, "annotator"):
        return Response("Images are not part of your invitation.", 403, media_type="text/plain")
    if picture is None or picture[1] != (TEAM if who.role == TEAM else who.code):
        return Response("There is no such image; reload the page.", 404, media_type="text/plain")
    return _drawn(picture, "private, max-age=3600, immutable")


def _drawn(picture: tuple[Any, ...], keep: str) -> Response:
    kind, _, items = picture
    # The same pixels for every audience and place: drawn once.
    what = tuple(item for item in items if item[0] != "place")
    try:
        root = context.current()
        body = _rendered.get((root, kind, what), lambda: _render(root, picture))
    except OSError:
        return Response(
            "The image cannot be read from the study's folder.", 410, media_type="text/plain"
        )
    return Response(body, media_type="image/jpeg", headers={"Cache-Control": keep})


ROUTES = [Route("/image/{token}", _picture, methods=["GET"])]
