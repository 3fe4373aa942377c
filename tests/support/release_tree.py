"""A small folder of the published form: nine films, and the five networks with few channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.reproduction.release_tree import (
    PARTS,
    SimulatedFilm,
    SimulatedNetwork,
    influential_units,
    write_films,
    write_network,
)
from core.networks.architectures import torchvision_models
from support.breast_films import breast_film
from support.narrow_networks import narrow_published_networks

HEIGHT, WIDTH = 300, 312
CENTER, RADIUS = (150, 94), 28
# Volume, and value in the mask.
VOLUMES = {"cancer_01": 2, "benign_01": 1, "normal_01": 0}
# Labelled units of each network: 134 with two classes, as in SPIE 2018.
LABELLED = {
    ("alexnet", 2): 34,
    ("vgg16", 2): 32,
    ("inception_v3", 2): 34,
    ("resnet152", 2): 34,
    ("resnet152", 3): 128,
}
TEXTS = ("Calcification and mass", "Spiculated oval mass", "Vascular calcifications")


def film_names() -> dict[str, list[str]]:
    """Return the names of the films of each part, one per volume."""
    return {
        part: [
            f"{volume}-A_{10 * p + v + 1000}_1.LEFT_CC.LJPEG.1" for v, volume in enumerate(VOLUMES)
        ]
        for p, part in enumerate(PARTS)
    }


def lesion_mask(value: int) -> np.ndarray:
    """Return a mask with one round finding of this value, uint8 [HEIGHT, WIDTH]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = (y - CENTER[0]) ** 2 + (x - CENTER[1]) ** 2 < RADIUS**2
    return np.where(inside, value, 0).astype(np.uint8)


def films() -> list[SimulatedFilm]:
    """Return nine films of nine patients."""
    return [
        _film(name, part, value, seed=10 * p + v)
        for p, (part, names) in enumerate(film_names().items())
        for v, (name, value) in enumerate(zip(names, VOLUMES.values()))
    ]


def _film(name: str, part: str, value: int, seed: int) -> SimulatedFilm:
    pixels = (breast_film(seed, HEIGHT, WIDTH) >> 4).astype(np.uint8)
    mask = lesion_mask(value)
    pixels[mask > 0] = 220 + 10 * value
    lines = [
        "ABNORMALITY 1",
        "LESION_TYPE MASS SHAPE OVAL MARGINS SPICULATED",
        "ASSESSMENT 4",
        "SUBTLETY 3",
        f"PATHOLOGY {'MALIGNANT' if value == 2 else 'BENIGN'}",
        "TOTAL_OUTLINES 2 ",
        "BOUNDARY",
    ]
    return SimulatedFilm(
        name=name,
        part=part,
        pixels=pixels,
        mask=mask,
        abnormalities=[lines, ["\tCORE"]],
        windows=[(111, 55), (111, 117)],
    )


def write_release(root: Path) -> Path:
    """Write films, the five networks and their labels below a folder."""
    write_films(root, films())
    with narrow_published_networks():
        for (architecture, classes), number in LABELLED.items():
            write_network(root, _network(architecture, classes, number))
    return root


def _network(architecture: str, classes: int, number: int) -> SimulatedNetwork:
    torch.manual_seed(2)
    options = {"init_weights": False} if architecture == "inception_v3" else {}
    module = torchvision_models().get_model(
        architecture, weights=None, num_classes=classes, **options
    )
    state = module.state_dict()
    units = influential_units(state, number)
    labels = {unit: TEXTS[k % len(TEXTS)] for k, unit in enumerate(units)}
    raw = {"expert_1": labels} if classes == 3 else None
    return SimulatedNetwork(
        architecture=architecture,
        classes=classes,
        state=state,
        labels=labels,
        raw=raw,
    )
