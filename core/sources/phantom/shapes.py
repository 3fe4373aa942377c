"""Shapes a phantom is drawn with.

Lengths are in units of whatever grid the caller gives; Rng draws come in a fixed order, so a seed
is a shape.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy import ndimage, spatial

Rng: TypeAlias = np.random.Generator
Array: TypeAlias = np.ndarray


def smooth_step(value: Array, low: float, high: float) -> Array:
    """0 below low, 1 above high, cubic between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def circle(n: int, radius: float) -> Array:
    """Points [n, 2] of a circle about the origin."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return radius * np.stack([np.cos(t), np.sin(t)], 1)


def hull(points: Array, margin: float) -> Array:
    """Convex outline [m, 2] around points [n, 2] with a margin."""
    wide = (points[:, None] + circle(12, margin)).reshape(-1, 2)
    return wide[spatial.ConvexHull(wide).vertices]


def strokes(rng: Rng, start: Array, heading: Array, length: Array, bend: float) -> Array:
    """Wandering curves [n, 64, 2] (x, y) from start [n, 2], heading [n] in radians, length [n];
    bend: radians of wander over a length.
    """
    n, steps = len(start), 64
    wander = np.cumsum(rng.normal(0, bend / np.sqrt(steps), (n, steps)), axis=1)
    angle = heading[:, None] + wander + rng.normal(0, bend, (n, 1)) * np.linspace(0, 1, steps)
    step = (length / steps)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return start[:, None] + np.cumsum(step, axis=1)


def splat(
    curves: Array, peak: Array, both_ends: float, sigma: float, shape: tuple[int, int]
) -> Array:
    """Curves [n, m, 2] in image widths as lines in float [h, w], of Gaussian profile sigma and
    height peak [n], fading at both ends (both_ends 1), at the far one only (0), or between the two.
    """
    (h, w), px, t = shape, curves * shape[1], np.linspace(0, 1, curves.shape[1] - 1)
    span = np.hypot(*np.moveaxis(np.diff(px, axis=1), -1, 0))
    fill, sigma_px = max(1, int(np.ceil(span.max() / 0.8))), max(sigma * w, 0.5)
    fade = np.sin(np.pi * t) ** 0.7 * both_ends + (1 - t) ** 0.8 * (1 - both_ends)
    weight = peak[:, None] * fade * span / fill * np.sqrt(2 * np.pi) * sigma_px
    s = (np.arange(fill) / fill)[None, None, :, None]
    x, y = (px[:, :-1, None] * (1 - s) + px[:, 1:, None] * s).reshape(-1, 2).T
    keep = (x >= 0) & (y >= 0) & (x < w - 1) & (y < h - 1)
    x, y, weight = x[keep], y[keep], np.repeat(weight.ravel(), fill)[keep]
    ix, iy = x.astype(int), y.astype(int)
    fx, fy, flat = x - ix, y - iy, iy * w + ix
    # Every sample is shared bilinearly among four pixels, so lines thinner than a pixel keep their
    # brightness.
    part = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]) * np.tile(
        weight, 4
    )
    canvas = np.bincount(
        np.concatenate([flat, flat + 1, flat + w, flat + w + 1]), part, h * w
    ).reshape(h, w)
    return ndimage.gaussian_filter(canvas.astype(np.float32), sigma_px, truncate=3)


def blob(
    rng: Rng, u: Array, v: Array, size: float, rough: float, soft: float, oval: float
) -> tuple[Array, Array]:
    """A mass at the origin of the grid u, v [n, n], with waviness `rough`, edge softness and ratio
    of axes `oval`: its body [n, n] and outline [48, 2].
    """
    k, tilt = np.arange(2, 8), rng.uniform(0, np.pi)
    wave, phase = rough * rng.normal(0, 1, 6) / k**0.7, rng.uniform(0, 2 * np.pi, 6)
    c, s = np.cos(tilt), np.sin(tilt)
    p, q = u * c + v * s, (v * c - u * s) / oval
    t = np.linspace(0, 2 * np.pi, 49)
    edge = size * (1 + wave @ np.cos(k[:, None] * t + phase[:, None]))
    d = np.hypot(p, q) / np.interp(np.arctan2(q, p) % (2 * np.pi), t, edge)
    body = smooth_step(1 - d, -soft / 2, soft / 2) * (
        0.40 + 0.60 * np.sqrt(np.clip(1 - d * d, 0, 1))
    )
    x, y = 1.06 * edge[:-1] * np.cos(t[:-1]), 1.06 * edge[:-1] * np.sin(t[:-1]) * oval
    return body, np.stack([x * c - y * s, x * s + y * c], 1)


def spicules(rng: Rng, u: Array, v: Array, n: int, inner: float, width: float) -> Array:
    """n bent, uneven rays [n, n] from near the origin, up to two units long, thinning outward."""
    out, gap = np.zeros_like(u), rng.gamma(2.0, 1.0, n)
    for angle in rng.uniform(0, 2 * np.pi) + np.cumsum(gap) / gap.sum() * 2 * np.pi:
        x, y, length = u - rng.normal(0, 0.10), v - rng.normal(0, 0.10), rng.uniform(0.7, 2.1)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle) - rng.normal(0, 0.16) * along**2
        t = np.clip(along / length, 0, 1)
        fade = rng.uniform(0.3, 1) * smooth_step(along, inner * 0.3, inner + 0.12) * (1 - t) ** 0.8
        thick = np.maximum(
            width * rng.lognormal(0, 0.3) * (1.3 - t), 0.7 * float(u[0, 1] - u[0, 0])
        )
        out += fade * np.exp(-((across / thick) ** 2)) * (1 - 0.5 * np.minimum(out, 1))
    return np.minimum(out, 1.2)


def specks(
    u: Array,
    v: Array,
    at: Array,
    size: Array | float,
    peak: Array | float,
    rim: Array | bool = False,
    aspect: Array | float = 1,
    tilt: Array | float = 0,
) -> Array:
    """Calcifications [n, n] at points [m, 2] of half-size and peak [m], never thinner than .6
    pixel; rim: hollow ones; aspect, tilt: rods.
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
