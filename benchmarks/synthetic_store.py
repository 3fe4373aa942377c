"""Time the Performance page on a study as large as the published one, without images.

The study has 45,000 test and 45,000 hold-out patches and four evaluated networks.
`python -m benchmarks.synthetic_store` prints the server-side seconds of the first visit and of
every interaction (goals: 1.5 and 0.3).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.timing import BenchmarkRow, time_limit_row
from core import store, study_folder
from core.class_labels import MAMMOGRAPHY
from core.store import dataset_table
from evaluation.pipeline.evaluate import split_metrics
from evaluation.queries import performance_cache

PATCHES_RUN = "patches-000000000001"
ARCHITECTURES = ("alexnet", "vgg16", "inception_v3", "resnet152")
PATIENTS_PER_SPLIT = 250
FIRST_VISIT_LIMIT_S, INTERACTION_LIMIT_S = 1.5, 0.3
CLASS_SHARES = (0.86, 0.07, 0.07)
TABS = ("Calibration", "Thresholds", "Networks", "Comparison", "Training", "Subgroups", "Failures")
PERFORMANCE_PAGE = Path(__file__).parent.parent / "dashboard" / "pages" / "performance.py"


def create_evaluated_study(
    study: Path, patches: int = 45_000, runs: int = 4, seed: int = 1
) -> Path:
    """Create a study folder with evaluate runs of different skill.

    Hold-out and test have `patches` patches each, from 250 patients with four mammograms each.
    """
    rng = np.random.default_rng(seed)
    study_folder.create_study(study)
    mammograms = _mammograms()
    labelled = _labelled_patches(mammograms, patches, rng)
    patients = [_patient(name, i) for i, name in enumerate(mammograms["patient_id"].unique())]
    stored = [_stored_mammogram(row) for row in mammograms.to_dict("records")]
    covers = dict.fromkeys(
        ("benign_cover", "benign_part", "malignant_cover", "malignant_part"), 0.0
    )
    windows = labelled.drop(columns="patient_id").assign(
        run=PATCHES_RUN, y=0, x=0, side=227, tissue=1.0, **covers
    )
    with store.write(study) as con:
        dataset_table.append_rows(con, "patients", pd.DataFrame(patients))
        dataset_table.append_rows(con, "mammograms", pd.DataFrame(stored))
        _insert_rows(con, "patches", windows)
        _insert_run(con, PATCHES_RUN, "patches", [], {}, {})
        names = [_insert_network(con, i, labelled, mammograms, rng) for i in range(runs)]
    for name in names:
        # The summaries that the step `evaluate` stores with a run for the page.
        (study / "runs" / name).mkdir(parents=True)
        performance_cache.ensure_summaries(study, name)
    return study


def _mammograms() -> pd.DataFrame:
    rows = [
        (f"P{p:04d}.{side}_{view}", f"P{p:04d}", side, view, "holdout" if p % 2 else "test")
        for p in range(2 * PATIENTS_PER_SPLIT)
        for side in ("LEFT", "RIGHT")
        for view in ("CC", "MLO")
    ]
    return pd.DataFrame(rows, columns=["mammogram_id", "patient_id", "laterality", "view", "split"])


def _labelled_patches(
    mammograms: pd.DataFrame, patches: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return `patches` labelled patches of random mammograms for each split."""
    parts = []
    for _, rows in mammograms.groupby("split"):
        picks = np.sort(rng.integers(0, len(rows), patches))
        parts.append(
            rows.iloc[picks][["mammogram_id", "patient_id", "split"]].assign(
                label=rng.choice(3, patches, p=CLASS_SHARES)
            )
        )
    labelled = pd.concat(parts, ignore_index=True)
    return labelled.assign(patch_id=np.arange(len(labelled)))


def _patient(name: str, number: int) -> dict[str, object]:
    return {
        "patient_id": name,
        "source_id": "synthetic",
        "age": 50,
        "density": 1 + number % 4,
        "features": "{}",
        "published_split": None,
    }


def _stored_mammogram(row: dict[str, Any]) -> dict[str, object]:
    return {
        **{name: row[name] for name in ("mammogram_id", "patient_id", "laterality", "view")},
        "file": row["mammogram_id"],
        "width": 908,
        "height": 1200,
        "source_width": 908,
        "source_height": 1200,
        "pixel_mm": 0.05,
        "scanner": "LUMISYS" if int(row["patient_id"][1:]) % 3 else "HOWTEK",
        "image_label": None,
        "inverted": False,
        "tissue": 0.5,
        "pixel_hash": row["mammogram_id"],
        "has_concepts": False,
    }


def _insert_rows(con: dataset_table.Connection, table: str, frame: pd.DataFrame) -> None:
    con.register("rows", frame)
    con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
    con.unregister("rows")


def _insert_run(
    con: dataset_table.Connection,
    name: str,
    kind: str,
    parents: list[str],
    settings: dict[str, object],
    manifest: dict[str, object],
) -> None:
    created = pd.Timestamp.now().to_pydatetime()
    documents = (json.dumps(value) for value in (settings, parents, manifest))
    con.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", [name, kind, *documents, created, 1.0]
    )


def _insert_network(
    con: dataset_table.Connection,
    number: int,
    patches: pd.DataFrame,
    mammograms: pd.DataFrame,
    rng: np.random.Generator,
) -> str:
    """Insert one trained and evaluated network; return the name of its evaluate run."""
    train, evaluate = f"train-{number:012d}", f"evaluate-{number:012d}"
    training = {"training": {"weights": "imagenet", "epochs": 5}}
    trained = {"architecture": ARCHITECTURES[number % 4], "best_epoch": 3}
    _insert_run(con, train, "train", [PATCHES_RUN], training, trained)
    _insert_rows(con, "history", _training_history(train))
    p = _probabilities(patches, 1.2 + 0.2 * number, rng)
    predictions = patches[["patch_id"]].assign(
        **{f"p_{name}": p[:, c].astype(np.float32) for c, name in enumerate(MAMMOGRAPHY.names)}
    )
    _insert_rows(con, "predictions", predictions.assign(run=evaluate))
    images = mammograms[["mammogram_id", "patient_id", "split"]].assign(
        truth=rng.choice(3, len(mammograms), p=(0.6, 0.2, 0.2))
    )
    q = _probabilities(images.rename(columns={"truth": "label"}), 1.5 + 0.2 * number, rng)
    images = images.assign(
        s_normal=q[:, 0], s_benign=q[:, 1], s_malignant=q[:, 2], predicted=q.argmax(1)
    )
    _insert_rows(con, "image_scores", images.drop(columns="patient_id").assign(run=evaluate))
    scored = patches.merge(predictions, on="patch_id")
    metrics = [
        row
        for split in ("holdout", "test")
        for row in split_metrics(split, scored, images, MAMMOGRAPHY)
    ]
    _insert_rows(con, "metrics", pd.DataFrame(metrics).assign(run=evaluate))
    evaluated: dict[str, object] = {"normal_threshold": 0.5, "classes": 3}
    _insert_run(con, evaluate, "evaluate", [train, PATCHES_RUN], {}, evaluated)
    return evaluate


def _training_history(run: str) -> pd.DataFrame:
    rows = [
        (run, epoch, part, 1.0 / (epoch + 1), 0.5 + epoch / 12, 1e-4, 60.0)
        for epoch in range(5)
        for part in ("train", "holdout")
    ]
    return pd.DataFrame(
        rows, columns=["run", "epoch", "part", "loss", "accuracy", "learning_rate", "seconds"]
    )


def _probabilities(table: pd.DataFrame, skill: float, rng: np.random.Generator) -> np.ndarray:
    """Return class probabilities [n, 3] of simulated predictions.

    The logits are noise plus a patient effect, plus `skill` at the true class. The patient effect
    makes patches of a patient dependent, as they are in a real study.
    """
    codes, patients = pd.factorize(table["patient_id"])
    noise = rng.normal(size=(len(table), 3))
    patient_effects = rng.normal(scale=0.5, size=(len(patients), 3))
    logits = noise + patient_effects[codes]
    logits[np.arange(len(table)), table["label"]] += skill
    logits[:, 0] += 1
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def page_times(study: Path) -> Iterator[tuple[str, float]]:
    """Yield each interaction with the Performance page and its server-side seconds.

    The first is the visit of a new server. Then every control is used, each value once or twice.
    """
    from streamlit.testing.v1 import AppTest

    from dashboard.server import identity
    from dashboard.server.context import STUDY_VARIABLE

    os.environ[STUDY_VARIABLE] = str(study)
    identity.current_identity = lambda: identity.Identity("bench", "team")
    page = AppTest.from_file(str(PERFORMANCE_PAGE), default_timeout=60)

    def timed_run(interaction: str) -> tuple[str, float]:
        """Run the page with its present inputs."""
        started = time.perf_counter()
        page.run()
        if page.exception:
            raise RuntimeError(page.exception[0].message)
        return interaction, time.perf_counter() - started

    yield timed_run("first visit, hold-out, patches")
    yield timed_run("same again")
    for split in ("test", "holdout", "test"):
        page.segmented_control(key="split").set_value(split)
        yield timed_run(f"split {split}")
    for level in ("image", "case", "patch"):
        page.segmented_control(key="level").set_value(level)
        yield timed_run(f"level {level}")
    page.toggle(key="formula").set_value(True)
    yield timed_run("2021 formula")
    for run in ("evaluate-000000000001", "evaluate-000000000000", "evaluate-000000000003"):
        page.selectbox(key="run").set_value(run)
        yield timed_run(f"another run, {run}")
    for tab in TABS:
        # AppTest cannot click a tab. The tab's name in the address opens it too.
        page.query_params["tab"] = tab
        yield timed_run(f"tab {tab}")


def measure_performance_page() -> Iterator[BenchmarkRow]:
    """Yield the rows of this subject: first visit and slowest interaction."""
    with tempfile.TemporaryDirectory() as folder:
        times = list(page_times(create_evaluated_study(Path(folder) / "study")))
    interaction, slowest = max(times[1:], key=lambda pair: pair[1])
    note = "server side; 45,000 test and 45,000 hold-out patches, 4 runs"
    yield time_limit_row("Performance page, first content", times[0][1], FIRST_VISIT_LIMIT_S, note)
    yield time_limit_row(
        "Performance page, slowest interaction",
        slowest,
        INTERACTION_LIMIT_S,
        f"{interaction}; {note}",
    )


def main() -> None:
    """Create the study in a temporary folder and print the times."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        study = create_evaluated_study(Path(folder) / "study")
        print(f"created in {time.perf_counter() - started:.1f} s")
        for interaction, elapsed in page_times(study):
            print(f"{elapsed:6.2f} s  {interaction}")


if __name__ == "__main__":
    main()
