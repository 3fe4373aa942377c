"""Patients, mammograms, findings and patches in the store."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from core.sessions.tokens import number

Connection = duckdb.DuckDBPyConnection


def set_meta(con: Connection, name: str, value: str) -> None:
    """Set one fact about the whole study."""
    con.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", [name, value])


def get_meta(con: Connection, name: str) -> str | None:
    """One fact about the whole study, or None."""
    row = con.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchone()
    return row[0] if row else None


def append(con: Connection, table: str, frame: pd.DataFrame) -> None:
    """Append rows to one of the data tables by column name."""
    if table not in ("sources", "problems", "patients", "mammograms", "findings"):
        raise ValueError(f"{table} is not a data table")
    if len(frame):
        con.register("rows", frame)
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
        con.unregister("rows")


def sources(con: Connection) -> pd.DataFrame:
    """source_id, kind, location, options, simulated, image_labels, made, patients, mammograms,
    skipped.
    """
    return con.execute("SELECT * FROM sources ORDER BY made").df()


def problems(con: Connection) -> pd.DataFrame:
    """What was odd or left out: source_id, item, cause, action, skipped."""
    return con.execute("SELECT * FROM problems ORDER BY skipped DESC, item").df()


def patients(con: Connection) -> pd.DataFrame:
    """patient_id, source_id, age, density, features (dict), published_split."""
    frame = con.execute("SELECT * FROM patients ORDER BY patient_id").df()
    frame["features"] = [json.loads(text) for text in frame["features"]]
    return frame


def mammograms(con: Connection) -> pd.DataFrame:
    """One row a mammogram, in the order of ids."""
    return con.execute("SELECT * FROM mammograms ORDER BY mammogram_id").df()


def mammogram(con: Connection, mammogram_id: str) -> dict[str, Any] | None:
    """One mammogram as a dict, or None."""
    frame = con.execute("SELECT * FROM mammograms WHERE mammogram_id = ?", [mammogram_id]).df()
    return frame.iloc[0].to_dict() if len(frame) else None


def findings(con: Connection, mammogram_id: str | None = None) -> pd.DataFrame:
    """Findings with descriptors (dict), outline and nested (lists of float arrays [n, 2] of (x, y)
    in working-image pixels).
    """
    frame = con.execute(
        "SELECT * FROM findings WHERE ? IS NULL OR mammogram_id = ? ORDER BY mammogram_id, number",
        [mammogram_id, mammogram_id],
    ).df()
    frame["descriptors"] = [json.loads(text) for text in frame["descriptors"]]
    for column in ("outline", "nested"):
        frame[column] = pd.Series(
            [[np.array(p, float) for p in json.loads(text)] for text in frame[column]],
            dtype=object,
            index=frame.index,
        )
    return frame


def patches(con: Connection, run: str, splits: list[str] | None = None) -> pd.DataFrame:
    """Patches of a patches run in order of patch_id, with their mammogram and patient."""
    return con.execute(
        """SELECT p.* EXCLUDE run, m.patient_id FROM patches p JOIN mammograms m USING (mammogram_id)
        WHERE run = ? AND (? IS NULL OR list_contains(?, split)) ORDER BY patch_id""",
        [run, splits, splits or []],
    ).df()


def film_patches(con: Connection, run: str, mammogram_id: str) -> pd.DataFrame:
    """Patches of one mammogram in a patches run: y, x, side, tissue, both overlaps per class,
    label.
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM patches WHERE run = ? AND mammogram_id = ? ORDER BY patch_id",
        [run, mammogram_id],
    ).df()


def patches_by_id(con: Connection, run: str, ids: list[int]) -> pd.DataFrame:
    """patch_id, label, y, x, side, split, mammogram_id, patient_id, file, width, height of these
    patches.
    """
    return con.execute(
        """SELECT p.patch_id, p.label, p.y, p.x, p.side, p.split, m.mammogram_id, m.patient_id, m.file, m.width, m.height
        FROM patches p JOIN mammograms m USING (mammogram_id) WHERE p.run = ? AND list_contains(?, p.patch_id) ORDER BY p.patch_id""",
        [run, ids],
    ).df()


def patch_counts(con: Connection, run: str) -> pd.DataFrame:
    """split, label, patches, mammograms, patients."""
    return con.execute(
        """SELECT split, label, count(*) AS patches, count(DISTINCT mammogram_id) AS mammograms, count(DISTINCT patient_id) AS patients
        FROM patches JOIN mammograms USING (mammogram_id) WHERE run = ? GROUP BY ALL ORDER BY ALL""",
        [run],
    ).df()


def splits(con: Connection, run: str) -> pd.DataFrame:
    """patient_id, split of a patches run."""
    return con.execute(
        "SELECT patient_id, split FROM splits WHERE run = ? ORDER BY patient_id", [run]
    ).df()


def counts(con: Connection) -> dict[str, int]:
    """Numbers of patients, mammograms and findings."""
    names = ("patients", "mammograms", "findings")
    return {name: number(con, f"SELECT count(*) FROM {name}") for name in names}


def image_truth(con: Connection) -> pd.DataFrame:
    """mammogram_id, patient_id, truth: the worst finding of the image, else its image label, 0
    normal, 1 benign, 2 malignant; missing where the only findings are UNPROVEN (DEFINITIONS "Image
    and case scores").
    """
    return con.execute("""
        WITH worst AS (SELECT mammogram_id, max(CASE pathology WHEN 'MALIGNANT' THEN 2 WHEN 'BENIGN' THEN 1 WHEN 'BENIGN_WITHOUT_CALLBACK' THEN 1
            WHEN 'NORMAL' THEN 0 ELSE -1 END) AS code FROM findings GROUP BY mammogram_id)
        SELECT mammogram_id, patient_id, CASE WHEN code = -1 THEN NULL ELSE coalesce(code, CASE image_label WHEN 'MALIGNANT' THEN 2 WHEN 'BENIGN' THEN 1
            WHEN 'BENIGN_WITHOUT_CALLBACK' THEN 1 WHEN 'UNPROVEN' THEN NULL ELSE 0 END) END AS truth
        FROM mammograms LEFT JOIN worst USING (mammogram_id) ORDER BY mammogram_id""").df()


def content_hash(con: Connection) -> str:
    """SHA-256 of everything that came in: pixels, labels, outlines, patients; equal data in any
    order of ingestion has an equal hash.
    """
    digest = hashlib.sha256()
    for query in (
        (
            "SELECT mammogram_id, patient_id, pixel_hash, width, height, laterality, view,"
            " image_label FROM mammograms ORDER BY mammogram_id"
        ),
        (
            "SELECT mammogram_id, number, pathology, lesion_type, descriptors, assessment,"
            " subtlety, outline FROM findings ORDER BY ALL"
        ),
        (
            "SELECT patient_id, age, density, features, published_split FROM patients ORDER BY"
            " patient_id"
        ),
    ):
        digest.update(json.dumps(con.execute(query).fetchall()).encode())
    return digest.hexdigest()
