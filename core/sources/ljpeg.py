"""Lossless JPEG as DDSM's archive holds it.

The films were written by the Stanford (PVRG) codec, which differs from the standard (ITU-T T.81,
annex H) in one point: for predictors 2, 3, 6 and 7 it predicts the first row with the scan's own
predictor from a virtual row above of 2^(P-1), where the standard takes the left neighbour. Decoders
give a wrong film without an error. So: decode the standard way, take the prediction differences
back out, rebuild the PVRG way.
"""

from __future__ import annotations

import numpy as np

from core.errors import UserError
from core.images.lossless_jpeg import DamagedStream, decode_standard, read_header


def decode(data: bytes, lines: int, pixels_per_line: int) -> np.ndarray:
    """uint16 [lines, pixels_per_line] of an LJPEG file's bytes; lines and pixels_per_line come from
    the case's .ics, because width and height are often exchanged in the stream's header (the film
    is reshaped, not transposed). UserError for data that are no such film, cut off, or of another
    size.
    """
    try:
        header = read_header(data)
        if {header.height, header.width} != {lines, pixels_per_line}:
            raise UserError(
                f"the LJPEG data hold {header.height} x {header.width} pixels, but LINES {lines}"
                f" and PIXELS_PER_LINE {pixels_per_line} are asked for; correct the .ics line"
            )
        standard = decode_standard(data)
    except DamagedStream as error:
        raise UserError(f"{error}; fetch the file again") from error
    return as_pvrg(standard, header.predictor, header.precision).reshape(lines, pixels_per_line)


def as_pvrg(standard: np.ndarray, predictor: int, precision: int) -> np.ndarray:
    """A film uint16 [h, w] as PVRG's decoder would have given it, from what a standard decoder
    gave. All arithmetic is modulo 2^16.
    """
    if predictor not in (2, 3, 6, 7):
        return standard
    middle = 1 << (precision - 1)
    first = _first_row(standard[0].astype(np.int64), predictor, middle)
    if predictor in (2, 3):
        # Both only copy a neighbour, so the change of the first row runs unchanged down the
        # columns, or down the diagonals.
        change = (first - standard[0]).astype(np.uint16)
        out = standard.copy()
        for r in range(standard.shape[0]):
            out[r] += change
            if predictor == 3:
                change = np.concatenate([change[:1], change[:-1]])
        return out
    return _wavefront(standard, first, predictor)


def _first_row(row: np.ndarray, predictor: int, middle: int) -> np.ndarray:
    """PVRG's first row [w] from the standard's, whose first pixel is predicted as `middle` and the
    others from the left, as PVRG's is not.
    """
    differences = np.diff(row, prepend=middle)
    out = np.empty_like(row)
    left = middle
    for k, difference in enumerate(differences.tolist()):
        if k == 0 or predictor in (2, 3):
            guess = middle
        elif predictor == 6:
            guess = middle + ((left - middle) >> 1)
        else:
            guess = (left + middle) >> 1
        left = (guess + difference) & 0xFFFF
        out[k] = left
    return out


def _wavefront(standard: np.ndarray, first: np.ndarray, predictor: int) -> np.ndarray:
    """Rebuild predictors 6 and 7 below the given first row [w].

    A pixel needs its left, upper and upper left neighbours, so all pixels of an anti-diagonal can
    be made at once; in the flat array they are `width - 1` apart.
    """
    height, width = standard.shape
    old = standard.astype(np.int32)
    left, up, corner = old[1:, :-1], old[:-1, 1:], old[:-1, :-1]
    differences = np.zeros((height, width), np.int32)
    differences[1:, 1:] = old[1:, 1:] - (
        up + ((left - corner) >> 1) if predictor == 6 else (left + up) >> 1
    )
    out = np.zeros((height, width), np.int32)
    out[0] = first
    out[:, 0] = old[
        :, 0
    ]  # the first column hangs on the first pixel only, which is the same both ways
    flat, change, step = out.ravel(), differences.ravel(), width - 1
    for k in range(2, height + width - 1):
        low, high = max(1, k - width + 1), min(height - 1, k - 1)
        if low > high:
            continue
        at, end = k + low * step, k + high * step + 1
        a, b = flat[at - 1 : end - 1 : step], flat[at - width : end - width : step]
        if predictor == 6:
            c = flat[at - width - 1 : end - width - 1 : step]
            flat[at:end:step] = (b + ((a - c) >> 1) + change[at:end:step]) & 0xFFFF
        else:
            flat[at:end:step] = (((a + b) >> 1) + change[at:end:step]) & 0xFFFF
    return out.astype(np.uint16)
