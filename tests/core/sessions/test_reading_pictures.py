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
from core.store.reading import protocol_table, reading_table
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


def folder_of(study: Path) -> Path:
    return study / "pictures"


def test_no_pictures_make_no_folder(study: Path) -> None:
    assert reading_pictures.render_reading_pictures(study, []) == []
    assert reading_pictures.prepare_open_studies(study) == 0
    reading_pictures.remove_reading_pictures(study, [])
    assert not folder_of(study).exists()


def test_common_size_is_the_next_multiple_of_64_kib(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The padding needs 72 bytes at least: a segment of 64 random bytes and two markers."""
    sizes: dict[str, int] = {}

    def rendered(_: Path, kind: str, source: str) -> bytes:
        return b"\xff\xd8" + bytes(sizes[json.loads(source)["film"]] - 2)

    monkeypatch.setattr(blinded_rendering, "render_jpeg", rendered)
    for longest, size in ((65_536 - 72, 65_536), (65_536 - 71, 131_072), (2, 65_536)):
        sizes |= {"a": longest, "b": 2}
        images = reading_pictures._rendered_images(study, pictures_of("a", "b", "a"))
        assert [len(image) for image in images] == [size] * 3
    assert reading_pictures.SIZE_STEP == 65_536


def test_files_of_a_failed_rendering_are_removed(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = reading_pictures.render_reading_pictures(study, pictures_of(FILMS[2]))
    write = Path.write_bytes
    written: list[Path] = []

    def fail_at_the_third(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        reading_pictures.render_reading_pictures(study, pictures_of(*FILMS))
    assert len(written) == 3 and written[0].parent == folder_of(study)
    left = [file.stem for file in folder_of(study).iterdir()]
    assert left == [json.loads(kept[0].source)["ready"]]
    # The folder goes with its last file; a file that is gone already does not matter.
    reading_pictures.remove_reading_pictures(study, kept + kept)
    assert not folder_of(study).exists()


def test_pictures_without_a_name_are_found_by_their_source(study: Path) -> None:
    source = mammogram_source(FILMS[0])
    name = hashlib.sha256(f"{MAMMOGRAM}|{source}".encode()).hexdigest()[:32]
    path = reading_pictures._picture_path(study, MAMMOGRAM, source)
    assert path == folder_of(study) / f"{name}.jpg"
    named = reading_pictures._picture_path(study, MAMMOGRAM, '{"ready": "abc"}')
    assert named == folder_of(study) / "abc.jpg"
    folder_of(study).mkdir()
    path.write_bytes(b"\xff\xd8rest")
    # Such a name is no hash of the content.
    shown = reading_pictures.load_picture(study, MAMMOGRAM, source)
    assert shown.startswith(b"\xff\xd8") and shown.endswith(b"rest")


@pytest.mark.parametrize("state", ["frozen", "closed"])
def test_only_open_studies_get_their_missing_files(study: Path, state: str) -> None:
    with store.write(study) as con:
        twice = [*pictures_of(FILMS[0], FILMS[1]), CasePicture(7, MAMMOGRAM, '{"ready": "gone"}')]
        twice.append(CasePicture(8, MAMMOGRAM, mammogram_source(FILMS[1])))
        reading_table.add_case_pictures(con, "ZQXSTUDY", 1, twice)
        if state == "closed":
            opened = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
            protocol_table.append_protocol_state(
                con,
                protocol="ZQXSTUDY",
                version=1,
                state="closed",
                design=opened.design,
                hash=opened.hash,
            )
    made = reading_pictures.prepare_open_studies(study)
    # A picture of two cases has one file; one that was frozen as a file is never made again.
    assert made == (2 if state == "frozen" else 0)
    assert folder_of(study).exists() is (state == "frozen")


def test_a_missing_film_does_not_keep_the_server_from_starting(
    study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with store.write(study) as con:
        reading_table.add_case_pictures(con, "ZQXSTUDY", 1, pictures_of(FILMS[0], "nowhere"))
    assert reading_pictures.prepare_open_studies(study) == 0
    assert "pictures of a reading study are missing" in caplog.text
    assert not folder_of(study).exists()
