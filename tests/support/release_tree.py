"""A small folder of the published form: films, masks, lists, descriptions, labels, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import torch
from PIL import Image

from core.networks.architectures import models
from support.breast_films import breast_film
from support.published_networks import cheap_initial_weights, save_published

HEIGHT, WIDTH = 230, 240
CENTER, RADIUS = (115, 72), 22
# Folder of the volume, and value in the mask.
VOLUMES = {"cancer_01": 2, "benign_01": 1, "normal_01": 0}
PARTS = ("train", "val", "test")
NETWORK, CLASSES = "shufflenet_v2_x0_5", (3, 2)
REPORT = "MASS SHAPE OVAL MARGINS SPICULATED"


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


def write_release(root: Path) -> Path:
    """Write nine films of nine patients, two networks and their labels below a folder."""
    for folder in ("ddsm_raw", "ddsm_masks/3class", "ddsm_raw_image_lists", "ddsm_labels/3class"):
        (root / folder).mkdir(parents=True)
    words = {}
    for p, (part, names) in enumerate(film_names().items()):
        lines = []
        for v, (name, value) in enumerate(zip(names, VOLUMES.values())):
            film = (breast_film(10 * p + v, HEIGHT, WIDTH) >> 4).astype(np.uint8)
            mask = lesion_mask(value)
            film[mask > 0] = 220 + 10 * value
            Image.fromarray(film).save(root / "ddsm_raw" / f"{name}.jpg", quality=95)
            if value:
                Image.fromarray(mask).save(root / "ddsm_masks/3class" / f"{name}.png")
                pathology = "MALIGNANT" if value == 2 else "BENIGN"
                words[name] = {
                    "LESION_TYPE": REPORT,
                    "ASSESSMENT": 4,
                    "SUBTLETY": 3,
                    "PATHOLOGY": pathology,
                }
            side = round(WIDTH / 4)
            lines += [f"{name}-y85_x42_h{side}_w{side}.jpg {value}\n"]
            lines += [f"{name}-y85_x90_h{side}_w{side}.jpg 0\n"]
        (root / "ddsm_labels/3class" / f"{part}.txt").write_text("".join(lines))
        listed = "".join(f"{name}.jpg\n" for name in names)
        (root / "ddsm_raw_image_lists" / f"{part}.txt").write_text(listed)
    joblib.dump(words, root / "ddsm_meta_data")
    _write_networks(root)
    return root


def _write_networks(root: Path) -> None:
    """Write a checkpoint and labels of each network; three classes also have raw answers."""
    arch = NETWORK
    for classes in CLASSES:
        with cheap_initial_weights():
            torch.manual_seed(2)
            state = models.get_model(arch, weights=None, num_classes=classes).state_dict()
        checkpoint = root / "checkpoints" / f"{classes}class" / f"{arch}.pth.tar"
        checkpoint.parent.mkdir(parents=True)
        save_published(state, arch, checkpoint)
        folder = root / "unit_labels" / f"{classes}class"
        folder.mkdir(parents=True)
        labels = {f"unit_{unit:04d}": "spiculated oval mass" for unit in range(1, 129)}
        (folder / f"{arch}_cleaned.json").write_text(json.dumps(labels))
        if classes == 3:
            raw = {"expert_1": dict.fromkeys(labels, "mass, spiculated")}
            (folder / f"{arch}_raw.json").write_text(json.dumps(raw))
