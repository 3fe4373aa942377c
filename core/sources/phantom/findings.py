"""What a phantom's findings look like: ten looks in DDSM's words, and how each is drawn, in units
of the finding's own radius.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from core.sources.phantom.concepts import Concept
from core.sources.phantom.shapes import (
    Array,
    Rng,
    blob,
    circle,
    hull,
    smooth_step,
    specks,
    spicules,
    strokes,
)

_MASS, _CALCIUM = "LESION_TYPE MASS SHAPE ", "LESION_TYPE CALCIFICATION TYPE "


class Look(NamedTuple):
    """How a kind of finding looks. weight: how often among its pathology; radius: range in image
    widths; contrast: exposure added at subtlety 3; words: DDSM lines to choose from.
    """

    concept: Concept
    malignant: bool
    weight: float
    radius: tuple[float, float]
    contrast: float
    words: tuple[str, ...]

    @property
    def calcified(self) -> bool:
        """Whether it is drawn as calcium."""
        return self.words[0].startswith(_CALCIUM)


LOOKS = (
    Look(
        Concept.CIRCUMSCRIBED_MASS, False, 0.26, (0.035, 0.075), 0.32,
        (_MASS + "ROUND MARGINS CIRCUMSCRIBED", _MASS + "OVAL MARGINS CIRCUMSCRIBED"),
    ),
    Look(
        Concept.LOBULAR_MASS, False, 0.14, (0.040, 0.080), 0.36,
        (_MASS + "LOBULATED MARGINS OBSCURED", _MASS + "LOBULATED MARGINS ILL_DEFINED"),
    ),
    Look(Concept.LYMPH_NODE, False, 0.10, (0.030, 0.050), 0.38, (_MASS + "LYMPH_NODE MARGINS CIRCUMSCRIBED",)),
    Look(Concept.VASCULAR_CALCIFICATION, False, 0.16, (0.080, 0.130), 0.60, (_CALCIUM + "VASCULAR DISTRIBUTION N/A",)),
    Look(
        Concept.COARSE_CALCIFICATION, False, 0.14, (0.025, 0.045), 0.90,
        (_CALCIUM + "COARSE DISTRIBUTION N/A", _CALCIUM + "DYSTROPHIC DISTRIBUTION N/A"),
    ),
    Look(
        Concept.ROUND_CALCIFICATION, False, 0.20, (0.045, 0.085), 0.70,
        (_CALCIUM + "ROUND_AND_REGULAR DISTRIBUTION REGIONAL", _CALCIUM + "LUCENT_CENTER DISTRIBUTION CLUSTERED"),
    ),
    Look(
        Concept.SPICULATED_MASS, True, 0.40, (0.065, 0.115), 0.52,
        (_MASS + "IRREGULAR MARGINS SPICULATED", _MASS + "IRREGULAR-ARCHITECTURAL_DISTORTION MARGINS SPICULATED"),
    ),
    Look(Concept.PLEOMORPHIC_CLUSTER, True, 0.26, (0.035, 0.065), 0.80, (_CALCIUM + "PLEOMORPHIC DISTRIBUTION CLUSTERED",)),
    Look(
        Concept.FINE_LINEAR_CLUSTER, True, 0.17, (0.050, 0.085), 0.75,
        (_CALCIUM + "FINE_LINEAR_BRANCHING DISTRIBUTION LINEAR", _CALCIUM + "FINE_LINEAR_BRANCHING DISTRIBUTION SEGMENTAL"),
    ),
    Look(
        Concept.ARCHITECTURAL_DISTORTION, True, 0.17, (0.070, 0.120), 0.42,
        (_MASS + "ARCHITECTURAL_DISTORTION MARGINS SPICULATED", _MASS + "ARCHITECTURAL_DISTORTION MARGINS N/A"),
    ),
)  # fmt: skip


def draw(rng: Rng, look: Look, u: Array, v: Array, toward: float) -> tuple[Array, Array]:
    """Exposure [n, n] of a finding on the grid u, v (radii from its centre) and its outline [m, 2]
    in radii; toward: direction of the nipple in radians.
    """
    return (
        draw_calcium(rng, look.concept, u, v, toward)
        if look.calcified
        else draw_mass(rng, look.concept, u, v)
    )


def draw_mass(rng: Rng, concept: Concept, u: Array, v: Array) -> tuple[Array, Array]:
    """Exposure [n, n] and outline [m, 2] of the five looks without calcium."""
    side = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(side), np.sin(side)
    if concept == Concept.CIRCUMSCRIBED_MASS:
        body, outline = blob(rng, u, v, 1.0, 0.02, 0.12, rng.uniform(0.68, 1.0))
        halo = ndimage.gaussian_filter(body, 0.12 / float(u[0, 1] - u[0, 0]))
        return body - 0.25 * np.clip(halo - body, 0, 1), outline
    if concept == Concept.LOBULAR_MASS:
        centres = circle(int(rng.integers(3, 6)), 0.36)
        lobes = [
            blob(rng, u - x, v - y, rng.uniform(0.52, 0.74), 0.06, 0.6, rng.uniform(0.75, 1.0))[0]
            for x, y in centres
        ]
        return np.max(lobes, 0) * (1 - 0.55 * smooth_step(u * c + v * s, -0.1, 0.9)), circle(
            40, 1.0
        )
    if concept == Concept.LYMPH_NODE:
        body, outline = blob(rng, u, v, 1.0, 0.03, 0.18, rng.uniform(0.6, 0.75))
        hilum = np.exp(-((u - 0.5 * c) ** 2 + (v - 0.42 * s) ** 2) / rng.uniform(0.10, 0.22))
        return body * (1 - 0.8 * hilum), outline
    if concept == Concept.SPICULATED_MASS:
        core, outline = blob(rng, u, v, 0.50, 0.15, 0.7, rng.uniform(0.7, 1.0))
        return (
            np.maximum(core, 0.52 * spicules(rng, u, v, int(rng.integers(18, 32)), 0.35, 0.028)),
            outline * 1.4,
        )
    rays = spicules(rng, u, v, int(rng.integers(24, 40)), 0.12, 0.028)
    return rays + 0.18 * np.exp(-(u * u + v * v) / 0.12), circle(40, 0.95)


def draw_calcium(
    rng: Rng, concept: Concept, u: Array, v: Array, toward: float
) -> tuple[Array, Array]:
    """Exposure [n, n] and outline [m, 2] of the five calcified looks; linear ones point to the
    nipple.
    """
    turn = np.array([[np.cos(toward), np.sin(toward)], [-np.sin(toward), np.cos(toward)]])
    n = int(rng.integers(14, 30))
    if concept == Concept.VASCULAR_CALCIFICATION:
        return _vascular(rng, u, v, turn)
    if concept == Concept.COARSE_CALCIFICATION:
        at = rng.normal(0, 0.30, (n // 2, 2)).clip(-0.7, 0.7)
        lumps = specks(u, v, at, rng.uniform(0.18, 0.42, len(at)), rng.uniform(0.55, 1, len(at)))
        return lumps + 0.15 * blob(rng, u, v, 1.1, 0.05, 0.5, 1.0)[0], hull(at, 0.40)
    if concept == Concept.ROUND_CALCIFICATION:
        at = rng.uniform(-0.75, 0.75, (n // 3, 2))
        size, peak, rim = (
            rng.uniform(0.08, 0.17, len(at)),
            rng.uniform(0.5, 1, len(at)),
            rng.uniform(size=len(at)) < 0.45,
        )
        return specks(u, v, at, size, peak, rim=rim), hull(at, 0.22)
    if concept == Concept.PLEOMORPHIC_CLUSTER:
        at = rng.normal(0, 0.36, (n, 2)).clip(-0.85, 0.85)
        dots = specks(
            u,
            v,
            at,
            rng.gamma(3, 0.017, n),
            rng.uniform(0.3, 1, n),
            aspect=rng.uniform(1, 2.4, n),
            tilt=rng.uniform(0, np.pi, n),
        )
        return dots + 0.10 * np.exp(-(u * u + v * v) / 0.4), hull(at, 0.18)
    along, branch = rng.uniform(-0.9, 0.9, n), rng.integers(-1, 2, n)
    at = (
        np.stack([along, branch * 0.32 * np.clip(along + 0.5, 0, 2) + rng.normal(0, 0.05, n)], 1)
        @ turn
    )
    tilt = toward + branch * 0.35 + rng.normal(0, 0.25, n)
    rods = specks(
        u,
        v,
        at,
        rng.uniform(0.018, 0.032, n),
        rng.uniform(0.45, 1, n),
        aspect=rng.uniform(2, 5.5, n),
        tilt=tilt,
    )
    return rods, hull(at, 0.16)


def _vascular(rng: Rng, u: Array, v: Array, turn: Array) -> tuple[Array, Array]:
    """Parallel broken tracks along a bent vessel."""
    path = strokes(rng, np.array([[-0.95, 0.0]]), np.zeros(1), np.full(1, 1.9), 0.8)[0]
    path = (path - path.mean(0)) @ turn
    across = np.gradient(path, axis=0)[:, ::-1] * [1, -1] * (64 / 1.9)
    pick = np.flatnonzero(np.repeat(rng.uniform(size=16) < 0.75, 4))
    walls = np.concatenate([path[pick] + 0.075 * across[pick], path[pick] - 0.075 * across[pick]])
    at = walls + rng.normal(0, 0.008, (2 * len(pick), 2))
    tracks = np.maximum(
        specks(u, v, path[::2], 0.09, 0.16), specks(u, v, at, 0.022, rng.uniform(0.35, 1, len(at)))
    )
    return tracks, np.concatenate([path + 0.17 * across, (path - 0.17 * across)[::-1]])
