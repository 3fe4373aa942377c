"""Training, dissection and explanation against bare computation of the same network.

Training is compared with optimiser steps on tensors in memory, dissection and explanation with the
fastest exact engine that is installed, on tensors in memory. The note of a row gives the operations
per second as a share of those of a product of two large matrices in float32.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.engines import ClassMaps, UnitMaxima, inference_engines, missing_engines
from benchmarks.timing import (
    BenchmarkRow,
    Timing,
    alternating_times,
    shortest,
    speedup_row,
    throughput_row,
    wall_time,
)
from core import networks
from core.class_labels import MAMMOGRAPHY
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation import dissection
from core.interpretation.feature_maps import FeatureProbe, mammogram_tensor
from core.networks import Classifier, to_fully_convolutional
from core.pipeline.explain import explain_mammogram
from core.process_memory import keep_freed_memory
from core.settings import TrainingSettings
from core.training import LabeledPatches, train_classifier

DEFAULT_SIDE = 227  # network input of a new study, pixels
DISSECT_GOAL = EXPLAIN_GOAL = 0.9
TRAIN_GOAL = 0.95
MARGIN = 12.0  # around the breast in pixels: the default of 3 mm where 908 pixels show 240 mm
MATRIX_SIDE = 2048  # of the product that rows are shares of


@dataclass(frozen=True, kw_only=True)
class BenchmarkSizes:
    """Sizes of the benchmarks of one architecture."""

    mammograms: int
    train_steps: int
    train_batch: int
    train_rounds: int
    dissect_patches: int
    dissect_batch: int
    dissect_rounds: int
    explain_rounds: int


SIZES = {
    "small": BenchmarkSizes(
        mammograms=30,
        train_steps=12,
        train_batch=64,
        train_rounds=25,
        dissect_patches=2048,
        dissect_batch=256,
        dissect_rounds=5,
        explain_rounds=40,
    ),
    "resnet18": BenchmarkSizes(
        mammograms=4,
        train_steps=4,
        train_batch=16,
        train_rounds=5,
        dissect_patches=64,
        dissect_batch=32,
        dissect_rounds=5,
        explain_rounds=5,
    ),
    "resnet50": BenchmarkSizes(
        mammograms=2,
        train_steps=3,
        train_batch=8,
        train_rounds=4,
        dissect_patches=32,
        dissect_batch=16,
        dissect_rounds=5,
        explain_rounds=4,
    ),
    "resnet152": BenchmarkSizes(
        mammograms=2,
        train_steps=3,
        train_batch=4,
        train_rounds=3,
        dissect_patches=16,
        dissect_batch=8,
        dissect_rounds=4,
        explain_rounds=3,
    ),
}


def report_nothing(*_: object) -> None:
    """Ignore progress."""


def write_noise_images(folder: Path, side: int, count: int) -> PatchReader:
    """Write working images of noise, four patches wide, and return a reader of all windows.

    The tissue of each is half an ellipse at the left side, as wide as a large breast.
    """
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    shape = (round(5.6 * side), 4 * side)
    y, x = np.ogrid[: shape[0], : shape[1]]
    tissue = (2 * y / shape[0] - 1) ** 2 + (1.5 * x / shape[1]) ** 2 < 0.9
    rows = []
    for i in range(count):
        np.save(folder / "images" / f"f{i}.npy", rng.integers(0, 256, shape).astype(np.uint8))
        np.save(folder / "images" / f"f{i}.tissue.npy", np.packbits(tissue))
        # Neighbouring windows overlap by half, as the patches of a study do.
        rows += [(f"f{i}", k * side // 2, j * side // 2, side) for k in range(10) for j in range(7)]
    return PatchReader(
        WorkingImages(folder), pd.DataFrame(rows, columns=["file", "y", "x", "side"])
    )


def random_network(arch: str) -> Classifier:
    """Return a random network in evaluation mode, prepared as `inference.load_network` does."""
    torch.manual_seed(0)
    network = networks.build(arch, 3).eval().to(memory_format=torch.channels_last)
    network.requires_grad_(False).fuse()
    return network


class PatchSubset:
    """The first `count` patches of a reader."""

    def __init__(self, reader: PatchReader, count: int) -> None:
        self._reader, self._count, self.side = reader, count, reader.side

    def __len__(self) -> int:
        return self._count

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Return the patches of these rows."""
        return self._reader.batch(rows)


def training_row(
    arch: str, reader: PatchReader, steps: int, batch: int, rounds: int, folder: Path
) -> BenchmarkRow:
    """Compare the steps of `train_classifier` with bare optimiser steps on tensors in memory.

    A step of the product includes cutting the patches, seeds, the schedule and checks. A step of
    the reference is forward pass, loss, backward pass and update.
    """
    labels = np.arange(steps * batch) % 3
    settings = TrainingSettings(architecture=arch, weights="none", epochs=1, batch=batch)
    x, y = torch.from_numpy(reader.batch(np.arange(batch))), torch.from_numpy(labels[:batch])
    ours, bare = (networks.build(arch, 3).to(memory_format=torch.channels_last) for _ in range(2))
    step_times: list[Timing] = []

    def train_epoch() -> None:
        """Train one epoch and record the mean time of a step.

        The time runs from the first progress report to the last one, so the start of the epoch and
        the saving of the checkpoint do not count.
        """
        marks: list[Timing] = []
        (folder / "resume.pt").unlink(missing_ok=True)
        train_classifier(
            ours,
            LabeledPatches(PatchSubset(reader, len(labels)), labels),
            LabeledPatches(PatchSubset(reader, 0), labels[:0]),
            settings,
            folder,
            lambda *_: marks.append(Timing(time.perf_counter(), time.process_time())),
        )
        first, last = marks[0], marks[-1]
        step_times.append(Timing(last.wall_s - first.wall_s, last.processor_s - first.processor_s))

    optimizer = torch.optim.SGD(bare.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    bare.train()

    def run_bare_steps() -> None:
        """Run as many steps on tensors in memory."""
        for _ in range(steps - 1):
            loss = F.cross_entropy(bare(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    timings = alternating_times({"product": train_epoch, "optimiser steps": run_bare_steps}, rounds)
    return throughput_row(
        f"training, {arch}",
        batch * (steps - 1),
        shortest(step_times[1:]),
        {"optimiser steps": timings["optimiser steps"]},
        TRAIN_GOAL,
        "patches/s",
        f"batch {batch}, {steps} steps; saving of checkpoints not counted",
    )


def dissection_rows(
    arch: str, reader: PatchReader, count: int, batch: int, rounds: int, peak: float, folder: Path
) -> list[BenchmarkRow]:
    """Compare the pass over the patches with the unit maxima of tensors in memory, and the whole
    dissection with the published two-pass algorithm.

    peak: floating point operations per second of the matrix product.
    """
    network, subset = random_network(arch), PatchSubset(reader, count)
    probe = FeatureProbe(network, "last")
    tensors = torch.from_numpy(reader.batch(np.arange(count)))

    def run_pass() -> None:
        """Compute all activations from the start."""
        for name in ("activations.npy", "resume.json"):
            (folder / name).unlink(missing_ok=True)
        dissection.compute_max_activations(
            probe, subset, folder / "activations.npy", "float32", report_nothing, batch
        )

    engines = inference_engines(UnitMaxima(random_network(arch)), tensors[:batch].float())
    works = {"product": run_pass} | {
        name: repeat(engine, count // batch) for name, engine in engines.items()
    }
    timings = alternating_times(works, rounds)
    product = timings.pop("product")
    operations = count_operations(network, tensors[:1])
    return [
        throughput_row(
            f"dissection pass, {arch}",
            count,
            product,
            timings,
            DISSECT_GOAL,
            "patches/s",
            f"{count} patches, batch {batch}; {network.inference['form']};"
            f" {operations * count / product.wall_s / peak:.0%} of the matrix product",
        ),
        two_pass_row(arch, network, tensors, product.wall_s / count),
    ]


def repeat(work: Callable[[], object], times: int) -> Callable[[], None]:
    """Return a work that repeats another."""

    def run() -> None:
        """Do the work as often as asked."""
        for _ in range(times):
            work()

    return run


def count_operations(network: Classifier, x: torch.Tensor) -> int:
    """Return the floating point operations of the unit maps of x."""
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        network.feature_maps(x)
    return counter.get_total_flops()


def matrix_peak(dtype: torch.dtype, rounds: int = 8) -> float:
    """Return the floating point operations per second of a product of two large matrices."""
    left, right = (torch.rand(MATRIX_SIDE, MATRIX_SIDE).to(dtype) for _ in range(2))
    seconds = min(wall_time(lambda: left @ right) for _ in range(rounds))
    return 2 * MATRIX_SIDE**3 / seconds


def two_pass_row(
    arch: str,
    network: Classifier,
    tensors: torch.Tensor,
    pass_s: float,
    patches: int = 40_000,
) -> BenchmarkRow:
    """Extrapolate a whole dissection and the published algorithm from seconds per patch.

    The product makes one pass and then a second pass over each patch that is among the top 64 of at
    least one unit. The published algorithm passes over all patches and then again over 64 single
    patches for every unit.
    """
    units, single_s = int(network.class_weights().shape[1]), []
    batch_s: list[float] = []
    with torch.inference_mode():
        for _ in range(4):
            single_s.append(wall_time(lambda: network.feature_maps(tensors[:1])))
            batch_s.append(wall_time(lambda: network.feature_maps(tensors)))
    # Expected number of patches in at least one of `units` independent draws of 64. Real units
    # share top patches, so this is an upper bound.
    top_patches = patches * (1 - (1 - dissection.TOP_PATCH_COUNT / patches) ** units)
    product_s = (patches + top_patches) * pass_s
    published_s = patches * min(batch_s) / len(tensors) + dissection.TOP_PATCH_COUNT * units * min(
        single_s
    )
    return speedup_row(
        f"dissection over the published two passes, {arch}",
        Timing(product_s, product_s),
        {"published algorithm, fused network": Timing(published_s, published_s)},
        1.0,
        f"extrapolated to {patches:,} patches and {units:,} units from {len(tensors)} patches in"
        " batches and 4 single ones",
    )


def explanation_row(arch: str, rounds: int, peak: float, folder: Path) -> BenchmarkRow:
    """Compare the explanation of a mammogram with its bare unit maps and class maps.

    The explanation computes maps, decision and influences and stores the maps of 8 units.
    """
    network = random_network(arch)
    full, probe = to_fully_convolutional(network), FeatureProbe(network, "last")
    images = WorkingImages(folder / arch)
    mammogram = pd.Series({"file": "f0", "mammogram_id": "f0", "split": "test", "truth": 0})
    tensor = mammogram_tensor(images["f0"])
    engines = inference_engines(ClassMaps(random_network(arch)), tensor.float())
    works = {
        "product": lambda: explain_mammogram(
            network, MAMMOGRAPHY, full, probe, images, mammogram, 0.5, folder, margin=MARGIN
        )
    } | engines
    timings = alternating_times(works, rounds)
    product = timings.pop("product")
    height, width = images["f0"].shape
    operations = count_operations(network, tensor)
    return throughput_row(
        f"explanation of a mammogram, {arch}",
        1,
        product,
        timings,
        EXPLAIN_GOAL,
        "mammograms/s",
        f"{width} x {height} px; {network.inference['form']};"
        f" {operations / product.wall_s / peak:.0%} of the matrix product",
    )


def peak_rows() -> Iterator[BenchmarkRow]:
    """Yield the speed of the matrix product, which other rows are shares of."""
    for dtype in (torch.float32, torch.bfloat16):
        reached = matrix_peak(dtype) / 1e9
        yield BenchmarkRow(
            name=f"matrix product, {str(dtype).removeprefix('torch.')}",
            value=reached,
            reference=reached,
            ratio=1.0,
            goal=1.0,
            unit="GFLOP/s",
            note=f"{MATRIX_SIDE} x {MATRIX_SIDE}",
            compared_with="itself",
        )


def measure_networks() -> Iterator[BenchmarkRow]:
    """Yield the rows of this subject."""
    keep_freed_memory()  # as every step of the product does
    for engine in missing_engines():
        print(f"{engine} is not installed and not compared", file=sys.stderr)
    yield from peak_rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arch, size in SIZES.items():
            side = networks.INPUT_SIDES.get(arch, DEFAULT_SIDE)
            reader = write_noise_images(folder / arch, side, size.mammograms)
            peak = matrix_peak(torch.float32)
            yield training_row(
                arch, reader, size.train_steps, size.train_batch, size.train_rounds, folder
            )
            yield from dissection_rows(
                arch,
                reader,
                size.dissect_patches,
                size.dissect_batch,
                size.dissect_rounds,
                peak,
                folder,
            )
            if side != DEFAULT_SIDE:  # explain mammograms as wide as those of a new study
                shutil.rmtree(folder / arch)
                write_noise_images(folder / arch, DEFAULT_SIDE, 1)
            yield explanation_row(arch, size.explain_rounds, peak, folder)
