"""Lossless JPEG films of DDSM, as the Stanford (PVRG) codec wrote them.

Streams that follow the standard are decoded in `core.images.lossless_jpeg`. The PVRG codec differs
from the standard in one point: for predictors 2, 3, 6 and 7 it predicts the first row with the
predictor of the scan, from a virtual row above of value 2^(P-1), where the standard uses the left
neighbour. Decoders return a wrong film without an error. Therefore a film is decoded by the
standard, its prediction differences are recovered, and it is rebuilt as PVRG would.

References
----------
ITU-T Recommendation T.81 (1992), annex H.
"""

from __future__ import annotations

import numpy as np

from core.errors import UserError
from core.images.lossless_jpeg import DamagedStream, decode_standard, read_header


def decode(data: bytes, lines: int, pixels_per_line: int) -> np.ndarray:
    """Decode the bytes of an .LJPEG file.

    Parameters
    ----------
    data : bytes
        The file.
    lines, pixels_per_line : int
        Height and width from the .ics file of the case. The header of the stream often exchanges
        them; the film is then reshaped, not transposed.

    Returns
    -------
    uint16 array, shape [lines, pixels_per_line]
        Grey levels as scanned.

    Raises
    ------
    UserError
        If the data are not lossless JPEG, are truncated or damaged, or have another size.

    Examples
    --------
    A film of 2 x 3 pixels of 12 bits, predictor 7:

    >>> data = bytes.fromhex(
    ...     "ffd8ffc3000b0c0002000301001100ffc400240000000000110000000000000000000000"
    ...     "000102030405060708090a0b0c0d0e0f10ffda000801000007000000a14471f24fffd9"
    ... )
    >>> decode(data, 2, 3)
    array([[2048, 2050, 2051],
           [2040, 2052, 2060]], dtype=uint16)
    """
    try:
        header = read_header(data)
        # A set, because the header often exchanges height and width.
        if {header.height, header.width} != {lines, pixels_per_line}:
            raise UserError(
                f"the LJPEG data hold {header.height} x {header.width} pixels, but LINES {lines}"
                f" and PIXELS_PER_LINE {pixels_per_line} are requested; correct the .ics line"
            )
        standard = decode_standard(data)
    except DamagedStream as error:
        raise UserError(f"{error}; download the file again") from error
    # Reshaped last: the prediction follows the rows of the header.
    return as_pvrg(standard, header.predictor, header.precision).reshape(lines, pixels_per_line)


def as_pvrg(standard: np.ndarray, predictor: int, precision: int) -> np.ndarray:
    """Convert a film decoded by the standard to the film that a PVRG decoder would return.

    Parameters
    ----------
    standard : uint16 array, shape [h, w]
        The film as a standard decoder returns it.
    predictor : int
        Predictor of the scan, 1 to 7.
    precision : int
        Bits per pixel.

    Returns
    -------
    uint16 array, shape [h, w]
        All arithmetic is modulo 2^16.
    """
    if predictor not in (2, 3, 6, 7):
        return standard
    middle = 1 << (precision - 1)
    first = _rebuild_first_row(standard[0].astype(np.int64), predictor, middle)
    if predictor in (2, 3):
        # Both predictors copy one neighbour, so the change of the first row propagates unchanged
        # down the columns (2) or down the diagonals (3).
        change = (first - standard[0]).astype(np.uint16)
        film = standard.copy()
        for row in range(standard.shape[0]):
            film[row] += change
            if predictor == 3:
                change = np.concatenate([change[:1], change[:-1]])
        return film
    return _rebuild_by_antidiagonals(standard, first, predictor)


def _rebuild_first_row(row: np.ndarray, predictor: int, middle: int) -> np.ndarray:
    """Return the first row [w] of PVRG from that of the standard.

    The standard predicts the first pixel as `middle` and the others from the left.
    """
    differences = np.diff(row, prepend=middle)
    rebuilt = np.empty_like(row)
    left = middle
    for column, difference in enumerate(differences.tolist()):
        # The virtual row above has the value `middle` everywhere.
        if column == 0 or predictor in (2, 3):
            prediction = middle
        elif predictor == 6:
            prediction = middle + ((left - middle) >> 1)
        else:
            prediction = (left + middle) >> 1
        left = (prediction + difference) & 0xFFFF
        rebuilt[column] = left
    return rebuilt


def _rebuild_by_antidiagonals(
    standard: np.ndarray, first: np.ndarray, predictor: int
) -> np.ndarray:
    """Rebuild the film of predictor 6 or 7 below the given first row [w].

    A pixel depends on its left, upper and upper left neighbours, so all pixels of an anti-diagonal
    are computed at once; in the flat array they are `width - 1` apart.
    """
    height, width = standard.shape
    old = standard.astype(np.int32)
    left, up, corner = old[1:, :-1], old[:-1, 1:], old[:-1, :-1]
    differences = np.zeros((height, width), np.int32)
    differences[1:, 1:] = old[1:, 1:] - (
        up + ((left - corner) >> 1) if predictor == 6 else (left + up) >> 1
    )
    film = np.zeros((height, width), np.int32)
    film[0] = first
    # The first column depends on the first pixel only, which is the same in both codecs.
    film[:, 0] = old[:, 0]
    flat, change, step = film.ravel(), differences.ravel(), width - 1
    for k in range(2, height + width - 1):
        top, bottom = max(1, k - width + 1), min(height - 1, k - 1)
        if top > bottom:
            continue
        start, stop = k + top * step, k + bottom * step + 1
        a, b = flat[start - 1 : stop - 1 : step], flat[start - width : stop - width : step]
        if predictor == 6:
            c = flat[start - width - 1 : stop - width - 1 : step]
            flat[start:stop:step] = (b + ((a - c) >> 1) + change[start:stop:step]) & 0xFFFF
        else:
            flat[start:stop:step] = (((a + b) >> 1) + change[start:stop:step]) & 0xFFFF
    return film.astype(np.uint16)
