"""Conventions of defaults: one meaning has one default wherever it occurs, and flags are off."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import core
import dashboard
import evaluation

CONVENTIONS: dict[str, float] = {
    "level": 0.95,
    "alpha": 0.05,
    "power": 0.8,
    "p0": 0.5,
    "prevalence": 0.5,
    "design_effect": 1.0,
    "images_per_patient": 1,
    "readers": 1,
    "reference": 0.5,
    "min_sensitivity": 0.8,
    "sensitivity": 0.8,
    "select": 20,
    "top": 8,
    "seed": 1,
    # The port that README names, and the units of the small network.
    "port": 8501,
    "units": 256,
}
# The measurement of a receptive field draws noise of its own; a plan has three readers.
OTHER_DEFAULTS = {
    ("core.interpretation.dissection.receptive_field_side", "seed", 3),
    ("evaluation.power.planner.StudyPower.__init__", "readers", 3),
    ("evaluation.reading_study.design.settings.Design.__init__", "readers", 3),
}
# What is part of the published form unless it is left out.
SWITCHED_ON = {
    ("core.lexicon.annotation_answers.format_phenomenon", "association"),
    ("core.lexicon.annotation_answers.format_label", "association"),
    ("core.sources.deepminer_release._patch_lists", "required"),
    ("evaluation.queries.provenance._digest", "present"),
}


def modules() -> Iterator[Any]:
    for package in (core, evaluation, dashboard):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # Scripts that Streamlit and the shell run.
            if not found.name.startswith(("dashboard.pages", "dashboard.app")):
                yield importlib.import_module(found.name)
    yield importlib.import_module("dashboard.application")


def functions(module: Any) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        members = vars(value).items() if inspect.isclass(value) else [("", value)]
        if getattr(value, "__module__", "") != module.__name__:
            continue
        for member, function in members:
            function = inspect.unwrap(getattr(function, "__func__", function))
            if inspect.isfunction(function):
                yield f"{module.__name__}.{name}.{member}".rstrip("."), function


@pytest.fixture(scope="module")
def defaults() -> list[tuple[str, str, Any]]:
    return [
        (place, parameter.name, parameter.default)
        for module in modules()
        for place, function in functions(module)
        for parameter in inspect.signature(function).parameters.values()
        if isinstance(parameter.default, bool | int | float)
    ]


def test_equal_parameters_have_one_default(defaults: list[tuple[str, str, Any]]) -> None:
    assert set(CONVENTIONS) <= {name for _, name, _ in defaults}
    others = {
        (place, name, value)
        for place, name, value in defaults
        if name in CONVENTIONS and not isinstance(value, bool) and value != CONVENTIONS[name]
    }
    assert others == OTHER_DEFAULTS


def test_flags_are_off(defaults: list[tuple[str, str, Any]]) -> None:
    switched_on = {(place, name) for place, name, value in defaults if value is True}
    assert switched_on == SWITCHED_ON
