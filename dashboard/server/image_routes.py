"""Images for the browser, rendered from the working images.

Each image has an opaque address, is delivered only to the audience for which the address was
made, and carries no metadata.
"""

from __future__ import annotations

import io
import secrets
import threading
import time
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

from core.images.working_images import SOURCE_SUFFIX
from core.sessions import reading_pictures
from core.sessions.reply_times import seconds_until_reply
from dashboard.server import context, identity

TEAM_AUDIENCE = "team"
IMAGE_KINDS = ("mammogram", "source", "patch", "unit", "blinded")
# The only kinds for readers: each address is made for one reader when a case is displayed.
READER_KINDS = ("blinded",)
CACHE_BYTES = 128 * 1024 * 1024
TILE_PIXELS = 176
OUTLINE_COLOUR = (214, 178, 84)
DIMMING = 0.38
_DIMMED_LEVELS = [int(np.float32(level) * np.float32(DIMMING)) for level in range(256)]

# (kind, audience, sorted parameters)
_ImageKey = tuple[str, str, tuple[tuple[str, Any], ...]]
# Requests run in threads, and several scripts register images at the same time.
_lock = threading.Lock()
_tokens: dict[_ImageKey, str] = {}
_images: dict[str, _ImageKey] = {}


def image_url(kind: str, audience: str, **parameters: Any) -> str:
    """Return the address of an image for an audience: the team, or one expert's code.

    The same image keeps its address while the server runs. The parameters by kind:

    - mammogram: file, and optionally width in pixels.
    - source: file; the same image at the resolution of its source, for the team only.
    - patch: file, y, x, side, and optionally size, the pixels of the square tile.
    - unit: as patch, and run, unit, rank, level (threshold times the unit's largest activation);
      the unit's region is bright and outlined. Without stored maps it is the patch.
    - blinded: content (kind of image) and source as in `core.sessions.reading_pictures`, and
      position in one reader's order, so that a repeated case has two addresses.
    """
    if kind not in IMAGE_KINDS:
        raise ValueError(f"{kind!r} is not a kind of image")
    if kind == "source" and audience != TEAM_AUDIENCE:
        raise ValueError("images at source resolution are for the team only")
    key = (kind, audience, tuple(sorted(parameters.items())))
    with _lock:
        if key not in _tokens:
            _tokens[key] = secrets.token_urlsafe(16)
            _images[_tokens[key]] = key
        return f"{context.url_prefix()}/image/{_tokens[key]}"


def source_url(file: str) -> str:
    """Return the team's address of a mammogram at source resolution, "" if the study has none."""
    if not _source_film(context.served_study(), file).is_file():
        return ""
    return image_url("source", TEAM_AUDIENCE, file=file)


def _source_film(root: Path, file: str) -> Path:
    return root / "images" / f"{file}{SOURCE_SUFFIX}"


def revoke_image_urls(audience: str, kept_positions: Collection[int]) -> None:
    """End a reader's addresses except those of some positions.

    Cases that can no longer be reopened must not be available either.
    """
    with _lock:
        ended = [
            key
            for key in _tokens
            if key[1] == audience
            and key[0] in READER_KINDS
            and dict(key[2])["position"] not in kept_positions
        ]
        for key in ended:
            del _images[_tokens.pop(key)]


# To open one takes as long as to cut a tile, and a unit has 32 tiles. No file changes under its
# name; a mapping holds no open file.
@lru_cache(maxsize=256)
def _working_image(root: Path, file: str) -> np.ndarray:
    return np.load(root / "images" / f"{file}.npy", mmap_mode="r")


def _jpeg(image: Image.Image, quality: int) -> bytes:
    # A new file from pixels alone: nothing of a source file's metadata can pass.
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def render_mammogram(root: Path, file: str, width: int | None = None) -> Image.Image:
    """Return a whole mammogram at its own size, or scaled down to a width in pixels."""
    image = Image.fromarray(np.asarray(_working_image(root, file)))
    if width and width < image.width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def render_patch(
    root: Path, file: str, y: int, x: int, side: int, size: int = TILE_PIXELS
) -> Image.Image:
    """Return one patch as a square tile of `size` pixels."""
    pixels = np.asarray(_working_image(root, file)[y : y + side, x : x + side])
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)


@lru_cache(maxsize=4)
def _top_maps(root: Path, run: str) -> np.ndarray | None:
    path = root / "runs" / run / "top_maps.npy"
    return np.load(path, mmap_mode="r") if path.is_file() else None


def tile_region(
    root: Path, run: str, unit: int, rank: int, level: float, size: int
) -> np.ndarray | None:
    """Return where the unit's map, upsampled bilinearly to the tile, exceeds the level.

    The result is bool [size, size], or None without stored maps. See
    docs/reference/definitions.md, "Units".
    """
    maps = _top_maps(root, run)
    if maps is None or unit >= maps.shape[0] or rank >= maps.shape[1]:
        return None
    unit_map = Image.fromarray(np.asarray(maps[unit, rank], np.float32))
    return np.asarray(unit_map.resize((size, size), Image.Resampling.BILINEAR)) > level


def highlight_region(tile: Image.Image, inside: np.ndarray) -> Image.Image:
    """Return the tile with the region unchanged, the rest dimmed and a thin outline between."""
    dimmed = tile.point(_DIMMED_LEVELS * len(tile.getbands()))
    colour = np.array(Image.composite(tile, dimmed, Image.fromarray(inside)).convert("RGB"))
    # The margin keeps the outline of regions that touch the tile's border.
    framed = np.pad(inside, 3)
    edge = Image.fromarray((_grown(framed) & _grown(~framed)) * np.uint8(255))
    smooth_edge = edge.filter(ImageFilter.GaussianBlur(0.6))
    weight = np.asarray(smooth_edge, np.float32)[3:-3, 3:-3] / 255
    at = np.nonzero(weight)
    pixels = np.asarray(tile.convert("RGB"))[at].astype(np.float32)
    pixels[~inside[at]] *= DIMMING
    weight = weight[at][:, None]
    colour[at] = pixels * (1 - weight) + np.array(OUTLINE_COLOUR, np.float32) * weight
    return Image.fromarray(colour)


def _grown(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask [h, w] and their eight neighbours."""
    wide = np.pad(mask, 1, mode="edge")
    rows = wide[:-2] | wide[1:-1] | wide[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


class ImageCache:
    """Rendered images up to a number of bytes; the least recently used are dropped first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes, self._lock = max_bytes, 0, threading.Lock()
        self._images: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def get(self, key: tuple[Any, ...], render: Callable[[], bytes]) -> bytes:
        """Return the image of a key, rendered if it is not cached."""
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        # Rendered without the lock: two requests may render the same image, but neither waits
        # for the images of others.
        image = render()
        with self._lock:
            if key not in self._images:
                self._images[key] = image
                self._bytes += len(image)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._images.popitem(last=False)[1])
        return image


_rendered = ImageCache(CACHE_BYTES)


def _render(root: Path, kind: str, parameters: dict[str, Any]) -> bytes:
    if kind == "mammogram":
        return _jpeg(render_mammogram(root, **parameters), 90)
    if kind == "source":
        return _source_film(root, parameters["file"]).read_bytes()
    if kind == "patch":
        return _jpeg(render_patch(root, **parameters), 88)
    size = parameters.pop("size", TILE_PIXELS)
    square = {name: parameters.pop(name) for name in ("file", "y", "x", "side")}
    tile = render_patch(root, **square, size=size)
    inside = tile_region(root, **parameters, size=size)
    return _jpeg(tile if inside is None else highlight_region(tile, inside), 88)


def serve_image(request: Request) -> Response:
    """Answer the image route.

    For an address of another audience the response is the same as for an unknown address.
    """
    user = identity.identity_from_headers(request.headers)
    key = _images.get(request.path_params["token"])
    is_team = user.role == TEAM_AUDIENCE
    own = key is not None and key[1] == (TEAM_AUDIENCE if is_team else user.code)
    if user.role == "reader" and key is not None and own and key[0] in READER_KINDS:
        return _blinded_response(dict(key[2]))
    if not is_team and user.role != "annotator":
        return Response("Images are not part of your invitation.", 403, media_type="text/plain")
    if key is None or not own:
        return Response("There is no such image; reload the page.", 404, media_type="text/plain")
    return _image_response(key, "private, max-age=3600, immutable")


def _blinded_response(parameters: dict[str, Any]) -> Response:
    """Return a reader's picture from its file, at a time of `reply_times`.

    It is kept neither here nor by the browser: an answer from memory would come earlier where the
    picture was shown before, and the address ends when the case cannot be reopened.
    """
    started = time.monotonic()
    try:
        image = reading_pictures.load_picture(
            context.served_study(), parameters["content"], parameters["source"]
        )
        response = Response(image, media_type="image/jpeg", headers={"Cache-Control": "no-store"})
    except OSError:
        response = _unreadable()
    # The operating system keeps files that were read before in memory. The first step is longer
    # than a read from disk, so that the time does not show which kind of read it was.
    time.sleep(seconds_until_reply(time.monotonic() - started))
    return response


def _unreadable() -> Response:
    return Response(
        "The image cannot be read from the study's folder.", 410, media_type="text/plain"
    )


def _image_response(key: _ImageKey, cache_control: str) -> Response:
    kind, _, items = key
    parameters = dict(items)  # without the audience: each image is rendered once
    root = context.served_study()
    try:
        image = _rendered.get(
            (root, kind, *parameters.items()), lambda: _render(root, kind, dict(parameters))
        )
    except OSError:
        return _unreadable()
    return Response(image, media_type="image/jpeg", headers={"Cache-Control": cache_control})


IMAGE_ROUTES = [Route("/image/{token}", serve_image, methods=["GET"])]
