"""Checks of outlined findings against the breast: outlines that cannot be right.

The outcome is a list of coded issues. What happens to them belongs in `core.pipeline`; the check
of patches, which needs their labels, in `core.pipeline.patches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OUTSIDE_BREAST = "outside_breast"
MIRRORED = "mirrored_position"
BORDER_ONLY = "border_only"
WHOLE_FILM = "whole_film"
TOO_SMALL = "too_small"
NO_PATCH = "reaches_no_patch"

# An outline with less than this share inside the breast is outside it.
_MIN_INSIDE = 0.5
# An outline that is partly outside is doubtful if a mirrored one would fit by this much better.
_MIN_MIRROR_GAIN = 0.2
_MIRROR_FITS = 0.95
# Remains of an outline that was cut off at the edge of the film are this thin (share of the width).
_BORDER_SHARE = 0.01
_WHOLE_FILM_SHARE = 0.8
_WHOLE_BREAST_SHARE = 0.95
# Pixels of the source image. Calcifications can be smaller and are not checked.
_MIN_PIXELS = 9.0


@dataclass(frozen=True)
class ImageIssue:
    """A reason to doubt an image or an outline. code: for programs; cause: in words."""

    code: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class Plausibility:
    """Shares of an outline that lie inside the breast, as it is and mirrored.

    mirrored_x: left and right exchanged; mirrored_y: top and bottom exchanged; rotated: both.
    """

    as_given: float
    mirrored_x: float
    mirrored_y: float
    rotated: float

    @property
    def best_mirror(self) -> tuple[str, float]:
        """The mirrored position with the largest share, in words, and that share."""
        shares = {
            "mirrored left to right": self.mirrored_x,
            "mirrored top to bottom": self.mirrored_y,
            "rotated by half a turn": self.rotated,
        }
        name = max(shares, key=lambda key: shares[key])
        return name, shares[name]


def outline_plausibility(mask: np.ndarray, breast: np.ndarray) -> Plausibility:
    """Return which share of a finding lies inside the breast, as it is and mirrored.

    Parameters
    ----------
    mask : bool array, shape [h, w]
        The filled outline, with at least one pixel.
    breast : bool array, shape [h, w]
        The breast with its skin.

    Returns
    -------
    Plausibility

    Examples
    --------
    >>> breast = np.array([[True, True, False, False]])
    >>> mask = np.array([[False, False, False, True]])
    >>> outline_plausibility(mask, breast)
    Plausibility(as_given=0.0, mirrored_x=1.0, mirrored_y=0.0, rotated=1.0)
    """
    # Of the bounding box only: a finding is a small part of a mammogram.
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    piece = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def share_inside(region: np.ndarray) -> float:
        """Return the share of the finding on the breast, turned as `region` is."""
        window = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return float((piece & window).sum() / piece.sum())

    # Turning the breast instead of the finding gives the same shares.
    return Plausibility(
        as_given=share_inside(breast),
        mirrored_x=share_inside(breast[:, ::-1]),
        mirrored_y=share_inside(breast[::-1]),
        rotated=share_inside(breast[::-1, ::-1]),
    )


def check_finding(
    mask: np.ndarray, breast: np.ndarray, pixels: float, *, is_calcification: bool = False
) -> list[ImageIssue]:
    """Return the reasons to doubt the outline of one finding.

    Parameters
    ----------
    mask : bool array, shape [h, w]
        The filled outline in the working image, cut off at its edges.
    breast : bool array, shape [h, w]
        The breast with its skin in the working image; all false if it is unknown.
    pixels : float
        Number of pixels of the source image that the outline covers, see `pixel_count`.
    is_calcification : bool
        Calcifications may be of any size.

    Returns
    -------
    list of ImageIssue
        Empty for a plausible outline.

    Examples
    --------
    >>> breast = np.zeros((100, 80), bool)
    >>> breast[20:80, :40] = True
    >>> mask = np.zeros((100, 80), bool)
    >>> mask[40:50, 60:70] = True
    >>> [issue.code for issue in check_finding(mask, breast, 100.0)]
    ['outside_breast']
    """
    issues = []
    if pixels < _MIN_PIXELS and not is_calcification:
        cause = (
            f"the outline covers about {pixels:.0f} pixels of the image: shares instead of pixels?"
        )
        issues.append(ImageIssue(TOO_SMALL, cause))
    if not mask.any():
        issues.append(ImageIssue(OUTSIDE_BREAST, "the outline lies outside the image"))
        return issues
    if _covers_all(mask, breast):
        issues.append(ImageIssue(WHOLE_FILM, "the outline covers the whole breast or image"))
        return issues
    if _is_at_border(mask):
        cause = "the outline only touches the border of the image: flipped, or other units?"
        issues.append(ImageIssue(BORDER_ONLY, cause))
    elif breast.any():
        issues += _position_issues(outline_plausibility(mask, breast))
    return issues


def pixel_count(polygons: Sequence[np.ndarray]) -> float:
    """Return about how many pixels polygons [n, 2] cover, their borders included (Pick's theorem).

    Examples
    --------
    >>> pixel_count([np.array([[1, 1], [3, 1], [3, 3], [1, 3]])])
    9.0
    """
    total = 0.0
    for polygon in polygons:
        points = np.asarray(polygon, float)
        x, y = points.T
        following = np.roll(points, -1, axis=0)
        area = abs(float(x @ following[:, 1] - y @ following[:, 0])) / 2
        total += area + float(np.abs(following - points).max(1).sum()) / 2 + 1
    return total


def _position_issues(plausibility: Plausibility) -> list[ImageIssue]:
    inside = plausibility.as_given
    mirror, mirrored = plausibility.best_mirror
    cause = f"{1 - inside:.0%} of the outline is outside the breast"
    if inside < _MIN_INSIDE:
        flipped = mirrored >= inside + _MIN_INSIDE
        hint = f"; {mirror}, {mirrored:.0%} would be inside: flipped?" if flipped else ""
        return [ImageIssue(OUTSIDE_BREAST, cause + (hint or ": other units?"))]
    if mirrored >= max(_MIRROR_FITS, inside + _MIN_MIRROR_GAIN):
        return [ImageIssue(MIRRORED, f"{cause}; {mirror}, all of it would be inside: flipped?")]
    return []


def _covers_all(mask: np.ndarray, breast: np.ndarray) -> bool:
    if mask.mean() >= _WHOLE_FILM_SHARE:
        return True
    return bool(breast.any()) and float(mask[breast].mean()) >= _WHOLE_BREAST_SHARE


def _is_at_border(mask: np.ndarray) -> bool:
    """Return whether all of a mask lies within a thin strip along one edge of the image."""
    depth = max(1, round(_BORDER_SHARE * mask.shape[1]))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    h, w = mask.shape
    return bool(
        rows[-1] < depth or rows[0] >= h - depth or columns[-1] < depth or columns[0] >= w - depth
    )
