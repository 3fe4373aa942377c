"""A study as large as the published one, without images:

45,000 test and 45,000 hold-out patches, four evaluated networks. Times the Performance page.

`python -m benchmarks.synthetic_store` prints the server-side seconds of the first content and of
every interaction (goals: 1.5 and .3).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.timing import Row, within
from core import store, study_folder
from core.class_labels import CLASSES
from core.store import dataset_table
from evaluation.pipeline.evaluate import _split_metrics
from evaluation.queries import performance_cache

PATCHES_RUN = "patches-000000000001"
ARCHITECTURES = ("alexnet", "vgg16", "inception_v3", "resnet152")
PATIENTS, FILMS = 250, 4
FIRST_S, INTERACTION_S = 1.5, 0.3
SHARES = (0.86, 0.07, 0.07)
TABS = ("Calibration", "Thresholds", "Networks", "Comparison", "Training", "Subgroups", "Failures")


def make(path: Path, patches: int = 45_000, runs: int = 4, seed: int = 1) -> Path:
    """The study folder:

    `patches` in each of hold-out and test, from 250 patients with four films each, and `runs`
    evaluate runs of different skill.
    """
    generator = np.random.default_rng(seed)
    study_folder.init(path)
    films, table = _films(), []
    for _, rows in films.groupby("split"):
        picks = np.sort(generator.integers(0, len(rows), patches))
        table.append(
            rows.iloc[picks][["mammogram_id", "patient_id", "split"]].assign(
                label=generator.choice(3, patches, p=SHARES)
            )
        )
    labelled = pd.concat(table, ignore_index=True)
    labelled["patch_id"] = np.arange(len(labelled))
    with store.write(path) as con:
        dataset_table.append(
            con,
            "patients",
            pd.DataFrame(
                [_patient(name, i) for i, name in enumerate(films["patient_id"].unique())]
            ),
        )
        dataset_table.append(
            con, "mammograms", pd.DataFrame([_film(row) for row in films.to_dict("records")])
        )
        filler = dict.fromkeys(
            ("benign_cover", "benign_part", "malignant_cover", "malignant_part"), 0.0
        )
        _insert(
            con,
            "patches",
            labelled.drop(columns="patient_id").assign(
                run=PATCHES_RUN, y=0, x=0, side=227, tissue=1.0, **filler
            ),
        )
        _run(con, PATCHES_RUN, "patches", [], {}, {})
        names = [_network(con, number, labelled, films, generator) for number in range(runs)]
    for name in names:
        # What `evaluate` keeps with a run for the page.
        (path / "runs" / name).mkdir(parents=True)
        performance_cache.ensure(path, name)
    return path


def _films() -> pd.DataFrame:
    rows = [
        (f"P{p:04d}.{side}_{view}", f"P{p:04d}", side, view, "holdout" if p % 2 else "test")
        for p in range(2 * PATIENTS)
        for side in ("LEFT", "RIGHT")
        for view in ("CC", "MLO")
    ]
    return pd.DataFrame(rows, columns=["mammogram_id", "patient_id", "laterality", "view", "split"])


def _patient(name: str, number: int) -> dict[str, object]:
    return {
        "patient_id": name,
        "source_id": "synthetic",
        "age": 50,
        "density": 1 + number % 4,
        "features": "{}",
        "published_split": None,
    }


def _film(row: dict[str, str]) -> dict[str, object]:
    size = {
        "width": 908,
        "height": 1200,
        "source_width": 908,
        "source_height": 1200,
        "pixel_mm": 0.05,
    }
    named = {name: row[name] for name in ("mammogram_id", "patient_id", "laterality", "view")}
    return {
        **named,
        "file": row["mammogram_id"],
        **size,
        "scanner": "LUMISYS" if int(row["patient_id"][1:]) % 3 else "HOWTEK",
        "image_label": None,
        "inverted": False,
        "tissue": 0.5,
        "pixel_hash": row["mammogram_id"],
        "has_concepts": False,
    }


def _insert(con: dataset_table.Connection, table: str, frame: pd.DataFrame) -> None:
    con.register("rows", frame)
    con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM rows")
    con.unregister("rows")


def _run(
    con: dataset_table.Connection,
    name: str,
    kind: str,
    parents: list[str],
    settings: dict[str, object],
    manifest: dict[str, object],
) -> None:
    values = [
        name,
        kind,
        *(json.dumps(v) for v in (settings, parents, manifest)),
        pd.Timestamp.now().to_pydatetime(),
        1.0,
    ]
    con.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def _network(
    con: dataset_table.Connection,
    number: int,
    patches: pd.DataFrame,
    films: pd.DataFrame,
    generator: np.random.Generator,
) -> str:
    """One trained and evaluated network: logits = skill at the true class + a patient's own shift +
    noise.
    """
    train, evaluate = f"train-{number:012d}", f"evaluate-{number:012d}"
    training = {"training": {"weights": "imagenet", "epochs": 5}}
    _run(
        con,
        train,
        "train",
        [PATCHES_RUN],
        training,
        {"architecture": ARCHITECTURES[number % 4], "best_epoch": 3},
    )
    _insert(
        con,
        "history",
        pd.DataFrame(
            [
                (train, e, part, 1.0 / (e + 1), 0.5 + e / 12, 1e-4, 60.0)
                for e in range(5)
                for part in ("train", "holdout")
            ],
            columns=["run", "epoch", "part", "loss", "accuracy", "learning_rate", "seconds"],
        ),
    )
    p = _probabilities(patches, 1.2 + 0.2 * number, generator)
    predictions = patches[["patch_id"]].assign(
        run=evaluate, **{f"p_{name}": p[:, c].astype(np.float32) for c, name in enumerate(CLASSES)}
    )
    _insert(con, "predictions", predictions)
    images = films[["mammogram_id", "patient_id", "split"]].assign(
        truth=generator.choice(3, len(films), p=(0.6, 0.2, 0.2))
    )
    q = _probabilities(images.rename(columns={"truth": "label"}), 1.5 + 0.2 * number, generator)
    images = images.assign(
        s_normal=q[:, 0], s_benign=q[:, 1], s_malignant=q[:, 2], predicted=q.argmax(1)
    )
    _insert(con, "image_scores", images.drop(columns="patient_id").assign(run=evaluate))
    scored = patches.merge(predictions.drop(columns="run"), on="patch_id")
    _insert(
        con,
        "metrics",
        pd.DataFrame(
            [
                row
                for split in ("holdout", "test")
                for row in _split_metrics(split, scored, images, 3)
            ]
        ).assign(run=evaluate),
    )
    _run(
        con, evaluate, "evaluate", [train, PATCHES_RUN], {}, {"normal_threshold": 0.5, "classes": 3}
    )
    return evaluate


def _probabilities(table: pd.DataFrame, skill: float, generator: np.random.Generator) -> np.ndarray:
    codes, patients = pd.factorize(table["patient_id"])
    logits = (
        generator.normal(size=(len(table), 3))
        + generator.normal(scale=0.5, size=(len(patients), 3))[codes]
    )
    logits[np.arange(len(table)), table["label"]] += skill
    logits[:, 0] += 1
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def page_times(path: Path) -> Iterator[tuple[str, float]]:
    """(what, server-side seconds) for the Performance page: first visit of a new server, then every
    control, first and second time.
    """
    from streamlit.testing.v1 import AppTest

    from dashboard.server import identity
    from dashboard.server.context import VARIABLE

    os.environ[VARIABLE] = str(path)
    identity.current = lambda: identity.Identity("bench", "team")
    page = AppTest.from_file(
        str(Path(__file__).parent.parent / "dashboard" / "pages" / "performance.py"),
        default_timeout=60,
    )

    def timed(what: str) -> tuple[str, float]:
        """One run of the page as it is set now: what it was, seconds."""
        started = time.perf_counter()
        page.run()
        if page.exception:
            raise RuntimeError(page.exception[0].message)
        return what, time.perf_counter() - started

    yield timed("first visit, hold-out, patches")
    yield timed("same again")
    for split in ("test", "holdout", "test"):
        page.segmented_control(key="split").set_value(split)
        yield timed(f"split {split}")
    for level in ("image", "case", "patch"):
        page.segmented_control(key="level").set_value(level)
        yield timed(f"level {level}")
    page.toggle(key="formula").set_value(True)
    yield timed("2021 formula")
    for run in ("evaluate-000000000001", "evaluate-000000000000", "evaluate-000000000003"):
        page.selectbox(key="run").set_value(run)
        yield timed(f"another run, {run}")
    for tab in TABS:
        # The test framework has no click on a tab; a tab is also opened by its name in the address.
        page.query_params["tab"] = tab
        yield timed(f"tab {tab}")


def measure() -> Iterator[Row]:
    """The page's times as benchmark rows: first content, and the slowest interaction."""
    with tempfile.TemporaryDirectory() as folder:
        times = list(page_times(make(Path(folder) / "study")))
    what, slowest = max(times[1:], key=lambda pair: pair[1])
    note = "server side; 45,000 test and 45,000 hold-out patches, 4 runs"
    yield within("Performance page, first content", times[0][1], FIRST_S, note)
    yield within("Performance page, slowest interaction", slowest, INTERACTION_S, f"{what}; {note}")


def main() -> None:
    """Build in a temporary folder and print the times."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        path = make(Path(folder) / "study")
        print(f"built in {time.perf_counter() - started:.1f} s")
        for what, seconds in page_times(path):
            print(f"{seconds:6.2f} s  {what}")


if __name__ == "__main__":
    main()
