"""Sections of study.toml.

The descriptions of the fields become the comments of the file and `docs/reference/settings.md`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.class_labels import MAX_CLASSES


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
            "side of a patch in pixels of the working image, which is 4 x as wide (paper 227,"
            " Inception 299); `deepminer patches --input-side` gives networks another side"
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
    subject: Literal["breast", "any"] = Field(
        "breast",
        description=(
            '"breast": tissue is segmented, and laterality and view are known; "any": patches are'
            " cut from the whole image, and laterality and view are optional"
        ),
    )
    colour: bool = Field(False, description="keep colours; otherwise images are grey")
    inversion: Literal["automatic", "never"] = Field(
        "automatic",
        description=(
            '"automatic" inverts grey images of the breast that appear negative; "never" keeps all'
            " images as they are stored"
        ),
    )
    magnification_views: Literal["keep", "leave_out"] = Field(
        "keep",
        description=(
            "magnification and spot views, as DICOM headers mark them: used like other mammograms"
            ' ("keep"), or in no step ("leave_out")'
        ),
    )


class ClassSettings(SettingsSection):
    """Classes of findings and images: `docs/reference/definitions.md`, "Classes"."""

    normal: str = Field("normal", description="class of patches and images without a finding")
    lesions: list[str] = Field(
        ["benign", "malignant"],
        description=(
            "classes of findings, 1 to 19; where several count in one patch or image, the later one"
            " decides"
        ),
    )
    positive: str = Field(
        "malignant",
        description="class that scores, operating points and reading studies are about",
    )
    comparison: str = Field(
        "benign", description="class that reading studies compare with the positive one"
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
    classes: int = Field(
        3,
        ge=2,
        le=MAX_CLASSES,
        description=(
            "3: normal, benign, malignant (HDSR 2021), or the number of classes that [classes]"
            " names; 2: the positive class against all other (SPIE 2018)"
        ),
    )


class TrainingSettings(SettingsSection):
    """The classifier and its training: `docs/reference/definitions.md`, "Networks"."""

    architecture: str = Field(
        "resnet152",
        description=(
            '"small" or "medium" (six or seven convolutions, from scratch), a torchvision'
            " classifier (resnet152, alexnet, vgg16, inception_v3, ...), or"
            ' "package.module:function" of a network of your own'
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
        ge=-1,
        description=(
            "sgd: learning rate x 0.1 from this epoch on, counted from 0; -1: no decay (released:"
            " ResNet-152 4, the other three none)"
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
        "last",
        description=(
            'weights that all later steps use: of the epoch with the "best" hold-out accuracy, or'
            ' of the "last" (papers); both are saved'
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
    ranking_format: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description=(
            'number format of the pass that ranks the patches; "auto": bfloat16 where the study is'
            " large, the processor has it and a sample of the patches gives the same ranking, else"
            " float32; stored activations of top patches are float32 in any case"
        ),
    )
    top: int = Field(8, ge=1, description="units with the largest influence counted per image")
    select: int = Field(
        20, ge=1, description="units selected per class: those most often among the top"
    )
    rule: Literal["influence", "spie", "groups"] = Field(
        "influence",
        description=(
            'rule of selection: "influence" (HDSR 2021), "spie" (SPIE 2018: 45 units, mostly'
            ' cancer among their top patches, and a random share), or "groups" (groups of similar'
            " units as wholes; select is then the number of groups)"
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
            "expert codes in order: where experts agree on a label, it is printed in the words of"
            " the first; empty: people before simulated experts, then by date of first answer"
        ),
    )
    repeats: int = Field(
        4,
        ge=0,
        le=20,
        description="units shown a second time to each annotator, to measure consistency (0: none)",
    )
    lexicon: str = Field(
        "",
        description=(
            "TOML file of the study's own categories, keys, words and questions"
            ' (docs/reference/lexicon.md), absolute or inside the study folder; "": BI-RADS'
        ),
    )
    show_patch_labels: bool = Field(
        False, description="show each patch's label to annotators, as the published survey did"
    )
    by_group: bool = Field(
        False,
        description=(
            "annotate units that respond to the same thing once, as a group (`deepminer group`);"
            " false: every selected unit by itself, as published"
        ),
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
