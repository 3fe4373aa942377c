"""Settings of a study: every value that influences a result, stored in `study.toml`.

The descriptions of the fields become the comments of the file and `docs/reference/settings.md`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import MissingStudyError, UserError

SETTINGS_NAME = "study.toml"


class SettingsSection(BaseModel):
    """A section of study.toml: unknown names are errors, and values are immutable."""

    # strict: without it pydantic turns "5" and true into numbers.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StudySettings(SettingsSection):
    """Name and random seed of the study."""

    name: str = Field(
        "DeepMiner study",
        description="name shown on the pages and in exports",
        min_length=1,
        max_length=120,
    )
    seed: int = Field(1, ge=0, description="seed of all random choices without a seed of their own")


class ImageSettings(SettingsSection):
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
    outside_breast: Literal["keep", "black"] = Field(
        "keep",
        description=(
            'what lies outside the breast, such as burnt-in labels: "keep" (papers) or "black" for'
            " training and all later steps (the stored images do not change)"
        ),
    )
    breast_margin: float = Field(
        3.0,
        ge=0,
        le=100,
        description="margin around the breast that keeps the skin line",
    )
    breast_margin_unit: Literal["mm", "pixels"] = Field(
        "mm",
        description=(
            'unit of the margin: "mm" (an image of unknown pixel size counts as 240 mm wide) or'
            ' "pixels" of the working image'
        ),
    )
    magnification_views: Literal["keep", "leave_out"] = Field(
        "keep",
        description=(
            "magnification and spot views, as DICOM headers mark them: used like other mammograms"
            ' ("keep"), or in no step ("leave_out")'
        ),
    )


class SplitSettings(SettingsSection):
    """Split of the patients into training, hold-out and test."""

    train: float = Field(0.8, gt=0, lt=1, description="share of patients for training")
    holdout: float = Field(
        0.1,
        gt=0,
        lt=1,
        description=(
            "share of patients held out to choose checkpoints, thresholds and units; the rest is"
            " the test split"
        ),
    )
    published: bool = Field(
        False, description="use the split published with the data, where there is one"
    )


class PatchSettings(SettingsSection):
    """Selection and labels of patches: `docs/reference/definitions.md`, "Patches"."""

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


class TrainingSettings(SettingsSection):
    """The classifier and its training: `docs/reference/definitions.md`, "Networks"."""

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
            " faster on processors that support it"
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


class DissectionSettings(SettingsSection):
    """Dissection and selection of units: `docs/reference/definitions.md`, "Units"."""

    layer: str = Field(
        "last",
        description=(
            'layer whose units are dissected: "last" (what feeds the head) or a name of the network'
        ),
    )
    splits: list[Literal["train", "holdout", "test"]] = Field(
        ["train", "holdout"], description="splits searched for each unit's top patches"
    )
    threshold: float = Field(
        0.2,
        gt=0,
        lt=1,
        description=(
            "highlighted region: activation above this share of the unit's largest one (published"
            " rule)"
        ),
    )
    quantile: float = Field(
        0.005,
        gt=0,
        lt=1,
        description="top quantile of Network Dissection, displayed for comparison",
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
            'rule of selection: "influence" (HDSR 2021), or "spie" (SPIE 2018: 45 units, mostly'
            " cancer among their top patches, and a random share)"
        ),
    )


class ExplanationSettings(SettingsSection):
    """Explanations and their texts: `docs/reference/definitions.md`, "Explanation"."""

    printed: int = Field(
        5, ge=1, le=8, description="annotated units displayed beside an explanation"
    )
    splits: list[Literal["holdout", "test"]] = Field(
        ["holdout", "test"], description="mammograms that are explained"
    )


class AnnotationSettings(SettingsSection):
    """Annotation of units by experts."""

    order_of_experts: list[str] = Field(
        [],
        description=(
            "expert codes in order of precedence: the first expert who named a unit gives its"
            " label; empty: people before simulated experts, then by date of first answer"
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


class EvaluationSettings(SettingsSection):
    """Comparison of explanations with report lines: "Similarity to reports" in the definitions."""

    word_vectors: str = Field(
        "",
        description=(
            'word2vec (.txt, .bin) or GloVe (.txt) file, absolute or inside the study folder; "":'
            " vectors from the study's own report lines and labels"
        ),
    )


class Settings(SettingsSection):
    """All settings of a study."""

    study: StudySettings = Field(default_factory=StudySettings)
    images: ImageSettings = Field(default_factory=ImageSettings)
    splits: SplitSettings = Field(default_factory=SplitSettings)
    patches: PatchSettings = Field(default_factory=PatchSettings)
    training: TrainingSettings = Field(
        default_factory=lambda: TrainingSettings(architecture="small", **training_recipe("small"))
    )
    dissection: DissectionSettings = Field(default_factory=DissectionSettings)
    explanation: ExplanationSettings = Field(default_factory=ExplanationSettings)
    annotation: AnnotationSettings = Field(default_factory=AnnotationSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)

    def with_changes(self, section: str, **values: Any) -> Settings:
        """Return a validated copy with some values of one section replaced.

        A value of None means unchanged. Another architecture brings its own training recipe.
        UserError if a value is not allowed.
        """
        changes = {k: v for k, v in values.items() if v is not None}
        current = getattr(self, section).model_dump()
        if section == "training":
            architecture = changes.get("architecture", self.training.architecture)
            if architecture != self.training.architecture:
                current |= training_recipe(architecture)
        merged = current | changes
        return _validate({**self.model_dump(), section: merged}, "the command's options")


# The published training of pretrained networks (HDSR 2021) with the epochs of the released
# configurations, and the training of the small network from scratch.
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
    "keep": "best",
}
RELEASED_EPOCHS = {"alexnet": 45, "vgg16": 12, "inception_v3": 7, "resnet152": 5}
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
    """Return the training settings of an architecture, unless study.toml or a command overrides."""
    if architecture == "small":
        return dict(SMALL_NETWORK_RECIPE)
    return PAPER_RECIPE | {"epochs": RELEASED_EPOCHS.get(str(architecture), PAPER_RECIPE["epochs"])}


def _validate(values: dict[str, Any], origin: str) -> Settings:
    """Return validated settings; a UserError names `origin` and the setting."""
    training = values.get("training", {})
    if isinstance(training, dict):  # anything else is reported by the validation below
        # The recipe of the file's architecture fills the settings that the file leaves out.
        recipe = training_recipe(training.get("architecture", "small"))
        values = {**values, "training": {"architecture": "small"} | recipe | training}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise UserError(_first_error(error, origin)) from error
    if settings.splits.train + settings.splits.holdout >= 1:
        raise UserError(
            f"{origin}: splits.train + splits.holdout must be less than 1, or no patient is left"
            " for the test split."
        )
    return settings


def _first_error(error: ValidationError, origin: str) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{origin}: {name}: there is no such setting; correct its name or remove it."
    return (
        f"{origin}: {name}: {first['msg'][0].lower()}{first['msg'][1:]} (it is"
        f" {first.get('input')!r}); correct it and run the command again."
    )


def load_settings(study: Path) -> Settings:
    """Return the settings of a study.

    MissingStudyError if the folder has none; UserError naming the setting that is not valid.
    """
    path = study / SETTINGS_NAME
    if not path.is_file():
        raise MissingStudyError(study, SETTINGS_NAME)
    try:
        # utf-8-sig: editors on Windows write a byte order mark, which TOML does not allow.
        return _validate(tomllib.loads(path.read_text(encoding="utf-8-sig")), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not valid TOML ({error}); correct or remove the line."
        ) from error


def load_order_of_experts(study: Path) -> list[str]:
    """Return the expert codes in order of precedence; empty without a study.toml."""
    if not (study / SETTINGS_NAME).is_file():
        return []
    return list(load_settings(study).annotation.order_of_experts)


def settings_from_preset(values: dict[str, Any] | None = None) -> Settings:
    """Return the settings of a new study with the values of a preset such as PHANTOM_PRESET."""
    return _validate(values or {}, "preset")


def _toml_value(value: Any) -> str:
    # The standard library reads TOML only; settings hold no other types than these.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return repr(value)


def to_toml(settings: Settings) -> str:
    """Return the text of study.toml with every setting below its comment."""
    lines = [
        "# Settings of this DeepMiner study. After a change, the steps that use the value run"
        " again; earlier runs are kept.",
        "",
    ]
    recipe = training_recipe(settings.training.architecture)
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        lines.append(f"[{name}]")
        for key, info in type(section).model_fields.items():
            value = getattr(section, key)
            # A value of the architecture's recipe stays commented out: it changes with the
            # architecture.
            is_recipe = name == "training" and key in recipe and recipe[key] == value
            lines += [
                f"# {info.description}",
                f"{'# ' if is_recipe else ''}{key} = {_toml_value(value)}",
            ]
        lines.append("")
    return "\n".join(lines)
