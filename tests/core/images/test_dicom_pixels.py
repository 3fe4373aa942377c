"""Pixel attributes of DICOM: padding, lookup tables of every packing, colour, newer compressions.

Expected values are computed by pydicom or numpy, or written by hand.
"""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut, convert_color_space
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless

from core.images import dicom
from core.images.decoding import read_image
from core.images.dicom import _apply_table
from support.dicom_writer import write_dicom as write

JPEG, JPEG_12 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LUMINANCE = np.array([0.299, 0.587, 0.114])


def lookup_table(descriptor: list[int], data: object, data_type: str) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = descriptor, data
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", data_type
    return item


@pytest.mark.parametrize(
    ("first", "values", "expected"),
    [
        (40000, [40000, 40002, 40003, 50000], [1, 7, 9, 9]),
        # 65534 is written for -2 where values are negative.
        (65534, [-2, -1, 0, 1], [1, 3, 7, 9]),
        (5, [-3, 5, 6, 7], [1, 1, 3, 7]),
    ],
)
def test_first_value_of_a_table(first: int, values: list[int], expected: list[int]) -> None:
    item = lookup_table([4, first, 8], [1, 3, 7, 9], "US")
    grey, largest = _apply_table(item, np.array(values))
    assert (grey.tolist(), largest) == (expected, 255)


@pytest.mark.parametrize("decoded", [np.uint16, np.int16, np.int32])
@pytest.mark.parametrize(
    ("signed", "values", "expected"),
    [(True, [0xFFF, 0x800, 5], [-1, -2048, 5]), (False, [0x1FFF, 0x800, 5], [0xFFF, 0x800, 5])],
)
def test_stored_values_of_every_decoder(
    decoded: type, signed: bool, values: list[int], expected: list[int], monkeypatch
) -> None:
    """12 bits; decoders of compressed frames return unsigned numbers whatever the sign."""
    header = Dataset()
    header.Rows, header.Columns, header.BitsStored, header.HighBit = 1, 3, 12, 11
    header.PixelRepresentation = int(signed)
    monkeypatch.setattr(dicom, "_check_single_grey_image", lambda *_: None)
    monkeypatch.setattr(dicom, "_decode_pixels", lambda *_: np.array([values], decoded))
    assert dicom._stored_values(header, Path("film.dcm")).tolist() == [expected]


def test_padding_is_black_in_both_polarities(tmp_path: Path) -> None:
    pixels = np.array([[7, 100, 4000], [7, 2000, 3000]], np.uint16)
    film = read_image(write(tmp_path / "a.dcm", pixels, PixelPaddingValue=7))
    assert film.pixels.tolist() == [[0, 100, 4000], [0, 2000, 3000]]
    film = read_image(
        write(
            tmp_path / "b.dcm", pixels, PixelPaddingValue=7, PhotometricInterpretation="MONOCHROME1"
        )
    )
    assert film.pixels.tolist() == [[0, 3995, 95], [0, 2095, 1095]]


def test_padding_range_and_sign(tmp_path: Path) -> None:
    pixels = np.array([[0, 40, 50, 51, 4095]], np.uint16)
    tags = {"PixelPaddingValue": 50, "PixelPaddingRangeLimit": 40}
    assert read_image(write(tmp_path / "a.dcm", pixels, **tags)).pixels.tolist() == [
        [0, 0, 0, 51, 4095]
    ]
    signed = np.array([[-2000, -1, 5, 2047]], np.int16)
    path = write(
        tmp_path / "b.dcm", signed.astype(np.uint16), 16, signed=True, PixelPaddingValue=-2000
    )
    # Padding does not take part in the depth: -1 to 2047 are 12 bits, 0 is at 2048.
    assert read_image(path).pixels.tolist() == [[0, 2047, 2053, 4095]]


def test_padding_does_not_set_the_depth(tmp_path: Path) -> None:
    pixels = np.array([[65535, 10, 4095]], np.uint16)
    film = read_image(write(tmp_path / "a.dcm", pixels, 16, PixelPaddingValue=65535))
    assert film.maximum == 4095 and film.pixels.tolist() == [[0, 10, 4095]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_tables_of_packed_8_bit_entries(tmp_path: Path, syntax: str) -> None:
    entries = [0, 9, 30, 90, 255, 200]
    words = np.array([low | high << 8 for low, high in zip(entries[::2], entries[1::2])])
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    values = np.array([[0, 10, 11, 12, 13, 14, 15, 99]], np.uint16)
    for data, kind in ((words.tolist(), "US"), (words.astype(order).tobytes(), "OW")):
        item = lookup_table([6, 10, 8], data, kind)
        film = read_image(write(tmp_path / "a.dcm", values, syntax=syntax, VOILUTSequence=[item]))
        shares = film.pixels[0] / film.maximum
        np.testing.assert_allclose(shares * 255, [0, 0, 9, 30, 90, 255, 200, 200], atol=0.01)


@pytest.mark.parametrize(("bits", "kind"), [(12, "US"), (16, "US"), (16, "OW"), (8, "US")])
def test_tables_of_12_bits_in_words(tmp_path: Path, bits: int, kind: str) -> None:
    """The declared depth may be that of the words, or too small; the entries hold 12 bits."""
    entries = np.array([4, 800, 2500, 4000], np.uint16)
    data = entries.tobytes() if kind == "OW" else entries.tolist()
    values = np.array([[0, 5, 6, 7, 8, 50]], np.uint16)
    path = write(
        tmp_path / "a.dcm", values, VOILUTSequence=[lookup_table([4, 5, bits], data, kind)]
    )
    film = read_image(path)
    expected = [4, 4, 800, 2500, 4000, 4000]
    np.testing.assert_allclose(film.pixels[0] / film.maximum * 4095, expected, atol=0.05)
    if bits == 12:
        header = pydicom.dcmread(path)
        assert apply_voi_lut(header.pixel_array, header)[0].tolist() == expected


def test_truncated_table_is_refused(tmp_path: Path) -> None:
    item = lookup_table([8, 0, 16], [1, 2, 3], "US")
    path = write(tmp_path / "a.dcm", np.array([[0, 1]], np.uint16), VOILUTSequence=[item])
    with pytest.raises(Exception, match="a lookup table holds 3 of 8 entries"):
        read_image(path)


def colour_file(path: Path, data: bytes, shape: tuple[int, int], **tags: object) -> Path:
    """Write a colour DICOM file with the given pixel data."""
    syntax, frame = tags.pop("syntax", ExplicitVRLittleEndian), tags.pop("frame", None)
    path = write(path, np.zeros(shape, np.uint8), 8, syntax, frame=frame, SamplesPerPixel=3, **tags)
    if frame is None:
        header = pydicom.dcmread(path)
        header.PixelData = data
        header.save_as(path)
    return path


def test_colour_is_read_as_luminance(tmp_path: Path) -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:, :8], rgb[:, 8:] = (200, 40, 10), (0, 190, 90)
    expected = np.rint(rgb @ LUMINANCE)
    ybr = convert_color_space(rgb, "RGB", "YBR_FULL")
    j2k = imagecodecs.jpeg2k_encode(rgb, level=0, reversible=True, mct=True, codecformat="j2k")
    jpeg = imagecodecs.jpeg8_encode(rgb, level=100, subsampling="444")
    plain = imagecodecs.jpeg8_encode(rgb, level=100, colorspace="RGB", outcolorspace="RGB")
    # The same stream without the marks by which decoders recognise RGB.
    start = plain.index(b"\xff\xee")
    unmarked = plain[:start] + plain[start + 2 + int.from_bytes(plain[start + 2 : start + 4]) :]
    for number, letter in enumerate(b"RGB", start=1):
        unmarked = unmarked.replace(bytes([letter, 0x11, 0]), bytes([number, 0x11, 0]))
    header, scan = unmarked.split(b"\xff\xda", 1)
    scan = scan[:3] + bytes([1, scan[4], 2, scan[6], 3]) + scan[8:]
    unmarked = header + b"\xff\xda" + scan
    files = {
        "RGB": {"data": rgb.tobytes(), "PlanarConfiguration": 0},
        "YBR_FULL": {"data": ybr.tobytes(), "PlanarConfiguration": 0},
        "YBR_RCT": {"data": b"", "syntax": JPEG2000Lossless, "frame": j2k},
        "YBR_FULL_422": {"data": b"", "syntax": JPEG, "frame": jpeg},
    }
    left_as_ybr = imagecodecs.jpeg2k_encode(
        ybr, level=0, reversible=True, mct=False, codecformat="j2k"
    )
    for name, tags in files.items():
        path = colour_file(
            tmp_path / f"{name}.dcm",
            tags.pop("data"),
            (16, 16),
            PhotometricInterpretation=name,
            PlanarConfiguration=tags.pop("PlanarConfiguration", 0),
            **tags,
        )
        assert np.abs(read_image(path).pixels - expected).max() <= 1, name
    for name, syntax, frame in (
        ("RGB", JPEG, plain),
        ("RGB", JPEG, unmarked),
        ("YBR_FULL", JPEG2000Lossless, left_as_ybr),
    ):
        path = colour_file(
            tmp_path / "compressed.dcm",
            b"",
            (16, 16),
            PhotometricInterpretation=name,
            PlanarConfiguration=0,
            syntax=syntax,
            frame=frame,
        )
        assert np.abs(read_image(path).pixels - expected).max() <= 2


def test_12_bit_jpeg_and_high_throughput_jpeg_2000(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :48]
    pixels = (2000 + 1500 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint16)
    frame = imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=12)
    film = read_image(write(tmp_path / "a.dcm", pixels, syntax=JPEG_12, frame=frame))
    assert film.maximum == 4095 and np.abs(film.pixels.astype(int) - pixels).max() < 16
    frame = imagecodecs.htj2k_encode(pixels, reversible=True)
    for number in (201, 202):
        syntax = f"1.2.840.10008.1.2.4.{number}"
        film = read_image(write(tmp_path / "b.dcm", pixels, syntax=syntax, frame=frame))
        assert (film.pixels == pixels).all()


def test_frame_followed_by_zeros(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    frame = imagecodecs.jpeg8_encode(grey, level=95)
    paths = [
        write(tmp_path / f"{zeros}.dcm", grey, 8, JPEG, frame=frame + bytes(zeros))
        for zeros in (0, 2000)
    ]
    first, second = (read_image(path).pixels for path in paths)
    assert (first == second).all()
