"""The units' tables, queries and files at the papers' scale, on synthetic numbers:

10,000 mammograms, 400,000 patches, 2,048 units, 5 runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.timing import Row, seconds, within
from core import store, study_folder
from core.interpretation import dissection
from core.store import dataset_table, run_table, unit_table
from evaluation.queries import units as gallery

MAMMOGRAMS, PATCHES, UNITS, RUNS, HELD = 10_000, 400_000, 2_048, 5, 1_000
PATCHES_RUN = "patches-000000000000"
SAMPLE = 8_000  # patches of the pass and the second look in the memory test
SIDE = 32  # of the patches in the memory test; at full size only the network's own arithmetic would grow


def run_name(number: int) -> str:
    """A dissect run of the synthetic study."""
    return f"dissect-{number:012d}"


def register(
    path: Path,
    run: str,
    kind: str,
    parents: list[str],
    tables: dict[str, pd.DataFrame],
    manifest: dict[str, Any],
) -> None:
    """A finished run as the steps leave it, in the store."""
    folder = path / "runs" / run
    (folder / "tables").mkdir(parents=True)
    for name, frame in tables.items():
        frame.to_parquet(folder / "tables" / f"{name}.parquet", index=False)
    settings = {"dissection": {"threshold": 0.2, "quantile": 0.005, "top": 8, "select": 20}}
    whole = {
        "run": run,
        "kind": kind,
        "settings": settings,
        "parents": parents,
        "made": "2026-01-01T00:00:00",
        "seconds": 1.0,
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(whole))
    with store.write(path) as con:
        run_table.register(con, folder, whole)


def make(path: Path) -> Path:
    """The synthetic study."""
    study_folder.init(path)
    rng = np.random.default_rng(0)
    ids = np.array(
        [
            f"P{i // 4:05d}.{('LEFT', 'RIGHT')[i // 2 % 2]}_{('CC', 'MLO')[i % 2]}"
            for i in range(MAMMOGRAMS)
        ]
    )
    patients = np.array([i[:6] for i in ids])
    films = {
        "mammogram_id": ids,
        "patient_id": patients,
        "laterality": [i[7:].split("_")[0] for i in ids],
        "view": [i[7:].split("_")[1] for i in ids],
        "file": ids,
    }
    fixed = {
        "width": 908,
        "height": 1270,
        "source_width": 3000,
        "source_height": 4200,
        "pixel_mm": 0.05,
        "scanner": "",
        "image_label": None,
        "inverted": False,
        "tissue": 0.4,
        "pixel_hash": ids,
        "has_concepts": False,
    }
    with store.write(path) as con:
        dataset_table.append(con, "mammograms", pd.DataFrame(films | fixed))
    split = rng.choice(["train", "holdout", "test"], MAMMOGRAMS, p=[0.8, 0.1, 0.1])
    of = np.sort(rng.integers(0, MAMMOGRAMS, PATCHES))
    covers = dict.fromkeys(
        ("benign_cover", "benign_part", "malignant_cover", "malignant_part"), np.float32(0)
    )
    patches = pd.DataFrame(
        {
            "patch_id": np.arange(PATCHES, dtype=np.int32),
            "mammogram_id": ids[of],
            "y": 0,
            "x": 0,
            "side": 227,
            "tissue": np.float32(1),
            **covers,
            "label": rng.choice(3, PATCHES, p=[0.86, 0.07, 0.07]).astype(np.int32),
            "split": split[of],
        }
    )
    register(path, PATCHES_RUN, "patches", [], {"patches": patches}, {})
    for number in range(RUNS):
        register(
            path,
            run_name(number),
            "dissect",
            [PATCHES_RUN],
            dissected(rng, ids[:HELD]),
            {"layer": "last", "units": UNITS, "mammograms": list(ids[:HELD]), "dead_units": []},
        )
    return path


def dissected(rng: np.random.Generator, held: np.ndarray) -> dict[str, pd.DataFrame]:
    """Tables of one dissection."""
    k, depth = dissection.TOP, 64
    unit = np.arange(UNITS, dtype=np.int32)
    units = pd.DataFrame(
        {
            "layer": "last",
            "unit": unit,
            "largest": np.float32(9),
            "quantile": np.float32(3),
            "dead": False,
            "top_patients": 30,
        }
    )
    top = pd.DataFrame(
        {
            "layer": "last",
            "unit": np.repeat(unit, k),
            "rank": np.tile(np.arange(k, dtype=np.int32), UNITS),
            "patch_id": rng.integers(0, PATCHES, UNITS * k),
            "activation": np.tile(np.linspace(9, 5, k, dtype=np.float32), UNITS),
            "y": 0,
            "x": 0,
        }
    )
    rows = len(held) * 3
    influences = pd.DataFrame(
        {
            "mammogram_id": np.repeat(held, 3 * depth),
            "class": np.tile(np.repeat(np.arange(3, dtype=np.int32), depth), len(held)),
            "rank": np.tile(np.arange(1, depth + 1, dtype=np.int32), rows),
            "unit": rng.integers(0, UNITS, rows * depth),
            "influence": np.float32(1),
        }
    )
    selected = pd.DataFrame(
        {
            "class": np.repeat(np.arange(3, dtype=np.int32), 20),
            "rank": np.tile(np.arange(1, 21, dtype=np.int32), 3),
            "unit": rng.choice(UNITS, 60, replace=False),
            "count": np.tile(np.arange(600, 400, -10, dtype=np.int32), 3),
        }
    )
    return {"units": units, "top_patches": top, "influences": influences, "selected": selected}


def gallery_visits(path: Path, visits: int = 40) -> list[float]:
    """Seconds of the query behind a page of 24 units, each visit another run and page, nothing
    cached, door included.
    """
    rng, times = np.random.default_rng(1), []
    for visit in range(visits):
        run = run_name(visit % RUNS)
        some = [int(u) for u in rng.choice(UNITS, 24, replace=False)]
        times.append(seconds(lambda run=run, some=some: page(path, run, some)))
    return times


def page(path: Path, run: str, some: list[int]) -> pd.DataFrame:
    """The top patches of 24 units."""
    with store.read(path) as con:
        return unit_table.top_patches(con, run, PATCHES_RUN, some, gallery.TILES)


class Flat:
    """Patches that cost nothing to cut."""

    side = SIDE

    def __init__(self, count: int) -> None:
        self._count, self._x = (
            count,
            np.random.default_rng(0).integers(0, 256, (4096, 1, SIDE, SIDE)).astype(np.uint8),
        )

    def __len__(self) -> int:
        return self._count

    def batch(self, rows: np.ndarray) -> np.ndarray:
        return self._x[rows % 4096]


class Thin(nn.Module):
    """As many units as ResNet-152's last layer, with next to no arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, UNITS, SIDE // 2, SIDE // 2)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x.float() / 255)

    def layer(self, _name: str) -> None:
        return None


def dissect_at_scale(folder: Path) -> None:
    """The product's pass, second look and quantiles on a sample, its top 64 at full size; prints
    the peak of resident memory in bytes.
    """
    from core.interpretation.inference import Probe

    torch.manual_seed(0)
    probe, reader = Probe(Thin().eval(), "last"), Flat(SAMPLE)  # type: ignore[arg-type]
    passed = dissection.compute_max_activations(
        probe, reader, folder / "sample.npy", "float32", lambda *_: None
    )  # type: ignore[arg-type]
    dissection.top_maps(probe, reader, dissection.top_patches(passed), lambda *_: None)  # type: ignore[arg-type]
    dissection.quantiles(probe, reader, 0.005, 1)  # type: ignore[arg-type]
    whole, rng = (
        np.lib.format.open_memmap(folder / "whole.npy", "w+", np.float32, (PATCHES, UNITS)),
        np.random.default_rng(0),
    )
    for start in range(0, PATCHES, 4000):
        whole[start : start + 4000] = rng.random((4000, UNITS), dtype=np.float32)
        whole.flush()
        dissection.forget(whole)
    dissection.top_patches(whole)
    # Not ru_maxrss: that begins with what the process that started this one held.
    print(
        next(
            int(line.split()[1]) * 1024
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
    )


def memory() -> Row:
    """Peak memory of a dissection at scale, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        code = (
            "from pathlib import Path; from benchmarks.paper_scale import dissect_at_scale;"
            f" dissect_at_scale(Path({name!r}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    peak = int(done.stdout.split()[-1]) / 2**30
    note = (
        f"top 64 over {PATCHES:,} patches x {UNITS:,} units float32 (3.3 GB); pass and second look"
        f" on a sample of {SAMPLE:,} patches, maps 2 x 2"
    )
    return Row("peak memory of a dissection", peak, 4.0, 4.0 / peak, 1.0, "GiB", note)


def top_64() -> Row:
    """The product's top 64 of every unit."""
    values = np.random.default_rng(0).random((40_000, UNITS), dtype=np.float32)
    return within(
        "top 64 of 2,048 units x 40,000 patches",
        min(seconds(lambda: dissection.top_patches(values)) for _ in range(3)),
        1.5,
    )


def measure() -> Iterator[Row]:
    """All rows of this subject."""
    yield top_64()
    with tempfile.TemporaryDirectory() as name:
        path = make(Path(name) / "study")
        size = f"{MAMMOGRAMS:,} mammograms, {PATCHES:,} patches, {UNITS:,} units, {RUNS} runs"
        yield within(
            "gallery query, 24 units, p95",
            float(np.quantile(gallery_visits(path)[4:], 0.95)),
            0.05,
            size,
        )
        reads = [seconds(lambda: opened(path)) for _ in range(60)]
        writes = [seconds(lambda: logged(path)) for _ in range(60)]
        yield within("store opened to read, p50", float(np.median(reads)), 0.05, size)
        yield within("one append to the store, p50", float(np.median(writes)), 0.05, size)
    yield memory()


def opened(path: Path) -> None:
    """One visit that asks next to nothing."""
    with store.read(path) as con:
        dataset_table.get_meta(con, "data_hash")


def logged(path: Path) -> None:
    """One small append."""
    with store.write(path) as con:
        run_table.log(con, "bench", "nothing")
