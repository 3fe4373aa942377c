"""A simulated folder in the form of the published repository: films, masks, words, labels, weights.

Places and names of files, and the content of the joblib files, are those of the published
repository after its download scripts have been run. Unit labels of two classes were not published;
they are written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

PARTS = ("train", "val", "test")
# Share of a window, or of the whole finding, from which a window has the finding's label.
_OVERLAP = 0.3
_EPOCHS = {"alexnet": 45, "vgg16": 12, "inception_v3": 7, "resnet152": 5}


@dataclass(frozen=True, kw_only=True)
class SimulatedFilm:
    """A film of the release.

    Attributes
    ----------
    name : str
        Such as cancer_01-A_1001_1.LEFT_CC.LJPEG.1.
    part : str
        List that names it: train, val or test.
    pixels : ndarray
        uint8 [height, width].
    mask : ndarray
        uint8 [height, width]: 0 normal, 1 benign, 2 malignant.
    abnormalities : sequence of list of str
        Lines of the overlay file of each abnormality.
    windows : sequence of (int, int)
        Row and column of the upper left corner of every listed patch.
    """

    name: str
    part: str
    pixels: np.ndarray
    mask: np.ndarray
    abnormalities: Sequence[list[str]]
    windows: Sequence[tuple[int, int]]

    @property
    def side(self) -> int:
        """Side of a patch in pixels: a quarter of the width."""
        return round(self.pixels.shape[1] / 4)


@dataclass(frozen=True, kw_only=True)
class SimulatedNetwork:
    """A checkpoint with unit labels.

    state: parameters under torchvision's names. labels: text by unit, counted from 1. raw: answers
    by expert; written for three classes only.
    """

    architecture: str
    classes: int
    state: Mapping[str, Tensor]
    labels: Mapping[int, str]
    raw: Mapping[str, Mapping[int, str]] | None = None


def write_films(root: Path, films: Sequence[SimulatedFilm]) -> None:
    """Write films, masks, lists of films and of patches, and the file of words."""
    data = root / "data"
    for folder in ("ddsm_raw", "ddsm_masks/3class", "ddsm_raw_image_lists"):
        (data / folder).mkdir(parents=True)
    words = {}
    for film in films:
        Image.fromarray(film.pixels).save(data / "ddsm_raw" / f"{film.name}.jpg", quality=95)
        if film.mask.any():
            mask_file = data / "ddsm_masks" / "3class" / f"{film.name}.png"
            Image.fromarray(film.mask).save(mask_file)
            volume = film.name.rpartition("-")[0].rpartition("_")[0]
            words[f"{volume}s/{film.name}.jpg"] = list(film.abnormalities)
    for part in PARTS:
        listed = [film for film in films if film.part == part]
        names = "".join(f"{film.name}.jpg\n" for film in listed)
        (data / "ddsm_raw_image_lists" / f"{part}.txt").write_text(names)
        for classes in (3, 2):
            folder = data / "ddsm_labels" / f"{classes}class"
            folder.mkdir(parents=True, exist_ok=True)
            lines = [line for film in listed for line in _patch_lines(film, classes)]
            (folder / f"{part}.txt").write_text("".join(lines))
    meta = root / "deepminer" / "data" / "ddsm_meta_data.jbl"
    meta.parent.mkdir(parents=True)
    joblib.dump({"meta": words}, meta)


def _patch_lines(film: SimulatedFilm, classes: int) -> list[str]:
    lines = []
    for y, x in film.windows:
        label = _window_label(film, y, x)
        number = label if classes == 3 else int(label == 2)
        lines.append(f"{film.name}-y{y}_x{x}_h{film.side}_w{film.side}.jpg {number}\n")
    return lines


def _window_label(film: SimulatedFilm, y: int, x: int) -> int:
    """Return the worst class of which the window shows enough."""
    window = film.mask[y : y + film.side, x : x + film.side]
    for value in (2, 1):
        shown, whole = (window == value).sum(), (film.mask == value).sum()
        if shown and max(shown / film.side**2, shown / whole) >= _OVERLAP:
            return value
    return 0


def write_network(root: Path, network: SimulatedNetwork) -> None:
    """Write a checkpoint and its unit labels."""
    name = f"{network.architecture}_{network.classes}class"
    epochs = _EPOCHS[network.architecture]
    checkpoint = root / "training" / "pretrained" / name / f"checkpoint_{epochs:08d}.pth.tar"
    checkpoint.parent.mkdir(parents=True)
    save_published(network.state, network.architecture, checkpoint)
    labels = _named(network.labels)
    if network.classes == 3:
        joblib.dump(labels, root / "deepminer" / "data" / "cleaned_unit_labels.jbl")
        if network.raw is not None:
            raw = {expert: _named(units) for expert, units in network.raw.items()}
            file = f"{name.replace('_3class', '')}_3class_layer4_unit_labels.jbl"
            joblib.dump(raw, root / "deepminer" / "data" / file)
    else:
        file_2class = root / "unit_labels" / f"{name}.json"
        file_2class.parent.mkdir(exist_ok=True)
        file_2class.write_text(json.dumps(labels, indent=1))


def influential_units(state: Mapping[str, Tensor], number: int) -> list[int]:
    """Return units of the last convolution, counted from 1, those with the largest weights first.

    With a single linear head these are the units that influence most; AlexNet and VGG get evenly
    spaced ones.
    """
    if "fc.weight" in state:
        largest = state["fc.weight"].max(0).values
        return [int(unit) + 1 for unit in largest.argsort(descending=True)[:number]]
    units = [value for name, value in state.items() if name.startswith("features.")][-1].shape[0]
    return [1 + k * units // number for k in range(number)]


def _named(labels: Mapping[int, str]) -> dict[str, str]:
    return {f"unit_{unit:04d}": text for unit, text in labels.items()}


def save_published(state: Mapping[str, Tensor], arch: str, path: Path) -> None:
    """Save a state dict as the published programs did.

    `module.` stands in front of the names, or for AlexNet and VGG inside `features.` only; there
    are no counters of batch normalisation; the best accuracy is a NumPy number.
    """
    published = {
        (
            k.replace("features.", "features.module.", 1)
            if arch in ("alexnet", "vgg16")
            else f"module.{k}"
        ): v
        for k, v in state.items()
        if not k.endswith("num_batches_tracked")
    }
    content = {
        "epoch": 5,
        "arch": arch,
        "state_dict": published,
        "best_prec1": np.float64(0.8),
        "optimizer": {"state": {}, "param_groups": []},
    }
    torch.save(content, path)
