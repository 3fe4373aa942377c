"""Lossless JPEG streams (ITU-T T.81, annex H): header validation and standard decoding.

The deviations of DDSM's codec belong in `core.sources.ljpeg`.
"""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import numpy as np

# Markers without a segment: TEM, RST0 to RST7 and SOI.
_MARKERS_WITHOUT_SEGMENT = {0x01, *range(0xD0, 0xD9)}
_MAX_DIFFERENCE_BITS = 16


class DamagedStream(ValueError):
    """A fault of a stream; the message is half a sentence."""


@dataclass(frozen=True, kw_only=True)
class LosslessHeader:
    """Header of a stream: precision in bits, size, and predictor 1 to 7."""

    precision: int
    height: int
    width: int
    predictor: int


def read_header(data: bytes) -> LosslessHeader:
    """Check every marker up to the scan, and that the end of the image exists.

    The decoder trusts its input: without this check, damaged data would crash it or yield a wrong
    image.

    Parameters
    ----------
    data : bytes
        The stream.

    Returns
    -------
    LosslessHeader

    Raises
    ------
    DamagedStream
        If the stream is anything but one grey, lossless, Huffman-coded frame.
    """
    if data[:2] != b"\xff\xd8":
        raise DamagedStream("the data are not a JPEG stream")
    at, frame, tables = 2, b"", set[int]()
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _MARKERS_WITHOUT_SEGMENT or marker == 0xFF:
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
            return _parse_header(frame, segment, tables)
        at += 2 + length
    raise DamagedStream("the data are cut off or damaged before the image data begin")


def decode_standard(data: bytes) -> np.ndarray:
    """Decode a stream by the standard.

    Parameters
    ----------
    data : bytes
        The stream.

    Returns
    -------
    uint16 array, shape [h, w]

    Raises
    ------
    DamagedStream
        If the stream cannot be decoded.
    """
    header = read_header(data)
    try:
        # The fast path of imagecodecs for predictor 6 reads a few bytes ahead and reports the end
        # of the data as damage; trailing zeros prevent that.
        pixels = np.asarray(imagecodecs.ljpeg_decode(data + bytes(64)), np.uint16)
    except (imagecodecs.LjpegError, ValueError) as error:
        raise DamagedStream(f"the data are damaged ({error})") from error
    if pixels.shape != (header.height, header.width):
        raise DamagedStream(
            f"the data hold {pixels.shape} pixels where the header gives"
            f" {(header.height, header.width)}"
        )
    return pixels


def _huffman_tables(segment: bytes) -> set[int]:
    """Return the numbers of the tables that a DHT segment defines.

    DamagedStream unless lengths fit, codes exist, and values are lengths of differences.
    """
    numbers = set()
    while segment:
        counts = segment[1:17]
        values = segment[17 : 17 + sum(counts)]
        # Kraft inequality: more than 2^16 would be more codes than exist.
        used_codes = sum(count << (16 - length) for length, count in enumerate(counts, start=1))
        if (
            len(counts) < 16
            or not values
            or len(values) < sum(counts)
            or used_codes > 1 << 16
            or max(values) > _MAX_DIFFERENCE_BITS
            or segment[0] > 3
        ):
            raise DamagedStream("a Huffman table is damaged")
        numbers.add(segment[0] & 15)
        segment = segment[17 + len(values) :]
    return numbers


def _parse_header(frame: bytes, scan: bytes, tables: set[int]) -> LosslessHeader:
    """Return the header of a frame and scan of one component."""
    if len(frame) != 9 or frame[5] != 1 or len(scan) != 6 or scan[0] != 1:
        raise DamagedStream("the JPEG stream has no lossless frame of one component")
    if scan[1] != frame[6] or scan[2] >> 4 not in tables:
        raise DamagedStream(
            "the scan of the JPEG stream names a component or table that does not exist"
        )
    header = LosslessHeader(
        precision=frame[0],
        height=int.from_bytes(frame[1:3], "big"),
        width=int.from_bytes(frame[3:5], "big"),
        predictor=scan[3],
    )
    point_transform = scan[5] & 15
    if (
        not 2 <= header.precision <= 16
        or not header.height
        or not header.width
        or not 1 <= header.predictor <= 7
        or point_transform
    ):
        raise DamagedStream(
            f"the JPEG stream's {header} with point transform {point_transform} is not supported"
        )
    return header
