"""Patches of a working image and their labels (DEFINITIONS, "Patches").

Labels: 0 normal, 1 benign, 2 malignant; with two classes 0 other, 1 malignant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NORMAL, BENIGN, MALIGNANT = 0, 1, 2
CLASS_NAMES = {3: ("normal", "benign", "malignant"), 2: ("other", "malignant")}
CLASS_OF_PATHOLOGY = {
    "NORMAL": NORMAL,
    "BENIGN": BENIGN,
    "BENIGN_WITHOUT_CALLBACK": BENIGN,
    "MALIGNANT": MALIGNANT,
}  # UNPROVEN has no class


@dataclass(frozen=True)
class PatchRule:
    """When a window is kept and when a class counts. rule: "or" (published) | "and" of the two
    overlaps; ambiguous: what becomes of a patch that touches a finding without reaching
    min_overlap, "keep" (published: stays normal) | "drop"; classes: 3 | 2.
    """

    min_tissue: float = 0.5
    min_overlap: float = 0.3
    rule: str = "or"
    ambiguous: str = "keep"
    classes: int = 3

    def __post_init__(self) -> None:
        if (
            self.rule not in ("or", "and")
            or self.ambiguous not in ("keep", "drop")
            or self.classes not in (2, 3)
        ):
            raise ValueError(f"not a patch rule: {self}")
        if not (0 <= self.min_tissue <= 1 and 0 < self.min_overlap <= 1):
            raise ValueError(
                f"min_tissue must be in 0..1 and min_overlap in 0..1 without 0: {self}"
            )


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Kept windows of one working image, all arrays of the same length n, ordered by y, then x. y,
    x: origin, pixels of the working image. tissue: share of the window covered by tissue. union_*:
    share of the window covered by the class's findings together. share_*: largest share of one of
    the class's findings that lies in the window (0 where there is none). label: see the module.
    dropped_*: windows with enough tissue left out because of an UNPROVEN finding, or as ambiguous.
    weak: labels are image-level.
    """

    side: int
    y: np.ndarray
    x: np.ndarray
    tissue: np.ndarray
    union_benign: np.ndarray
    share_benign: np.ndarray
    union_malignant: np.ndarray
    share_malignant: np.ndarray
    label: np.ndarray
    dropped_unproven: int = 0
    dropped_ambiguous: int = 0
    weak: bool = False

    def __len__(self) -> int:
        return len(self.y)


def patch_side(width: int) -> int:
    """25 % of the mammogram's width, in pixels."""
    return width // 4


def windows(shape: tuple[int, int], side: int) -> np.ndarray:
    """Origins int [n, 2] (y, x) of all whole windows: origin k at floor(k x side / 2) in both
    directions, ordered by y, then x.
    """
    if side < 1:
        raise ValueError("a patch needs at least one pixel")
    ys, xs = (_origins(length, side) for length in shape)
    return np.stack(np.meshgrid(ys, xs, indexing="ij"), -1).reshape(-1, 2)


def _origins(length: int, side: int) -> np.ndarray:
    starts = np.arange(2 * length // side + 1) * side // 2
    return starts[starts + side <= length]


def box_sums(mask: np.ndarray, origins: np.ndarray, side: int) -> np.ndarray:
    """Number of true pixels of mask [h, w] in every window [n], by an integral image."""
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    table[1:, 1:] = mask.cumsum(0, dtype=np.int64).cumsum(1)
    y, x = origins[:, 0], origins[:, 1]
    return table[y + side, x + side] - table[y, x + side] - table[y + side, x] + table[y, x]


def overlaps(
    masks: Sequence[np.ndarray], origins: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the findings of one class, bool [h, w] each: union coverage of every window [n] and the
    largest share of one finding inside it [n].
    """
    union_share, share = np.zeros(len(origins)), np.zeros(len(origins))
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        return union_share, share
    union_share = box_sums(np.logical_or.reduce(masks), origins, side) / side**2
    for mask in masks:
        share = np.maximum(share, box_sums(mask, origins, side) / int(mask.sum()))
    return union_share, share


def counts(union_share: np.ndarray, share: np.ndarray, rule: PatchRule) -> np.ndarray:
    """Whether a class counts in every window: its union covers enough of the patch or (and) enough
    of one finding lies in it.
    """
    covered, contained = union_share >= rule.min_overlap, share >= rule.min_overlap
    return covered | contained if rule.rule == "or" else covered & contained


def label_patches(
    tissue: np.ndarray, findings: Sequence[tuple[str, np.ndarray]], side: int, rule: PatchRule
) -> Patches:
    """Patches of one image with labels by overlap. tissue: bool [h, w]; findings:

    (pathology, bool [h, w]) each, all in the working image. UNPROVEN findings take no part in the
    truth: windows in which they would count are dropped, and counted, unless a malignant finding
    counts there too. NORMAL findings are ignored.
    """
    origins, tissue_share = _tissue_windows(tissue, side, rule)
    by_class: dict[int | None, list[np.ndarray]] = {BENIGN: [], MALIGNANT: [], None: [], NORMAL: []}
    for pathology, mask in findings:
        by_class[None if pathology == "UNPROVEN" else CLASS_OF_PATHOLOGY[pathology]].append(mask)
    union_b, share_b = overlaps(by_class[BENIGN], origins, side)
    union_m, share_m = overlaps(by_class[MALIGNANT], origins, side)
    union_u, share_u = overlaps(by_class[None], origins, side)

    benign, malignant = counts(union_b, share_b, rule), counts(union_m, share_m, rule)
    unproven = counts(union_u, share_u, rule)
    if rule.classes == 3:
        label = np.where(malignant, MALIGNANT, np.where(benign, BENIGN, NORMAL))
        touched = (union_b > 0) | (union_m > 0) | (union_u > 0)
    else:
        label = malignant.astype(np.int64)
        touched = (union_m > 0) | (union_u > 0)
    ambiguous = (
        (label == 0) & touched & ~unproven
        if rule.ambiguous == "drop"
        else np.zeros(len(origins), bool)
    )
    # A malignant finding decides whatever else is there; an UNPROVEN one could still turn benign or
    # normal into malignant.
    dropped = unproven & ~malignant
    keep = ~dropped & ~ambiguous
    return Patches(
        side=side, y=origins[keep, 0], x=origins[keep, 1], tissue=tissue_share[keep], union_benign=union_b[keep], share_benign=share_b[keep], union_malignant=union_m[keep], share_malignant=share_m[keep], label=label[keep],
        dropped_unproven=int(dropped.sum()), dropped_ambiguous=int(ambiguous.sum()),
    )  # fmt: skip


def weak_label_patches(tissue: np.ndarray, pathology: str, side: int, rule: PatchRule) -> Patches:
    """Patches that all carry the image's diagnosis, for sources without outlines; weak is set.
    An UNPROVEN image has no patches, all are counted as dropped."""
    origins, tissue_share = _tissue_windows(tissue, side, rule)
    unproven = len(origins) if pathology == "UNPROVEN" else 0
    if unproven:
        origins, tissue_share = origins[:0], tissue_share[:0]
    label = CLASS_OF_PATHOLOGY.get(pathology, NORMAL)
    label = label if rule.classes == 3 else int(label == MALIGNANT)
    none, labels = np.zeros(len(origins)), np.full(len(origins), label, np.int64)
    return Patches(
        side=side,
        y=origins[:, 0],
        x=origins[:, 1],
        tissue=tissue_share,
        union_benign=none,
        share_benign=none,
        union_malignant=none,
        share_malignant=none,
        label=labels,
        dropped_unproven=unproven,
        weak=True,
    )


def _tissue_windows(
    tissue: np.ndarray, side: int, rule: PatchRule
) -> tuple[np.ndarray, np.ndarray]:
    """Origins [n, 2] of the windows with enough tissue and their tissue share [n]."""
    origins = windows(tissue.shape, side)
    share = box_sums(tissue, origins, side) / side**2
    keep = share >= rule.min_tissue
    return origins[keep], share[keep]
