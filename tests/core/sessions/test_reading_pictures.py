"""Pictures of reading studies: rendered once, of one size, served from their files alone."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import store
from core.errors import UserError
from core.images import blinded_rendering
from core.images.blinded_rendering import MAMMOGRAM, mammogram_source
from core.sessions import reading_pictures
from core.store.reading import reading_table
from core.store.reading.reading_table import CasePicture

FILMS = ("zqxfile000", "zqxfile001", "zqxfile002")


def pictures_of(*films: str) -> list[CasePicture]:
    return [
        CasePicture(number, MAMMOGRAM, mammogram_source(film))
        for number, film in enumerate(films, start=1)
    ]


def pixels_of(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)))


def test_files_have_one_size_and_bytes_of_their_own(study: Path) -> None:
    plain = np.full((320, 256), 120, np.uint8)  # its JPEG is far smaller than that of a texture
    np.save(study / "images" / f"{FILMS[2]}.npy", plain)
    before = pictures_of(FILMS[0], FILMS[1], FILMS[0], FILMS[2])
    after = reading_pictures.render_reading_pictures(study, before)
    assert [(p.case_number, p.kind) for p in after] == [(p.case_number, p.kind) for p in before]
    files = [study / "pictures" / f"{json.loads(p.source)['ready']}.jpg" for p in after]
    contents = [file.read_bytes() for file in files]
    assert len({len(content) for content in contents}) == 1
    assert len(contents[0]) % (64 * 1024) == 0
    assert len(set(contents)) == 4  # two cases of one film are two files
    assert [hashlib.sha256(c).hexdigest() for c in contents] == [file.stem for file in files]
    assert np.array_equal(pixels_of(contents[0]), pixels_of(contents[2]))
    for picture, frozen, content in zip(before, after, contents, strict=True):
        assert json.loads(picture.source).items() < json.loads(frozen.source).items()
        original = blinded_rendering.render_jpeg(study, picture.kind, picture.source)
        assert np.array_equal(pixels_of(content), pixels_of(original))


def test_a_picture_is_read_from_its_file_each_time(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (picture,) = reading_pictures.render_reading_pictures(study, pictures_of(FILMS[0]))

    def rendered(*_: object) -> bytes:
        raise AssertionError("rendered when it was shown")

    monkeypatch.setattr(blinded_rendering, "render_jpeg", rendered)
    reads = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read_bytes(path))
    shown = [reading_pictures.load_picture(study, picture.kind, picture.source) for _ in range(3)]
    assert len(reads) == 3
    assert len({len(image) for image in shown}) == 1
    assert len(set(shown)) == 3
    assert np.array_equal(pixels_of(shown[0]), pixels_of(shown[2]))


def test_a_changed_or_missing_file_is_not_shown(study: Path) -> None:
    one, two = reading_pictures.render_reading_pictures(study, pictures_of(*FILMS[:2]))
    paths = [study / "pictures" / f"{json.loads(p.source)['ready']}.jpg" for p in (one, two)]
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(reading_pictures.PictureAlteredError):
        reading_pictures.load_picture(study, one.kind, one.source)
    paths[1].unlink()
    with pytest.raises(FileNotFoundError):
        reading_pictures.load_picture(study, two.kind, two.source)


def test_a_missing_film_is_reported_before_freezing(study: Path) -> None:
    with pytest.raises(UserError, match="nowhere.npy cannot be read"):
        reading_pictures.render_reading_pictures(study, pictures_of("nowhere"))


def test_studies_frozen_without_files_get_them_when_the_server_starts(study: Path) -> None:
    with store.write(study) as con:
        reading_table.add_case_pictures(con, "ZQXSTUDY", 1, pictures_of(*FILMS))
    picture = pictures_of(*FILMS)[1]
    with pytest.raises(FileNotFoundError):
        reading_pictures.load_picture(study, picture.kind, picture.source)
    assert reading_pictures.prepare_open_studies(study) == 3
    assert reading_pictures.prepare_open_studies(study) == 0
    sizes = {file.stat().st_size for file in (study / "pictures").iterdir()}
    assert len(sizes) == 1
    image = reading_pictures.load_picture(study, picture.kind, picture.source)
    original = blinded_rendering.render_jpeg(study, picture.kind, picture.source)
    assert np.array_equal(pixels_of(image), pixels_of(original))
