"""Settings: commented, validated, with errors that name the setting."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from core import settings, training
from core.errors import MissingStudyError, UserError
from core.pipeline import train
from core.settings.recipes import training_recipe
from core.study_folder import create_study, require_study


def test_file_has_every_setting_with_comment() -> None:
    text = settings.to_toml(settings.settings_from_preset())
    lines = text.splitlines()
    for name, field in settings.Settings.model_fields.items():
        assert f"[{name}]" in lines
        for key, info in field.annotation.model_fields.items():
            at = next(
                i
                for i, line in enumerate(lines)
                if line.removeprefix("# ").startswith(f"{key} = ")
                and lines[i - 1] == f"# {info.description}"
            )
            assert at > lines.index(f"[{name}]")


@pytest.mark.parametrize("values", [{}, settings.PHANTOM_PRESET])
def test_settings_round_trip(values: dict, tmp_path: Path) -> None:
    chosen = settings.settings_from_preset(values)
    create_study(tmp_path / "s", chosen)
    assert settings.load_settings(tmp_path / "s") == chosen


def test_architecture_sets_recipe(tmp_path: Path) -> None:
    study = create_study(tmp_path / "s")
    assert (
        settings.load_settings(study).training.architecture == "small"
        and settings.load_settings(study).training.optimizer == "adamw"
    )
    text = (study / "study.toml").read_text()
    (study / "study.toml").write_text(
        text.replace('architecture = "small"', 'architecture = "vgg16"').replace(
            "# batch = 64", "batch = 16"
        )
    )
    chosen = settings.load_settings(study).training
    assert (
        chosen.optimizer,
        chosen.learning_rate,
        chosen.epochs,
        chosen.weights,
        chosen.batch,
    ) == ("sgd", 1e-4, 12, "imagenet", 16)
    other = (
        settings.load_settings(study)
        .with_changes("training", architecture="resnet152", epochs=1)
        .training
    )
    # A command's option, then study.toml, then the recipe of the command's architecture.
    assert (other.epochs, other.batch, other.weight_decay) == (1, 16, 1e-4)
    paper = settings.TrainingSettings()
    assert {k: getattr(paper, k) for k in settings.PAPER_RECIPE} == settings.training_recipe(
        "resnet152"
    )


def test_study_file_precedes_the_recipe_of_any_architecture(tmp_path: Path) -> None:
    study = create_study(tmp_path / "s")
    (study / "study.toml").write_text(
        '[training]\narchitecture = "vgg16"\nlearning_rate = 1e-30\npool = "global"\n'
    )
    chosen = settings.load_settings(study).with_changes(
        "training", architecture="alexnet", weights="none"
    )
    # A change of another section keeps the origins.
    chosen = chosen.with_changes("splits", published=True)
    assert chosen.training.learning_rate == 1e-30
    assert (chosen.training.epochs, chosen.training.decay_epoch) == (45, -1)
    origins = chosen.training_origins()
    assert {
        name: origins[name]
        for name in ("architecture", "weights", "learning_rate", "pool", "epochs", "rotation")
    } == {
        "architecture": "command",
        "weights": "command",
        "learning_rate": "study.toml",
        "pool": "study.toml",
        "epochs": "recipe",
        "rotation": "default",
    }
    again = chosen.with_changes("training", learning_rate=0.5)
    assert again.training.learning_rate == 0.5
    assert again.training_origins()["learning_rate"] == "command"


@pytest.mark.parametrize(
    ("architecture", "epochs", "decay_epoch"),
    [
        ("alexnet", 45, -1),
        ("vgg16", 12, -1),
        ("inception_v3", 7, -1),
        ("resnet152", 5, 4),
        ("densenet121", 5, 4),
    ],
)
def test_released_recipes(architecture: str, epochs: int, decay_epoch: int) -> None:
    recipe = settings.training_recipe(architecture)
    assert (recipe["epochs"], recipe["decay_epoch"]) == (epochs, decay_epoch)
    assert recipe["keep"] == "last" and recipe["learning_rate"] == 1e-4
    chosen = settings.settings_from_preset({"training": {"architecture": architecture}}).training
    first, last = (training.learning_rate(chosen, epoch, 0, 1) for epoch in (0, epochs - 1))
    assert (first, last) == (1e-4, pytest.approx(1e-4 if decay_epoch < 0 else 1e-5))


def test_quoted_string_round_trip(tmp_path: Path) -> None:
    chosen = settings.settings_from_preset().with_changes("study", name='a "quoted" \\ name')
    assert tomllib.loads(settings.to_toml(chosen))["study"]["name"] == 'a "quoted" \\ name'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("[patches]\nmin_overlap = 3.0", "patches.min_overlap"),
        ("[patches]\nmin_overlaps = .3", "TOML"),
        ("[patches]\nmin_overlaps = 0.3", "patches.min_overlaps"),
        ("[training]\nepochs = 'five'", "training.epochs"),
        ("[splits]\ntrain = 0.9\nholdout = 0.2", "no patient is left"),
        ("[splits", "not valid TOML"),
        (
            "[training]\nlearning_rate = inf",
            "training.learning_rate: input should be a finite number",
        ),
        ("[training]\nepochs = '5'", "training.epochs: input should be a valid integer"),
        ("[training]\naugment = 1", "training.augment: input should be a valid boolean"),
        ("[training]\nepoch = 5", "training.epoch: there is no such setting"),
    ],
)
def test_error_names_setting(change: str, words: str, tmp_path: Path) -> None:
    study = create_study(tmp_path / "s")
    (study / "study.toml").write_text(change)
    with pytest.raises(UserError, match=words):
        settings.load_settings(study)


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    study = create_study(tmp_path / "s")
    (study / "study.toml").write_bytes(
        b"\xef\xbb\xbf[training]\r\nepochs = 7\r\nlearning_rate = 1\r\n"
    )
    assert (
        settings.load_settings(study).training.epochs,
        settings.load_settings(study).training.learning_rate,
    ) == (
        7,
        1.0,
    )


def test_with_changes_validates() -> None:
    with pytest.raises(UserError, match=r"training\.epochs"):
        settings.settings_from_preset().with_changes("training", epochs=0)
    assert (
        settings.settings_from_preset().with_changes("training", epochs=None)
        == settings.settings_from_preset()
    )


def test_create_study_overwrites_nothing(tmp_path: Path) -> None:
    study = create_study(tmp_path / "s")
    with pytest.raises(UserError, match="a study already"):
        create_study(study)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UserError, match="is a file"):
        create_study(file)
    with pytest.raises(MissingStudyError, match="not a study folder"):
        require_study(tmp_path)


def test_later_training_settings_keep_run_names() -> None:
    before = settings.settings_from_preset().training
    assert not {"rotation", "precision", "auxiliary"} & set(
        train.run_name_settings(before)
    ) and "augment" in train.run_name_settings(before)
    used = (
        settings.settings_from_preset()
        .with_changes("training", rotation=5.0, auxiliary=["age"])
        .training
    )
    assert (
        train.run_name_settings(used)["rotation"] == 5.0
        and train.run_name_settings(used)["auxiliary"] == ["age"]
        and "precision" not in train.run_name_settings(used)
    )


def test_outside_of_the_breast_is_black_in_new_studies_only(tmp_path: Path) -> None:
    study = create_study(tmp_path / "study")
    assert settings.load_settings(study).images.outside_breast == "black"
    # Studies from before the setting, whose file lacks it, keep their images.
    (study / "study.toml").write_text("[images]\ninput_side = 64\n")
    assert settings.load_settings(study).images.outside_breast == "keep"


def test_recipes_are_the_published_ones_and_that_of_small_networks() -> None:
    """HDSR 2021, section 2.1, and the released configurations."""
    published = {
        "weights": "imagenet",
        "epochs": 5,
        "batch": 32,
        "optimizer": "sgd",
        "learning_rate": 0.0001,
        "momentum": 0.9,
        "weight_decay": 0.0001,
        "decay_epoch": 4,
        "sampling": "all",
        "augment": False,
        "label_smoothing": 0.0,
        "keep": "last",
    }
    for name, changes in {
        "resnet152": {},
        "alexnet": {"epochs": 45, "decay_epoch": -1},
        "vgg16": {"epochs": 12, "decay_epoch": -1},
        "inception_v3": {"epochs": 7, "decay_epoch": -1},
    }.items():
        assert training_recipe(name) == published | changes
    small = {
        "weights": "none",
        "epochs": 12,
        "batch": 64,
        "optimizer": "adamw",
        "learning_rate": 0.004,
        "weight_decay": 0.001,
        "sampling": "balanced",
        "augment": True,
        "label_smoothing": 0.05,
    }
    assert training_recipe("small") == training_recipe("medium") == published | small
