"""Patches of a working image, and their labels by overlap with findings.

Published patch labels are read in `core.sources.deepminer_patches`. A label is the stored code of a
class (`core.class_labels.ClassDefinition`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.class_labels import MAMMOGRAPHY, UNPROVEN, ClassDefinition


@dataclass(frozen=True)
class PatchRule:
    """Rule by which a window is kept and labelled.

    Parameters
    ----------
    min_tissue : float
        Least share of tissue in a window.
    min_overlap : float
        Least overlap with a class, for either of the two overlaps of `window_overlaps`.
    rule : "or" or "and"
        How the two overlaps are combined; "or" is the published rule.
    ambiguous : "keep" or "drop"
        Whether a window that touches a finding without reaching min_overlap stays normal (the
        published rule) or is dropped.
    classes : ClassDefinition
        The classes; by default those of the publication.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    min_tissue: float = 0.5
    min_overlap: float = 0.3
    rule: str = "or"
    ambiguous: str = "keep"
    classes: ClassDefinition = MAMMOGRAPHY

    def __post_init__(self) -> None:
        if self.rule not in ("or", "and") or self.ambiguous not in ("keep", "drop"):
            raise ValueError(f"not a patch rule: {self}")
        # With a least overlap of 0 every class would count in every window.
        if not (0 <= self.min_tissue <= 1 and 0 < self.min_overlap <= 1):
            raise ValueError(
                f"min_tissue must be in 0..1 and min_overlap in 0..1 without 0: {self}"
            )


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Kept windows of one working image; all arrays have length n and are ordered by y, then x.

    y, x: origin, pixels of the working image. tissue: share of the window covered by tissue. union:
    by name of a class of findings, the share of the window covered by all its findings. share: by
    name, the largest share of one of its findings that lies in the window, 0 without findings.
    label: see the module.
    dropped_*: number of windows with enough tissue that were dropped because of an UNPROVEN
    finding, or as ambiguous. weak: labels are image-level.
    """

    side: int
    y: np.ndarray
    x: np.ndarray
    tissue: np.ndarray
    union: Mapping[str, np.ndarray]
    share: Mapping[str, np.ndarray]
    label: np.ndarray
    dropped_unproven: int = 0
    dropped_ambiguous: int = 0
    weak: bool = False

    def __len__(self) -> int:
        return len(self.y)


def window_origins(shape: tuple[int, int], side: int) -> np.ndarray:
    """Return the grid of all whole windows of an image.

    Windows overlap by half: origin k is at floor(k x side / 2) in both directions.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    side : int
        Side of a window, in pixels.

    Returns
    -------
    int array, shape [n, 2]
        Origins (y, x), ordered by y, then x.

    Examples
    --------
    >>> window_origins((4, 6), 4).tolist()
    [[0, 0], [0, 2]]
    """
    if side < 1:
        raise ValueError("a patch needs at least one pixel")
    ys, xs = (_axis_origins(length, side) for length in shape)
    return np.stack(np.meshgrid(ys, xs, indexing="ij"), -1).reshape(-1, 2)


def _axis_origins(length: int, side: int) -> np.ndarray:
    # Not k x floor(side / 2): the overlap would differ from one half if 2 does not divide the side.
    origins = np.arange(2 * length // side + 1) * side // 2
    return origins[origins + side <= length]


def box_sums(mask: np.ndarray, origins: np.ndarray, side: int) -> np.ndarray:
    """Return the number of true pixels of a mask, bool [h, w], in each window, int64 [n].

    Examples
    --------
    >>> box_sums(np.eye(4, dtype=bool), np.array([[0, 0], [0, 2]]), 2).tolist()
    [2, 0]
    """
    # Counted window by window: an integral image of a mammogram takes thirty times as long.
    sums = [np.count_nonzero(mask[y : y + side, x : x + side]) for y, x in origins.tolist()]
    return np.array(sums, np.int64)


def window_overlaps(
    masks: Sequence[np.ndarray], origins: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlaps of windows with the findings of one class.

    Parameters
    ----------
    masks : sequence of bool arrays, shape [h, w]
        One mask per finding; empty ones are ignored.
    origins : int array, shape [n, 2]
        Origins (y, x) of the windows.
    side : int
        Side of a window, in pixels.

    Returns
    -------
    union : float array, shape [n]
        Share of the window that all findings together cover.
    share : float array, shape [n]
        Largest share of one finding that lies in the window.

    Examples
    --------
    >>> mask = np.zeros((4, 4), bool)
    >>> mask[0, :2] = True
    >>> union, share = window_overlaps([mask], np.array([[0, 0], [0, 1]]), 2)
    >>> union.tolist(), share.tolist()
    ([0.5, 0.25], [1.0, 0.5])
    """
    union, share = np.zeros(len(origins)), np.zeros(len(origins))
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        return union, share
    union = box_sums(np.logical_or.reduce(masks), origins, side) / side**2
    # A small finding never covers 30 % of a window, so its own share counts as well.
    for mask in masks:
        share = np.maximum(share, box_sums(mask, origins, side) / np.count_nonzero(mask))
    return union, share


def reaches_min_overlap(union: np.ndarray, share: np.ndarray, rule: PatchRule) -> np.ndarray:
    """Return for each window whether a class counts, from the overlaps of `window_overlaps`."""
    covered, contained = union >= rule.min_overlap, share >= rule.min_overlap
    return covered | contained if rule.rule == "or" else covered & contained


def label_patches(
    tissue: np.ndarray, findings: Sequence[tuple[str, np.ndarray]], side: int, rule: PatchRule
) -> Patches:
    """Return the patches of one image, labelled by overlap.

    Of the classes that count, the last one decides: malignant, then benign. UNPROVEN findings have
    no class: windows in which they count are dropped, unless the last class (with two outputs the
    positive one) counts there too. NORMAL findings are ignored.

    Parameters
    ----------
    tissue : bool array, shape [h, w]
        Breast tissue of the working image.
    findings : sequence of (str, bool array of shape [h, w])
        Pathology and mask.
    side : int
        Side of a patch, in pixels.
    rule : PatchRule
        Rule by which windows are kept and labelled.

    Returns
    -------
    Patches

    Examples
    --------
    >>> mask = np.zeros((4, 8), bool)
    >>> mask[:, 5:] = True
    >>> patches = label_patches(np.ones((4, 8), bool), [("MALIGNANT", mask)], 4, PatchRule())
    >>> patches.x.tolist(), patches.label.tolist()
    ([0, 2, 4], [0, 2, 2])
    """
    origins, tissue_share = _tissue_windows(tissue, side, rule)
    overlaps = class_overlaps(rule.classes, findings, origins, side)
    unproven_masks = [mask for pathology, mask in findings if pathology == UNPROVEN]
    unproven_union, unproven_share = window_overlaps(unproven_masks, origins, side)
    unproven = reaches_min_overlap(unproven_union, unproven_share, rule)

    label = np.zeros(len(origins), np.int64)
    touched, decided = unproven_union > 0, np.zeros(len(origins), bool)
    # Ascending codes: a later class replaces an earlier one.
    for code, name in list(rule.classes.outputs.items())[1:]:
        union, share = overlaps[name]
        decided = reaches_min_overlap(union, share, rule)
        label[decided] = code
        touched |= union > 0
    ambiguous = np.zeros(len(origins), bool)
    if rule.ambiguous == "drop":
        # Windows dropped as UNPROVEN are excluded, so that none is counted twice.
        ambiguous = (label == 0) & touched & ~unproven
    # A finding of the last class decides whatever else is present; an UNPROVEN one could still turn
    # an earlier class into the last.
    dropped = unproven & ~decided
    keep = ~dropped & ~ambiguous
    return Patches(
        side=side,
        y=origins[keep, 0],
        x=origins[keep, 1],
        tissue=tissue_share[keep],
        union={name: union[keep] for name, (union, _) in overlaps.items()},
        share={name: share[keep] for name, (_, share) in overlaps.items()},
        label=label[keep],
        dropped_unproven=int(dropped.sum()),
        dropped_ambiguous=int(ambiguous.sum()),
    )


def class_overlaps(
    classes: ClassDefinition,
    findings: Sequence[tuple[str, np.ndarray]],
    origins: np.ndarray,
    side: int,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return `window_overlaps` of each class of findings, by name.

    findings: pathology and mask, bool [h, w]; origins: int [n, 2]; side: of a window, in pixels.
    """
    codes = classes.pathology_codes
    return {
        name: window_overlaps(
            [mask for pathology, mask in findings if codes.get(pathology) == code], origins, side
        )
        for code, name in enumerate(classes.names)
        if code
    }


def reaches_patch(tissue: np.ndarray, mask: np.ndarray, side: int, rule: PatchRule) -> bool:
    """Return whether a finding counts in at least one window with enough tissue.

    Parameters
    ----------
    tissue, mask : bool arrays, shape [h, w]
        Breast tissue and the filled finding.
    side : int
        Side of a window, in pixels.
    rule : PatchRule
        Rule by which windows are kept and findings count.

    Examples
    --------
    >>> tissue, mask = np.zeros((4, 8), bool), np.zeros((4, 8), bool)
    >>> tissue[:, :4], mask[:, 6:] = True, True
    >>> reaches_patch(tissue, mask, 4, PatchRule())
    False
    """
    origins, _ = _tissue_windows(tissue, side, rule)
    union, share = window_overlaps([mask], origins, side)
    return bool(reaches_min_overlap(union, share, rule).any())


def image_label_patches(tissue: np.ndarray, pathology: str, side: int, rule: PatchRule) -> Patches:
    """Return patches that all carry the diagnosis of the image, for sources without outlines.

    `weak` is set. An UNPROVEN image has no patches; all windows count as dropped.

    Examples
    --------
    >>> patches = image_label_patches(np.ones((4, 4), bool), "BENIGN", 4, PatchRule())
    >>> patches.label.tolist(), patches.weak
    ([1], True)
    """
    origins, tissue_share = _tissue_windows(tissue, side, rule)
    unproven = len(origins) if pathology == UNPROVEN else 0
    if unproven:
        # The diagnosis may be any class, so no window has a label.
        origins, tissue_share = origins[:0], tissue_share[:0]
    label = rule.classes.pathology_codes.get(pathology, 0)
    label = label if label in rule.classes.outputs else 0
    no_overlap = dict.fromkeys(rule.classes.names[1:], np.zeros(len(origins)))
    return Patches(
        side=side,
        y=origins[:, 0],
        x=origins[:, 1],
        tissue=tissue_share,
        union=no_overlap,
        share=no_overlap,
        label=np.full(len(origins), label, np.int64),
        dropped_unproven=unproven,
        weak=True,
    )


def _tissue_windows(
    tissue: np.ndarray, side: int, rule: PatchRule
) -> tuple[np.ndarray, np.ndarray]:
    """Return origins [n, 2] and tissue share [n] of the windows with enough tissue."""
    origins = window_origins(tissue.shape, side)
    share = box_sums(tissue, origins, side) / side**2
    keep = share >= rule.min_tissue
    return origins[keep], share[keep]
