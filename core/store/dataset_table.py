"""The tables of sources, patients, mammograms, findings, splits and patches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from core.class_labels import MAMMOGRAPHY, UNPROVEN, ClassDefinition
from core.lexicon.birads_categories import BIRADS
from core.lexicon.lexicon import Lexicon
from core.store.connection import Connection, fetch_integer
from core.store.problem_table import remove_patient_problems

# Condition on a table of patients, with their list as the only parameter; one scan for all.
_IS_GIVEN = "patient_id IN (SELECT unnest(?::VARCHAR[]))"


def set_meta(con: Connection, name: str, value: str) -> None:
    """Set one property of the whole study."""
    con.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", [name, value])


def get_meta(con: Connection, name: str) -> str | None:
    """Return one property of the whole study, or None."""
    row = con.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchone()
    return row[0] if row else None


def save_classes(con: Connection, classes: ClassDefinition) -> None:
    """Store the classes under whose names the images are ingested."""
    set_meta(con, "classes", json.dumps(classes.to_dict()))


def load_classes(con: Connection) -> ClassDefinition:
    """Return the classes under whose names the images were ingested."""
    stored = get_meta(con, "classes")
    if stored is None:  # from before classes could be named
        return MAMMOGRAPHY
    return ClassDefinition.from_dict(json.loads(stored))


def save_lexicon(con: Connection, lexicon: Lexicon) -> None:
    """Store the lexicon of the study, so that its answers stay readable without the file."""
    set_meta(con, "lexicon", json.dumps(lexicon.to_dict(), ensure_ascii=False))


def load_lexicon(con: Connection) -> Lexicon:
    """Return the lexicon of the study: that of BI-RADS where no other was stored."""
    stored = get_meta(con, "lexicon")
    return BIRADS if stored is None else _parse_lexicon(stored)


@lru_cache(maxsize=8)
def _parse_lexicon(stored: str) -> Lexicon:
    return Lexicon.from_dict(json.loads(stored))


def append_rows(con: Connection, table: str, frame: pd.DataFrame) -> None:
    """Append rows to one of the ingested tables by column name."""
    # The name goes into the statement as text, so only these are accepted.
    if table not in ("sources", "problems", "patients", "mammograms", "findings"):
        raise ValueError(f"{table} is not a data table")
    if len(frame):
        con.register("rows", frame)
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
        con.unregister("rows")


def load_sources(con: Connection) -> pd.DataFrame:
    """Return the ingested sources, oldest first.

    Columns: source_id, kind, location, options, simulated, image_labels, made, patients,
    mammograms, skipped, truth_basis.
    """
    return con.execute("SELECT * FROM sources ORDER BY made").df()


def load_stamps(con: Connection, origin: str) -> dict[str, str]:
    """Return what a source looked like when its patients were ingested: stamp by patient.

    origin: identifies the location and the options of the source, not its content.
    """
    rows = con.execute(
        "SELECT patient_id, stamp FROM ingested_patients WHERE origin = ?", [origin]
    ).fetchall()
    return dict(rows)


def save_stamps(con: Connection, origin: str, stamps: dict[str, str]) -> None:
    """Record the stamps of ingested patients, instead of earlier ones."""
    frame = pd.DataFrame(
        {"origin": origin, "patient_id": list(stamps), "stamp": list(stamps.values())}
    )
    if len(frame):
        con.register("stamps", frame)
        con.execute("INSERT OR REPLACE INTO ingested_patients BY NAME SELECT * FROM stamps")
        con.unregister("stamps")


def origin_sources(con: Connection, origin: str) -> list[str]:
    """Return the ingestions, oldest first, that hold patients of one origin."""
    rows = con.execute(
        """
        SELECT source_id FROM sources WHERE source_id IN (
            SELECT p.source_id FROM patients p JOIN ingested_patients i USING (patient_id)
            WHERE i.origin = ?
        ) ORDER BY made
        """,
        [origin],
    ).fetchall()
    return [row[0] for row in rows]


def unchanged_patients(con: Connection, records: Sequence[dict[str, Any]]) -> set[str]:
    """Return the staged patients that the study holds with exactly this content.

    records: of different patients, as `core.pipeline.ingestion.staging` writes them.
    """
    names = [record["patient"]["patient_id"] for record in records]
    own = f"SELECT mammogram_id, patient_id FROM mammograms WHERE {_IS_GIVEN}"
    stored = {
        "patient": _rows_by_patient(con, f"SELECT * FROM patients WHERE {_IS_GIVEN}", names),
        "mammograms": _rows_by_patient(con, f"SELECT * FROM mammograms WHERE {_IS_GIVEN}", names),
        "findings": _rows_by_patient(
            con, f"SELECT * FROM findings JOIN ({own}) USING (mammogram_id)", names
        ),
    }

    def is_stored(record: dict[str, Any]) -> bool:
        """Return whether the rows of a record are those of the study."""
        name = record["patient"]["patient_id"]
        staged = record | {"patient": [record["patient"]]}
        return all(_same_rows(staged[part], rows.get(name, [])) for part, rows in stored.items())

    return {record["patient"]["patient_id"] for record in records if is_stored(record)}


def _same_rows(staged: list[dict[str, Any]], stored: list[dict[str, Any]]) -> bool:
    """Return whether rows are equal in the columns that are staged, in any order."""
    columns = sorted(staged[0]) if staged else []

    def content(rows: list[dict[str, Any]]) -> list[str]:
        """Return the rows as texts in an order that does not depend on the table."""
        return sorted(json.dumps([row.get(name) for name in columns]) for row in rows)

    return len(staged) == len(stored) and content(staged) == content(stored)


def _rows_by_patient(
    con: Connection, query: str, patient_ids: Collection[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a query with `_IS_GIVEN` by their patient_id."""
    cursor = con.execute(query, [list(patient_ids)])
    names = [column[0] for column in cursor.description or ()]
    rows: dict[str, list[dict[str, Any]]] = {}
    for values in cursor.fetchall():
        row = dict(zip(names, values))
        rows.setdefault(row["patient_id"], []).append(row)
    return rows


def remove_patients(con: Connection, patient_ids: Collection[str]) -> list[str]:
    """Remove patients with mammograms, findings and their problems; results of runs stay.

    Return the names of the working images, which belong to no mammogram any more.
    """
    given = [list(patient_ids)]
    remove_patient_problems(con, patient_ids)
    files = con.execute(f"SELECT file FROM mammograms WHERE {_IS_GIVEN}", given)
    names = [row[0] for row in files.fetchall()]
    own = f"SELECT mammogram_id FROM mammograms WHERE {_IS_GIVEN}"
    con.execute(f"DELETE FROM findings WHERE mammogram_id IN ({own})", given)
    for table in ("mammograms", "patients"):
        con.execute(f"DELETE FROM {table} WHERE {_IS_GIVEN}", given)
    return names


def refresh_source_counts(con: Connection) -> None:
    """Count again what each source holds, after patients have moved to a later ingestion."""
    con.execute("""
        UPDATE sources SET
            patients = (SELECT count(*) FROM patients p WHERE p.source_id = sources.source_id),
            mammograms = (
                SELECT count(*) FROM mammograms m JOIN patients p USING (patient_id)
                WHERE p.source_id = sources.source_id
            ),
            skipped = (
                SELECT count(*) FROM problems q
                WHERE q.source_id = sources.source_id AND q.skipped
            )
    """)
    con.execute("DELETE FROM sources WHERE patients = 0 AND skipped = 0")


def any_simulated_source(con: Connection) -> bool:
    """Return whether any source of mammograms is synthetic."""
    return bool(fetch_integer(con, "SELECT count(*) FROM sources WHERE simulated"))


def any_image_level_source(con: Connection) -> bool:
    """Return whether any source of mammograms gave image-level labels only."""
    return bool(fetch_integer(con, "SELECT count(*) FROM sources WHERE image_labels"))


def load_truth_bases(con: Connection) -> list[str]:
    """Return where the sources take their truth from, codes of `core.sources.records.TRUTH_BASES`.

    Sources that were ingested before the code was stored are left out.
    """
    rows = con.execute(
        "SELECT DISTINCT truth_basis FROM sources WHERE truth_basis <> '' ORDER BY truth_basis"
    )
    return [row[0] for row in rows.fetchall()]


def load_problems(con: Connection) -> pd.DataFrame:
    """Return the warnings and skipped items: source_id, item, cause, action, skipped."""
    return con.execute("SELECT * FROM problems ORDER BY skipped DESC, item").df()


def load_patients(con: Connection) -> pd.DataFrame:
    """Return the patients by id.

    Columns: patient_id, source_id, age, density, features (dict), published_split, stratum,
    filed_as.
    """
    frame = con.execute("SELECT * FROM patients ORDER BY patient_id").df()
    frame["features"] = [json.loads(text) for text in frame["features"]]
    return frame


def load_mammograms(con: Connection) -> pd.DataFrame:
    """Return the mammograms by id, all columns of the table."""
    return con.execute("SELECT * FROM mammograms ORDER BY mammogram_id").df()


def load_mammogram(con: Connection, mammogram_id: str) -> dict[str, Any] | None:
    """Return one mammogram as a dict, or None."""
    frame = con.execute("SELECT * FROM mammograms WHERE mammogram_id = ?", [mammogram_id]).df()
    return frame.iloc[0].to_dict() if len(frame) else None


def load_findings(con: Connection, mammogram_ids: Collection[str] | None = None) -> pd.DataFrame:
    """Return the findings of some mammograms (None: of all).

    descriptors is a dict; outline and nested are lists of float arrays [n, 2] of (x, y) in pixels
    of the working image.
    """
    frame = con.execute(
        """
        SELECT * FROM findings
        WHERE ? OR mammogram_id IN (SELECT unnest(?::VARCHAR[]))
        ORDER BY mammogram_id, number
        """,
        [mammogram_ids is None, list(mammogram_ids or ())],
    ).df()
    frame["descriptors"] = [json.loads(text) for text in frame["descriptors"]]
    for column in ("outline", "nested"):
        polygons = [[np.array(p, float) for p in json.loads(text)] for text in frame[column]]
        # An explicit object Series: pandas would stack lists of equal lengths into an array.
        frame[column] = pd.Series(polygons, dtype=object, index=frame.index)
    return frame


def load_report_lines(con: Connection) -> pd.DataFrame:
    """Return the report lines of findings that have one: mammogram_id, report.

    In order of mammogram_id and of the number of the finding.
    """
    return con.execute(
        "SELECT mammogram_id, report FROM findings WHERE report <> '' ORDER BY mammogram_id, number"
    ).df()


def load_first_pathologies(con: Connection) -> dict[str, str]:
    """Return the pathology of the finding with the lowest number, by mammogram with findings."""
    rows = con.execute("""
        SELECT mammogram_id, arg_min(pathology, number) FROM findings GROUP BY mammogram_id
    """)
    return dict(rows.fetchall())


def load_patches(con: Connection, run: str, splits: list[str] | None = None) -> pd.DataFrame:
    """Return the patches of a patches run with their patients, by patch_id.

    splits: only the patches of these splits; None: all.
    """
    return con.execute(
        """
        SELECT p.* EXCLUDE run, m.patient_id
        FROM patches p JOIN mammograms m USING (mammogram_id)
        WHERE run = ? AND (? IS NULL OR list_contains(?, split))
        ORDER BY patch_id
        """,
        [run, splits, splits or []],
    ).df()


def load_patch_labels(con: Connection, run: str) -> dict[str, np.ndarray]:
    """Return the labels of all patches of a patches run, by patch_id: arrays patch_id and label."""
    return con.execute(
        "SELECT patch_id, label FROM patches WHERE run = ? ORDER BY patch_id", [run]
    ).fetchnumpy()


def load_mammogram_patches(con: Connection, run: str, mammogram_id: str) -> pd.DataFrame:
    """Return the patches of one mammogram in a patches run, all columns of the table."""
    return con.execute(
        "SELECT * EXCLUDE run FROM patches WHERE run = ? AND mammogram_id = ? ORDER BY patch_id",
        [run, mammogram_id],
    ).df()


def load_patches_by_id(con: Connection, run: str, ids: list[int]) -> pd.DataFrame:
    """Return some patches of a patches run with their mammograms, by patch_id.

    Columns: patch_id, label, y, x, side, split, mammogram_id, patient_id, file, width, height.
    """
    return con.execute(
        """
        SELECT p.patch_id, p.label, p.y, p.x, p.side, p.split,
            m.mammogram_id, m.patient_id, m.file, m.width, m.height
        FROM patches p JOIN mammograms m USING (mammogram_id)
        WHERE p.run = ? AND list_contains(?, p.patch_id)
        ORDER BY p.patch_id
        """,
        [run, ids],
    ).df()


def load_patch_counts(con: Connection, run: str) -> pd.DataFrame:
    """Return counts by split and label: split, label, patches, mammograms, patients."""
    return con.execute(
        """
        SELECT split, label, count(*) AS patches,
            count(DISTINCT mammogram_id) AS mammograms, count(DISTINCT patient_id) AS patients
        FROM patches JOIN mammograms USING (mammogram_id)
        WHERE run = ?
        GROUP BY ALL ORDER BY ALL
        """,
        [run],
    ).df()


def load_splits(con: Connection, run: str) -> pd.DataFrame:
    """Return the split of each patient in a patches run: patient_id, split."""
    return con.execute(
        "SELECT patient_id, split FROM splits WHERE run = ? ORDER BY patient_id", [run]
    ).df()


def dataset_counts(con: Connection) -> dict[str, int]:
    """Return the numbers of patients, mammograms and findings."""
    tables = ("patients", "mammograms", "findings")
    return {table: fetch_integer(con, f"SELECT count(*) FROM {table}") for table in tables}


def load_image_truth(con: Connection) -> pd.DataFrame:
    """Return the truth of each mammogram: mammogram_id, patient_id, truth.

    A class code: the last class among the findings of the image (malignant before benign), else the
    image label, else 0. Missing where the only findings are UNPROVEN. See
    docs/reference/definitions.md, "Image and case scores".
    """
    codes = load_classes(con).pathology_codes
    # -1 marks findings that are all UNPROVEN: these must not fall through to the image label.
    return con.execute(
        """
        WITH codes AS (SELECT unnest(?) AS pathology, unnest(?) AS code),
        worst AS (
            SELECT mammogram_id, max(coalesce(codes.code, -1)) AS worst_code
            FROM findings LEFT JOIN codes USING (pathology) GROUP BY mammogram_id
        )
        SELECT mammogram_id, patient_id,
            CASE WHEN worst_code = -1 THEN NULL
                ELSE coalesce(worst_code,
                    CASE WHEN image_label = ? THEN NULL ELSE coalesce(codes.code, 0) END)
            END AS truth
        FROM mammograms LEFT JOIN worst USING (mammogram_id)
            LEFT JOIN codes ON codes.pathology = image_label
        ORDER BY mammogram_id
        """,
        [list(codes), list(codes.values()), UNPROVEN],
    ).df()


def content_hash(con: Connection) -> str:
    """Return the SHA-256 of the ingested data: pixels, labels, outlines and patients.

    It does not depend on the order of ingestion.
    """
    # Sources, file names and import times are left out: equal data have an equal hash wherever they
    # were read from.
    queries = (
        "SELECT mammogram_id, patient_id, pixel_hash, width, height, laterality, view, image_label"
        " FROM mammograms ORDER BY mammogram_id",
        "SELECT mammogram_id, number, pathology, lesion_type, descriptors, assessment, subtlety,"
        " outline FROM findings ORDER BY ALL",
        "SELECT patient_id, age, density, features, published_split FROM patients"
        " ORDER BY patient_id",
    )
    digest = hashlib.sha256()
    for query in queries:
        digest.update(json.dumps(con.execute(query).fetchall()).encode())
    return digest.hexdigest()
