"""Defaults of designs, which every protocol hash covers, and the limits of their settings."""

from __future__ import annotations

from dataclasses import fields

import pytest

from core.errors import UserError
from evaluation.reading_study import design_preset
from evaluation.reading_study.design import ANALYSIS_NAMES

RECOMMENDED = {
    "name": "Recommended",
    "preset": "Recommended",
    "arms": ["explanation", "shuffled"],
    "comparison_share": 1 / 3,
    "split": "test",
    "cases_per_class": None,
    "images_per_patient": 1,
    "truth_rule": "any_malignant",
    "discrepant": "out",
    "texts": 3,
    "influence_class": "predicted",
    "depth": 20,
    "merge_duplicates": False,
    "association_words": False,
    "scale": 6,
    "readers": 3,
    "repeats": 10,
    "hypothesis": (
        "Readers of the explanations alone tell malignant from benign cases better than chance."
    ),
    "side": "greater",
    "alpha": 0.05,
    "primary": "auc",
    "expected_share": 0.55,
    "design_effect": 1.0,
    "stopping": "Every reader reads every case; nobody looks at results before closing.",
    "prevalence_told": False,
    "seed": 1,
}
LATER_DEFAULTS = {
    "label_set": "default",
    "goal": "superiority",
    "margin": None,
    "multiplicity": "none",
    "missing_answers": "complete_case",
    "looks": 1,
    "spending": "obrien_fleming",
    "positive": "malignant",
    "comparison": "benign",
    "advice": "none",
    "wrong_advice": None,
    "wrong_advice_told": False,
    "predict_network": False,
    "washout_days": None,
    "duration_days": None,
    "expected_first_share": None,
    "questions": (),
    "questionnaire": (),
    "case_unit": "image",
    "single_films": "ask",
}


def test_stored_settings_of_the_recommended_design():
    """They are part of every protocol hash: another default would change stored designs."""
    design = design_preset("Recommended")
    assert design.as_dict() == RECOMMENDED
    assert {name: getattr(design, name) for name in LATER_DEFAULTS} == LATER_DEFAULTS
    assert {field.name for field in fields(design)} == set(RECOMMENDED) | set(LATER_DEFAULTS)
    changed = design_preset("Recommended", label_set="published", looks=2)
    assert changed.as_dict() == RECOMMENDED | {
        "label_set": "published",
        "looks": 2,
        "stopping": changed.stopping,
    }


def test_stored_settings_of_the_published_design():
    assert design_preset("DeepMiner 2021").as_dict() == RECOMMENDED | {
        "name": "DeepMiner 2021",
        "preset": "DeepMiner 2021",
        "arms": ["explanation"],
        "cases_per_class": 165,
        "images_per_patient": None,
        "truth_rule": "folder",
        "discrepant": "in",
        "influence_class": "malignant",
        "depth": None,
        "association_words": True,
        "scale": 2,
        "readers": 1,
        "repeats": 0,
        "primary": "exact_binomial",
    }


def test_names_of_the_primary_analyses():
    assert ANALYSIS_NAMES == {
        "gee": "proportion correct, GEE clustered by patient",
        "sign_flip": "proportion correct, sign-flip test of patients",
        "exact_binomial": "proportion correct, exact binomial test",
        "auc": "AUC of the ratings, clustered by patient",
        "auc_difference": "difference in mean AUC between two arms (Obuchowski-Rockette)",
        "advice_change": "change in mean AUC from first to final answers (Obuchowski-Rockette)",
    }


@pytest.mark.parametrize(
    ("setting", "allowed", "refused"),
    [
        ("texts", 1, 0),
        ("readers", 1, 0),
        ("repeats", 0, -1),
        ("cases_per_class", 1, 0),
        ("images_per_patient", 1, 0),
        ("depth", 1, 0),
        ("looks", 1, 0),
        ("comparison_share", 1, 1.01),
        ("comparison_share", 0.01, 0),
        ("expected_share", 0.99, 1),
        ("alpha", 0.499, 0.5),
        ("alpha", 0.001, 0),
        ("design_effect", 1, 0.99),
        ("name", "n" * 200, "n" * 201),
    ],
)
def test_limits_of_settings(setting, allowed, refused):
    assert getattr(design_preset("Recommended", **{setting: allowed}), setting) == allowed
    with pytest.raises(UserError, match="design"):
        design_preset("Recommended", **{setting: refused})


def test_at_most_one_look_for_each_case():
    assert design_preset("Recommended", cases_per_class=3, looks=6).looks == 6
    with pytest.raises(UserError, match="looks are 7, but it has 6 cases"):
        design_preset("Recommended", cases_per_class=3, looks=7)
