"""Settings of a study, the recipes of its training, and the file that stores them."""

from core.settings.recipes import (
    NEW_STUDY_PRESET,
    PAPER_RECIPE,
    PHANTOM_PRESET,
    training_recipe,
)
from core.settings.sections import (
    DissectionSettings,
    ImageSettings,
    TrainingSettings,
)
from core.settings.study_settings import (
    SETTINGS_NAME,
    Settings,
    in_study_words,
    load_image_noun,
    load_order_of_experts,
    load_settings,
    settings_from_preset,
    to_toml,
)

__all__ = [
    "NEW_STUDY_PRESET",
    "PAPER_RECIPE",
    "PHANTOM_PRESET",
    "SETTINGS_NAME",
    "DissectionSettings",
    "ImageSettings",
    "Settings",
    "TrainingSettings",
    "in_study_words",
    "load_image_noun",
    "load_order_of_experts",
    "load_settings",
    "settings_from_preset",
    "to_toml",
    "training_recipe",
]
