"""The settings of a study: every value that influences a result, stored in `study.toml`.

Precedence of training settings: an option of the command, then study.toml, then the recipe of the
architecture (`core.settings.recipes`), then the default.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError

from core.class_labels import MAX_CLASSES, ClassDefinition, ImageDomain, names_fault
from core.errors import MissingStudyError, UserError
from core.settings.recipes import training_recipe
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

SETTINGS_NAME = "study.toml"


class Settings(SettingsSection):
    """All settings of a study."""

    study: StudySettings = Field(default_factory=StudySettings)
    images: ImageSettings = Field(default_factory=ImageSettings)
    classes: ClassSettings = Field(default_factory=ClassSettings)
    splits: SplitSettings = Field(default_factory=SplitSettings)
    patches: PatchSettings = Field(default_factory=PatchSettings)
    training: TrainingSettings = Field(
        default_factory=lambda: TrainingSettings(architecture="small", **training_recipe("small"))
    )
    dissection: DissectionSettings = Field(default_factory=DissectionSettings)
    explanation: ExplanationSettings = Field(default_factory=ExplanationSettings)
    annotation: AnnotationSettings = Field(default_factory=AnnotationSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)

    # Training values of study.toml and of the command's options, without those of the recipe.
    _written: dict[str, Any] = PrivateAttr(default_factory=dict)
    _options: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Return whether all values are equal, whatever their origin."""
        return isinstance(other, Settings) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # settings hold lists

    def with_changes(self, section: str, **values: Any) -> Settings:
        """Return a validated copy with some values of one section replaced.

        A value of None means unchanged. Another architecture brings its own training recipe for
        the settings that study.toml does not set. UserError if a value is not allowed.
        """
        changes = {k: v for k, v in values.items() if v is not None}
        content = {**self.model_dump(), "training": self._written}
        options = self._options
        if section == "training":
            options = options | changes
        else:
            content[section] = content[section] | changes
        return _validate(content, "the command's options", options)

    @property
    def class_definition(self) -> ClassDefinition:
        """The classes that study.toml names."""
        named = self.classes
        definition = ClassDefinition(
            (named.normal, *named.lesions), named.positive, named.comparison
        )
        return definition.with_outputs(self.patches.classes)

    @property
    def image_domain(self) -> ImageDomain:
        """What study.toml states about images and classes."""
        return ImageDomain(
            names=self.class_definition.names,
            subject=self.images.subject,
            colour=self.images.colour,
            inversion=self.images.inversion,
        )

    def training_origins(self) -> dict[str, str]:
        """Return where each training value comes from.

        "command", "study.toml", "recipe" (of the architecture) or "default", by setting.
        """
        recipe = training_recipe(self.training.architecture)
        sources = (("command", self._options), ("study.toml", self._written), ("recipe", recipe))
        return {
            name: next((origin for origin, values in sources if name in values), "default")
            for name in type(self.training).model_fields
        }


def _validate(
    values: dict[str, Any], origin: str, options: dict[str, Any] | None = None
) -> Settings:
    """Return validated settings; a UserError names `origin` and the setting.

    options: training values of the command, which precede those of study.toml in `values`.
    """
    training, options = values.get("training", {}), options or {}
    if isinstance(training, dict):  # anything else is reported by the validation below
        written = training | options
        recipe = training_recipe(written.get("architecture", "small"))
        values = {**values, "training": {"architecture": "small"} | recipe | written}
    values = _with_class_count(values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise UserError(_first_error(error, origin)) from error
    settings._written, settings._options = dict(training), dict(options)
    fault = _class_fault(settings)
    if fault:
        raise UserError(f"{origin}: {fault}.")
    if settings.splits.train + settings.splits.holdout >= 1:
        raise UserError(
            f"{origin}: splits.train + splits.holdout must be less than 1, or no patient is left"
            " for the test split."
        )
    return settings


def _with_class_count(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with patches.classes, where it is not written, as [classes] names them."""
    named, patches = values.get("classes", {}), values.get("patches", {})
    lesions = named.get("lesions") if isinstance(named, dict) else None
    if not isinstance(lesions, list) or not isinstance(patches, dict):
        return values  # the defaults, or reported by the validation
    if not 2 <= 1 + len(lesions) <= MAX_CLASSES:
        return values  # reported with the names
    return {**values, "patches": {"classes": 1 + len(lesions)} | patches}


def _class_fault(settings: Settings) -> str | None:
    """Return the fault of the classes and its remedy; None for valid classes."""
    classes, count = settings.classes, settings.patches.classes
    fault = names_fault(classes.normal, classes.lesions)
    if fault:
        return f"[classes]: {fault}; correct classes.normal or classes.lesions"
    if classes.positive not in classes.lesions:
        return f"classes.positive is {classes.positive!r}; name one of {', '.join(classes.lesions)}"
    others = [n for n in (classes.normal, *classes.lesions) if n != classes.positive]
    if classes.comparison not in others:
        return f"classes.comparison is {classes.comparison!r}; name one of {', '.join(others)}"
    if count not in (2, len(others) + 1):
        return (
            f"patches.classes is {count}, but [classes] names {len(others) + 1} classes; write"
            f" {len(others) + 1}, or 2 for {classes.positive} against all other"
        )
    return None


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


def load_image_noun(study: Path) -> str:
    """Return what texts call an image of the study: "mammogram", or "image" of other subjects."""
    # Parts of studies, such as the bundle of a site, have no settings.
    if not (study / SETTINGS_NAME).is_file():
        return "mammogram"
    return "mammogram" if load_settings(study).images.subject == "breast" else "image"


def in_study_words(text: str, noun: str) -> str:
    """Return a text about mammograms with the word that a study has for its images.

    Examples
    --------
    >>> in_study_words("Mammograms: 3; column mammogram_id", "image")
    'Images: 3; column mammogram_id'
    """
    # Whole words: names of columns stay.
    text = re.sub(r"\bmammogram(s?)\b", rf"{noun}\1", text)
    return re.sub(r"\bMammogram(s?)\b", rf"{noun.capitalize()}\1", text)


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
