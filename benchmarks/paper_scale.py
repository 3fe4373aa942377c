"""Tables, queries and files of units at the papers' scale, on synthetic numbers.

10,000 mammograms, 400,000 patches, 2,048 units, 5 dissect runs.
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

from benchmarks.timing import BenchmarkRow, time_limit_row, wall_time
from core import store, study_folder
from core.interpretation import dissection, unit_groups
from core.store import dataset_table, run_table, unit_table
from evaluation.queries import units as unit_queries

MAMMOGRAMS, PATCHES, UNITS, RUNS, HELD_OUT = 10_000, 400_000, 2_048, 5, 1_000
PATCHES_RUN = "patches-000000000000"
CLASS_COUNT, SELECTED_PER_CLASS, INFLUENCE_DEPTH = 3, 20, 64
MEMORY_SAMPLE = 8_000  # patches of the two passes in the memory test
# Side of the patches in the memory test, pixels. Larger patches would only add arithmetic.
MEMORY_SIDE = 32
BLOCK_ROWS = 4_000  # rows written at a time
GROUPED_PATCHES, GROUPING_LIMIT_S = 40_000, 20.0
QUERY_LIMIT_S, STORE_LIMIT_S, TOP_PATCHES_LIMIT_S, MEMORY_LIMIT_GIB = 0.05, 0.05, 1.5, 4.0


def dissect_run_name(number: int) -> str:
    """Return the name of a dissect run of the synthetic study."""
    return f"dissect-{number:012d}"


def register_synthetic_run(
    study: Path,
    run: str,
    kind: str,
    parents: list[str],
    tables: dict[str, pd.DataFrame],
    manifest: dict[str, Any],
) -> None:
    """Write the folder of a finished run and register it in the store."""
    folder = study / "runs" / run
    (folder / "tables").mkdir(parents=True)
    for name, frame in tables.items():
        frame.to_parquet(folder / "tables" / f"{name}.parquet", index=False)
    settings = {"dissection": {"threshold": 0.2, "quantile": 0.005, "top": 8, "select": 20}}
    complete = {
        "run": run,
        "kind": kind,
        "settings": settings,
        "parents": parents,
        "made": "2026-01-01T00:00:00",
        "seconds": 1.0,
        **manifest,
    }
    (folder / "manifest.json").write_text(json.dumps(complete))
    with store.write(study) as con:
        run_table.register_run(con, folder, complete)


def create_paper_scale_study(study: Path) -> Path:
    """Create the synthetic study."""
    study_folder.create_study(study)
    rng = np.random.default_rng(0)
    mammograms = mammogram_rows()
    with store.write(study) as con:
        dataset_table.append_rows(con, "mammograms", mammograms)
    ids = mammograms["mammogram_id"].to_numpy()
    register_synthetic_run(study, PATCHES_RUN, "patches", [], {"patches": patch_rows(rng, ids)}, {})
    for number in range(RUNS):
        register_synthetic_run(
            study,
            dissect_run_name(number),
            "dissect",
            [PATCHES_RUN],
            dissection_tables(rng, ids[:HELD_OUT]),
            {"layer": "last", "units": UNITS, "mammograms": list(ids[:HELD_OUT]), "dead_units": []},
        )
    return study


def mammogram_rows() -> pd.DataFrame:
    """Return the table of mammograms: four views of each patient."""
    frame = pd.DataFrame(
        {
            "mammogram_id": "",
            "patient_id": [f"P{i // 4:05d}" for i in range(MAMMOGRAMS)],
            "laterality": [("LEFT", "RIGHT")[i // 2 % 2] for i in range(MAMMOGRAMS)],
            "view": [("CC", "MLO")[i % 2] for i in range(MAMMOGRAMS)],
        }
    )
    ids = frame["patient_id"] + "." + frame["laterality"] + "_" + frame["view"]
    return frame.assign(
        mammogram_id=ids,
        file=ids,
        width=908,
        height=1270,
        source_width=3000,
        source_height=4200,
        pixel_mm=0.05,
        scanner="",
        image_label=None,
        inverted=False,
        tissue=0.4,
        pixel_hash=ids,
        has_concepts=False,
    )


def patch_rows(rng: np.random.Generator, ids: np.ndarray) -> pd.DataFrame:
    """Return the table of patches, split by mammogram."""
    split = rng.choice(["train", "holdout", "test"], MAMMOGRAMS, p=[0.8, 0.1, 0.1])
    positions = np.sort(rng.integers(0, MAMMOGRAMS, PATCHES))
    covers = dict.fromkeys(
        ("benign_cover", "benign_part", "malignant_cover", "malignant_part"), np.float32(0)
    )
    return pd.DataFrame(
        {
            "patch_id": np.arange(PATCHES, dtype=np.int32),
            "mammogram_id": ids[positions],
            "y": 0,
            "x": 0,
            "side": 227,
            "tissue": np.float32(1),
            **covers,
            "label": rng.choice(3, PATCHES, p=[0.86, 0.07, 0.07]).astype(np.int32),
            "split": split[positions],
        }
    )


def dissection_tables(rng: np.random.Generator, held_out: np.ndarray) -> dict[str, pd.DataFrame]:
    """Return the tables of one dissection."""
    k, unit = dissection.TOP_PATCH_COUNT, np.arange(UNITS, dtype=np.int32)
    classes = np.arange(CLASS_COUNT, dtype=np.int32)
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
    top_patches = pd.DataFrame(
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
    lists = len(held_out) * CLASS_COUNT
    ranks = np.arange(1, INFLUENCE_DEPTH + 1, dtype=np.int32)
    influences = pd.DataFrame(
        {
            "mammogram_id": np.repeat(held_out, CLASS_COUNT * INFLUENCE_DEPTH),
            "class": np.tile(np.repeat(classes, INFLUENCE_DEPTH), len(held_out)),
            "rank": np.tile(ranks, lists),
            "unit": rng.integers(0, UNITS, lists * INFLUENCE_DEPTH),
            "influence": np.float32(1),
        }
    )
    count = CLASS_COUNT * SELECTED_PER_CLASS
    selected = pd.DataFrame(
        {
            "class": np.repeat(classes, SELECTED_PER_CLASS),
            "rank": np.tile(np.arange(1, SELECTED_PER_CLASS + 1, dtype=np.int32), CLASS_COUNT),
            "unit": rng.choice(UNITS, count, replace=False),
            "count": np.tile(np.arange(600, 400, -10, dtype=np.int32), CLASS_COUNT),
        }
    )
    return {
        "units": units,
        "top_patches": top_patches,
        "influences": influences,
        "selected": selected,
    }


def gallery_query_times(study: Path, visits: int = 40) -> list[float]:
    """Return the seconds of the query behind a page of 24 units for each of `visits` visits.

    Each visit asks for another run and other units, so that no cache helps. The time includes
    opening the store.
    """
    rng, times = np.random.default_rng(1), []
    for visit in range(visits):
        run = dissect_run_name(visit % RUNS)
        units = [int(u) for u in rng.choice(UNITS, 24, replace=False)]
        times.append(wall_time(lambda run=run, units=units: query_gallery(study, run, units)))
    return times


def query_gallery(study: Path, run: str, units: list[int]) -> pd.DataFrame:
    """Return the top patches of these units."""
    with store.read(study) as con:
        return unit_table.load_top_patches(con, run, PATCHES_RUN, units, unit_queries.TILES_PER_ROW)


def query_meta(study: Path) -> None:
    """Open the store and read one value."""
    with store.read(study) as con:
        dataset_table.get_meta(con, "data_hash")


def append_log_row(study: Path) -> None:
    """Open the store and append one row."""
    with store.write(study) as con:
        run_table.append_log(con, "bench", "nothing")


class CyclicPatches:
    """A patch reader that repeats 4,096 random patches, so that reading costs no time."""

    side = MEMORY_SIDE

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self._count = count
        self._x = rng.integers(0, 256, (4096, 1, MEMORY_SIDE, MEMORY_SIDE)).astype(np.uint8)

    def __len__(self) -> int:
        return self._count

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Return the patches of these rows."""
        return self._x[rows % len(self._x)]


class ThinNetwork(nn.Module):
    """A network with as many units as ResNet-152's last layer and very little arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, UNITS, MEMORY_SIDE // 2, MEMORY_SIDE // 2)

    def feature_maps(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps [n, units, 2, 2]."""
        return self.convolution(x.float() / 255)

    def layer(self, _name: str) -> None:
        """Return no module: the last layer is dissected."""
        return


def peak_resident_bytes() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    `resource.getrusage` is not suitable: its maximum includes the memory of the process that
    started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def dissect_at_scale(folder: Path) -> None:
    """Dissect a sample, rank the patches of a whole study, and print the peak memory in bytes.

    Both passes and the quantiles run on `MEMORY_SAMPLE` patches. The ranking runs on activations of
    full size.
    """
    from core.interpretation.feature_maps import FeatureProbe

    torch.manual_seed(0)
    probe = FeatureProbe(ThinNetwork().eval(), "last")  # type: ignore[arg-type]
    reader: Any = CyclicPatches(MEMORY_SAMPLE)
    activations = dissection.compute_max_activations(
        probe, reader, folder / "sample.npy", "float32", lambda *_: None
    )
    dissection.compute_top_maps(
        probe, reader, dissection.compute_top_patches(activations), lambda *_: None
    )
    dissection.compute_quantile_thresholds(probe, reader, 0.005, 1)
    full_size = np.lib.format.open_memmap(
        folder / "full_size.npy", "w+", np.float32, (PATCHES, UNITS)
    )
    rng = np.random.default_rng(0)
    for start in range(0, PATCHES, BLOCK_ROWS):
        block = full_size[start : start + BLOCK_ROWS]
        block[:] = rng.random(block.shape, dtype=np.float32)
        full_size.flush()
        dissection.release_mapped_pages(full_size)
    dissection.compute_top_patches(full_size)
    print(peak_resident_bytes())


def memory_row() -> BenchmarkRow:
    """Measure the peak memory of a dissection at scale in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        code = (
            "from pathlib import Path; from benchmarks.paper_scale import dissect_at_scale;"
            f" dissect_at_scale(Path({name!r}))"
        )
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    peak = int(process.stdout.split()[-1]) / 2**30
    return BenchmarkRow(
        name="peak memory of a dissection",
        value=peak,
        reference=MEMORY_LIMIT_GIB,
        ratio=MEMORY_LIMIT_GIB / peak,
        goal=1.0,
        unit="GiB",
        note=(
            f"top 64 over {PATCHES:,} patches x {UNITS:,} units float32 (3.3 GB); first and second"
            f" pass on a sample of {MEMORY_SAMPLE:,} patches, maps 2 x 2"
        ),
    )


def top_patches_row() -> BenchmarkRow:
    """Measure the ranking of the top 64 patches of every unit."""
    activations = np.random.default_rng(0).random((40_000, UNITS), dtype=np.float32)
    shortest = min(wall_time(lambda: dissection.compute_top_patches(activations)) for _ in range(3))
    return time_limit_row("top 64 of 2,048 units x 40,000 patches", shortest, TOP_PATCHES_LIMIT_S)


def grouping_row() -> BenchmarkRow:
    """Return the time in which all units of a layer are grouped."""
    rng = np.random.default_rng(0)
    # A cause for about ten units each, so that there are groups to find.
    causes = rng.gamma(0.4, 1.0, (GROUPED_PATCHES, UNITS // 10)).astype(np.float32)
    cause_of_unit = rng.integers(0, UNITS // 10, UNITS)
    noise = rng.random((GROUPED_PATCHES, UNITS), dtype=np.float32)
    activations = causes[:, cause_of_unit] + 0.3 * noise
    top = dissection.compute_top_patches(activations).rows
    groups = unit_groups.group_units(activations, top, GROUPED_PATCHES)
    pure = sum(len(set(cause_of_unit[group])) == 1 for group in groups)
    seconds = wall_time(lambda: unit_groups.group_units(activations, top, GROUPED_PATCHES))
    note = (
        f"{UNITS:,} units on {GROUPED_PATCHES:,} hold-out patches, {len(groups)} groups for"
        f" {UNITS // 10} causes, {pure} of them of one cause"
    )
    return time_limit_row("units grouped", seconds, GROUPING_LIMIT_S, note)


def measure_paper_scale() -> Iterator[BenchmarkRow]:
    """Yield the rows of this subject."""
    yield top_patches_row()
    yield grouping_row()
    with tempfile.TemporaryDirectory() as name:
        study = create_paper_scale_study(Path(name) / "study")
        size = f"{MAMMOGRAMS:,} mammograms, {PATCHES:,} patches, {UNITS:,} units, {RUNS} runs"
        # The first visits warm the page cache of the operating system.
        p95 = float(np.quantile(gallery_query_times(study)[4:], 0.95))
        yield time_limit_row("gallery query, 24 units, p95", p95, QUERY_LIMIT_S, size)
        for label, work in (
            ("store opened to read, p50", query_meta),
            ("one append to the store, p50", append_log_row),
        ):
            times = [wall_time(lambda work=work: work(study)) for _ in range(60)]
            yield time_limit_row(label, float(np.median(times)), STORE_LIMIT_S, size)
    yield memory_row()
