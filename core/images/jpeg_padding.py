"""Padding of JPEG files to one size with random bytes, in application segments that viewers skip.

Marker APP15 (ITU-T T.81, table B.1) carries application data of any kind.
"""

from __future__ import annotations

import secrets

_START, _APP0, _APP15 = b"\xff\xd8", b"\xff\xe0", b"\xff\xef"
_MARKER_BYTES = 4  # a segment's marker and length
_MAX_SEGMENT = 2 + 0xFFFF  # marker and a segment of the greatest length
NONCE_BYTES = 64
_NONCE_SEGMENT = _MARKER_BYTES + NONCE_BYTES
_NONCE_START = _APP15 + (NONCE_BYTES + 2).to_bytes(2, "big")
MIN_PADDING = _NONCE_SEGMENT + _MARKER_BYTES


def pad_jpeg(image: bytes, size: int) -> bytes:
    """Return a JPEG file extended to `size` bytes by random segments; the pixels stay as they are.

    Parameters
    ----------
    image : bytes
        A JPEG file.
    size : int
        At least MIN_PADDING bytes more than the image has.

    Raises
    ------
    ValueError
        If the size is too small or the bytes are no JPEG file.
    """
    remaining = size - len(image) - _NONCE_SEGMENT
    if remaining < _MARKER_BYTES:
        raise ValueError(f"{size} bytes do not hold an image of {len(image)} bytes and its padding")
    offset = _segments_offset(image)
    parts = [image[:offset], _segment(NONCE_BYTES)]
    while remaining:
        length = min(remaining, _MAX_SEGMENT)
        if 0 < remaining - length < _MARKER_BYTES:  # too few bytes for another segment
            length -= _MARKER_BYTES
        parts.append(_segment(length - _MARKER_BYTES))
        remaining -= length
    return b"".join([*parts, image[offset:]])


def renew_nonce(image: bytes) -> bytes:
    """Return a JPEG file with other random bytes in its first segment of padding.

    The size stays; a file without padding gets that segment.
    """
    offset = _segments_offset(image)
    is_padded = image[offset : offset + _MARKER_BYTES] == _NONCE_START
    rest = image[offset + (_NONCE_SEGMENT if is_padded else 0) :]
    return b"".join([image[:offset], _segment(NONCE_BYTES), rest])


def _segments_offset(image: bytes) -> int:
    """Return where segments may be inserted: after the JFIF header, which must come first."""
    if image[:2] != _START:
        raise ValueError("the bytes are not a JPEG file")
    if image[2:4] != _APP0:
        return 2
    return 4 + int.from_bytes(image[4:6], "big")


def _segment(payload: int) -> bytes:
    """Return a segment with `payload` random bytes; its length field counts itself."""
    return _APP15 + (payload + 2).to_bytes(2, "big") + secrets.token_bytes(payload)
