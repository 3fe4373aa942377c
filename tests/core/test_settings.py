"""Settings: a comment each, checked, and every mistake a sentence that names the setting."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from core import settings
from core.errors import UserError
from core.pipeline import train
from core.study_folder import init, require


def test_the_file_holds_every_setting_under_its_comment() -> None:
    text = settings.as_toml(settings.preset())
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


@pytest.mark.parametrize("values", [{}, settings.PHANTOM])
def test_written_settings_read_back_the_same(values: dict, tmp_path: Path) -> None:
    chosen = settings.preset(values)
    init(tmp_path / "s", chosen)
    assert settings.load(tmp_path / "s") == chosen


def test_an_architecture_brings_its_recipe_unless_something_else_is_said(tmp_path: Path) -> None:
    study = init(tmp_path / "s")
    assert (
        settings.load(study).training.architecture == "small"
        and settings.load(study).training.optimizer == "adamw"
    )
    text = (study / "study.toml").read_text()
    (study / "study.toml").write_text(
        text.replace('architecture = "small"', 'architecture = "vgg16"').replace(
            "# batch = 64", "batch = 16"
        )
    )
    chosen = settings.load(study).training
    assert (
        chosen.optimizer,
        chosen.learning_rate,
        chosen.epochs,
        chosen.weights,
        chosen.batch,
    ) == ("sgd", 1e-4, 12, "imagenet", 16)
    other = settings.load(study).changed("training", architecture="resnet152", epochs=1).training
    assert (other.epochs, other.batch, other.weight_decay) == (1, 32, 1e-4)
    paper = settings.TrainingSettings()
    assert {k: getattr(paper, k) for k in settings.PAPER} == settings.recipe("resnet152")


def test_strings_with_quotes_survive(tmp_path: Path) -> None:
    chosen = settings.preset().changed("study", name='a "quoted" \\ name')
    assert tomllib.loads(settings.as_toml(chosen))["study"]["name"] == 'a "quoted" \\ name'


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
def test_a_mistake_is_a_sentence_naming_the_setting(
    change: str, words: str, tmp_path: Path
) -> None:
    study = init(tmp_path / "s")
    (study / "study.toml").write_text(change)
    with pytest.raises(UserError, match=words):
        settings.load(study)


def test_an_editors_mark_at_the_files_start_does_no_harm(tmp_path: Path) -> None:
    study = init(tmp_path / "s")
    (study / "study.toml").write_bytes(
        b"\xef\xbb\xbf[training]\r\nepochs = 7\r\nlearning_rate = 1\r\n"
    )
    assert (settings.load(study).training.epochs, settings.load(study).training.learning_rate) == (
        7,
        1.0,
    )


def test_a_changed_value_is_checked_too() -> None:
    with pytest.raises(UserError, match=r"training\.epochs"):
        settings.preset().changed("training", epochs=0)
    assert settings.preset().changed("training", epochs=None) == settings.preset()


def test_init_never_touches_what_is_there(tmp_path: Path) -> None:
    study = init(tmp_path / "s")
    with pytest.raises(UserError, match="a study already"):
        init(study)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UserError, match="is a file"):
        init(file)
    with pytest.raises(UserError, match="not a study folder"):
        require(tmp_path)


def test_later_training_settings_name_a_run_only_where_they_are_used() -> None:
    before = settings.preset().training
    assert not {"rotation", "precision", "auxiliary"} & set(
        train.asked(before)
    ) and "augment" in train.asked(before)
    used = settings.preset().changed("training", rotation=5.0, auxiliary=["age"]).training
    assert (
        train.asked(used)["rotation"] == 5.0
        and train.asked(used)["auxiliary"] == ["age"]
        and "precision" not in train.asked(used)
    )
