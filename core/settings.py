"""Every setting that changes a number, with its meaning, in `study.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError

SETTINGS_NAME = "study.toml"


class Section(BaseModel):
    """A section of study.toml: unknown names are mistakes, and nothing is changed in place."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StudySettings(Section):
    """The study as a whole."""

    name: str = Field(
        "DeepMiner study",
        description="name shown on the pages and in exports",
        min_length=1,
        max_length=120,
    )
    seed: int = Field(1, ge=0, description="seed of everything random that has no seed of its own")


class ImageSettings(Section):
    """Working images."""

    input_side: int = Field(
        227,
        ge=32,
        le=1024,
        description=(
            "side of a patch in pixels of the working image = the network's input side (paper 227,"
            " Inception 299); working images are 4 x as wide"
        ),
    )


class SplitSettings(Section):
    """The patient split."""

    train: float = Field(0.8, gt=0, lt=1, description="share of patients for training")
    holdout: float = Field(
        0.1,
        gt=0,
        lt=1,
        description=(
            "share of patients held out: chooses checkpoints, thresholds and units; the rest is the"
            " test split"
        ),
    )
    published: bool = Field(
        False, description="use the split that comes with the data, where it has one"
    )


class PatchSettings(Section):
    """Which windows become patches, and their labels (DEFINITIONS "Patches")."""

    min_tissue: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a patch is kept if breast tissue covers at least this share of it",
    )
    min_overlap: float = Field(
        0.3,
        gt=0,
        le=1,
        description=(
            "a class counts if its findings cover this share of the patch, or this share of one"
            " finding lies in it"
        ),
    )
    rule: Literal["or", "and"] = Field(
        "or", description='how the two shares are joined: "or" (paper) or "and"'
    )
    ambiguous: Literal["keep", "drop"] = Field(
        "keep",
        description=(
            'patches that touch a finding below the threshold: "keep" as normal (paper) or "drop"'
        ),
    )
    classes: Literal[2, 3] = Field(
        3,
        description=(
            "3: normal, benign, malignant (HDSR 2021); 2: malignant against all other (SPIE 2018)"
        ),
    )


class TrainingSettings(Section):
    """The classifier and its recipe (DEFINITIONS "Networks")."""

    architecture: str = Field(
        "resnet152",
        description=(
            '"small" (six convolutions, from scratch) or a torchvision classifier with a linear'
            " head: resnet152, alexnet, vgg16, inception_v3, ..."
        ),
    )
    weights: str = Field(
        "imagenet",
        description='"imagenet", "none", or the path of a state dict or published checkpoint',
    )
    pool: Literal["global", "top_left_7"] = Field(
        "global",
        description=(
            '"top_left_7" reproduces the published ResNet checkpoints (torchvision 0.1.9 at 227 px)'
        ),
    )
    epochs: int = Field(
        5,
        ge=1,
        description="epochs (published: AlexNet 45, VGG-16 12, Inception-v3 7, ResNet-152 5)",
    )
    batch: int = Field(32, ge=2, description="patches per step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description='"sgd" (paper) or "adamw"')
    learning_rate: float = Field(
        1e-4,
        gt=0,
        description="learning rate at the start (with adamw: the peak of a one-cycle schedule)",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay")
    decay_epoch: int = Field(
        4,
        ge=0,
        description=(
            "sgd: learning rate x 0.1 from this epoch on, counted from 0 (released config: 4)"
        ),
    )
    sampling: Literal["all", "balanced"] = Field(
        "all",
        description=(
            '"all": every training patch once an epoch (paper); "balanced": draws with equal class'
            " shares (hold-out loss and accuracy then weigh classes equally)"
        ),
    )
    draws: int = Field(4000, ge=2, description='patches drawn per epoch when sampling = "balanced"')
    augment: bool = Field(False, description="random flips and quarter turns (paper: none)")
    rotation: float = Field(
        0.0,
        ge=0,
        le=45,
        description=(
            "random rotations by up to this many degrees either way, edges mirrored (paper: none)"
        ),
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="label smoothing of the cross entropy (paper: none)"
    )
    units: int = Field(256, ge=8, description='units of the last layer of the "small" network')
    freeze_batchnorm: bool = Field(
        False, description="keep batch-norm statistics fixed (makes many processes equal one)"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description=(
            'number format of the network\'s body in training and all later steps; "bfloat16" is'
            " faster on processors that have it"
        ),
    )
    auxiliary: list[str] = Field(
        [],
        description=(
            'columns per patient joined to the image by attention, such as ["age", "density"] or'
            " names of feature_<name>; empty: the image alone"
        ),
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description=(
            'weights that all later steps use: of the epoch with the "best" hold-out accuracy, or'
            ' of the "last"; both are saved'
        ),
    )
    seed: int = Field(1, ge=0, description="seed of weights, order and augmentation")


class DissectionSettings(Section):
    """Units and their selection (DEFINITIONS "Units")."""

    layer: str = Field(
        "last",
        description=(
            'layer whose units are dissected: "last" (what feeds the head) or a name of the network'
        ),
    )
    splits: list[Literal["train", "holdout", "test"]] = Field(
        ["train", "holdout"], description="patches looked through for each unit's top patches"
    )
    threshold: float = Field(
        0.2,
        gt=0,
        lt=1,
        description=(
            "region shown: map above this share of the unit's largest activation (published rule)"
        ),
    )
    quantile: float = Field(
        0.005, gt=0, lt=1, description="Network Dissection's top quantile, shown beside it"
    )
    precision: Literal["float16", "float32"] = Field(
        "float32", description="number format of activations.npy"
    )
    top: int = Field(8, ge=1, description="units with the largest influence counted per image")
    select: int = Field(
        20, ge=1, description="units selected per class: those most often among the top"
    )
    rule: Literal["influence", "spie"] = Field(
        "influence",
        description=(
            'who is selected: "influence" (HDSR 2021), or "spie" (SPIE 2018: 45 units, mostly'
            " cancer among their top patches, and a random share)"
        ),
    )


class ExplanationSettings(Section):
    """Explanations and the texts made of them (DEFINITIONS "Explanation")."""

    printed: int = Field(5, ge=1, le=8, description="annotated units printed beside an explanation")
    splits: list[Literal["holdout", "test"]] = Field(
        ["holdout", "test"], description="mammograms that are explained"
    )


class AnnotationSettings(Section):
    """What experts are asked."""

    order_of_experts: list[str] = Field(
        [],
        description=(
            "codes in the order whose answers become labels; empty: people before simulated"
            " experts, then by date of first answer"
        ),
    )
    repeats: int = Field(
        4,
        ge=0,
        le=20,
        description="units shown a second time to each annotator, to measure consistency (0: none)",
    )
    show_patch_labels: bool = Field(
        False, description="show each patch's label to annotators, as the published survey did"
    )


class EvaluationSettings(Section):
    """How explanations are compared with report lines (DEFINITIONS "Similarity to reports")."""

    word_vectors: str = Field(
        "",
        description=(
            'word2vec (.txt, .bin) or GloVe (.txt) file, absolute or inside the study folder; "":'
            " vectors from the study's own report lines and labels"
        ),
    )


class Settings(Section):
    """Every setting of a study."""

    study: StudySettings = Field(default_factory=StudySettings)
    images: ImageSettings = Field(default_factory=ImageSettings)
    splits: SplitSettings = Field(default_factory=SplitSettings)
    patches: PatchSettings = Field(default_factory=PatchSettings)
    training: TrainingSettings = Field(
        default_factory=lambda: TrainingSettings(architecture="small", **recipe("small"))
    )
    dissection: DissectionSettings = Field(default_factory=DissectionSettings)
    explanation: ExplanationSettings = Field(default_factory=ExplanationSettings)
    annotation: AnnotationSettings = Field(default_factory=AnnotationSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)

    def changed(self, section: str, **values: Any) -> Settings:
        """A copy with some values of one section replaced and checked; None means unchanged."""
        given = {k: v for k, v in values.items() if v is not None}
        before = getattr(self, section).model_dump()
        if (
            section == "training"
            and given.get("architecture", self.training.architecture) != self.training.architecture
        ):
            before |= recipe(given["architecture"])  # another architecture brings its own recipe
        merged = before | given
        return _checked({**self.model_dump(), section: merged}, "the command's options")


# The papers' recipe (DEFINITIONS "Networks") and its released epochs; and what trains the small
# network from scratch.
PAPER = {
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
    "keep": "best",
}
RELEASED_EPOCHS = {"alexnet": 45, "vgg16": 12, "inception_v3": 7, "resnet152": 5}
SMALL = {
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
PHANTOM = {
    "images": {"input_side": 64},
    "splits": {"train": 0.6, "holdout": 0.2},
    "dissection": {"select": 8},
}


def recipe(architecture: object) -> dict[str, Any]:
    """Training settings that an architecture has unless study.toml or the command says otherwise."""
    if architecture == "small":
        return dict(SMALL)
    return PAPER | {"epochs": RELEASED_EPOCHS.get(str(architecture), PAPER["epochs"])}


def _checked(values: dict[str, Any], where: str) -> Settings:
    training = values.get("training", {})
    if isinstance(training, dict):
        values = {
            **values,
            "training": (
                {"architecture": "small"} | recipe(training.get("architecture", "small")) | training
            ),
        }
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UserError(
                f"{where}: {name}: there is no such setting; correct its name or take it out."
            ) from error
        raise UserError(
            f"{where}: {name}: {first['msg'][0].lower()}{first['msg'][1:]} (it is"
            f" {first.get('input')!r}); correct it and run the command again."
        ) from error
    if settings.splits.train + settings.splits.holdout >= 1:
        raise UserError(
            f"{where}: splits.train + splits.holdout must be less than 1, or no patient is left for"
            " the test split."
        )
    return settings


def load(study: Path) -> Settings:
    """The settings of a study.

    UserError with the setting's name if the file is missing, unreadable or wrong.
    """
    path = study / SETTINGS_NAME
    if not path.is_file():
        raise UserError(
            f"{study} is not a study folder (it has no {SETTINGS_NAME}); run `deepminer init"
            f" {study}` or give --study."
        )
    try:
        return _checked(tomllib.loads(path.read_text(encoding="utf-8-sig")), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not valid TOML ({error}); correct the line or take it out."
        ) from error


def preset(values: dict[str, Any] | None = None) -> Settings:
    """Settings from a preset such as PHANTOM; those of a new study where nothing is given."""
    return _checked(values or {}, "preset")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return repr(value)


def as_toml(settings: Settings) -> str:
    """The whole file, each setting under its comment."""
    lines = [
        (
            "# Settings of this DeepMiner study. A changed value makes the steps that read it run"
            " anew; earlier runs stay."
        ),
        "",
    ]
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        lines.append(f"[{name}]")
        for key, info in type(section).model_fields.items():
            # What the architecture's recipe says stays a comment: it follows when the architecture
            # is changed.
            follows = (
                name == "training"
                and key in SMALL
                and getattr(section, key) == recipe(settings.training.architecture)[key]
            )
            lines += [
                f"# {info.description}",
                f"{'# ' if follows else ''}{key} = {_toml(getattr(section, key))}",
            ]
        lines.append("")
    return "\n".join(lines)
