"""Presets of new studies, and the training recipe of each architecture.

A recipe gives the training settings that neither study.toml nor a command sets.
"""

from __future__ import annotations

from typing import Any

# The published training of pretrained networks (HDSR 2021): ImageNet weights, and the weights of
# the last epoch are used.
PAPER_RECIPE = {
    "weights": "imagenet",
    "epochs": 5,
    "batch": 32,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "decay_epoch": 4,
    "sampling": "all",
    "augment": False,
    "label_smoothing": 0.0,
    "keep": "last",
}
# What the released configurations of the papers' networks set otherwise: their `lr_decay_epochs`
# are [] for AlexNet, VGG-16 and Inception-v3, and [4] for ResNet-152.
RELEASED_CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "alexnet": {"epochs": 45, "decay_epoch": -1},
    "vgg16": {"epochs": 12, "decay_epoch": -1},
    "inception_v3": {"epochs": 7, "decay_epoch": -1},
    "resnet152": {"epochs": 5, "decay_epoch": 4},
}
SMALL_NETWORK_RECIPE = {
    "weights": "none",
    "epochs": 12,
    "batch": 64,
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "decay_epoch": 4,
    "sampling": "balanced",
    "augment": True,
    "label_smoothing": 0.05,
    "keep": "last",
}
# What new studies have and studies without the setting do not.
NEW_STUDY_PRESET = {"images": {"outside_breast": "black"}}
PHANTOM_PRESET = {
    "images": {"input_side": 64, "outside_breast": "black"},
    "splits": {"train": 0.6, "holdout": 0.2},
    "dissection": {"select": 8},
}


def training_recipe(architecture: object) -> dict[str, Any]:
    """Return the training settings of an architecture.

    Examples
    --------
    >>> training_recipe("alexnet")["epochs"], training_recipe("alexnet")["decay_epoch"]
    (45, -1)
    >>> training_recipe("my_package.my_networks:create")["weights"]
    'none'
    """
    name = str(architecture)
    if name in ("small", "medium"):
        return dict(SMALL_NETWORK_RECIPE)
    # A module of the user's own brings its initial weights itself.
    own = {"weights": "none"} if ":" in name else {}
    return PAPER_RECIPE | RELEASED_CONFIGURATIONS.get(name, {}) | own
