from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from core.errors import UserError
from core.images.decoding import read_image
from support.dicom_writer import write_dicom as write
from support.ljpeg_writer import encode
from support.paths import SAMPLES
from support.requirements import needs_samples

FOLDER = SAMPLES / "dicom"


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4096, (20, 30)).astype(np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_stored_values(tmp_path: Path, pixels: np.ndarray, bits: int) -> None:
    pixels = (pixels.astype(np.uint32) * ((1 << bits) - 1) // 4095).astype(np.uint16)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        film = read_image(write(tmp_path / "a.dcm", pixels, bits, syntax))
        assert (
            (film.pixels == pixels).all() and film.maximum == (1 << bits) - 1 and not film.inverted
        ), syntax.name
        assert film.pixel_mm is None and film.laterality == "" and film.view == ""


def test_monochrome1(tmp_path: Path, pixels: np.ndarray) -> None:
    film = read_image(write(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1"))
    assert film.inverted and (film.pixels == 4095 - pixels).all()


def test_signed_values_and_rescaling(tmp_path: Path) -> None:
    signed = np.array([[-2048, -1, 0, 2047]], np.int16)
    film = read_image(
        write(
            tmp_path / "a.dcm",
            signed.astype(np.uint16) & 0xFFF,
            signed=True,
            RescaleSlope="1",
            RescaleIntercept="-1024",
        )
    )
    assert film.pixels.tolist() == [[0, 2047, 2048, 4095]] and film.maximum == 4095
    falling = read_image(
        write(
            tmp_path / "b.dcm",
            np.array([[0, 100, 4095]], np.uint16),
            RescaleSlope="-1",
            RescaleIntercept="4095",
        )
    )
    assert falling.pixels.tolist() == [[4095, 3995, 0]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # x = 0 100 200 300 400 with centre 200, width 201: linear 0 below 100, then (x - 199.5) /
        # 200 + .5
        ("LINEAR", [0, 0.0025, 0.5025, 1, 1]),
        ("LINEAR_EXACT", [0, 0.002488, 0.5, 0.997512, 1]),
        ("SIGMOID", [0.018338, 0.120254, 0.5, 0.879746, 0.981662]),
    ],
)
def test_windows(tmp_path: Path, function: str, expected: list[float]) -> None:
    values = np.array([[0, 100, 200, 300, 400]], np.uint16)
    tags = {"WindowCenter": ["200", "50"], "WindowWidth": ["201", "10"], "VOILUTFunction": function}
    film = read_image(write(tmp_path / "a.dcm", values, **tags))
    np.testing.assert_allclose(film.pixels[0] / film.maximum, expected, atol=2e-5)


def test_window_after_rescaling(tmp_path: Path) -> None:
    tags = {
        "RescaleSlope": "2",
        "RescaleIntercept": "100",
        "WindowCenter": "200.5",
        "WindowWidth": "201",
    }
    film = read_image(write(tmp_path / "a.dcm", np.array([[0, 50, 100]], np.uint16), **tags))
    assert (film.pixels[0] / 65535).tolist() == pytest.approx([0, 0.5, 1], abs=1e-4)


def test_lookup_tables(tmp_path: Path) -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 10, 12]
    item.LUTData = [0, 1000, 3000, 4095]
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "US"
    values = np.array([[0, 10, 11, 12, 13, 99]], np.uint16)
    film = read_image(
        write(tmp_path / "a.dcm", values, VOILUTSequence=[item], WindowCenter="5", WindowWidth="3")
    )
    np.testing.assert_allclose(
        film.pixels[0] * (4095 / 65535), [0, 0, 1000, 3000, 4095, 4095], atol=0.1
    )
    film = read_image(
        write(tmp_path / "b.dcm", np.array([[10, 11, 13]], np.uint16), ModalityLUTSequence=[item])
    )
    assert film.pixels.tolist() == [[0, 1000, 4095]] and film.maximum == 4095


def test_compressed_images(tmp_path: Path, pixels: np.ndarray) -> None:
    frames = {
        JPEGLosslessSV1: encode(pixels, 12, 1, pvrg=False),
        JPEG2000Lossless: imagecodecs.jpeg2k_encode(
            pixels, level=0, reversible=True, codecformat="j2k"
        ),
        "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode(pixels),
    }
    for syntax, frame in frames.items():
        film = read_image(write(tmp_path / "a.dcm", pixels, syntax=syntax, frame=frame))
        assert (film.pixels == pixels).all(), syntax
    data = pydicom.dcmread(write(tmp_path / "b.dcm", pixels))
    data.compress(RLELossless)
    data.save_as(tmp_path / "b.dcm")
    assert (read_image(tmp_path / "b.dcm").pixels == pixels).all()


def test_laterality_view_and_pixel_size_tags(tmp_path: Path, pixels: np.ndarray) -> None:
    tags = {
        "ImageLaterality": "R",
        "ViewPosition": "MLO",
        "ImagerPixelSpacing": ["0.07", "0.07"],
        "PixelSpacing": ["0.1", "0.1"],
    }
    film = read_image(
        write(tmp_path / "a.dcm", pixels, **tags, Manufacturer="Maker", ManufacturerModelName="One")
    )
    assert (film.laterality, film.view, film.pixel_mm, film.scanner) == (
        "RIGHT",
        "MLO",
        0.07,
        "Maker One",
    )
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "R-10242", "SRT"
    film = read_image(
        write(
            tmp_path / "b.dcm",
            pixels,
            Laterality="L",
            ViewCodeSequence=[code],
            PixelSpacing=["0.1", "0.2"],
        )
    )
    assert (film.laterality, film.view, film.pixel_mm) == ("LEFT", "CC", None)


@pytest.mark.parametrize(("signed", "low"), [(False, 0), (True, 0), (True, -2048)])
def test_sixteen_stored_bits_of_a_shallower_scanner(
    tmp_path: Path, pixels: np.ndarray, signed: bool, low: int
) -> None:
    """Many writers give 16 bits whatever the depth of the scanner."""
    stored = (pixels.astype(int) + low).astype(np.int16).view(np.uint16)
    film = read_image(write(tmp_path / "a.dcm", stored, 16, signed=signed))
    assert film.maximum == 4095 and (film.pixels == pixels).all()
    film = read_image(
        write(
            tmp_path / "b.dcm", stored, 16, signed=signed, PhotometricInterpretation="MONOCHROME1"
        )
    )
    assert film.maximum == 4095 and (film.pixels == 4095 - pixels).all()


def test_truncated_frame(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    frame = imagecodecs.jpeg8_encode(grey, level=95)
    assert (
        read_image(
            write(tmp_path / "a.dcm", grey, 8, "1.2.840.10008.1.2.4.50", frame=frame)
        ).maximum
        == 255
    )
    with pytest.raises(UserError, match="b.dcm is compressed and could not be decoded .*cut off"):
        read_image(
            write(
                tmp_path / "b.dcm",
                grey,
                8,
                "1.2.840.10008.1.2.4.50",
                frame=frame[: len(frame) // 2],
            )
        )


def test_no_identifying_tags(tmp_path: Path, pixels: np.ndarray) -> None:
    film = read_image(write(tmp_path / "a.dcm", pixels))
    assert not any(word in repr(film) for word in ("Doe", "123", "1950"))


def test_file_without_header(tmp_path: Path, pixels: np.ndarray) -> None:
    data = write(tmp_path / "a.dcm", pixels, syntax=ImplicitVRLittleEndian).read_bytes()
    start = data.index(b"\x08\x00\x16\x00")
    (tmp_path / "b.dcm").write_bytes(data[start:])
    assert (read_image(tmp_path / "b.dcm").pixels == pixels).all()


def test_unreadable_files(tmp_path: Path, pixels: np.ndarray) -> None:
    write(tmp_path / "frames.dcm", np.concatenate([pixels, pixels]), Rows=20, NumberOfFrames=2)
    write(tmp_path / "palette.dcm", pixels, 8, PhotometricInterpretation="PALETTE COLOR")
    write(tmp_path / "codec.dcm", pixels, syntax="1.2.840.10008.1.2.4.102", frame=b"\0" * 50)
    write(
        tmp_path / "broken.dcm",
        pixels,
        syntax=JPEGLosslessSV1,
        frame=encode(pixels, 12, 1, pvrg=False)[:300],
    )
    whole = write(tmp_path / "whole.dcm", pixels).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) - 400])
    (tmp_path / "header.dcm").write_bytes(whole[:300])
    expected = {
        "frames": "2 frames",
        "palette": "palette",
        "codec": "could not be decoded",
        "broken": "could not be decoded",
    }
    for name, message in (expected | {"cut": "damaged", "header": "no image"}).items():
        with pytest.raises(UserError, match=rf"{name}\.dcm.*{message}"):
            read_image(tmp_path / f"{name}.dcm")


@needs_samples
def test_samples() -> None:
    shapes = {
        "MG_Explicit_Little.dcm": (512, 512),
        "CT_Explicit_Little.dcm": (512, 512),
        "CT_JPEG70.dcm": (400, 512),
        "CT_Implicit_Little_Headless_Retired.dcm": (512, 512),
        "CR1/6154": (16, 16),
    }
    films = {name: read_image(FOLDER / name) for name in shapes}
    for name, film in films.items():
        assert (
            film.pixels.shape == shapes[name]
            and film.pixels.std() > 0
            and film.pixels.max() <= film.maximum
        ), name
    mg, cr = films["MG_Explicit_Little.dcm"], films["CR1/6154"]
    assert (
        (mg.laterality, mg.pixel_mm) == ("RIGHT", 0.5)
        and cr.inverted
        and cr.pixel_mm == pytest.approx(0.1)
    )
