"""A tiny study written straight into a store: random images and activations, no training."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from core import store, study_folder
from core.settings import DissectionSettings
from core.store import annotation_table, audit_table, dataset_table, participant_table
from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table
from core.store.reading.reading_table import ReadingCase
from support.study_templates import copy_template

# Names that participants must not receive. Whole words: in images and tokens, which are random
# bytes, three letters occur by chance.
WITHHELD = (b"ZQXCASE", b"ZQXPATIENT", b"ZQXARM", b"ZQXSTUDY", b"ZQXHASH", b"zqxfile")
PATCHES, DISSECT = "patches-000000000001", "dissect-000000000002"
UNITS, SELECTED, MAMMOGRAMS, SIDE, TOP = 40, 20, 16, 64, 64
MADE = datetime(2026, 1, 2, 3, 4, 5)


def draw_mammogram(
    generator: np.random.Generator, width: int = 256, height: int = 320
) -> np.ndarray:
    """Return a bright half disc on black with smooth texture."""
    y, x = np.mgrid[:height, :width]
    inside = ((x / (0.85 * width)) ** 2 + ((y - height / 2) / (0.46 * height)) ** 2) < 1
    coarse = generator.random((height // 16, width // 16))
    texture = (
        np.kron(coarse, np.ones((16, 16)))[:height, :width] * 0.5
        + generator.random((height, width)) * 0.3
    )
    return (inside * (70 + 150 * texture)).clip(0, 255).astype(np.uint8)


def _add_dataset(path: Path, con: Connection, generator: np.random.Generator) -> list[dict]:
    patients, mammograms = [], []
    for i in range(MAMMOGRAMS):
        name = f"zqxfile{i:03d}"
        np.save(path / "images" / f"{name}.npy", draw_mammogram(generator))
        if i % 2 == 0:
            patients.append(
                {
                    "patient_id": f"ZQXPATIENT{i // 2:03d}",
                    "source_id": "s",
                    "age": 50,
                    "density": 2,
                    "features": "{}",
                    "published_split": None,
                }
            )
        mammograms.append(
            {
                "mammogram_id": f"ZQXCASE{i:03d}",
                "patient_id": f"ZQXPATIENT{i // 2:03d}",
                "laterality": "LEFT",
                "view": "CC",
                "file": name,
                "width": 256,
                "height": 320,
                "source_width": 256,
                "source_height": 320,
                "pixel_mm": 0.1,
                "scanner": "",
                "image_label": None,
                "inverted": False,
                "tissue": 0.5,
                "pixel_hash": str(i),
                "has_concepts": False,
            }
        )
    con.execute(
        "INSERT INTO sources VALUES"
        " ('s', 'phantom', '', '{}', TRUE, FALSE, ?, 8, 16, 0, 'synthetic')",
        [MADE],
    )
    dataset_table.append_rows(con, "patients", pd.DataFrame(patients))
    dataset_table.append_rows(con, "mammograms", pd.DataFrame(mammograms))
    return mammograms


def insert_rows(con: Connection, table: str, frame: pd.DataFrame) -> None:
    con.register("rows", frame)
    con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
    con.unregister("rows")


def _add_runs(
    path: Path, con: Connection, mammograms: list[dict], generator: np.random.Generator
) -> None:
    dissection = {"dissection": DissectionSettings().model_dump()}
    for run, kind, settings, parents in (
        (PATCHES, "patches", {}, []),
        (DISSECT, "dissect", dissection, [PATCHES]),
    ):
        con.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, '{}', ?, 1.0)",
            [run, kind, json.dumps(settings), json.dumps(parents), MADE],
        )
    patches = [
        {
            "run": PATCHES,
            "patch_id": i * 20 + k,
            "mammogram_id": m["mammogram_id"],
            "y": 32 * (k // 4),
            "x": 32 * (k % 4),
            "side": SIDE,
            "tissue": 1.0,
            "benign_cover": 0.0,
            "benign_part": 0.0,
            "malignant_cover": 0.0,
            "malignant_part": 0.0,
            "label": int(generator.integers(3)),
            "split": "train",
        }
        for i, m in enumerate(mammograms)
        for k in range(20)
    ]
    insert_rows(con, "patches", pd.DataFrame(patches))
    insert_rows(
        con,
        "units",
        pd.DataFrame(
            [
                {
                    "run": DISSECT,
                    "layer": "last",
                    "unit": u,
                    "largest": 1.0,
                    "quantile": 0.5,
                    "dead": False,
                    "top_patients": 8,
                }
                for u in range(UNITS)
            ]
        ),
    )
    insert_rows(
        con,
        "top_patches",
        pd.DataFrame(
            [
                {
                    "run": DISSECT,
                    "layer": "last",
                    "unit": u,
                    "rank": r,
                    "patch_id": int(p),
                    "activation": 1.0 - r / 100,
                    "y": 0,
                    "x": 0,
                }
                for u in range(UNITS)
                for r, p in enumerate(generator.permutation(len(patches))[:TOP])
            ]
        ),
    )
    insert_rows(
        con,
        "selected",
        pd.DataFrame(
            [
                {
                    "run": DISSECT,
                    "class": c,
                    "rank": r,
                    "unit": (c * 7 + r) % SELECTED,
                    "count": 20 - r,
                }
                for c in range(3)
                for r in range(8)
            ]
        ),
    )
    y, x = np.mgrid[:8, :8]
    centres = generator.uniform(2, 6, (UNITS, TOP, 2))
    maps = np.exp(-((y - centres[..., :1, None]) ** 2 + (x - centres[..., 1:, None]) ** 2) / 3)
    folder = path / "runs" / DISSECT
    folder.mkdir(parents=True)
    np.save(folder / "top_maps.npy", maps.astype(np.float16))


def add_dissection(con: Connection, run: str, architecture: str, layer: str, days: int) -> str:
    """Add a dissection of another network, `days` after the study's own, with the same units."""
    train = run.replace("dissect", "train")
    for name, kind, parents, manifest in (
        (train, "train", [PATCHES], {"architecture": architecture}),
        (run, "dissect", [train, PATCHES], {"layer": layer}),
    ):
        con.execute(
            "INSERT INTO runs VALUES (?, ?, '{}', ?, ?, ?, 1.0)",
            [name, kind, json.dumps(parents), json.dumps(manifest), MADE + timedelta(days=days)],
        )
    for table in ("units", "top_patches", "selected"):
        con.execute(
            f"INSERT INTO {table} SELECT * REPLACE (? AS run) FROM {table} WHERE run = ?",
            [run, DISSECT],
        )
    return run


LABELS = (
    "Mass with spiculated margin",
    "Architectural distortion",
    "Fine pleomorphic calcifications, segmental distribution",
    "Lymph node",
    "Vascular calcifications",
    "Mass with circumscribed margin",
    "Heterogeneously dense tissue",
    "Focal asymmetry",
)


def add_protocol(
    con: Connection,
    count: int = 30,
    version: int = 1,
    design: dict | None = None,
    state: str = "frozen",
) -> None:
    """Add a reading study of `count` cases over the study's mammograms, frozen by default."""
    generator = np.random.default_rng(version)
    design = {"name": "ZQXSTUDY", "seed": 5, "scale": 6, "repeats": 2, **(design or {})}
    cases = [
        ReadingCase(
            number=i,
            mammogram_id=f"ZQXCASE{i % MAMMOGRAMS:03d}",
            patient_id=f"ZQXPATIENT{(i % MAMMOGRAMS) // 2:03d}",
            arm="ZQXARM",
            texts=tuple(LABELS[k] for k in generator.permutation(8)[:3]),
            truth="MALIGNANT" if i % 2 else "BENIGN",
            network_score=0.123456 + i / 1000,
            predicted="malignant",
        )
        for i in range(1, count + 1)
    ]
    protocol_table.append_protocol_state(
        con, protocol="ZQXSTUDY", version=version, state="design", design=design
    )
    reading_table.add_reading_cases(con, "ZQXSTUDY", version, cases)
    for stage in ("checked", "frozen"):
        protocol_table.append_protocol_state(
            con, protocol="ZQXSTUDY", version=version, state=stage, design=design, hash="ZQXHASH"
        )
        if stage == state:
            break


def add_audit(con: Connection, units: int = 3, each: int = 2) -> audit_table.Audit:
    """Add an open label audit of a few units' patches, `each` of every kind."""
    patches = [
        row[0]
        for row in con.execute(
            "SELECT patch_id FROM patches WHERE run = ? ORDER BY md5(patch_id::VARCHAR)", [PATCHES]
        ).fetchall()
    ]
    items = [
        audit_table.AuditItem(
            item=n + 1,
            unit=n // (3 * each),
            label=LABELS[n // (3 * each)],
            kind=audit_table.AUDIT_PATCH_KINDS[n % 3],
            patch_id=patches[n],
            rank=n,
            activation=0.987654 - n / 1000,
        )
        for n in range(units * 3 * each)
    ]
    return audit_table.create_audit(con, DISSECT, 7, each, "team", items)


def create_study(path: Path, protocol: bool = True) -> Path:
    """Create the study in a new folder: settings, one dissection and a frozen reading study."""
    return copy_template(_build_frozen if protocol else _build, path)


def _build(path: Path) -> None:
    generator = np.random.default_rng(1)
    study_folder.create_study(path)
    with store.write(path) as con:
        mammograms = _add_dataset(path, con, generator)
        _add_runs(path, con, mammograms, generator)


def _build_frozen(path: Path) -> None:
    copy_template(_build, path)
    with store.write(path) as con:
        add_protocol(con)


def mass_answer(
    margin: str = "spiculated", association: str = "suspicious", confidence: int = 3
) -> dict:
    """Return a complete answer on a unit."""
    return {
        "recognisable": "yes",
        "phenomena": [
            {"category": "mass", "terms": {"margin": margin}, "association": association}
        ],
        "confidence": confidence,
        "words": "",
        "label": "",
    }


def annotate(
    con: Connection, code: str, unit: int, answer: dict, simulated: bool = False, **options
) -> annotation_table.SavedAnnotation:
    """Append an answer; the annotator is added if missing."""
    if participant_table.participant_role(con, code) is None:
        participant_table.add_participant(con, code, "annotator", simulated)
    number = con.execute("SELECT count(*) FROM annotations").fetchone()[0]
    return annotation_table.append_annotation(
        con,
        run=DISSECT,
        unit=unit,
        code=code,
        answer=answer,
        seconds=10.0,
        annotation_id=f"a{number}",
        simulated=simulated,
        **options,
    )
