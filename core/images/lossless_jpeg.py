"""Lossless JPEG streams (ITU-T T.81, annex H): their headers checked, then decoded the standard
way.
"""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import numpy as np

_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_LONGEST = 16  # bits of a difference


class DamagedStream(ValueError):
    """What is wrong with a stream, as half a sentence."""


@dataclass(frozen=True)
class Header:
    """What a stream says of itself; precision in bits, predictor 1 to 7."""

    precision: int
    height: int
    width: int
    predictor: int


def read_header(data: bytes) -> Header:
    """Check every marker up to the scan and the end of the image.

    DamagedStream for anything but one grey, lossless, Huffman-coded frame: the decoder behind
    trusts its input, and would crash or give a wrong picture.
    """
    if data[:2] != b"\xff\xd8":
        raise DamagedStream("the data are no JPEG stream")
    at, frame, tables = 2, b"", set[int]()
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _NO_LENGTH or marker == 0xFF:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if marker == 0xC3:
            frame = segment
        elif marker == 0xC4:
            tables |= _huffman_tables(segment)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            raise DamagedStream("the JPEG stream is not lossless")
        elif marker == 0xDD and any(segment[:2]):
            raise DamagedStream("the JPEG stream has restart intervals, which are not supported")
        elif marker == 0xDA:
            # In the coded data a byte FF is always followed by 00, so FF D9 can only be the end.
            if data.find(b"\xff\xd9", at) < 0:
                raise DamagedStream("the data are cut off (no end of image)")
            return _checked(frame, segment, tables)
        at += 2 + length
    raise DamagedStream("the data are cut off or damaged before the picture begins")


def decode_standard(data: bytes) -> np.ndarray:
    """uint16 [h, w] of a stream, decoded as the standard says. DamagedStream if it cannot be."""
    header = read_header(data)
    try:
        # The fast path for predictor 6 looks a few bytes ahead and takes the end of the data for
        # damage: it gets zeros to look at.
        pixels = np.asarray(imagecodecs.ljpeg_decode(data + bytes(64)), np.uint16)
    except (imagecodecs.LjpegError, ValueError) as error:
        raise DamagedStream(f"the data are damaged ({error})") from error
    if pixels.shape != (header.height, header.width):
        raise DamagedStream(
            f"the data hold {pixels.shape} pixels where the header says"
            f" {(header.height, header.width)}"
        )
    return pixels


def _huffman_tables(segment: bytes) -> set[int]:
    """Numbers of the tables that a DHT segment defines, checked: lengths that fit, codes that
    exist, and values that are lengths of differences.
    """
    numbers = set()
    while segment:
        counts = segment[1:17]
        values = segment[17 : 17 + sum(counts)]
        room = sum(count << (16 - length) for length, count in enumerate(counts, start=1))
        if (
            len(counts) < 16
            or not values
            or len(values) < sum(counts)
            or room > 1 << 16
            or max(values) > _LONGEST
            or segment[0] > 3
        ):
            raise DamagedStream("a Huffman table is damaged")
        numbers.add(segment[0] & 15)
        segment = segment[17 + len(values) :]
    return numbers


def _checked(frame: bytes, scan: bytes, tables: set[int]) -> Header:
    """The header of a frame and scan of one component."""
    if len(frame) != 9 or frame[5] != 1 or len(scan) != 6 or scan[0] != 1:
        raise DamagedStream("the JPEG stream has no lossless frame of one component")
    if scan[1] != frame[6] or scan[2] >> 4 not in tables:
        raise DamagedStream(
            "the JPEG stream's scan names a component or table that it does not have"
        )
    header = Header(
        frame[0], int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), scan[3]
    )
    if (
        not 2 <= header.precision <= 16
        or not header.height
        or not header.width
        or not 1 <= header.predictor <= 7
        or scan[5] & 15
    ):
        raise DamagedStream(
            f"the JPEG stream's {header} with point transform {scan[5] & 15} is not supported"
        )
    return header
