"""Patches as the published release of the DeepMiner study lists them: its windows and its labels.

Patches by the overlap rule of this package are made in `core.dataset.patches`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.dataset.patches import Patches, box_sums, class_overlaps
from core.errors import UserError
from core.sources.deepminer_release import IMAGE_NAME, read_patch_labels

# Relative difference allowed between a published window and a quarter of the film's width.
_SIZE_TOLERANCE = 0.1
# Rounding can move the last window of a row or column over the edge by this many pixels.
_EDGE_TOLERANCE = 2


def read_published_patches(
    folder: Path, n_classes: int, mammogram_ids: Collection[str]
) -> tuple[pd.DataFrame, int]:
    """Return the published windows of the study's mammograms, and the number of absent films.

    Parameters
    ----------
    folder : Path
        Folder of the release.
    n_classes : int
        3 or 2.
    mammogram_ids : collection of str
        Ids of the study's mammograms.

    Returns
    -------
    windows : DataFrame
        Columns of `read_patch_labels`, and mammogram_id.
    absent : int
        Number of listed films that are not in the study.

    Raises
    ------
    UserError
        If no listed film is in the study.
    """
    listed = read_patch_labels(folder, n_classes)
    ids = {image: _mammogram_id(image, mammogram_ids) for image in listed["image"].unique()}
    listed["mammogram_id"] = listed["image"].map(ids)
    absent = sum(name is None for name in ids.values())
    if absent == len(ids):
        raise UserError(
            f"None of the {len(ids)} films that {folder} labels is in the study; run `deepminer"
            f" ingest release {folder}` first."
        )
    return listed[listed["mammogram_id"].notna()].reset_index(drop=True), absent


def _mammogram_id(image: str, mammogram_ids: Collection[str]) -> str | None:
    """Return the study's id of a film of the release, None if the study does not have it.

    The id is that of the case, preceded by the volume if two films share the name.
    """
    match = IMAGE_NAME.match(image)
    if match is None:
        return None
    name = f"{match['case']}.{match['side']}_{match['view']}"
    return next((i for i in (f"{match['volume']}-{name}", name) if i in mammogram_ids), None)


def published_patches(
    listed: pd.DataFrame,
    scale: tuple[float, float],
    tissue: np.ndarray,
    findings: Sequence[tuple[str, np.ndarray]],
    side: int,
    classes: ClassDefinition = MAMMOGRAPHY,
) -> Patches:
    """Return the published patches of one working image.

    A window that is listed twice, because its film is filed in two volumes, has the worse label.

    Parameters
    ----------
    listed : DataFrame
        The image's rows of `read_published_patches`.
    scale : (float, float)
        Working pixels per raw pixel in x and y.
    tissue : bool array, shape [h, w]
        Breast tissue of the working image.
    findings : sequence of (str, bool array of shape [h, w])
        Pathology and mask; the overlaps are stored beside the published label.
    side : int
        Side of a patch, in working pixels.
    classes : ClassDefinition
        The three classes of the publication, or malignant against all other.

    Raises
    ------
    UserError
        If a window is not a quarter of the film's width, or not inside the film.
    """
    height, width = tissue.shape
    y, x = np.rint(listed["y"] * scale[1]).astype(int), np.rint(listed["x"] * scale[0]).astype(int)
    wrong_size = listed[
        (np.abs(listed["w"] * scale[0] / side - 1) > _SIZE_TOLERANCE)
        | (np.abs(listed["h"] * scale[1] / side - 1) > _SIZE_TOLERANCE)
    ]
    outside = listed[(y + side > height + _EDGE_TOLERANCE) | (x + side > width + _EDGE_TOLERANCE)]
    for rows, fault in ((wrong_size, "is not a quarter of"), (outside, "is not inside")):
        if len(rows):
            row = rows.iloc[0]
            raise UserError(
                f"The published patch y{row.y}_x{row.x}_h{row.h}_w{row.w} of {row.image} {fault}"
                " the ingested film; check that films and labels are of the same release."
            )
    y, x = y.clip(upper=height - side), x.clip(upper=width - side)
    # Labels are ordered: the larger one is the worse.
    worst = (
        pd.DataFrame({"y": y, "x": x, "label": listed["label"]})
        .groupby(["y", "x"], as_index=False)["label"]
        .max()
    )
    origins = worst[["y", "x"]].to_numpy(np.int64)
    overlaps = class_overlaps(classes, findings, origins, side)
    return Patches(
        side=side,
        y=origins[:, 0],
        x=origins[:, 1],
        tissue=box_sums(tissue, origins, side) / side**2,
        union={name: union for name, (union, _) in overlaps.items()},
        share={name: share for name, (_, share) in overlaps.items()},
        # The release numbers the outputs of the network.
        label=np.array(classes.codes)[worst["label"].to_numpy(np.int64)],
    )
