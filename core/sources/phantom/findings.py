"""Appearances of phantom findings: ten kinds with DDSM descriptions, and how each is drawn.

The breast around them belongs in `anatomy`. Lengths are in units of the finding's own radius.
Random numbers are drawn in a fixed order; keep the order of the draws when you change a function.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from core.sources.phantom.concepts import Concept
from core.sources.phantom.shapes import (
    calcification_specks,
    circle,
    convex_outline,
    mass_shape,
    random_curves,
    smooth_step,
    spicules,
)

_MASS, _CALCIFICATION = "LESION_TYPE MASS SHAPE ", "LESION_TYPE CALCIFICATION TYPE "


class Appearance(NamedTuple):
    """Appearance of a kind of finding.

    weight: relative frequency within its pathology. radius: range in image widths. contrast:
    exposure added at subtlety 3. descriptions: LESION_TYPE lines of DDSM to choose from.
    """

    concept: Concept
    malignant: bool
    weight: float
    radius: tuple[float, float]
    contrast: float
    descriptions: tuple[str, ...]

    @property
    def calcified(self) -> bool:
        """Whether the finding is drawn as calcifications."""
        return self.descriptions[0].startswith(_CALCIFICATION)


APPEARANCES = (
    Appearance(
        concept=Concept.CIRCUMSCRIBED_MASS,
        malignant=False,
        weight=0.26,
        radius=(0.035, 0.075),
        contrast=0.32,
        descriptions=(_MASS + "ROUND MARGINS CIRCUMSCRIBED", _MASS + "OVAL MARGINS CIRCUMSCRIBED"),
    ),
    Appearance(
        concept=Concept.LOBULAR_MASS,
        malignant=False,
        weight=0.14,
        radius=(0.040, 0.080),
        contrast=0.36,
        descriptions=(
            _MASS + "LOBULATED MARGINS OBSCURED",
            _MASS + "LOBULATED MARGINS ILL_DEFINED",
        ),
    ),
    Appearance(
        concept=Concept.LYMPH_NODE,
        malignant=False,
        weight=0.10,
        radius=(0.030, 0.050),
        contrast=0.38,
        descriptions=(_MASS + "LYMPH_NODE MARGINS CIRCUMSCRIBED",),
    ),
    Appearance(
        concept=Concept.VASCULAR_CALCIFICATION,
        malignant=False,
        weight=0.16,
        radius=(0.080, 0.130),
        contrast=0.60,
        descriptions=(_CALCIFICATION + "VASCULAR DISTRIBUTION N/A",),
    ),
    Appearance(
        concept=Concept.COARSE_CALCIFICATION,
        malignant=False,
        weight=0.14,
        radius=(0.025, 0.045),
        contrast=0.90,
        descriptions=(
            _CALCIFICATION + "COARSE DISTRIBUTION N/A",
            _CALCIFICATION + "DYSTROPHIC DISTRIBUTION N/A",
        ),
    ),
    Appearance(
        concept=Concept.ROUND_CALCIFICATION,
        malignant=False,
        weight=0.20,
        radius=(0.045, 0.085),
        contrast=0.70,
        descriptions=(
            _CALCIFICATION + "ROUND_AND_REGULAR DISTRIBUTION REGIONAL",
            _CALCIFICATION + "LUCENT_CENTER DISTRIBUTION CLUSTERED",
        ),
    ),
    Appearance(
        concept=Concept.SPICULATED_MASS,
        malignant=True,
        weight=0.40,
        radius=(0.065, 0.115),
        contrast=0.52,
        descriptions=(
            _MASS + "IRREGULAR MARGINS SPICULATED",
            _MASS + "IRREGULAR-ARCHITECTURAL_DISTORTION MARGINS SPICULATED",
        ),
    ),
    Appearance(
        concept=Concept.PLEOMORPHIC_CLUSTER,
        malignant=True,
        weight=0.26,
        radius=(0.035, 0.065),
        contrast=0.80,
        descriptions=(_CALCIFICATION + "PLEOMORPHIC DISTRIBUTION CLUSTERED",),
    ),
    Appearance(
        concept=Concept.FINE_LINEAR_CLUSTER,
        malignant=True,
        weight=0.17,
        radius=(0.050, 0.085),
        contrast=0.75,
        descriptions=(
            _CALCIFICATION + "FINE_LINEAR_BRANCHING DISTRIBUTION LINEAR",
            _CALCIFICATION + "FINE_LINEAR_BRANCHING DISTRIBUTION SEGMENTAL",
        ),
    ),
    Appearance(
        concept=Concept.ARCHITECTURAL_DISTORTION,
        malignant=True,
        weight=0.17,
        radius=(0.070, 0.120),
        contrast=0.42,
        descriptions=(
            _MASS + "ARCHITECTURAL_DISTORTION MARGINS SPICULATED",
            _MASS + "ARCHITECTURAL_DISTORTION MARGINS N/A",
        ),
    ),
)


def draw_finding(
    rng: np.random.Generator, appearance: Appearance, u: np.ndarray, v: np.ndarray, toward: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exposure [n, n] of a finding and its outline [m, 2].

    u, v: grid of offsets from its centre, in radii. toward: direction of the nipple, radians.
    """
    return (
        draw_calcification(rng, appearance.concept, u, v, toward)
        if appearance.calcified
        else draw_mass(rng, appearance.concept, u, v)
    )


def draw_mass(
    rng: np.random.Generator, concept: Concept, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return exposure [n, n] and outline [m, 2] of the five appearances without calcifications."""
    side = rng.uniform(0, 2 * np.pi)
    # Drawn for every kind, so that the random stream does not depend on the kind.
    c, s = np.cos(side), np.sin(side)
    if concept == Concept.CIRCUMSCRIBED_MASS:
        body, outline = mass_shape(rng, u, v, 1.0, 0.02, 0.12, rng.uniform(0.68, 1.0))
        # The halo sign of a circumscribed mass: a thin lucent rim.
        halo = ndimage.gaussian_filter(body, 0.12 / float(u[0, 1] - u[0, 0]))
        return body * _mottle(rng, u) - 0.25 * np.clip(halo - body, 0, 1), outline
    if concept == Concept.LOBULAR_MASS:
        centres = circle(int(rng.integers(3, 6)), 0.36)
        lobes = [
            mass_shape(
                rng, u - x, v - y, rng.uniform(0.52, 0.74), 0.06, 0.6, rng.uniform(0.75, 1.0)
            )[0]
            for x, y in centres
        ]
        # One side fades out, because the margin is described as obscured.
        body = np.max(lobes, 0) * (1 - 0.55 * smooth_step(u * c + v * s, -0.1, 0.9))
        return body * _mottle(rng, u), circle(40, 1.0)
    if concept == Concept.LYMPH_NODE:
        body, outline = mass_shape(rng, u, v, 1.0, 0.03, 0.18, rng.uniform(0.6, 0.75))
        # A fatty hilum distinguishes a lymph node from other circumscribed masses.
        hilum = np.exp(-((u - 0.5 * c) ** 2 + (v - 0.42 * s) ** 2) / rng.uniform(0.10, 0.22))
        return body * (1 - 0.8 * hilum), outline
    if concept == Concept.SPICULATED_MASS:
        core, outline = mass_shape(rng, u, v, 0.50, 0.15, 0.7, rng.uniform(0.7, 1.0))
        rays = 0.52 * spicules(rng, u, v, int(rng.integers(18, 32)), 0.35, 0.028)
        return np.maximum(core * _mottle(rng, u), rays), outline * 1.4
    rays = spicules(rng, u, v, int(rng.integers(24, 40)), 0.12, 0.028)
    return rays + 0.18 * np.exp(-(u * u + v * v) / 0.12), circle(40, 0.95)


def _mottle(rng: np.random.Generator, u: np.ndarray) -> np.ndarray:
    """Return a factor about 1 [n, n] that makes a mass uneven, as tissue is."""
    # As many draws at every size of the grid.
    field = ndimage.gaussian_filter(rng.normal(0, 1, (24, 24)), 1.2, mode="wrap")
    zoom = (u.shape[0] / 24, u.shape[1] / 24)
    uneven = ndimage.zoom(field / field.std(), zoom, order=1, grid_mode=True, mode="grid-wrap")
    return 1 + 0.09 * uneven


def draw_calcification(
    rng: np.random.Generator, concept: Concept, u: np.ndarray, v: np.ndarray, toward: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return exposure [n, n] and outline [m, 2] of the five calcified appearances.

    Linear ones point to the nipple, as calcifications in ducts do.
    """
    # Rotation [2, 2] of row vectors: the x axis points to the nipple.
    turn = np.array([[np.cos(toward), np.sin(toward)], [-np.sin(toward), np.cos(toward)]])
    # Drawn for every kind, as in `draw_mass`.
    n = int(rng.integers(14, 30))
    if concept == Concept.VASCULAR_CALCIFICATION:
        return _vascular(rng, u, v, turn)
    if concept == Concept.COARSE_CALCIFICATION:
        at = rng.normal(0, 0.30, (n // 2, 2)).clip(-0.7, 0.7)
        lumps = calcification_specks(
            u, v, at, rng.uniform(0.18, 0.42, len(at)), rng.uniform(0.55, 1, len(at))
        )
        return lumps + 0.15 * mass_shape(rng, u, v, 1.1, 0.05, 0.5, 1.0)[0], convex_outline(
            at, 0.40
        )
    if concept == Concept.ROUND_CALCIFICATION:
        at = rng.uniform(-0.75, 0.75, (n // 3, 2))
        size, peak, rim = (
            rng.uniform(0.08, 0.17, len(at)),
            rng.uniform(0.5, 1, len(at)),
            rng.uniform(size=len(at)) < 0.45,
        )
        return calcification_specks(u, v, at, size, peak, rim=rim), convex_outline(at, 0.22)
    if concept == Concept.PLEOMORPHIC_CLUSTER:
        at = rng.normal(0, 0.36, (n, 2)).clip(-0.85, 0.85)
        dots = calcification_specks(
            u,
            v,
            at,
            rng.gamma(3, 0.017, n),
            rng.uniform(0.3, 1, n),
            aspect=rng.uniform(1, 2.4, n),
            tilt=rng.uniform(0, np.pi, n),
        )
        return dots + 0.10 * np.exp(-(u * u + v * v) / 0.4), convex_outline(at, 0.18)
    along, branch = rng.uniform(-0.9, 0.9, n), rng.integers(-1, 2, n)
    at = (
        np.stack([along, branch * 0.32 * np.clip(along + 0.5, 0, 2) + rng.normal(0, 0.05, n)], 1)
        @ turn
    )
    tilt = toward + branch * 0.35 + rng.normal(0, 0.25, n)
    rods = calcification_specks(
        u,
        v,
        at,
        rng.uniform(0.018, 0.032, n),
        rng.uniform(0.45, 1, n),
        aspect=rng.uniform(2, 5.5, n),
        tilt=tilt,
    )
    return rods, convex_outline(at, 0.16)


def _vascular(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return exposure and outline of parallel broken tracks along a bent vessel."""
    path = random_curves(rng, np.array([[-0.95, 0.0]]), np.zeros(1), np.full(1, 1.9), 0.8)[0]
    path = (path - path.mean(0)) @ turn
    across = np.gradient(path, axis=0)[:, ::-1] * [1, -1] * (64 / 1.9)
    pick = np.flatnonzero(np.repeat(rng.uniform(size=16) < 0.75, 4))
    walls = np.concatenate([path[pick] + 0.075 * across[pick], path[pick] - 0.075 * across[pick]])
    at = walls + rng.normal(0, 0.008, (2 * len(pick), 2))
    tracks = np.maximum(
        calcification_specks(u, v, path[::2], 0.09, 0.16),
        calcification_specks(u, v, at, 0.022, rng.uniform(0.35, 1, len(at))),
    )
    return tracks, np.concatenate([path + 0.17 * across, (path - 0.17 * across)[::-1]])
