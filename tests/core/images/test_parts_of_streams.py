"""Headers of lossless JPEG streams, written byte by byte (ITU-T T.81, annex B)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from core.images import lossless_jpeg
from core.images.lossless_jpeg import (
    DamagedStream,
    LosslessHeader,
    _huffman_tables,
    decode_standard,
    read_header,
)
from support.ljpeg_writer import encode

START, END = b"\xff\xd8", b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def table(number: int = 0, counts: tuple[int, ...] = (0, 2), values: bytes = b"\x03\x04") -> bytes:
    return bytes([number, *counts, *[0] * (16 - len(counts))]) + values


def frame(
    precision: int = 12, height: int = 300, width: int = 258, tail: bytes = b"\x01\x07\x11\x00"
) -> bytes:
    return bytes([precision]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + tail


def scan(component: int = 7, number: int = 0, predictor: int = 5, transform: int = 0) -> bytes:
    return bytes([1, component, number << 4, predictor, 0, transform])


def stream(*parts: bytes) -> bytes:
    return START + b"".join(parts) + b"\x12\x34" + END


WHOLE = (segment(0xC4, table()), segment(0xC3, frame()), segment(0xDA, scan()))


def test_fields_of_a_header() -> None:
    expected = LosslessHeader(precision=12, height=300, width=258, predictor=5)
    assert read_header(stream(*WHOLE)) == expected
    # Fill bytes, markers without a segment, comments and restart intervals of 0 in front.
    others = (b"\xff", b"\xff\x01", b"\xff\xd0", b"\xff\xd8", segment(0xFE, b"abc" * 99),
              segment(0xDD, b"\0\0\1"), segment(0xCC, b"\0"), segment(0xC8, b"\0"))  # fmt: skip
    assert read_header(stream(*others, *WHOLE)) == expected
    parts = (segment(0xC4, table(3) + table(1)), WHOLE[1], segment(0xDA, scan(number=1)))
    assert read_header(stream(*parts)) == expected
    assert read_header(stream(segment(0xC4, table(2)), *WHOLE)) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd9" + stream(*WHOLE), "not a JPEG stream"),
        (b"", "not a JPEG stream"),
        (stream(segment(0xC0, frame()), *WHOLE), "is not lossless"),
        (stream(segment(0xCF, frame()), *WHOLE), "is not lossless"),
        (stream(segment(0xDD, b"\0\1"), *WHOLE), "restart intervals"),
        (stream(segment(0xDD, b"\1\0"), *WHOLE), "restart intervals"),
        (stream(*WHOLE)[:-2], "cut off .no end of image"),
        (stream(*WHOLE)[:-1], "cut off .no end of image"),
        (stream(*WHOLE[:2]), "before the image data begin"),
        (START, "before the image data begin"),
        (stream(END, *WHOLE), "before the image data begin"),
        (stream(b"\x00", *WHOLE), "before the image data begin"),
        (stream(WHOLE[0], WHOLE[2]), "no lossless frame of one component"),
        (stream(WHOLE[0], segment(0xC3, frame() + b"x"), WHOLE[2]), "no lossless frame of one"),
        (stream(WHOLE[0], segment(0xC3, frame(tail=b"\x03\x07\x11\x00")), WHOLE[2]), "no lossless"),
        (stream(*WHOLE[:2], segment(0xDA, scan()[:5])), "no lossless frame of one"),
        (stream(*WHOLE[:2], segment(0xDA, b"\x02" + scan()[1:])), "no lossless frame of one"),
        (stream(*WHOLE[:2], segment(0xDA, scan(component=6))), "names a component or table"),
        (stream(*WHOLE[:2], segment(0xDA, scan(number=1))), "names a component or table"),
    ],
)
def test_streams_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DamagedStream, match=message):
        read_header(data)


@pytest.mark.parametrize(
    ("build", "good", "bad"),
    [
        (lambda v: (frame(precision=v), scan()), (2, 16), (1, 17)),
        (lambda v: (frame(height=v), scan()), (1, 65535), (0,)),
        (lambda v: (frame(width=v), scan()), (1, 65535), (0,)),
        (lambda v: (frame(), scan(predictor=v)), (1, 7), (0, 8)),
        # The upper half of this byte has no meaning in a lossless scan.
        (lambda v: (frame(), scan(transform=v)), (0, 0x10), (1, 15)),
    ],
)
def test_limits_of_a_header(
    build: Callable[[int], tuple[bytes, bytes]], good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    for value in good:
        parts = build(value)
        read_header(stream(WHOLE[0], segment(0xC3, parts[0]), segment(0xDA, parts[1])))
    for value in bad:
        parts = build(value)
        with pytest.raises(DamagedStream, match="is not supported"):
            read_header(stream(WHOLE[0], segment(0xC3, parts[0]), segment(0xDA, parts[1])))


def test_huffman_tables() -> None:
    assert _huffman_tables(table(0)) == {0} and _huffman_tables(table(3)) == {3}
    assert _huffman_tables(table(1) + table(0, (1,), b"\x10")) == {0, 1}
    # Two codes of one bit are all there are; of 16 bits there are 65536.
    assert _huffman_tables(table(0, (2,), b"\x03\x04")) == {0}
    assert _huffman_tables(table(0, (1, 1, 2), b"\x01\x02\x03\x04")) == {0}


@pytest.mark.parametrize(
    "damaged",
    [
        table()[:10],
        table(0, (0,), b""),
        table(0, (0, 2), b"\x03"),
        table(0, (3,), b"\x01\x02\x03"),
        table(0, (1, 1, 3), b"\x01\x02\x03\x04\x05"),
        table(0, (0, 2), b"\x03\x11"),
        table(4),
        table() + b"\x00",
    ],
)
def test_damaged_huffman_tables(damaged: bytes) -> None:
    with pytest.raises(DamagedStream, match="a Huffman table is damaged"):
        _huffman_tables(damaged)


def test_streams_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(3).integers(0, 4096, (5, 7)).astype(np.uint16)
    data = encode(pixels, 12, 4, pvrg=False)
    found = decode_standard(data)
    assert found.dtype == np.uint16 and np.array_equal(found, pixels)
    given: list[bytes] = []

    def decode(content: bytes) -> np.ndarray:
        given.append(content)
        return pixels.T

    monkeypatch.setattr(lossless_jpeg.imagecodecs, "ljpeg_decode", decode)
    with pytest.raises(
        DamagedStream, match=r"hold \(7, 5\) pixels where the header gives \(5, 7\)"
    ):
        decode_standard(data)
    # Bytes behind the end, which the decoder may read.
    assert given == [data + bytes(64)]

    def fail(_: bytes) -> np.ndarray:
        raise ValueError("bad code")

    monkeypatch.setattr(lossless_jpeg.imagecodecs, "ljpeg_decode", fail)
    with pytest.raises(DamagedStream, match=r"the data are damaged \(bad code\)"):
        decode_standard(data)
