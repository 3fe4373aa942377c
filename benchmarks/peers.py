"""Dissection and explanation against maintained libraries that do the same job.

captum and pytorch-grad-cam are measured where they are installed (`pip install ".[bench]"`).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from benchmarks.networks import (
    DEFAULT_SIDE,
    PatchSubset,
    random_network,
    report_nothing,
    write_noise_images,
)
from benchmarks.timing import BenchmarkRow, alternating_times, speedup_row
from core import networks
from core.class_labels import MAMMOGRAPHY
from core.images.working_images import WorkingImages
from core.interpretation import dissection
from core.interpretation.feature_maps import FeatureProbe, mammogram_tensor
from core.networks import to_fully_convolutional
from core.pipeline.explain import explain_mammogram
from core.process_memory import keep_freed_memory

ARCH, PATCHES, BATCH, ROUNDS = "resnet18", 128, 32, 3


def plain_network() -> nn.Module:
    """Return the same network as a plain torch module that takes normalised patches."""
    return networks.build(ARCH, 3).eval().net


def normalised(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 patches as the plain network takes them."""
    return random_network(ARCH).normalize(x)


def captum_row(folder: Path) -> BenchmarkRow:
    """Compare maxima and top patches of all units with captum's activations of a layer."""
    from captum.attr import LayerActivation

    side = networks.INPUT_SIDES.get(ARCH, DEFAULT_SIDE)
    reader = PatchSubset(write_noise_images(folder / "patches", side, 2), PATCHES)
    probe = FeatureProbe(random_network(ARCH), "last")
    plain = plain_network()
    patches = normalised(torch.from_numpy(reader.batch(range(PATCHES))))  # type: ignore[arg-type]
    layer = LayerActivation(plain, plain.layer4)

    def run_product() -> None:
        """Compute the maxima of all patches and each unit's 64 largest."""
        for name in ("activations.npy", "resume.json"):
            (folder / name).unlink(missing_ok=True)
        path = folder / "activations.npy"
        dissection.compute_top_patches(
            dissection.compute_max_activations(
                probe, reader, path, "float32", report_nothing, BATCH
            )
        )

    def run_captum() -> None:
        """Compute the same from the activations that captum returns."""
        with torch.inference_mode():
            maxima = [layer.attribute(part).amax((2, 3)) for part in patches.split(BATCH)]
            torch.cat(maxima).topk(dissection.TOP_PATCH_COUNT, dim=0)

    timings = alternating_times({"product": run_product, "captum": run_captum}, ROUNDS)
    product = timings.pop("product")
    note = f"{ARCH}, {PATCHES} patches, top {dissection.TOP_PATCH_COUNT}"
    return speedup_row("top patches of all units", product, timings, 1.0, note)


def grad_cam_row(folder: Path) -> BenchmarkRow:
    """Compare the explanation of a mammogram with the class maps of three classes."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    write_noise_images(folder / "films", DEFAULT_SIDE, 1)
    images = WorkingImages(folder / "films")
    network = random_network(ARCH)
    full, probe = to_fully_convolutional(network), FeatureProbe(network, "last")
    mammogram = pd.Series({"file": "f0", "mammogram_id": "f0", "split": "test", "truth": 0})
    plain = plain_network()
    film = normalised(mammogram_tensor(images["f0"]))
    method = GradCAM(model=plain, target_layers=[plain.layer4])

    def run_grad_cam() -> None:
        """Compute the map of each class."""
        for c in range(3):
            method(input_tensor=film, targets=[ClassifierOutputTarget(c)])

    works: dict[str, Callable[[], object]] = {
        "product": lambda: explain_mammogram(
            network, MAMMOGRAPHY, full, probe, images, mammogram, 0.5, folder
        ),
        "pytorch-grad-cam": run_grad_cam,
    }
    timings = alternating_times(works, ROUNDS)
    product = timings.pop("product")
    height, width = images["f0"].shape
    note = f"{ARCH}, {width} x {height} px; the product also ranks and stores units"
    return speedup_row("class maps of a mammogram", product, timings, 1.0, note)


PEERS: dict[str, tuple[str, Callable[[Path], BenchmarkRow]]] = {
    "captum": ("captum", captum_row),
    "pytorch-grad-cam": ("pytorch_grad_cam", grad_cam_row),
}


def measure_peers() -> Iterator[BenchmarkRow]:
    """Yield a row for each library that is installed."""
    keep_freed_memory()  # as every step of the product does
    for name, (module, measure) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name} is not installed and not compared", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            yield measure(Path(folder))
