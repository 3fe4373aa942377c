"""Each step of reading a DICOM image by values of the standard, at its limits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from core.errors import UserError
from core.images import dicom
from core.images.decoding import read_image
from core.images.lossless_jpeg import decode_standard
from support.dicom_writer import write_dicom

FILE = Path("film.dcm")
JPEG, JPEG2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"


def header(**values: Any) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize(
    ("start", "is_one"),
    [
        (b"\x02\x00\x10\x00", True),
        (b"\x08\x00\x05\x00", True),
        (b"\x08\x00\x05\x01", False),
        (b"\x04\x00\x05\x00", False),
        (b"\x08\x00", False),
        (b"", False),
        (bytes(128) + b"DICM", True),
        (bytes(127) + b"DICM", False),
    ],
)
def test_marks_of_dicom_files(start: bytes, is_one: bool) -> None:
    assert dicom.is_dicom(start) == is_one


def test_decoders_of_transfer_syntaxes() -> None:
    """DICOM PS3.5, section 10 and annex A.4."""
    numbers = {
        imagecodecs.jpeg8_decode: (50, 51),
        decode_standard: (57, 70),
        imagecodecs.jpegls_decode: (80, 81),
        imagecodecs.jpeg2k_decode: (90, 91),
        imagecodecs.htj2k_decode: (201, 202, 203),
    }
    expected = {
        f"1.2.840.10008.1.2.4.{number}": decoder
        for decoder, group in numbers.items()
        for number in group
    }
    assert expected == dicom._DECODERS


@pytest.mark.parametrize(
    ("centre", "width", "window"),
    [
        (200, 400, (200.0, 400.0)),
        (MultiValue(float, [50, 7]), MultiValue(float, [10, 3]), (50.0, 10.0)),
        (0, 1, (0.0, 1.0)),
        (5, 0.9, None),
        (None, 4, None),
        (4, None, None),
        ("", 4, None),
        (4, "", None),
    ],
)
def test_windows_of_a_header(centre: Any, width: Any, window: tuple | None) -> None:
    given: Any = {"WindowCenter": centre, "WindowWidth": width}
    assert dicom._window(given) == window


def test_windows_by_the_formulas_of_the_standard() -> None:
    """PS3.3 C.11.2.1.2: y = (x - (c - .5)) / (w - 1) + .5; exact: (x - c) / w + .5."""
    x = np.array([49, 49.5, 74.5, 99.5, 149.5, 150])
    shares = dicom._apply_window(x, 100, 101, "LINEAR")
    assert shares.tolist() == pytest.approx([0, 0, 0.25, 0.5, 1, 1])
    assert dicom._apply_window(x, 100, 101, "linear").tolist() == shares.tolist()
    # A window of one level is a step between levels.
    assert dicom._apply_window(np.array([9, 10]), 10, 1, "LINEAR").tolist() == [0, 1]
    shares = dicom._apply_window(np.array([0, 50, 75, 100, 160]), 100, 100, "linear_exact")
    assert shares.tolist() == pytest.approx([0, 0, 0.25, 0.5, 1])
    shares = dicom._apply_window(np.array([75, 100, 150]), 100, 100, "Sigmoid")
    assert shares.tolist() == pytest.approx([1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-2))])


@pytest.mark.parametrize(
    ("spacings", "side"),
    [
        ({"ImagerPixelSpacing": [0.07, 0.07], "PixelSpacing": [0.1, 0.1]}, 0.07),
        ({"PixelSpacing": [0.1, 0.1], "NominalScannedPixelSpacing": [0.2, 0.2]}, 0.1),
        ({"NominalScannedPixelSpacing": [0.2, 0.2]}, 0.2),
        ({"ImagerPixelSpacing": [0.07], "PixelSpacing": [0.1, 0.1]}, 0.1),
        ({"ImagerPixelSpacing": ["x", "y"], "PixelSpacing": [0.1, 0.1]}, 0.1),
        ({"ImagerPixelSpacing": [0.07, 0.08], "PixelSpacing": [0.1, 0.1]}, 0.1),
        ({"PixelSpacing": [0.1, 0.10009]}, 0.1),
        ({"PixelSpacing": [0.1, 0.10011]}, None),
        ({"PixelSpacing": [0.1, 0.09989]}, None),
        ({"PixelSpacing": [1000, 1000.5]}, 1000),
        ({"PixelSpacing": [1000, 1001]}, None),
        ({"PixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": [-0.1, -0.1]}, None),
        ({}, None),
    ],
)
def test_sides_of_pixels(spacings: Any, side: float | None) -> None:
    assert dicom._pixel_mm(spacings) == side


def item(descriptor: list[int], data: list[int] | bytes, little: bool = True) -> Any:
    return SimpleNamespace(
        LUTDescriptor=descriptor, LUTData=data, original_encoding=(False, little)
    )


@pytest.mark.parametrize(
    ("descriptor", "data", "values", "expected", "maximum"),
    [
        # From 32768 on a first value may be negative, if values are.
        ([2, 32767, 8], [5, 9], [-1, 32767, 32768], [5, 5, 9], 255),
        ([2, 32768, 8], [5, 9], [-32769, -32768, -32767], [5, 5, 9], 255),
        ([2, 32768, 8], [5, 9], [0, 32768, 32769], [5, 5, 9], 255),
        # The depth that the entries need, where 16 bits or too few are declared.
        ([2, 0, 16], [5, 255], [0, 1], [5, 255], 255),
        ([2, 0, 16], [5, 256], [0, 1], [5, 256], 1023),
        ([2, 0, 8], [5, 255], [0, 1], [5, 255], 255),
        ([2, 0, 8], [5, 256], [0, 1], [5, 256], 1023),
        ([2, 0, 10], [5, 9], [0, 1], [5, 9], 1023),
        ([2, 0, 12], [5, 4095], [0, 1], [5, 4095], 4095),
        ([2, 0, 12], [5, 4096], [0, 1], [5, 4096], 16383),
        ([2, 0, 12], [5, 16384], [0, 1], [5, 16384], 65535),
        # Two entries a word, the low byte first.
        ([3, 0, 8], [0x0201, 0x0003], [0, 1, 2, 3], [1, 2, 3, 3], 255),
        ([1, 4, 8], [7], [0, 4, 9], [7, 7, 7], 255),
        ([2, 0, 8], b"\x05\x00\x09\x00\x07", [0, 1], [5, 9], 255),
    ],
)
def test_tables(
    descriptor: list[int], data: Any, values: list[int], expected: list[int], maximum: int
) -> None:
    grey, largest = dicom._apply_table(item(descriptor, data), np.array(values))
    assert (grey.tolist(), largest) == (expected, maximum)


def test_entries_of_tables() -> None:
    assert dicom._table_entries(item([2, 0, 8], b"\x01\x00\x00\x02"), 2).tolist() == [1, 512]
    big = item([2, 0, 8], b"\x01\x00\x00\x02", little=False)
    assert dicom._table_entries(big, 2).tolist() == [256, 2]
    unknown = item([2, 0, 8], b"\x01\x00\x00\x02")
    unknown.original_encoding = None
    assert dicom._table_entries(unknown, 2).tolist() == [1, 512]
    assert dicom._table_entries(item([3, 0, 8], [4, 5, 6, 7]), 3).tolist() == [4, 5, 6]
    assert dicom._table_entries(item([1, 0, 8], -1), 1).tolist() == [65535]  # type: ignore[arg-type]
    # 0 stands for 65536 entries.
    data = np.arange(65536, dtype="<u2").tobytes()
    grey, largest = dicom._apply_table(item([0, 0, 16], data), np.array([3, 65535, 70000]))
    assert (grey.tolist(), largest) == ([3, 65535, 65535], 65535)
    with pytest.raises(ValueError, match="holds 2 of 65536 entries"):
        dicom._apply_table(item([0, 0, 16], [1, 2]), np.array([3]))


@pytest.mark.parametrize(
    ("values", "levels", "expected", "maximum", "kind"),
    [
        ({}, np.arange(4), [0, 1, 2, 3], 3, np.uint8),
        ({}, np.arange(-2, 2), [0, 1, 2, 3], 3, np.uint8),
        ({"RescaleSlope": -2, "RescaleIntercept": 9}, np.arange(4), [3, 2, 1, 0], 3, np.uint8),
        ({"RescaleSlope": 0.5, "RescaleIntercept": -7}, np.arange(4), [0, 1, 2, 3], 3, np.uint8),
        # 2 x - 100 by a window from 0 to 100.
        (
            {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 50.5,
             "WindowWidth": 101},
            np.array([40, 50, 75, 100, 120]), [0, 0, 32768, 65535, 65535], 65535, np.uint16,
        ),
        (
            {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"},
            np.array([0, 25, 100]), [0, 16384, 65535], 65535, np.uint16,
        ),
    ],
)  # fmt: skip
def test_grey_values_of_levels(
    values: dict, levels: np.ndarray, expected: list[int], maximum: int, kind: type
) -> None:
    grey, highest = dicom._transform_levels(header(**values), levels)
    assert grey.dtype == kind and (grey.tolist(), highest) == (expected, maximum)


def test_types_of_grey_values() -> None:
    for count, kind in ((256, np.uint8), (257, np.uint16)):
        grey, highest = dicom._transform_levels(header(), np.arange(count))
        assert grey.dtype == kind and highest == count - 1


def test_tables_of_both_transformations() -> None:
    """A modality table to 0, 100 and 200, then a VOI table that begins at 100."""
    given: Any = {
        "ModalityLUTSequence": [item([3, 0, 8], [0, 100, 200])],
        "VOILUTSequence": [item([101, 100, 10], list(range(0, 1010, 10)))],
    }
    grey, highest = dicom._transform_levels(given, np.arange(4))
    # 0 and 1000 of 1023: 64061.6.
    assert grey.tolist() == [0, 0, 64062, 64062] and highest == 65535
    del given["VOILUTSequence"]
    grey, highest = dicom._transform_levels(given, np.arange(4))
    assert grey.tolist() == [0, 100, 200, 200] and highest == 255 and grey.dtype == np.uint8


@pytest.mark.parametrize(
    ("value", "bits", "signed", "stored"),
    [
        (0xFFF, 12, 1, -1),
        (0x800, 12, 1, -2048),
        (0x7FF, 12, 1, 2047),
        (0xFFF, 12, 0, 4095),
        (0x1005, 12, 0, 5),
        (-1, 12, 0, 4095),
        (-5, 12, 1, -5),
    ],
)
def test_signs_of_header_values(value: int, bits: int, signed: int, stored: int) -> None:
    assert dicom._with_sign_of(header(PixelRepresentation=signed), value, bits) == stored


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"PixelPaddingValue": 3}, [False, True, False, False]),
        ({"PixelPaddingValue": 5, "PixelPaddingRangeLimit": 3}, [False, True, True, True]),
        ({"PixelPaddingValue": 3, "PixelPaddingRangeLimit": 4}, [False, True, True, False]),
        ({"PixelPaddingValue": 3, "PixelPaddingRangeLimit": ""}, [False, True, False, False]),
        ({"PixelPaddingValue": 3, "SamplesPerPixel": 3}, None),
        ({"PixelPaddingValue": 3, "SamplesPerPixel": 1}, [False, True, False, False]),
        ({"PixelPaddingValue": ""}, None),
        ({}, None),
        ({"PixelPaddingValue": 9}, None),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 9}, None),
    ],
)
def test_padding_pixels(values: dict, expected: list[bool] | None) -> None:
    given: Any = {"BitsStored": 12, **values}
    attributes = SimpleNamespace(get=given.get, BitsStored=12, PixelRepresentation=0)
    attributes.PixelPaddingRangeLimit = given.get("PixelPaddingRangeLimit")
    found = dicom._padding(attributes, np.array([2, 3, 4, 5]))  # type: ignore[arg-type]
    assert found is None if expected is None else found is not None and found.tolist() == expected


@pytest.mark.parametrize(
    ("bits", "signed", "stored", "grey", "maximum"),
    [
        (12, 0, [0, 5, 4095], [0, 5, 4095], 4095),
        (12, 1, [-2048, 0, 2047], [0, 2048, 4095], 4095),
        # 16 bits of a shallower scanner, at the limits of each depth.
        (16, 0, [0, 255], [0, 255], 255),
        (16, 0, [0, 256], [0, 256], 1023),
        (16, 0, [0, 4095], [0, 4095], 4095),
        (16, 0, [0, 4096], [0, 4096], 16383),
        (16, 0, [0, 16384], [0, 16384], 65535),
        (16, 1, [-128, 127], [0, 255], 255),
        (16, 1, [-129, 127], [383, 639], 1023),
        (16, 1, [-1, 128], [511, 640], 1023),
        # Without negative values the sign takes no bit.
        (16, 1, [0, 255], [0, 255], 255),
        (12, 1, [0, 5], [2048, 2053], 4095),
        (1, 0, [0, 1], [0, 1], 1),
    ],
)
def test_depths_of_stored_values(
    bits: int, signed: int, stored: list[int], grey: list[int], maximum: int
) -> None:
    found = dicom._grey_values(
        header(BitsStored=bits, PixelRepresentation=signed), np.array(stored), None
    )
    assert (found[0].tolist(), found[1]) == (grey, maximum)


def test_padding_has_no_depth() -> None:
    stored, padding = np.array([-900, 3, 255, 70]), np.array([True, False, False, False])
    given = header(BitsStored=16, PixelRepresentation=1)
    grey, maximum = dicom._grey_values(given, stored, padding)
    assert grey.tolist()[1:] == [3, 255, 70] and maximum == 255
    # Outside the table of levels, which is not that of the identity.
    falling = header(BitsStored=16, PixelRepresentation=1, RescaleSlope=-1)
    stored, padding = np.array([-900, 3, 255, 900]), np.array([True, False, False, True])
    grey, maximum = dicom._grey_values(falling, stored, padding)
    assert grey.tolist()[1:3] == [252, 0] and maximum == 255
    for bits in (0, 17):
        with pytest.raises(ValueError, match=f"it stores {bits} bits"):
            dicom._grey_values(header(BitsStored=bits, PixelRepresentation=0), stored, None)


def stored_values(monkeypatch: pytest.MonkeyPatch, decoded: np.ndarray, **values: Any) -> list:
    """Return the stored values of a decoded image."""
    monkeypatch.setattr(dicom, "_check_single_grey_image", lambda *_: None)
    monkeypatch.setattr(dicom, "_decode_pixels", lambda *_: decoded)
    monkeypatch.setattr(dicom, "_is_left_as_ybr", lambda _: values.get("ybr", False))
    tags = {k: v for k, v in values.items() if k != "ybr"}
    found = dicom._stored_values(header(Rows=1, Columns=2, **tags), FILE)
    return [found.tolist(), found.dtype]


def test_stored_colours_and_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.array([[[200, 40, 10], [0, 190, 91]]], np.uint8)
    # .299 x 200 + .587 x 40 + .114 x 10 = 84.42, and 121.904.
    assert stored_values(monkeypatch, colours) == [[[84, 122]], np.int32]
    opaque = np.concatenate([colours, colours[..., :1] * 0 + 255], 2)
    assert stored_values(monkeypatch, opaque) == [[[84, 122]], np.int32]
    assert stored_values(monkeypatch, colours, ybr=True) == [[[200, 0]], np.int32]
    grey = np.array([[4097, 7]], np.uint16)
    assert stored_values(monkeypatch, grey, BitsStored=12) == [[[1, 7]], np.uint16]
    assert stored_values(monkeypatch, grey, BitsStored=16, HighBit=15) == [[[4097, 7]], np.uint16]
    bytes_ = np.array([[255, 7]], np.uint8)
    assert stored_values(monkeypatch, bytes_, BitsStored=8) == [[[255, 7]], np.uint16]
    assert stored_values(monkeypatch, bytes_, BitsStored=8, PixelRepresentation=1) == [
        *([[-1, 7]], np.int32),
    ]
    wide = np.array([[70000, 7]], np.uint32)
    assert stored_values(monkeypatch, wide, BitsStored=17) == [[[70000, 7]], np.int32]
    with pytest.raises(ValueError, match="its 12 bits do not begin at bit 0"):
        stored_values(monkeypatch, grey, BitsStored=12, HighBit=15)
    with pytest.raises(ValueError, match=r"the image is \(2, 1\), not 1 x 2"):
        stored_values(monkeypatch, grey.T, BitsStored=12)


@pytest.mark.parametrize(
    ("syntax", "interpretation", "is_left"),
    [
        (JPEG, "YBR_FULL", False), (JPEG, "YBR_FULL_422", False), (JPEG, "YBR_RCT", True),
        (JPEG, "YBR_ICT", True), (JPEG, "RGB", False), (JPEG2000, "YBR_FULL", True),
        (JPEG2000, "YBR_FULL_422", True), (JPEG2000, "YBR_RCT", False),
        (JPEG2000, "YBR_ICT", False), (JPEG2000, "RGB", False),
        (ExplicitVRLittleEndian, "YBR_FULL", False),
    ],
)  # fmt: skip
def test_colours_that_decoders_leave(
    syntax: str, interpretation: str, is_left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "_transfer_syntax", lambda _: UID(syntax))
    given: Any = {"PhotometricInterpretation": f" {interpretation.lower()} "}
    assert dicom._is_left_as_ybr(given) == is_left


def test_unmarked_streams_of_rgb() -> None:
    for interpretation, frame, is_unmarked in (
        ("RGB", b"\xff\xd8" + bytes(300), True),
        ("RGB", b"\xff\xd8" + bytes(250) + b"JFIF", True),
        ("RGB", b"\xff\xd8" + bytes(250) + b"Adobe", True),
        ("RGB", b"\xff\xd8" + bytes(249) + b"Adobe", False),
        ("RGB", b"\xff\xd8" + bytes(40) + b"JFIF", False),
        ("YBR_FULL", b"\xff\xd8" + bytes(300), False),
        ("RGB", b"\xff\x4f" + bytes(300), False),
    ):
        given = header(PhotometricInterpretation=interpretation)
        expected = is_unmarked and not frame[:256].endswith(b"JFIF")
        assert dicom._is_unmarked_rgb(given, frame) == expected


@pytest.mark.parametrize(
    ("encoding", "syntax"),
    [
        ((True, True), ImplicitVRLittleEndian),
        ((False, True), ExplicitVRLittleEndian),
        ((False, False), ExplicitVRBigEndian),
    ],
)
def test_syntaxes_of_files_without_a_header(encoding: tuple[bool, bool], syntax: UID) -> None:
    given = SimpleNamespace(original_encoding=encoding)
    assert dicom._transfer_syntax(given) == syntax  # type: ignore[arg-type]
    assert given.file_meta.TransferSyntaxUID == syntax
    given.original_encoding = None
    assert dicom._transfer_syntax(given) == syntax  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("behind", "is_whole"), [(b"", True), (b"x" * 14, True), (b"x" * 15, False), (bytes(99), True)]
)
def test_ends_of_streams(behind: bytes, is_whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of an image lies within the last 16 bytes, zeros apart."""
    monkeypatch.setattr(dicom, "_transfer_syntax", lambda _: UID(JPEG))
    monkeypatch.setitem(dicom._DECODERS, JPEG, lambda frame: [[frame[2]]])
    given = header(PhotometricInterpretation="MONOCHROME2")
    frame = b"\xff\xd8\xff" + b"y" * 41 + b"\xff\xd9" + behind
    # In two fragments: they are joined.
    given.PixelData = encapsulate([frame], fragments_per_frame=2, has_bot=False)
    if is_whole:
        assert dicom._decode_pixels(given, FILE).tolist() == [[255]]
    else:
        with pytest.raises(UserError, match="the data are cut off"):
            dicom._decode_pixels(given, FILE)


def test_tags_that_old_files_lack() -> None:
    given = header(PixelData=b"")
    dicom._check_single_grey_image(given, FILE)
    assert (given.PhotometricInterpretation, given.SamplesPerPixel) == ("MONOCHROME2", 1)
    assert given.PixelRepresentation == 0
    full = header(
        PixelData=b"", PhotometricInterpretation="RGB", SamplesPerPixel=3, PixelRepresentation=1
    )
    dicom._check_single_grey_image(full, FILE)
    assert (full.PhotometricInterpretation, full.SamplesPerPixel) == ("RGB", 3)
    assert full.PixelRepresentation == 1
    with pytest.raises(UserError, match="holds no image"):
        dicom._check_single_grey_image(header(), FILE)


def test_names_of_scanners_and_errors(tmp_path: Path) -> None:
    pixels = np.array([[1, 2]], np.uint16)
    for tags, name in (
        ({"Manufacturer": " Maker "}, "Maker"),
        ({"ManufacturerModelName": "One"}, "One"),
        ({"Manufacturer": "Maker", "ManufacturerModelName": "One "}, "Maker One"),
        ({}, ""),
    ):
        path = write_dicom(tmp_path / "a.dcm", pixels, **tags)
        assert read_image(path).scanner == name
    assert "pixels" not in repr(dicom.read_dicom(path.read_bytes(), path))
    assert dicom._one_line(ValueError("a\n b " + "c" * 200)) == "a b " + "c" * 116
    assert dicom._one_line(KeyError()) == "KeyError"
