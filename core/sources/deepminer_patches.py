"""Patches as the published release lists them: its windows and its labels instead of those of
DEFINITIONS "Patches".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core.dataset.patches import BENIGN, CLASS_OF_PATHOLOGY, MALIGNANT, Patches, box_sums, overlaps
from core.errors import UserError
from core.sources.deepminer_release import NAME, read_patch_labels

OFF = 0.1  # how much a published window may differ from a quarter of its film's width


def read(folder: Path, classes: int, known: Collection[str]) -> tuple[pd.DataFrame, int]:
    """The published windows of the study's mammograms (columns of `read_patch_labels` and
    mammogram_id), and how many listed films are not in the study. UserError where none is.
    """
    listed = read_patch_labels(folder, classes)
    ids = {image: _mammogram(image, known) for image in listed["image"].unique()}
    listed["mammogram_id"] = listed["image"].map(ids)
    absent = sum(name is None for name in ids.values())
    if absent == len(ids):
        raise UserError(
            f"None of the {len(ids)} films that {folder} labels is in the study; run `deepminer"
            f" ingest release {folder}` first."
        )
    return listed[listed["mammogram_id"].notna()].reset_index(drop=True), absent


def _mammogram(image: str, known: Collection[str]) -> str | None:
    """The study's id of a film of the release: that of its case, or where two films bear that name,
    of its volume and case.
    """
    match = NAME.match(image)
    if match is None:
        return None
    name = f"{match['case']}.{match['side']}_{match['view']}"
    return next((i for i in (f"{match['volume']}-{name}", name) if i in known), None)


def film_patches(
    listed: pd.DataFrame,
    scale: tuple[float, float],
    tissue: np.ndarray,
    findings: Sequence[tuple[str, np.ndarray]],
    side: int,
) -> Patches:
    """Patches of one working image. listed: its rows of `read`; scale (x, y): working pixels per
    raw pixel; tissue: bool [h, w]; findings: (pathology, bool [h, w]), whose overlaps are kept
    beside the published label. A window listed twice (a film filed in two volumes) has the worse
    label. UserError for a window that is no quarter of the film's width, or not on the film.
    """
    wrong = listed[
        (np.abs(listed["w"] * scale[0] / side - 1) > OFF)
        | (np.abs(listed["h"] * scale[1] / side - 1) > OFF)
    ]
    y, x = np.rint(listed["y"] * scale[1]).astype(int), np.rint(listed["x"] * scale[0]).astype(int)
    # Rounding may put the last window of a row one pixel over the edge.
    off = listed[(y + side > tissue.shape[0] + 2) | (x + side > tissue.shape[1] + 2)]
    if len(wrong) or len(off):
        row = (wrong if len(wrong) else off).iloc[0]
        raise UserError(
            f"The published patch y{row.y}_x{row.x}_h{row.h}_w{row.w} of {row.image}"
            f" {'is no quarter of' if len(wrong) else 'is not on'} the film that was taken in;"
            " check that films and labels are of the same release."
        )
    y, x = y.clip(upper=tissue.shape[0] - side), x.clip(upper=tissue.shape[1] - side)
    worst = (
        pd.DataFrame({"y": y, "x": x, "label": listed["label"]})
        .groupby(["y", "x"], as_index=False)["label"]
        .max()
    )
    origins = worst[["y", "x"]].to_numpy(np.int64)
    masks = {
        code: [mask for pathology, mask in findings if CLASS_OF_PATHOLOGY.get(pathology) == code]
        for code in (BENIGN, MALIGNANT)
    }
    benign, malignant = (overlaps(masks[code], origins, side) for code in (BENIGN, MALIGNANT))
    share = box_sums(tissue, origins, side) / side**2
    return Patches(
        side=side,
        y=origins[:, 0],
        x=origins[:, 1],
        tissue=share,
        union_benign=benign[0],
        share_benign=benign[1],
        union_malignant=malignant[0],
        share_malignant=malignant[1],
        label=worst["label"].to_numpy(np.int64),
    )
