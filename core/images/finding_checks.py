"""Checks of outlined findings against the breast: outlines that cannot be right.

The outcome is a list of coded issues. What happens to them belongs in `core.pipeline`; the check
of patches, which needs their labels, in `core.pipeline.patches`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.images.polygons import fill_polygons

OUTSIDE_BREAST = "outside_breast"
MIRRORED = "mirrored_position"
BORDER_ONLY = "border_only"
WHOLE_FILM = "whole_film"
TOO_SMALL = "too_small"
NO_PATCH = "reaches_no_patch"
DOUBTFUL_SOURCE = "doubtful_source"
OTHER_SIDE = "other_side"
UNCLEAR_SIDE = "unclear_side"
OTHER_UNITS = "other_units"
UNUSUAL_SIZE = "unusual_size"
# Codes of an outline in a wrong place.
MISPLACED = (OUTSIDE_BREAST, MIRRORED, BORDER_ONLY, OTHER_UNITS)

# An outline with less than this share inside the breast is outside it.
_MIN_INSIDE = 0.5
# An outline that is partly outside is doubtful if a mirrored one would fit by this much better.
# Chosen on every second film of benchmarks/PROBLEM_DETECTION.md, as is the enlargement below.
_MIN_MIRROR_GAIN = 0.05
_FITS = 0.95
# An outline of at most this share of the width is doubtful if it fits as well when all coordinates
# are multiplied by this factor: it would be in units of a reduced image.
_MAX_REDUCED_EXTENT, _ENLARGEMENT = 0.03, 4
# Remains of an outline that was cut off at the edge of the film are this thin (share of the width).
_BORDER_SHARE = 0.01
_WHOLE_FILM_SHARE = 0.8
_WHOLE_BREAST_SHARE = 0.95
# Pixels of the source image, and share of the film's width (2.4 mm of the usual film).
# Calcifications can be smaller and are not checked.
_MIN_PIXELS = 9.0
_MIN_EXTENT = 0.01
# A source is doubtful as a whole from this number and this share of misplaced outlines on ...
_MIN_MISPLACED, _MAX_MISPLACED_SHARE = 3, 0.1
# ... or if at least so many outlines all lie in this share of the films' height.
_MIN_OUTLINES, _CROWDED_HEIGHT = 8, 0.4
# Films are compared with the others of their source if the side of at least so many is known, and
# outlines with the others if there are so many.
_MIN_FILMS = 20
# An outline is of unusual size beyond this multiple of the range of the middle 80 % of its source.
# On a tenth and more of outlines in other units the source is doubtful as a whole.
_UNUSUAL_SIZE = 1.5


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
    elif not is_calcification and 0 < _extent(mask) < _MIN_EXTENT * mask.shape[1]:
        cause = f"the outline is {_extent(mask) / mask.shape[1]:.1%} of the film wide: other units?"
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
        position = _position_issues(outline_plausibility(mask, breast))
        if not position and not is_calcification and _fits_enlarged(mask, breast):
            cause = (
                f"enlarged {_ENLARGEMENT} times, the small outline is in the breast: other units?"
            )
            position = [ImageIssue(OTHER_UNITS, cause)]
        issues += position
    return issues


@dataclass(frozen=True)
class PlacedOutline:
    """Height of an outline on its film. top, bottom: shares of the film's height from above.

    misplaced: the check of its film alone found it in a wrong place.
    """

    top: float
    bottom: float
    misplaced: bool


def check_outlines_jointly(outlines: Sequence[PlacedOutline]) -> str:
    """Return why all outlines of a source are doubtful, "" if nothing speaks against them.

    An outline in other units, mirrored or on another film can lie in the breast by chance. Those of
    a whole source cannot.

    Parameters
    ----------
    outlines : sequence of PlacedOutline
        All outlines of the source.

    Examples
    --------
    >>> inside = [PlacedOutline(0.3, 0.5, False)] * 7
    >>> check_outlines_jointly(inside + [PlacedOutline(0.6, 0.7, False)])
    ''
    >>> check_outlines_jointly(inside + [PlacedOutline(0.6, 0.7, True)] * 3)
    '3 of the 10 outlines of the source are misplaced: flipped, or other units?'
    """
    count, misplaced = len(outlines), sum(outline.misplaced for outline in outlines)
    if misplaced >= _MIN_MISPLACED and misplaced >= _MAX_MISPLACED_SHARE * count:
        return (
            f"{misplaced} of the {count} outlines of the source are misplaced: flipped, or other"
            " units?"
        )
    if count < _MIN_OUTLINES:
        return ""
    if max(outline.bottom for outline in outlines) < _CROWDED_HEIGHT:
        return f"all {count} outlines of the source lie at the top of their films: other units?"
    if min(outline.top for outline in outlines) > 1 - _CROWDED_HEIGHT:
        return f"all {count} outlines of the source lie at the bottom of their films: other units?"
    return ""


def films_of_other_side(films: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the films whose chest wall is not where that side's is in the rest of the source.

    Such a film is flipped or of the other breast, and its outlines belong to another film. A source
    shows the chest wall of the left breast at the left, or at the right, or that of all films at
    the left, or at the right: that with the fewest deviating films is taken as its rule.

    Parameters
    ----------
    films : mapping of str to (str, str)
        Of each film its laterality and the side of the image where the chest wall is, "left" or
        "right". Films with other values do not count.

    Examples
    --------
    >>> films = {f"L{k}": ("LEFT", "left") for k in range(30)}
    >>> films_of_other_side(films | {"flipped": ("LEFT", "right")})
    ['flipped']
    """
    placed = {
        name: (laterality.lower(), wall)
        for name, (laterality, wall) in films.items()
        if laterality in ("LEFT", "RIGHT") and wall in ("left", "right")
    }
    if len(placed) < _MIN_FILMS:
        return []
    rules: list[Callable[[str, str], bool]] = [
        lambda side, wall: wall == side,
        lambda side, wall: wall != side,
        lambda side, wall: wall == "left",
        lambda side, wall: wall == "right",
    ]
    deviating = [
        sorted(name for name, film in placed.items() if not is_usual(*film)) for is_usual in rules
    ]
    return min(deviating, key=len)


def usual_size_factors(sizes: Sequence[float]) -> list[float | None]:
    """Return the factors that give outlines of unusual size the median size of their source.

    Parameters
    ----------
    sizes : sequence of float
        Of all outlines of the source, each as a share of the width of its film.

    Returns
    -------
    list of float or None
        None for an outline of usual size, and for all if there are fewer than 20.

    Examples
    --------
    >>> [factor for factor in usual_size_factors([0.1] * 20 + [0.4]) if factor]
    [0.25]
    """
    if len(sizes) < _MIN_FILMS:
        return [None] * len(sizes)
    low, median, high = np.quantile(sizes, [0.1, 0.5, 0.9])
    return [
        None if low / _UNUSUAL_SIZE <= size <= high * _UNUSUAL_SIZE else float(median / size)
        for size in sizes
    ]


def fits_scaled(polygons: Sequence[np.ndarray], breast: np.ndarray, factor: float) -> bool:
    """Return whether an outline lies in the breast when its coordinates are multiplied.

    Parameters
    ----------
    polygons : sequence of float arrays, shape [n, 2]
        The outline, x and y in pixels of the breast mask.
    breast : bool array, shape [h, w]
        The breast with its skin.
    factor : float
        Such as one of `usual_size_factors`.

    Examples
    --------
    >>> breast = np.zeros((80, 60), bool)
    >>> breast[20:60, :30] = True
    >>> square = [np.array([[10, 40], [30, 40], [30, 60], [10, 60]])]
    >>> fits_scaled(square, breast, 0.7), fits_scaled(square, breast, 2.0)
    (True, False)
    """
    scaled = [np.asarray(polygon, float) * factor for polygon in polygons]
    if (np.concatenate(scaled).max(0) > breast.shape[::-1]).any():
        return False
    mask = fill_polygons(scaled, breast.shape)
    return bool(mask.any()) and float((mask & breast).sum()) >= _FITS * float(mask.sum())


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
    if mirrored >= max(_FITS, inside + _MIN_MIRROR_GAIN):
        return [ImageIssue(MIRRORED, f"{cause}; {mirror}, all of it would be inside: flipped?")]
    return []


def _fits_enlarged(mask: np.ndarray, breast: np.ndarray) -> bool:
    """Return whether a small outline is in the breast when its coordinates are multiplied."""
    if _extent(mask) > _MAX_REDUCED_EXTENT * mask.shape[1]:
        return False
    # Reducing the breast instead of enlarging the outline gives the same share.
    reduced = breast[::_ENLARGEMENT, ::_ENLARGEMENT]
    inside = mask[: reduced.shape[0], : reduced.shape[1]] & reduced
    return float(inside.sum()) >= _FITS * float(mask.sum())


def _covers_all(mask: np.ndarray, breast: np.ndarray) -> bool:
    if mask.mean() >= _WHOLE_FILM_SHARE:
        return True
    return bool(breast.any()) and float(mask[breast].mean()) >= _WHOLE_BREAST_SHARE


def _extent(mask: np.ndarray) -> int:
    """Return the larger side of the box around a mask, 0 for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0
    return int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1


def _is_at_border(mask: np.ndarray) -> bool:
    """Return whether all of a mask lies within a thin strip along one edge of the image."""
    depth = max(1, round(_BORDER_SHARE * mask.shape[1]))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    h, w = mask.shape
    return bool(
        rows[-1] < depth or rows[0] >= h - depth or columns[-1] < depth or columns[0] >= w - depth
    )
