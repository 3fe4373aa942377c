"""Default and limits of every setting, on both sides, and what is made of the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.class_labels import ClassDefinition, ImageDomain
from core.errors import MissingStudyError, UserError
from core.settings import (
    NEW_STUDY_PRESET,
    PHANTOM_PRESET,
    in_study_words,
    load_image_noun,
    load_order_of_experts,
    load_settings,
    settings_from_preset,
    to_toml,
    training_recipe,
)
from core.settings.sections import (
    AnnotationSettings,
    ClassSettings,
    DissectionSettings,
    EvaluationSettings,
    ExplanationSettings,
    ImageSettings,
    PatchSettings,
    SettingsSection,
    SplitSettings,
    StudySettings,
    TrainingSettings,
)
from core.settings.study_settings import _toml_value

DEFAULTS: dict[type[SettingsSection], dict[str, Any]] = {
    StudySettings: {"name": "DeepMiner study", "seed": 1},
    ImageSettings: {
        "input_side": 227, "outside_breast": "keep", "breast_margin": 3.0,
        "breast_margin_unit": "mm", "subject": "breast", "colour": False,
        "inversion": "automatic", "magnification_views": "keep",
    },
    ClassSettings: {
        "normal": "normal", "lesions": ["benign", "malignant"], "positive": "malignant",
        "comparison": "benign",
    },
    SplitSettings: {"train": 0.8, "holdout": 0.1, "published": False},
    PatchSettings: {
        "min_tissue": 0.5, "min_overlap": 0.3, "rule": "or", "ambiguous": "keep", "classes": 3,
    },
    TrainingSettings: {
        "architecture": "resnet152", "weights": "imagenet", "pool": "global", "epochs": 5,
        "batch": 32, "optimizer": "sgd", "learning_rate": 0.0001, "momentum": 0.9,
        "weight_decay": 0.0001, "decay_epoch": 4, "sampling": "all", "draws": 4000,
        "augment": False, "rotation": 0.0, "label_smoothing": 0.0, "units": 256,
        "freeze_batchnorm": False, "precision": "float32", "auxiliary": [], "keep": "last",
        "seed": 1,
    },
    DissectionSettings: {
        "layer": "last", "splits": ["train", "holdout"], "threshold": 0.2, "quantile": 0.005,
        "precision": "float32", "ranking_format": "auto", "top": 8, "select": 20,
        "rule": "influence",
    },
    ExplanationSettings: {"printed": 5, "splits": ["holdout", "test"]},
    AnnotationSettings: {
        "order_of_experts": [], "repeats": 4, "lexicon": "", "show_patch_labels": False,
        "by_group": False,
    },
    EvaluationSettings: {"word_vectors": ""},
}  # fmt: skip
# Values that are just allowed, and just not.
LIMITS: dict[type[SettingsSection], dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]] = {
    StudySettings: {"name": (("x", "x" * 120), ("", "x" * 121)), "seed": ((0,), (-1,))},
    ImageSettings: {
        "input_side": ((32, 1024), (31, 1025)),
        "outside_breast": (("keep", "black"), ("white",)),
        "breast_margin": ((0.0, 100.0), (-0.1, 100.1)),
        "breast_margin_unit": (("mm", "pixels"), ("cm",)),
        "subject": (("breast", "any"), ("chest",)),
        "inversion": (("automatic", "never"), ("always",)),
        "magnification_views": (("keep", "leave_out"), ("drop",)),
    },
    SplitSettings: {
        "train": ((0.001, 0.999), (0.0, 1.0)), "holdout": ((0.001, 0.999), (0.0, 1.0)),
    },
    PatchSettings: {
        "min_tissue": ((0.0, 1.0), (-0.01, 1.01)), "min_overlap": ((0.001, 1.0), (0.0, 1.01)),
        "rule": (("or", "and"), ("xor",)), "ambiguous": (("keep", "drop"), ("move",)),
        "classes": ((2, 20), (1, 21)),
    },
    TrainingSettings: {
        "pool": (("global", "top_left_7"), ("max",)), "epochs": ((1,), (0,)),
        "batch": ((2,), (1,)), "optimizer": (("sgd", "adamw"), ("adam",)),
        "learning_rate": ((1e-9,), (0.0,)), "momentum": ((0.0, 0.999), (-0.1, 1.0)),
        "weight_decay": ((0.0,), (-0.1,)), "decay_epoch": ((-1, 0), (-2,)),
        "sampling": (("all", "balanced"), ("some",)), "draws": ((2,), (1,)),
        "rotation": ((0.0, 45.0), (-0.1, 45.1)), "label_smoothing": ((0.0, 0.999), (-0.1, 1.0)),
        "units": ((8,), (7,)), "precision": (("float32", "bfloat16"), ("float16",)),
        "keep": (("best", "last"), ("first",)), "seed": ((0,), (-1,)),
    },
    DissectionSettings: {
        "splits": ((["train", "holdout", "test"], []), (["all"],)),
        "threshold": ((0.001, 0.999), (0.0, 1.0)), "quantile": ((0.001, 0.999), (0.0, 1.0)),
        "precision": (("float16", "float32"), ("bfloat16",)), "top": ((1,), (0,)),
        "ranking_format": (("auto", "float32", "bfloat16"), ("float16",)),
        "select": ((1,), (0,)), "rule": (("influence", "spie", "groups"), ("random",)),
    },
    ExplanationSettings: {
        "printed": ((1, 8), (0, 9)), "splits": ((["holdout"], ["test"]), (["train"],)),
    },
    AnnotationSettings: {"repeats": ((0, 20), (-1, 21))},
}  # fmt: skip


@pytest.mark.parametrize("section", DEFAULTS)
def test_defaults_and_limits(section: type[SettingsSection]) -> None:
    assert section().model_dump() == DEFAULTS[section]
    for name, (allowed, refused) in LIMITS.get(section, {}).items():
        for value in allowed:
            assert getattr(section(**{name: value}), name) == value
        for value in refused:
            with pytest.raises(ValueError, match=name):
                section(**{name: value})


def test_values_have_their_own_type_and_do_not_change() -> None:
    for values in ({"seed": "1"}, {"seed": True}, {"seeds": 1}, {"name": 3}):
        with pytest.raises(ValueError, match="seed|name"):
            StudySettings(**values)
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="finite number"):
            TrainingSettings(learning_rate=value)
    with pytest.raises(ValueError, match="frozen"):
        StudySettings().seed = 2


def test_presets() -> None:
    assert NEW_STUDY_PRESET == {"images": {"outside_breast": "black"}}
    phantom = settings_from_preset(PHANTOM_PRESET)
    assert (phantom.images.input_side, phantom.images.outside_breast) == (64, "black")
    assert (phantom.splits.train, phantom.splits.holdout) == (0.6, 0.2)
    assert phantom.dissection.select == 8
    # Only these differ from a study without a preset.
    plain, changed = settings_from_preset().model_dump(), phantom.model_dump()
    names = {(s, n) for s, v in plain.items() for n in v if v[n] != changed[s][n]}
    assert names == {
        ("images", "input_side"), ("images", "outside_breast"), ("splits", "train"),
        ("splits", "holdout"), ("dissection", "select"),
    }  # fmt: skip
    own = training_recipe("my_package.networks:create")
    assert own == training_recipe("resnet50") | {"weights": "none"}


PETS = {
    "normal": "empty",
    "lesions": ["cat", "dog", "bird"],
    "positive": "dog",
    "comparison": "cat",
}


def test_classes_of_a_study() -> None:
    settings = settings_from_preset({"classes": PETS})
    names = ("empty", "cat", "dog", "bird")
    assert settings.patches.classes == 4
    assert settings.class_definition == ClassDefinition(names, "dog", "cat").with_outputs(4)
    two = settings_from_preset({"classes": PETS, "patches": {"classes": 2, "rule": "and"}})
    assert two.class_definition == ClassDefinition(names, "dog", "cat").with_outputs(2)
    assert two.patches.rule == "and"
    images = {"subject": "any", "colour": True, "inversion": "never"}
    domain = settings_from_preset({"classes": PETS, "images": images}).image_domain
    assert domain == ImageDomain(names=names, subject="any", colour=True, inversion="never")
    # The normal class may be the one that is compared, and one kind of lesion suffices.
    one = {"lesions": ["dog"], "positive": "dog", "comparison": "normal"}
    assert settings_from_preset({"classes": one}).patches.classes == 2
    many = [f"c{number}" for number in range(19)]
    most = {"lesions": many, "positive": "c0", "comparison": "c18"}
    assert settings_from_preset({"classes": most}).patches.classes == 20


@pytest.mark.parametrize(
    ("classes", "patches", "text"),
    [
        ({"lesions": []}, {}, r"preset: \[classes\]: .*correct classes.normal or classes.lesions"),
        ({"lesions": [f"c{n}" for n in range(20)]}, {}, r"preset: \[classes\]: "),
        ({"lesions": ["dog", "dog"]}, {}, r"preset: \[classes\]: "),
        ({"lesions": "dog"}, {}, "preset: classes.lesions: input should be a valid list"),
        ({"positive": "empty"}, {}, "classes.positive is 'empty'; name one of cat, dog, bird.$"),
        ({"comparison": "dog"}, {}, "classes.comparison is 'dog'; name one of empty, cat, bird.$"),
        (
            {}, {"classes": 3},
            "patches.classes is 3, but .classes. names 4 classes; write 4, or 2 for dog against a",
        ),
        ({}, "or", "preset: patches: input should be"),
    ],
)  # fmt: skip
def test_faults_of_classes(classes: dict[str, Any], patches: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        settings_from_preset({"classes": PETS | classes, "patches": patches})


def test_a_test_split_is_left() -> None:
    for train, holdout in ((0.5, 0.5), (0.75, 0.5)):
        with pytest.raises(UserError, match="preset: splits.train . splits.holdout must be less"):
            settings_from_preset({"splits": {"train": train, "holdout": holdout}})
    splits = settings_from_preset({"splits": {"train": 0.5, "holdout": 0.25}}).splits
    assert (splits.train, splits.holdout) == (0.5, 0.25)


def test_changes_of_a_command() -> None:
    first = settings_from_preset({"training": {"epochs": 3}})
    changed = first.with_changes("training", batch=8, seed=None).with_changes("training", seed=4)
    assert (changed.training.epochs, changed.training.batch, changed.training.seed) == (3, 8, 4)
    origins = changed.training_origins()
    assert {name: origins[name] for name in ("epochs", "batch", "seed", "momentum", "pool")} == {
        "epochs": "study.toml", "batch": "command", "seed": "command", "momentum": "recipe",
        "pool": "default",
    }  # fmt: skip
    other = changed.with_changes("study", name="New")
    assert (other.study.name, other.study.seed, other.training.batch) == ("New", 1, 8)
    assert first != changed and first == settings_from_preset({"training": {"epochs": 3}})
    assert first != "settings" and changed == settings_from_preset(
        {"training": {"epochs": 3, "batch": 8, "seed": 4}}
    )
    with pytest.raises(UserError, match="the command's options: study.name: string should have"):
        first.with_changes("study", name="")


def test_settings_of_studies_and_of_their_parts(tmp_path: Path) -> None:
    assert load_image_noun(tmp_path) == "mammogram" and load_order_of_experts(tmp_path) == []
    with pytest.raises(MissingStudyError):
        load_settings(tmp_path)
    file = tmp_path / "study.toml"
    file.write_text('[annotation]\norder_of_experts = ["E2", "E1"]\n')
    assert load_image_noun(tmp_path) == "mammogram"
    assert load_order_of_experts(tmp_path) == ["E2", "E1"]
    file.write_text('[images]\nsubject = "any"\n')
    assert load_image_noun(tmp_path) == "image"
    file.write_text("[annotation]\nrepeat = 3\n")
    with pytest.raises(UserError) as refused:
        load_settings(tmp_path)
    assert str(refused.value) == (
        f"{file}: annotation.repeat: there is no such setting; correct its name or remove it."
    )
    file.write_text("[annotation]\nrepeats = 30\n")
    with pytest.raises(UserError) as refused:
        load_settings(tmp_path)
    assert str(refused.value) == (
        f"{file}: annotation.repeats: input should be less than or equal to 20 (it is 30); correct"
        " it and run the command again."
    )
    file.write_text("training = 3\n")
    with pytest.raises(UserError, match="training: input should be a valid dictionary"):
        load_settings(tmp_path)


def test_words_for_the_images_of_a_study() -> None:
    text = "Mammograms, a mammogram; mammogram_id, premammogram"
    assert in_study_words(text, "image") == "Images, a image; mammogram_id, premammogram"
    assert in_study_words(text, "mammogram") == text


def test_values_in_the_file() -> None:
    values = [True, False, 3, 0.5, 'a "b" \\', ["x", 2], []]
    assert [_toml_value(value) for value in values] == [
        *("true", "false", "3", "0.5", r'"a \"b\" \\"', '["x", 2]', "[]"),
    ]
    small = to_toml(settings_from_preset()).splitlines()
    # Only what the recipe of the architecture says is commented out.
    assert "# epochs = 12" in small and "epochs = 12" not in small
    assert "units = 256" in small and 'architecture = "small"' in small
    own = to_toml(settings_from_preset({"training": {"epochs": 3}})).splitlines()
    assert "epochs = 3" in own and "# batch = 64" in own and "batch = 64" not in own
    assert small[:4] == [
        "# Settings of this DeepMiner study. After a change, the steps that use the value run"
        " again; earlier runs are kept.",
        "",
        "[study]",
        "# name shown on the pages and in exports",
    ]
