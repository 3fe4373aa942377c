"""A study of low, wide images that was ingested without a source: three patients, nine patches."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from core import settings, store, study_folder
from core.store import dataset_table

SIDE = 64
SPLITS = ("train", "holdout", "test")


def _box(left: float, right: float) -> str:
    """Return the outline of a finding between two shares of the width, as the store holds it."""
    x, y = (4 * SIDE * left, 4 * SIDE * right), (0, SIDE)
    return json.dumps([[[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]]])


def create_strip_study(path: Path, height: int = SIDE) -> settings.Settings:
    """Create a study with one mammogram per split and return its settings.

    A mammogram of `SIDE` rows has the patches malignant, normal, benign, in this order.
    """
    chosen = settings.settings_from_preset(
        {"images": {"input_side": SIDE}, "splits": {"published": True}, "study": {"name": "Strips"}}
    )
    study_folder.create_study(path, chosen)
    patients, mammograms, findings = [], [], []
    for number, split in enumerate(SPLITS):
        pixels = np.random.default_rng(number).integers(40, 220, (height, 4 * SIDE), np.uint8)
        tissue = np.zeros(pixels.shape, bool)
        tissue[:, : int(0.48 * pixels.shape[1])] = True
        np.save(path / "images" / f"f{number}.npy", pixels)
        np.save(path / "images" / f"f{number}.tissue.npy", np.packbits(tissue))
        patients.append(
            {
                "patient_id": f"P{number}",
                "source_id": "s",
                "age": 50 + number,
                "density": 2,
                "features": "{}",
                "published_split": split,
            }
        )
        mammograms.append(
            {
                "mammogram_id": f"P{number}.LEFT_CC",
                "patient_id": f"P{number}",
                "laterality": "LEFT",
                "view": "CC",
                "file": f"f{number}",
                "width": 4 * SIDE,
                "height": height,
                "source_width": 4 * SIDE,
                "source_height": height,
                "scanner": "",
                "inverted": False,
                "tissue": 0.48,
                "pixel_hash": str(number),
                "has_concepts": False,
            }
        )
        for finding, pathology, outline in (
            (1, "MALIGNANT", _box(0, 0.11)),
            (2, "BENIGN", _box(0.39, 0.47)),
        ):
            findings.append(
                {
                    "mammogram_id": f"P{number}.LEFT_CC",
                    "number": finding,
                    "pathology": pathology,
                    "lesion_type": "MASS",
                    "descriptors": "{}",
                    "outline": outline,
                    "nested": "[]",
                    "report": "",
                }
            )
    with store.write(path) as con:
        con.execute(
            "INSERT INTO sources BY NAME SELECT 's' AS source_id, 'manifest' AS kind, '' AS"
            " location, '{}' AS options, TRUE AS simulated, FALSE AS image_labels, ?::TIMESTAMP AS"
            " made, 3 AS patients, 3 AS mammograms, 0 AS skipped, 'synthetic' AS truth_basis",
            [datetime(2026, 1, 2)],
        )
        dataset_table.append_rows(con, "patients", pd.DataFrame(patients))
        dataset_table.append_rows(con, "mammograms", pd.DataFrame(mammograms))
        dataset_table.append_rows(con, "findings", pd.DataFrame(findings))
        dataset_table.set_meta(con, "data_hash", dataset_table.content_hash(con))
    return chosen
