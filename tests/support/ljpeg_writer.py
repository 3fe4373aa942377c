"""Lossless JPEG streams as the standard and the PVRG codec write them: literal and slow."""

from __future__ import annotations

import numpy as np


def predict(
    pixels: list[list[int]], y: int, x: int, predictor: int, middle: int, pvrg: bool
) -> int:
    """Return the prediction of a pixel from those before it (T.81 table H.1).

    pvrg: predict the first row from a virtual row above.
    """
    if y == 0 and x == 0:
        return middle
    if x == 0:
        return pixels[y - 1][0]
    left = pixels[y][x - 1]
    if y == 0 and not pvrg:
        return left
    up, corner = (middle, middle) if y == 0 else (pixels[y - 1][x], pixels[y - 1][x - 1])
    return {
        1: left,
        2: up,
        3: corner,
        4: left + up - corner,
        5: left + ((up - corner) >> 1),
        6: up + ((left - corner) >> 1),
        7: (left + up) >> 1,
    }[predictor]


def stream(
    differences: list[int], precision: int, height: int, width: int, predictor: int
) -> bytes:
    """Return a lossless JPEG stream of prediction differences (modulo 2^16).

    The Huffman code has five bits for each of the 17 lengths.
    """
    bits = []
    for difference in differences:
        value = (difference + 32768) % 65536 - 32768
        if value == -32768:
            bits.append(f"{16:05b}")
            continue
        length = abs(value).bit_length()
        bits.append(f"{length:05b}")
        if length:
            bits.append(f"{value if value > 0 else value + (1 << length) - 1:0{length}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    coded = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = (
        bytes([precision])
        + height.to_bytes(2, "big")
        + width.to_bytes(2, "big")
        + b"\x01\x00\x11\x00"
    )
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    scan = bytes([1, 0, 0, predictor, 0, 0])

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    return (
        b"\xff\xd8"
        + segment(0xC3, frame)
        + segment(0xC4, table)
        + segment(0xDA, scan)
        + coded
        + b"\xff\xd9"
    )


def encode(pixels: np.ndarray, precision: int, predictor: int, pvrg: bool = True) -> bytes:
    """Return pixels [h, w] as the PVRG codec, or with pvrg=False the standard, encodes them."""
    rows, middle = pixels.tolist(), 1 << (precision - 1)
    differences = [
        rows[y][x] - predict(rows, y, x, predictor, middle, pvrg)
        for y in range(len(rows))
        for x in range(len(rows[0]))
    ]
    return stream(differences, precision, *pixels.shape, predictor)
