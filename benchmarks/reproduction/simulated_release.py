"""The simulated release of the benchmark: 40 phantom films, five checkpoints of the published size.

The weights are random, so that no computed value can agree with a published one; sizes, forms and
numbers of labels are those of the papers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.reproduction.release_tree import (
    SimulatedFilm,
    SimulatedNetwork,
    influential_units,
    write_films,
    write_network,
)
from core.images.polygons import fill_polygons, scale_polygons
from core.networks.architectures import torchvision_models
from core.sources import phantom
from core.sources.records import Finding, Mammogram

SEED = 7
# Patients, with two films each, by part and kind. Networks see no film of the part train.
PATIENTS = {
    "train": {"cancer": 4, "benign": 4, "normal": 4},
    "val": {"cancer": 1, "benign": 1, "normal": 1},
    "test": {"cancer": 2, "benign": 2, "normal": 1},
}
# Phantoms are drawn at this width and enlarged by the factor: time grows with their area.
DRAWN_WIDTH, ENLARGED = 300, 4
ASPECT = 1.15
# Windows that are listed of each film, at most: with a finding, and without one.
_FINDING_WINDOWS, _NORMAL_WINDOWS = 4, 3
# Labelled units: 134 of four networks in SPIE 2018, 46 in HDSR 2021.
LABELLED = {
    ("alexnet", 2): 30,
    ("vgg16", 2): 34,
    ("inception_v3", 2): 34,
    ("resnet152", 2): 36,
    ("resnet152", 3): 46,
}
TEXTS = (
    "Calcification and mass, simulated label",
    "Spiculated mass, simulated label",
    "Calcified vessels, simulated label",
    "Architectural distortion, simulated label",
    "Dense tissue with microcalcifications, simulated label",
    "Oval circumscribed mass, simulated label",
    "Pectoral muscle, simulated label",
    "Asymmetry, simulated label",
    "Clustered pleomorphic calcifications in a mass, simulated label",
)


def write_release(root: Path) -> Path:
    """Write the simulated release below a folder, and return the folder."""
    write_films(root, list(phantom_films()))
    for architecture, classes in LABELLED:
        write_network(root, random_network(architecture, classes))
    return root


def phantom_films() -> Iterator[SimulatedFilm]:
    """Yield 40 films of 20 patients."""
    wanted = [
        (part, kind)
        for part, kinds in PATIENTS.items()
        for kind, number in kinds.items()
        for _ in range(number)
    ]
    tasks, _ = phantom.list_tasks(
        patients=500, seed=SEED, width=DRAWN_WIDTH, aspect=ASPECT, swap=0.0
    )
    for number, task in enumerate(tasks):
        if not wanted:
            break
        patient = phantom.read_patient(task)
        findings = [finding for m in patient.mammograms for finding in m.findings]
        kind = _kind(findings)
        slot = next((slot for slot in wanted if slot[1] == kind), None)
        if slot is None:
            continue
        wanted.remove(slot)
        for mammogram in patient.mammograms:
            yield _film(mammogram, kind, slot[0], f"A_{1001 + number}_1")


def _kind(findings: list[Finding]) -> str:
    if not findings:
        return "normal"
    return "cancer" if any(f.pathology == "MALIGNANT" for f in findings) else "benign"


def _film(mammogram: Mammogram, kind: str, part: str, case: str) -> SimulatedFilm:
    height, width = (ENLARGED * length for length in mammogram.pixels.shape)
    image = Image.fromarray(mammogram.pixels).resize((width, height), Image.Resampling.BICUBIC)
    pixels, mask = np.asarray(image), np.zeros((height, width), np.uint8)
    for finding in mammogram.findings:
        value = 2 if finding.pathology == "MALIGNANT" else 1
        outline = scale_polygons(finding.outline, (ENLARGED, ENLARGED))
        inside = fill_polygons(outline, mask.shape)
        mask[inside] = np.maximum(mask[inside], value)
    view = f"{mammogram.laterality}_{mammogram.view}"
    return SimulatedFilm(
        name=f"{kind}_01-{case}.{view}.LJPEG.1",
        part=part,
        pixels=pixels,
        mask=mask,
        abnormalities=[overlay_lines(finding) for finding in mammogram.findings],
        windows=_windows(pixels, mask),
    )


def overlay_lines(finding: Finding) -> list[str]:
    """Return the lines of an abnormality in the form of the published file of words."""
    return [
        f"ABNORMALITY {finding.number}",
        finding.report.partition(" ASSESSMENT")[0],
        f"ASSESSMENT {finding.assessment}",
        f"SUBTLETY {finding.subtlety}",
        f"PATHOLOGY {finding.pathology}",
        "TOTAL_OUTLINES 1 ",
        "BOUNDARY",
    ]


def _windows(pixels: np.ndarray, mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the windows over tissue that touch a finding, and some of the others."""
    side = round(pixels.shape[1] / 4)
    with_finding, without = [], []
    for y in range(0, pixels.shape[0] - side + 1, side // 2):
        for x in range(0, pixels.shape[1] - side + 1, side // 2):
            window = (slice(y, y + side), slice(x, x + side))
            if (pixels[window] > 40).mean() >= 0.5:
                (with_finding if mask[window].any() else without).append((y, x))
    return sorted(
        _evenly_spaced(with_finding, _FINDING_WINDOWS) + _evenly_spaced(without, _NORMAL_WINDOWS)
    )


def _evenly_spaced(windows: list[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    step = max(1, -(-len(windows) // number))
    return windows[::step]


def random_network(architecture: str, classes: int) -> SimulatedNetwork:
    """Return a network of the published size with random weights, and its unit labels."""
    torch.manual_seed(SEED + classes)
    options = {"init_weights": False} if architecture == "inception_v3" else {}
    module = torchvision_models().get_model(
        architecture, weights=None, num_classes=classes, **options
    )
    _settle_statistics(module, 299 if architecture == "inception_v3" else 227)
    state = module.state_dict()
    units = influential_units(state, LABELLED[architecture, classes])
    labels = {unit: TEXTS[k % len(TEXTS)] for k, unit in enumerate(units)}
    raw = {"expert_1": labels} if classes == 3 else None
    return SimulatedNetwork(
        architecture=architecture, classes=classes, state=state, labels=labels, raw=raw
    )


def _settle_statistics(module: nn.Module, side: int) -> None:
    """Set batch normalisation to statistics of activations; without them deep networks overflow."""
    for block in module.modules():
        if hasattr(block, "bn3"):
            nn.init.constant_(block.bn3.weight, 0.2)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            module.train()(torch.randn(2, 3, side, side))
