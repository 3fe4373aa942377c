"""Anatomy of a phantom breast: outline, thickness, muscle, gland, ligaments, ducts and vessels.

Findings belong in `findings`. Lengths are fractions of the image width. Everything is drawn for a
LEFT breast: chest wall at x = 0, nipple towards +x. Exposure is the log exposure that tissue adds
(fat about .5, gland about 1.1, calcium more). Random numbers are drawn in a fixed order; keep the
order of the draws when you change a function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import fft, interpolate, ndimage

from core.sources.phantom.shapes import random_curves, rasterize_curves, smooth_step


@dataclass(frozen=True, kw_only=True)
class BreastParameters:
    """Parameters that all views of a patient share.

    depth: chest wall to nipple. half: half height of a CC. power: roundness. nipple, tail, rim,
    pectoral: sizes. fat: its exposure. gain, speed, gamma: of the film. density: BI-RADS 1 to 4.
    amount: more or less gland. lean: of the gland in a CC. sliver: muscle in a CC.
    """

    depth: float
    half: float
    power: float
    nipple: float
    tail: float
    rim: float
    pectoral: float
    fat: float
    gain: float
    speed: float
    gamma: float
    density: int
    amount: float
    lean: float
    sliver: float


# Uniform ranges from which a patient is drawn; the order fixes the random stream.
_RANGES = {
    "depth": (0.60, 0.90),
    "half": (0.36, 0.46),
    "power": (2.0, 2.5),
    "nipple": (0.008, 0.024),
    "tail": (0.64, 0.86),
    "rim": (0.15, 0.27),
    "pectoral": (0.40, 0.58),
    "fat": (0.42, 0.56),
    "gain": (236, 250),
    "speed": (0.58, 0.70),
    "gamma": (1.7, 2.3),
}


def sample_breast_parameters(rng: np.random.Generator, density: int) -> BreastParameters:
    """Return random parameters for the given BI-RADS density."""
    drawn = {name: float(rng.uniform(*bounds)) for name, bounds in _RANGES.items()}
    amount, lean = float(rng.normal(0, 0.12)), float(rng.normal(-0.08, 0.15))
    return BreastParameters(
        **drawn,
        density=density,
        amount=amount,
        lean=lean,
        sliver=float(rng.choice([-1.0, 0.03], p=[0.8, 0.2])),
    )


class Breast(NamedTuple):
    """Anatomy of one view, as arrays [h, w].

    x, y: coordinates. distance: to the skin, positive inside. thickness, pectoral: 0..1. nipple:
    (x, y).
    """

    x: np.ndarray
    y: np.ndarray
    distance: np.ndarray
    thickness: np.ndarray
    pectoral: np.ndarray
    nipple: tuple[float, float]


def noise_field(
    rng: np.random.Generator,
    shape: tuple[int, int],
    slope: float,
    band: tuple[float, float],
    stretch: float = 1.0,
) -> np.ndarray:
    """Return a random field [h, w] of mean 0 and variance 1 with a power-law spectrum.

    The amplitude is f**-slope within band (cycles per width). stretch: elongation along y.
    """
    # 120 columns exceed the widest band in use, 110 cycles per width.
    (h, w), rows, columns = shape, 190, 120
    # The number of draws does not depend on the size, so a seed gives the same breast at any width.
    draw = rng.standard_normal((2, 2 * rows, columns), dtype=np.float32)
    # A smaller image drops the frequencies that it cannot hold.
    r, c = min(rows, h // 2 - 1), min(columns, w // 2)
    f = np.hypot(np.arange(-rows, rows)[:, None] * (w / h), np.arange(columns)[None] * stretch)
    gain = np.where((f >= band[0]) & (f <= band[1]), np.maximum(f, 1e-3) ** -slope, 0) * np.exp(
        -((f / band[1]) ** 2)
    )
    coefficients = (draw[0] + 1j * draw[1]) * gain
    spectrum = np.zeros((h, w // 2 + 1), np.complex64)
    spectrum[:r, :c], spectrum[-r:, :c] = (
        coefficients[rows : rows + r, :c],
        coefficients[rows - r : rows, :c],
    )
    out = fft.irfft2(spectrum, s=shape)
    # A band without any frequency gives a constant field of deviation 0.
    return out / (out.std() + 1e-12)


def skin_profile(
    rng: np.random.Generator, body: BreastParameters, mlo: bool, height: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the x of the skin [600], its y [600], and the y of the nipple.

    A CC is half a superellipse, an MLO a spline with an axillary tail.
    """
    y, d = np.linspace(-0.2, height + 0.2, 600), body.depth * rng.uniform(0.95, 1.03)
    if mlo:
        n, tail, low = height * rng.uniform(0.55, 0.63), body.tail * d, rng.uniform(0.92, 1.08)
        at = [
            -0.2,
            0.08,
            0.45 * n,
            0.76 * n,
            n - 0.1,
            n,
            n + 0.08,
            *(n + k * low for k in (0.20, 0.36, 0.48, 0.55, 0.62)),
            height + 0.3,
        ]
        x = [
            tail + 0.05,
            tail,
            0.42 * tail + 0.52 * d,
            *(d * k for k in (0.92, 0.985, 1, 0.99, 0.93, 0.74, 0.44, 0.18, 0.07, 0.05)),
        ]
        skin = ndimage.gaussian_filter1d(
            interpolate.PchipInterpolator(at, x)(y), 16, mode="nearest"
        )
    else:
        n = height * 0.5 + rng.normal(0, 0.03)
        s = (y - n) / (body.half * height)
        s = s - rng.normal(0, 0.05) * (1 - np.minimum(s * s, 1))
        skin = d * np.maximum(1 - np.abs(s) ** body.power, 0) ** 0.58 - 0.04 * (np.abs(s) >= 1)
    return skin + body.nipple * np.exp(-(((y - n) / 0.030) ** 4)), y, float(n)


def make_breast(
    rng: np.random.Generator, body: BreastParameters, mlo: bool, shape: tuple[int, int]
) -> Breast:
    """Return outline, compressed thickness and pectoral muscle of one view."""
    h, w = shape
    skin, at, n = skin_profile(rng, body, mlo, h / w)
    y, x = np.mgrid[:h, :w].astype(np.float32) / w
    d = _distance(skin, at, shape)
    # Compression flattens the breast; only its rim is round, here a quarter ellipse.
    thickness = np.sqrt(np.clip(1 - (1 - np.clip(d / body.rim, 0, 1)) ** 2, 0, 1)) * smooth_step(
        d, -0.002, 0.004
    )
    if mlo:
        edge = (
            body.pectoral
            * body.depth
            * (1 - np.clip(y / rng.uniform(0.72, 1.05), 0, 1.2) ** rng.uniform(1.0, 1.4))
        )
        edge = edge + rng.normal(0, 0.008) * np.sin(9 * y + rng.uniform(0, 6))
        pectoral = smooth_step(edge - x, -0.012, 0.016) * smooth_step(d, 0, 0.05)
    else:
        edge = body.sliver - 0.5 * (y - n - 0.05) ** 2
        pectoral = 0.6 * smooth_step(edge - x, -0.02, 0.03)
    return Breast(x, y, d, thickness, pectoral, (float(np.interp(n, at, skin)), n))


def _distance(skin: np.ndarray, at: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the signed distance to the skin [h, w], in widths.

    It is computed at 320 pixels at most and enlarged.
    """
    h, w = shape
    # The field is smooth, so a small one can be enlarged.
    small = min(w, 320)
    rows = np.arange(round(h * small / w)) / small
    pad = small // 4
    # Edge values: at the chest wall the breast continues and has no skin.
    inside = np.pad(
        np.arange(small) / small < np.interp(rows, at, skin)[:, None],
        ((pad, pad), (pad, 1)),
        mode="edge",
    )
    d = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    d = ndimage.gaussian_filter(d, 1.2)[pad:-pad, pad:-1] / small
    return (
        d
        if w == small
        else ndimage.zoom(d, (h / d.shape[0], w / small), order=1, grid_mode=True, mode="nearest")
    )


def linear_structures(rng: np.random.Generator, b: Breast) -> tuple[np.ndarray, np.ndarray]:
    """Return the exposure [h, w] of Cooper's ligaments with ducts, and that of vessels."""
    shape, (nx, ny) = b.x.shape, b.nipple
    fibres = np.zeros(shape, np.float32)
    for n, spread, far, bend, height, sigma in (
        (460, 0.45, 0.32, 0.45, 0.032, 0.0014),
        (80, 0.6, 0.35, 0.7, 0.026, 0.004),
    ):
        start = np.stack([rng.uniform(0, nx, n), rng.uniform(0, shape[0] / shape[1], n)], 1)
        radial = np.arctan2(start[:, 1] - ny, start[:, 0] - nx) + rng.normal(0, spread, n)
        fibres += rasterize_curves(
            random_curves(rng, start, radial, rng.uniform(0.06, far, n), bend),
            rng.gamma(2.0, height, n),
            1,
            sigma,
            shape,
        )
    start = np.array([nx - 0.02, ny]) + rng.normal(0, 0.012, (16, 2))
    ducts = random_curves(
        rng, start, np.pi + rng.normal(0, 0.55, 16), rng.uniform(0.15, 0.45, 16), 0.5
    )
    fibres += rasterize_curves(ducts, rng.uniform(0.05, 0.14, 16), 0, 0.0035, shape)
    n = int(rng.integers(3, 8))
    start = np.stack([rng.uniform(-0.05, 0.35 * nx, n), ny + rng.normal(0, 0.35, n)], 1)
    to_nipple = np.arctan2(ny - start[:, 1], nx - start[:, 0]) + rng.normal(0, 0.35, n)
    vessels = random_curves(rng, start, to_nipple, rng.uniform(0.35, 0.8, n), 0.9)
    return fibres, rasterize_curves(vessels, rng.uniform(0.06, 0.13, n), 0.6, 0.0042, shape)


def parenchyma(
    rng: np.random.Generator, b: Breast, body: BreastParameters, mlo: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the glandular share 0..1.2 and the fibrous network 0..1, both [h, w].

    The gland is a fan behind the nipple, of 1/f noise, radial streaks and fat lobules.
    """
    shape, (nx, ny), density = b.x.shape, b.nipple, body.density
    rough, drift = noise_field(rng, shape, 1.75, (1, 110)), noise_field(rng, shape, 2.2, (1, 14))
    lobules, net = (
        noise_field(rng, shape, 1.1, (3, 18)),
        noise_field(rng, shape, 0.7, (4, 90), stretch=2.6),
    )
    r, angle = np.hypot(b.x - nx - 0.08, b.y - ny), np.arctan2(b.y - ny, nx + 0.08 - b.x)
    # [2, h, w]: polar coordinates about the nipple, distorted by noise.
    at = np.stack([(angle * 0.42 + 0.035 * drift) * shape[1], (r + 0.03 * rough) * shape[1]])
    streak = ndimage.map_coordinates(net, at, order=1, mode="grid-wrap")
    ridges, septa = (
        np.exp(-((streak / 0.20) ** 2)),
        np.exp(-(((lobules + 0.25 * streak) / 0.16) ** 2)),
    )

    reach, lean = (
        (0.26, 0.34, 0.42, 0.50)[density - 1] * (1 + body.amount),
        -0.28 if mlo else body.lean,
    )
    along, across = np.clip((nx - b.x) / nx, -1, 1), b.y - ny - lean * (nx - b.x)
    fan = (
        1
        - (across / (reach * (0.55 + 0.75 * np.maximum(along, 0)))) ** 2
        - (np.maximum(along - 0.45, 0) / 0.42) ** 4
    )
    level = (-1.55, -0.85, -0.10, 0.80)[density - 1] + body.amount - 0.6
    share = 1 / (
        1
        + np.exp(
            -1.5
            * (1.3 * np.clip(fan, -2.2, 1) + 0.85 * rough + 0.20 * streak - 0.25 * lobules + level)
        )
    )

    inner = (
        0.66
        + 0.17 * rough
        + 0.06 * streak
        + 0.15 * ridges
        + 0.08 * septa
        - 0.30 * smooth_step(lobules - 0.35 * rough, 0.2, 2.4)
    )
    under = smooth_step(b.distance + 0.016 * lobules + 0.012 * rough, 0.025, 0.095)
    gland = np.clip(share * inner * under, 0, 1.2)
    return gland.astype(np.float32), (0.6 * ridges + 0.4 * septa) * under * (0.35 + 0.65 * share)


def pectoral_exposure(rng: np.random.Generator, b: Breast, gland: np.ndarray) -> np.ndarray:
    """Return the exposure [h, w] of the pectoral muscle, with streaks along its fibres."""
    fibre = noise_field(rng, b.x.shape, 1.2, (1, 60), stretch=0.3)
    return b.pectoral * (0.46 + 0.06 * fibre) * (1 - 0.5 * np.clip(gland, 0, 1))
