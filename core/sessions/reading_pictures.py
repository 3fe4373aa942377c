"""Pictures of reading studies as files: rendered before reading begins, served alike.

What a reader could learn from a picture apart from its pixels is its size, its bytes and the time
until it comes. All pictures of a study therefore have one size, each showing of a picture has bytes
of its own, and every request reads one file and computes the same: nothing is rendered or kept when
a picture is shown for the first time.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from core import store
from core.errors import UserError
from core.images import blinded_rendering, jpeg_padding
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import OPEN_STATES
from core.store.reading.reading_table import CasePicture

# The common size is a multiple of this, so that it tells little about the largest picture.
SIZE_STEP = 64 * 1024
_RENDERING_THREADS = 2
_NAME_FIELD = "ready"


class PictureAlteredError(OSError):
    """A rendered picture is not the one that was frozen."""


def render_reading_pictures(study: Path, pictures: Sequence[CasePicture]) -> list[CasePicture]:
    """Write the pictures of a reading study to files, one for each case.

    Call it when the study is frozen. Two cases that show the same image get different files.

    Parameters
    ----------
    study : Path
        The study folder.
    pictures : sequence of CasePicture
        The pictures of the cases, with the source of each.

    Returns
    -------
    list of CasePicture
        The same pictures; the source of each also names its file by the SHA-256 of its content.

    Raises
    ------
    UserError
        If a working image or a class map is missing.
    """
    folder = study / blinded_rendering.PICTURES_FOLDER
    try:
        images = _rendered_images(study, pictures)
    except OSError as error:
        raise UserError(
            f"A picture of the reading study cannot be rendered, because {error.filename} cannot be"
            f" read ({error.strerror}); restore that file, or ingest and explain again."
        ) from error
    rendered: list[CasePicture] = []
    try:
        for picture, image in zip(pictures, images, strict=True):
            name = hashlib.sha256(image).hexdigest()
            source = json.dumps({**json.loads(picture.source), _NAME_FIELD: name})
            rendered.append(replace(picture, source=source))
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.jpg").write_bytes(image)
    except BaseException:  # also an interruption, or a full disk
        remove_reading_pictures(study, rendered)
        raise
    return rendered


def remove_reading_pictures(study: Path, pictures: Sequence[CasePicture]) -> None:
    """Remove the files of rendered pictures that belong to no frozen study.

    pictures: result of `render_reading_pictures`. Padding gives each file bytes and a name of its
    own, so that no other study uses one of them.
    """
    for picture in pictures:
        _picture_path(study, picture.kind, picture.source).unlink(missing_ok=True)
    folder = study / blinded_rendering.PICTURES_FOLDER
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def prepare_open_studies(study: Path) -> int:
    """Render the pictures of open reading studies that were frozen without files; return how many.

    Studies frozen by the first release have none. Call it before the study is served.
    """
    with store.read(study) as con:
        missing = [
            picture
            for protocol in protocol_table.list_protocols(con)
            if protocol.state in OPEN_STATES
            for picture in reading_table.load_case_pictures(
                con, protocol.protocol, protocol.version
            )
            if not _picture_path(study, picture.kind, picture.source).exists()
        ]
    unrendered = [p for p in missing if _NAME_FIELD not in json.loads(p.source)]
    distinct = list({(p.kind, p.source): p for p in unrendered}.values())
    try:
        images = _rendered_images(study, distinct)
    except OSError as error:  # the server starts all the same: other parts of the study work
        logging.getLogger(__name__).warning("pictures of a reading study are missing: %s", error)
        return 0
    for picture, image in zip(distinct, images, strict=True):
        path = _picture_path(study, picture.kind, picture.source)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
    return len(distinct)


def load_picture(study: Path, kind: str, source: str) -> bytes:
    """Return a rendered picture as JPEG; its bytes differ from call to call, its pixels do not.

    Raises
    ------
    OSError
        If the file is missing.
    PictureAlteredError
        If the file is not the one that was frozen.
    """
    path = _picture_path(study, kind, source)
    image = path.read_bytes()
    digest = hashlib.sha256(image).hexdigest()
    # Files of studies that were frozen without them, and of old bundles, have other names.
    if len(path.stem) == len(digest) and path.stem != digest:
        raise PictureAlteredError(f"{path} was changed after freezing")
    return jpeg_padding.renew_nonce(image)


def _picture_path(study: Path, kind: str, source: str) -> Path:
    name = json.loads(source).get(_NAME_FIELD)
    if name is None:
        name = hashlib.sha256(f"{kind}|{source}".encode()).hexdigest()[:32]
    return blinded_rendering.prerendered_path(study, name)


def _rendered_images(study: Path, pictures: Sequence[CasePicture]) -> list[bytes]:
    """Return the pictures as JPEG files of one size, each with padding of its own."""
    distinct = list(dict.fromkeys((p.kind, p.source) for p in pictures))
    if not distinct:
        return []

    def render(key: tuple[str, str]) -> bytes:
        return blinded_rendering.render_jpeg(study, *key)

    with ThreadPoolExecutor(_RENDERING_THREADS) as pool:
        images = dict(zip(distinct, pool.map(render, distinct), strict=True))
    largest = max(map(len, images.values())) + jpeg_padding.MIN_PADDING
    size = -(-largest // SIZE_STEP) * SIZE_STEP
    return [jpeg_padding.pad_jpeg(images[p.kind, p.source], size) for p in pictures]
