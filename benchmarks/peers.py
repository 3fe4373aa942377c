"""Dissection and explanation against maintained libraries that do the same job.

captum, zennit-crp and pytorch-grad-cam are measured where they are installed
(`pip install ".[bench]"`).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.networks import (
    DEFAULT_SIDE,
    MARGIN,
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
SAME_PATCHES = 0.98  # least share of top patches that product and peer agree on


def plain_network() -> nn.Module:
    """Return the same network as a plain torch module that takes normalised patches."""
    torch.manual_seed(0)  # as `random_network`
    return networks.build(ARCH, 3).eval().net


def normalised(x: torch.Tensor) -> torch.Tensor:
    """Return uint8 patches as the plain network takes them."""
    return random_network(ARCH).normalize(x)


def top_patches_row(
    folder: Path, peer: str, find: Callable[[torch.Tensor], torch.Tensor]
) -> BenchmarkRow:
    """Compare maxima and top patches of all units with those of a library.

    find: returns the rows of the top patches of each unit [64, units] of normalised patches.
    """
    side = networks.INPUT_SIDES.get(ARCH, DEFAULT_SIDE)
    reader = PatchSubset(write_noise_images(folder / "patches", side, 2), PATCHES)
    probe = FeatureProbe(random_network(ARCH), "last")
    patches = normalised(torch.from_numpy(reader.batch(range(PATCHES))))  # type: ignore[arg-type]

    def run_product() -> dissection.TopPatches:
        """Compute the maxima of all patches and each unit's 64 largest."""
        for name in ("activations.npy", "resume.json"):
            (folder / name).unlink(missing_ok=True)
        path = folder / "activations.npy"
        return dissection.compute_top_patches(
            dissection.compute_max_activations(
                probe, reader, path, "float32", report_nothing, BATCH
            )
        )

    works: dict[str, Callable[[], object]] = {"product": run_product, peer: lambda: find(patches)}
    # The same patches, or the library would not do the same job; ties may be in another order.
    pairs = zip(run_product().rows, find(patches).T.numpy(), strict=True)
    same = np.mean([np.isin(own, other).mean() for own, other in pairs])
    if same < SAME_PATCHES:
        raise RuntimeError(f"{peer} and the product share {same:.1%} of the top patches")
    timings = alternating_times(works, ROUNDS)
    product = timings.pop("product")
    note = f"{ARCH}, {PATCHES} patches, top {dissection.TOP_PATCH_COUNT}"
    return speedup_row("top patches of all units", product, timings, 1.0, note)


def captum_row(folder: Path) -> BenchmarkRow:
    """Compare the top patches of all units with captum's activations of a layer."""
    from captum.attr import LayerActivation

    plain = plain_network()
    layer = LayerActivation(plain, plain.layer4)

    def find_top_patches(patches: torch.Tensor) -> torch.Tensor:
        """Return the 64 patches with the largest maxima of each unit."""
        with torch.inference_mode():
            maxima = [layer.attribute(part).amax((2, 3)) for part in patches.split(BATCH)]
            return torch.cat(maxima).topk(dissection.TOP_PATCH_COUNT, dim=0).indices

    return top_patches_row(folder, "captum", find_top_patches)


def crp_row(folder: Path) -> BenchmarkRow:
    """Compare the top patches of all units with zennit-crp's maximisation of activations."""
    from crp.concepts import ChannelConcept
    from crp.maximization import Maximization

    plain = plain_network()
    last: list[torch.Tensor] = []
    plain.layer4.register_forward_hook(lambda _module, _inputs, maps: last.append(maps))

    def find_top_patches(patches: torch.Tensor) -> torch.Tensor:
        """Return the 64 patches with the largest maxima of each unit."""
        search = Maximization("activation", "max", path=folder / "crp")
        search.SAMPLE_SIZE = dissection.TOP_PATCH_COUNT
        with torch.inference_mode():
            for rows in torch.arange(len(patches)).split(BATCH):
                plain(patches[rows])
                search.analyze_layer(
                    last.pop(), ChannelConcept(), "last", rows.numpy(), [0] * len(rows)
                )
        return search.d_c_sorted["last"]

    return top_patches_row(folder, "zennit-crp", find_top_patches)


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
            network, MAMMOGRAPHY, full, probe, images, mammogram, 0.5, folder, margin=MARGIN
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
    "zennit-crp": ("crp", crp_row),
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
