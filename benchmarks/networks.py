"""Training, dissection and explanation over bare loops of the same network on in-memory tensors."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from benchmarks.timing import Row, rate, rivals, seconds, speedup
from core import networks
from core.images.working_images import Films, PatchReader
from core.interpretation import dissection
from core.interpretation.inference import Probe, as_tensor
from core.networks import Classifier, to_fully_convolutional
from core.pipeline.explain import explain_film
from core.settings import TrainingSettings
from core.training import Part, fit

SMALL, LARGE = "small", "resnet152"


def quiet(*_: object) -> None:
    """No progress."""


def films(folder: Path, side: int, count: int) -> PatchReader:
    """Working images of noise, as wide as four patches, with every window of the definition."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    shape = (round(5.6 * side), 4 * side)
    rows = []
    for i in range(count):
        np.save(folder / "images" / f"f{i}.npy", rng.integers(0, 256, shape).astype(np.uint8))
        np.save(folder / "images" / f"f{i}.tissue.npy", np.packbits(np.ones(shape, bool)))
        rows += [(f"f{i}", k * side // 2, j * side // 2, side) for k in range(10) for j in range(7)]
    return PatchReader(Films(folder), pd.DataFrame(rows, columns=["file", "y", "x", "side"]))


def network(arch: str) -> Classifier:
    """A random network in evaluation mode, as `inference.load` prepares it."""
    torch.manual_seed(0)
    made = networks.build(arch, 3).eval().to(memory_format=torch.channels_last)
    return made.requires_grad_(False)


class Subset:
    """The first rows of a reader."""

    def __init__(self, reader: PatchReader, count: int) -> None:
        self._reader, self._count, self.side = reader, count, reader.side

    def __len__(self) -> int:
        return self._count

    def batch(self, rows: np.ndarray) -> np.ndarray:
        return self._reader.batch(rows)


def training(
    arch: str, reader: PatchReader, steps: int, batch: int, rounds: int, folder: Path
) -> Row:
    """The steps of `fit` (cutting patches, seeds, schedule, checks) against forward, loss, backward
    and update on tensors.
    """
    labels = np.arange(steps * batch) % 3
    settings = TrainingSettings(architecture=arch, weights="none", epochs=1, batch=batch)
    x, y = torch.from_numpy(reader.batch(np.arange(batch))), torch.from_numpy(labels[:batch])
    trained = [networks.build(arch, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    times: list[float] = []

    def product() -> None:
        """One epoch by `fit`; the time of a step is kept."""
        marks: list[float] = []
        (folder / "resume.pt").unlink(missing_ok=True)
        fit(
            trained[0],
            Part(Subset(reader, len(labels)), labels),
            Part(Subset(reader, 0), labels[:0]),
            settings,
            folder,
            lambda *_: marks.append(time.perf_counter()),
        )
        times.append((marks[-1] - marks[0]) / (len(marks) - 1))

    optimizer = torch.optim.SGD(trained[1].parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    trained[1].train()

    def reference() -> None:
        """As many steps on tensors that are there."""
        for _ in range(steps - 1):
            loss = F.cross_entropy(trained[1](x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    _, bare = rivals(product, reference, rounds)
    return rate(
        f"training, {arch}",
        batch,
        min(times[1:]),
        bare / (steps - 1),
        0.95,
        "patches/s",
        f"batch {batch}, {steps} steps; saving of checkpoints not counted",
    )


def dissecting(
    arch: str, reader: PatchReader, count: int, batch: int, rounds: int, goal: float, folder: Path
) -> list[Row]:
    """The pass over the patches against the bare forward pass; and the whole dissection against the
    published two-pass algorithm.
    """
    net, part = network(arch), Subset(reader, count)
    probe, tensors = Probe(net, "last"), torch.from_numpy(reader.batch(np.arange(count)))

    def product() -> None:
        """The pass, from the start."""
        for name in ("activations.npy", "resume.json"):
            (folder / name).unlink(missing_ok=True)
        dissection.compute_max_activations(
            probe, part, folder / "activations.npy", "float32", quiet, batch
        )

    def reference() -> None:
        """The network alone."""
        with torch.inference_mode():
            for start in range(0, count, batch):
                net(tensors[start : start + batch])

    mine, bare = rivals(product, reference, rounds)
    first = rate(
        f"dissection pass, {arch}",
        count,
        mine,
        bare,
        goal,
        "patches/s",
        f"{count} patches, batch {batch}",
    )
    return [first, two_pass(arch, net, tensors, mine / count, bare / count)]


def two_pass(
    arch: str,
    net: Classifier,
    tensors: torch.Tensor,
    pass_s: float,
    bare_s: float,
    patches: int = 40_000,
) -> Row:
    """Ours: one pass, then one look at each patch that is among anybody's top 64 (at most all).

    Published: all patches, then one patch at a time again, 64 for every unit. Seconds per patch are
    measured, the number of patches is not.
    """
    units, single = int(net.class_weights().shape[1]), []
    with torch.inference_mode():
        for _ in range(4):
            single.append(seconds(lambda: net.maps(tensors[:1])))
    # Patches in at least one of `units` draws of 64: what independent units would give; real ones
    # share patches, so this is an upper bound.
    looked = patches * (1 - (1 - dissection.TOP / patches) ** units)
    ours, theirs = (
        (patches + looked) * pass_s,
        patches * bare_s + dissection.TOP * units * min(single),
    )
    return speedup(
        f"dissection over the published two passes, {arch}",
        ours,
        theirs,
        1.0,
        f"extrapolated to {patches:,} patches and {units:,} units from {len(tensors)} patches in"
        " batches and 4 single ones",
    )


def explaining(arch: str, rounds: int, folder: Path) -> Row:
    """A mammogram explained (maps, decision, influences, the 8 units' maps kept) against one bare
    forward pass.
    """
    net = network(arch)
    full, probe, opened = to_fully_convolutional(net), Probe(net, "last"), Films(folder / arch)
    film = pd.Series({"file": "f0", "mammogram_id": "f0", "split": "test", "truth": 0})
    tensor = as_tensor(opened["f0"])

    def reference() -> None:
        """The network alone."""
        with torch.inference_mode():
            full(tensor)

    mine, bare = rivals(
        lambda: explain_film(net, full, probe, opened, film, 0.5, folder), reference, rounds
    )
    shape = opened["f0"].shape
    return rate(
        f"explanation of a mammogram, {arch}",
        1,
        mine,
        bare,
        0.9,
        "mammograms/s",
        f"{shape[1]} x {shape[0]} px",
    )


def measure() -> Iterator[Row]:
    """All rows of this subject."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arch, steps, batch, count, rounds, goal in (
            (SMALL, 12, 64, 2048, 5, 0.8),
            (LARGE, 3, 4, 4, 3, 0.95),
        ):
            reader = films(
                folder / arch, networks.INPUT_SIDES.get(arch, 227), 30 if arch == SMALL else 2
            )
            yield training(
                arch, reader, steps, batch, 5 * rounds if arch == SMALL else rounds, folder
            )
            yield from dissecting(
                arch, reader, count, 256 if arch == SMALL else 4, rounds, goal, folder
            )
            if arch == SMALL:  # mammograms as wide as a new study's, not as the phantom's
                shutil.rmtree(folder / arch)
                films(folder / arch, 227, 1)
            yield explaining(arch, 40 if arch == SMALL else 2, folder)
