"""Training, dissection and explanation on a GPU against bare loops of the same network there.

    python -m benchmarks.gpu [--architecture resnet152] [--device cuda]

Prints the rows of the table and, on a GPU, writes GPU.md beside this file. An epoch of DDSM is
extrapolated from the measured patches per second. With `--device cpu --architecture small` the same
program runs without a GPU, as a check of itself; it then writes no file.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from benchmarks.networks import (
    DEFAULT_SIDE,
    MARGIN,
    PatchSubset,
    random_network,
    report_nothing,
    write_noise_images,
)
from core import networks
from core.class_labels import MAMMOGRAPHY
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation import dissection
from core.interpretation.feature_maps import FeatureProbe, mammogram_tensor
from core.networks import Classifier, to_fully_convolutional
from core.networks.device import select_device
from core.pipeline.explain import explain_mammogram
from core.settings import TrainingSettings
from core.training import LabeledPatches, train_classifier

FILMS, STEPS, ROUNDS = 30, 20, 3
# Four fifths of DDSM's 10,480 films, at 45 patches a film as in the published test split (45,000
# patches of 250 patients with four films each); minutes of an epoch as the papers give them.
EPOCH_PATCHES, PUBLISHED_MINUTES = 10_480 * 4 // 5 * 45, 85
LARGEST_DIFFERENCE = 1e-3  # of the largest maximum, between CPU and GPU in float32


@dataclass(frozen=True)
class GpuRow:
    """Throughput of the product and of a bare loop, in items per second."""

    name: str
    product: float
    bare: float
    note: str = ""


def synchronise(device: torch.device) -> None:
    """Wait until the device has computed everything that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the shortest wall time of a work, which is done once before."""
    work()
    times = []
    for _ in range(ROUNDS):
        synchronise(device)
        started = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - started)
    return min(times)


def training_row(arch: str, reader: PatchReader, batch: int, device: torch.device) -> GpuRow:
    """Compare training steps, patches cut and augmented, with steps on tensors of the device."""
    labels = np.arange(STEPS * batch) % 3
    settings = TrainingSettings(architecture=arch, weights="none", epochs=1, batch=batch)
    ours = networks.build(arch, 3).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    bare = networks.build(arch, 3).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with tempfile.TemporaryDirectory() as folder:
        marks: list[float] = []

        def mark(*_: object) -> None:
            """Record the time after a step."""
            synchronise(device)
            marks.append(time.perf_counter())

        patches = LabeledPatches(PatchSubset(reader, len(labels)), labels)
        none = LabeledPatches(PatchSubset(reader, 0), labels[:0])
        train_classifier(ours, patches, none, settings, Path(folder), mark)
    # The median: the first steps choose algorithms, and the end of the epoch saves a checkpoint.
    product_s = float(np.median(np.diff(marks)))
    x = torch.from_numpy(reader.batch(np.arange(batch))).to(device)
    y = torch.from_numpy(labels[:batch]).to(device)
    optimizer = torch.optim.SGD(bare.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    bare.train()

    def step() -> None:
        """Make one bare optimiser step."""
        loss = F.cross_entropy(bare(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    minutes = EPOCH_PATCHES * product_s / batch / 60
    note = (
        f"batch {batch}; an epoch of {EPOCH_PATCHES:,} patches would take {minutes:.0f} min,"
        f" published {PUBLISHED_MINUTES} min"
    )
    return GpuRow("training, patches", batch / product_s, batch / seconds(step, device), note)


def dissection_row(
    network: Classifier, reader: PatchReader, batch: int, device: torch.device
) -> GpuRow:
    """Compare the pass over patches with the maxima of tensors on the device."""
    count = min(len(reader), STEPS * batch)
    probe, subset = FeatureProbe(network, "last"), PatchSubset(reader, count)
    x = torch.from_numpy(reader.batch(np.arange(batch))).to(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run_product() -> None:
            """Compute all activations from the start."""
            for file in ("activations.npy", "resume.json"):
                (folder / file).unlink(missing_ok=True)
            dissection.compute_max_activations(
                probe, subset, folder / "activations.npy", "float32", report_nothing, batch
            )

        product_s = seconds(run_product, device) / count

    def run_bare() -> None:
        """Compute the maxima of one batch."""
        with torch.inference_mode():
            network.feature_maps(x).amax((2, 3))

    return GpuRow(
        "dissection, patches", 1 / product_s, batch / seconds(run_bare, device), f"batch {batch}"
    )


def explanation_row(network: Classifier, films: Path, device: torch.device) -> GpuRow:
    """Compare the explanation of a film with its bare maps on the device."""
    images = WorkingImages(films)
    full, probe = to_fully_convolutional(network), FeatureProbe(network, "last")
    film = pd.Series({"file": "f0", "mammogram_id": "f0", "split": "test", "truth": 0})
    tensor = mammogram_tensor(images["f0"]).to(device)
    with tempfile.TemporaryDirectory() as name:
        product_s = seconds(
            lambda: explain_mammogram(
                network, MAMMOGRAPHY, full, probe, images, film, 0.5, Path(name), margin=MARGIN
            ),
            device,
        )

    def run_bare() -> None:
        """Compute the class maps alone."""
        with torch.inference_mode():
            full(tensor)

    height, width = images["f0"].shape
    return GpuRow(
        "explanation, films",
        1 / product_s,
        1 / seconds(run_bare, device),
        f"{width} x {height} px",
    )


def largest_difference(arch: str, reader: PatchReader, device: torch.device) -> float:
    """Return the largest difference of unit maxima between CPU and device, of the largest value."""
    x = torch.from_numpy(reader.batch(np.arange(8)))
    with torch.inference_mode():
        expected = random_network(arch).feature_maps(x).amax((2, 3))
        measured = random_network(arch).to(device).feature_maps(x).amax((2, 3)).cpu()
    return float((expected - measured).abs().max() / expected.abs().max())


def measure(arch: str, batch: int, device: torch.device, folder: Path) -> Iterator[GpuRow]:
    """Yield the rows of an architecture."""
    side = networks.INPUT_SIDES.get(arch, DEFAULT_SIDE)
    reader = write_noise_images(folder / "patches", side, FILMS)
    write_noise_images(folder / "films", DEFAULT_SIDE, 1)
    difference = largest_difference(arch, reader, device)
    if not difference <= LARGEST_DIFFERENCE:
        raise RuntimeError(f"CPU and {device} differ by {difference:.1e} of the largest maximum")
    print(f"CPU and {device} agree to {difference:.1e} of the largest maximum", file=sys.stderr)
    network = random_network(arch).to(device)
    yield training_row(arch, reader, batch, device)
    yield dissection_row(network, reader, batch, device)
    yield explanation_row(network, folder / "films", device)


def format_page(arch: str, rows: list[GpuRow], device: torch.device) -> str:
    """Return the rows as a Markdown page."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    lines = [
        "# GPU",
        "",
        f"Written by `python -m benchmarks.gpu` on {date.today():%d %B %Y}: {arch}, {name}, torch"
        f" {torch.__version__}{'' if peak is None else f'; peak memory {peak:.1f} GiB'}.",
        "",
        "| Work per second | Product | Bare loop | Ratio | Note |",
        "|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.name} | {row.product:,.1f} | {row.bare:,.1f} | {row.product / row.bare:.2f} |"
        f" {row.note} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure on the chosen device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--architecture", default="resnet152")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    os.environ["DEEPMINER_DEVICE"] = arguments.device
    device = select_device()
    with tempfile.TemporaryDirectory() as name:
        rows = list(measure(arguments.architecture, arguments.batch, device, Path(name)))
    page = format_page(arguments.architecture, rows, device)
    print(page)
    if device.type == "cuda":
        (Path(__file__).parent / "GPU.md").write_text(page)


if __name__ == "__main__":
    main()
