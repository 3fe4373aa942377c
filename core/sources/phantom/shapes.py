"""Shapes from which phantom mammograms are drawn: curves, masses, spicules and calcifications.

Anatomy and findings belong in their own modules. Lengths are in the units of the caller's grid.
Random numbers are drawn in a fixed order, so that a seed determines a shape; keep the order of the
draws when you change a function.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, spatial


def smooth_step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the smoothstep function: 0 below low, 1 above high, cubic between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def circle(n: int, radius: float) -> np.ndarray:
    """Return n points [n, 2] of a circle about the origin."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return radius * np.stack([np.cos(t), np.sin(t)], 1)


def convex_outline(points: np.ndarray, margin: float) -> np.ndarray:
    """Return the convex outline [m, 2] around points [n, 2] with a margin."""
    # [n, 12, 2]: a circle of points around each point.
    wide = (points[:, None] + circle(12, margin)).reshape(-1, 2)
    return wide[spatial.ConvexHull(wide).vertices]


def random_curves(
    rng: np.random.Generator,
    start: np.ndarray,
    heading: np.ndarray,
    length: np.ndarray,
    bend: float,
) -> np.ndarray:
    """Return random curves [n, 64, 2] of (x, y).

    start: [n, 2]. heading: [n], radians. length: [n]. bend: standard deviation of the heading over
    a length, radians.
    """
    n, steps = len(start), 64
    wander = np.cumsum(rng.normal(0, bend / np.sqrt(steps), (n, steps)), axis=1)
    # [n, 64]: a steady turn bends the curve, a random walk makes it irregular.
    angle = heading[:, None] + wander + rng.normal(0, bend, (n, 1)) * np.linspace(0, 1, steps)
    step = (length / steps)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return start[:, None] + np.cumsum(step, axis=1)


def rasterize_curves(
    curves: np.ndarray, peak: np.ndarray, both_ends: float, sigma: float, shape: tuple[int, int]
) -> np.ndarray:
    """Return curves [n, m, 2], in image widths, drawn as lines in float [h, w].

    Lines have a Gaussian profile of standard deviation sigma and height peak [n]. They fade at both
    ends (both_ends 1), at the far end only (0), or in between.
    """
    (h, w), px, t = shape, curves * shape[1], np.linspace(0, 1, curves.shape[1] - 1)
    span = np.hypot(*np.moveaxis(np.diff(px, axis=1), -1, 0))
    # Samples at most .8 pixel apart leave no gaps in a line.
    fill, sigma_px = max(1, int(np.ceil(span.max() / 0.8))), max(sigma * w, 0.5)
    fade = np.sin(np.pi * t) ** 0.7 * both_ends + (1 - t) ** 0.8 * (1 - both_ends)
    # The Gaussian filter lowers a line by sqrt(2 pi) sigma; the weight restores the peak.
    weight = peak[:, None] * fade * span / fill * np.sqrt(2 * np.pi) * sigma_px
    s = (np.arange(fill) / fill)[None, None, :, None]
    x, y = (px[:, :-1, None] * (1 - s) + px[:, 1:, None] * s).reshape(-1, 2).T
    keep = (x >= 0) & (y >= 0) & (x < w - 1) & (y < h - 1)
    x, y, weight = x[keep], y[keep], np.repeat(weight.ravel(), fill)[keep]
    ix, iy = x.astype(int), y.astype(int)
    fx, fy, flat = x - ix, y - iy, iy * w + ix
    # Each sample is distributed bilinearly over four pixels, so that lines thinner than a pixel
    # keep their brightness.
    part = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]) * np.tile(
        weight, 4
    )
    canvas = np.bincount(
        np.concatenate([flat, flat + 1, flat + w, flat + w + 1]), part, h * w
    ).reshape(h, w)
    return ndimage.gaussian_filter(canvas.astype(np.float32), sigma_px, truncate=3)


def mass_shape(
    rng: np.random.Generator,
    u: np.ndarray,
    v: np.ndarray,
    size: float,
    rough: float,
    soft: float,
    oval: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mass at the origin of the grid u, v [n, n]: its body [n, n] and outline [48, 2].

    rough: waviness of the border. soft: width of the border. oval: ratio of the axes.
    """
    k, tilt = np.arange(2, 8), rng.uniform(0, np.pi)
    wave, phase = rough * rng.normal(0, 1, 6) / k**0.7, rng.uniform(0, 2 * np.pi, 6)
    c, s = np.cos(tilt), np.sin(tilt)
    p, q = u * c + v * s, (v * c - u * s) / oval
    t = np.linspace(0, 2 * np.pi, 49)
    # [6] @ [6, 49]. Harmonics start at 2: 0 and 1 would change size and position.
    edge = size * (1 + wave @ np.cos(k[:, None] * t + phase[:, None]))
    d = np.hypot(p, q) / np.interp(np.arctan2(q, p) % (2 * np.pi), t, edge)
    body = smooth_step(1 - d, -soft / 2, soft / 2) * (
        0.40 + 0.60 * np.sqrt(np.clip(1 - d * d, 0, 1))
    )
    x, y = 1.06 * edge[:-1] * np.cos(t[:-1]), 1.06 * edge[:-1] * np.sin(t[:-1]) * oval
    return body, np.stack([x * c - y * s, x * s + y * c], 1)


def spicules(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, n: int, inner: float, width: float
) -> np.ndarray:
    """Return n bent, uneven rays [n, n] from near the origin, up to two units long, tapering."""
    # Gamma gaps, normalised to a full turn: uneven, but all around.
    out, gap = np.zeros_like(u), rng.gamma(2.0, 1.0, n)
    for angle in rng.uniform(0, 2 * np.pi) + np.cumsum(gap) / gap.sum() * 2 * np.pi:
        x, y, length = u - rng.normal(0, 0.10), v - rng.normal(0, 0.10), rng.uniform(0.7, 2.1)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle) - rng.normal(0, 0.16) * along**2
        t = np.clip(along / length, 0, 1)
        fade = rng.uniform(0.3, 1) * smooth_step(along, inner * 0.3, inner + 0.12) * (1 - t) ** 0.8
        # A ray thinner than a pixel would break into dots.
        thick = np.maximum(
            width * rng.lognormal(0, 0.3) * (1.3 - t), 0.7 * float(u[0, 1] - u[0, 0])
        )
        out += fade * np.exp(-((across / thick) ** 2)) * (1 - 0.5 * np.minimum(out, 1))
    return np.minimum(out, 1.2)


def calcification_specks(
    u: np.ndarray,
    v: np.ndarray,
    at: np.ndarray,
    size: np.ndarray | float,
    peak: np.ndarray | float,
    rim: np.ndarray | bool = False,
    aspect: np.ndarray | float = 1,
    tilt: np.ndarray | float = 0,
) -> np.ndarray:
    """Return calcifications [n, n] at points [m, 2], never thinner than .6 pixel.

    size: half-size [m]. peak: height [m]. rim: hollow ones. aspect, tilt: of rods.
    """
    out, pixel = np.zeros_like(u), float(u[0, 1] - u[0, 0])
    for (x, y), s, p, hollow, a, t in zip(
        at, *(np.broadcast_to(k, len(at)) for k in (size, peak, rim, aspect, tilt))
    ):
        du, dv = u - x, v - y
        along, across = du * np.cos(t) + dv * np.sin(t), dv * np.cos(t) - du * np.sin(t)
        d = np.hypot(along / max(s * a, 0.62 * pixel), across / max(s, 0.62 * pixel))
        spot = np.exp(-(d**3))
        out = np.maximum(
            out, p * (np.exp(-(((d - 0.85) / 0.3) ** 2)) + 0.25 * spot if hollow else spot)
        )
    return out
