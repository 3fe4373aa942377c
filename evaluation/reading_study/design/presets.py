"""Preset designs of a reading study, and designs from stored settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from core.errors import UserError
from core.sessions.arms import ARM_TITLES
from evaluation.intervals import display_name
from evaluation.reading_study.design.settings import (
    MALIGNANT,
    RATING_ANALYSES,
    STOPPING_AT_LOOKS,
    Design,
)

DESIGN_PRESETS = {
    # The class's own default is the analysis of the first release, which stored designs state.
    "Recommended": Design(primary="auc"),
    "DeepMiner 2021": Design(
        name="DeepMiner 2021",
        preset="DeepMiner 2021",
        arms=("explanation",),
        cases_per_class=165,
        # 330 mammograms of 185 patients: patients contribute several images.
        images_per_patient=None,
        # The published 182 correct answers of 330 follow this rule.
        truth_rule="folder",
        discrepant="in",
        # As in the released code; the paper describes the predicted class.
        influence_class=MALIGNANT,
        depth=None,
        association_words=True,
        scale=2,
        readers=1,
        repeats=0,
        primary="exact_binomial",
    ),
    "Reading with advice": Design(
        name="Reading with advice",
        preset="Reading with advice",
        arms=("advice_units", "advice_shuffled", "no_advice"),
        advice="class",
        repeats=0,
        primary="advice_change",
        expected_share=0.8,
        expected_first_share=0.75,
        hypothesis=(
            "Final answers in the arm advice with named units are more accurate than first answers."
        ),
    ),
}


def design_preset(name: str, /, **changes: Any) -> Design:
    """Return a preset design with changes.

    Parameters
    ----------
    name : {"Recommended", "DeepMiner 2021", "Reading with advice"}
        Preset. "DeepMiner 2021" is the protocol of the published study. "Reading with advice" shows
        the network's decision after a first answer.
    **changes
        Settings of `Design` that replace those of the preset. With scale 2 "Recommended" analyses
        the proportion correct instead of the AUC. Without a text of their own, the hypothesis
        follows from the arms and the goal, and the stopping rule names interim looks.

    Returns
    -------
    Design

    Raises
    ------
    UserError
        If the preset or a value does not exist.

    Examples
    --------
    >>> design_preset("DeepMiner 2021").cases_per_class
    165
    >>> design_preset("Recommended").primary, design_preset("Recommended", scale=2).primary
    ('auc', 'gee')
    """
    if name not in DESIGN_PRESETS:
        raise UserError(f"{name!r} is not a preset; choose {' or '.join(DESIGN_PRESETS)}.")
    preset = DESIGN_PRESETS[name]
    if preset.primary in RATING_ANALYSES and changes.get("scale") == 2:
        # Two answers give no ratings: the preset then takes the proportion correct.
        changes.setdefault("primary", "gee")
    if changes.get("primary", preset.primary) != "advice_change":
        changes.setdefault("expected_first_share", None)
    if changes.get("hypothesis", preset.hypothesis) == preset.hypothesis:
        hypothesis = _default_hypothesis(replace(preset, **changes))
        changes |= {} if hypothesis is None else {"hypothesis": hypothesis}
    if changes.get("looks", 1) != 1 and changes.get("stopping", preset.stopping) == preset.stopping:
        # The default rule excludes looks.
        changes["stopping"] = STOPPING_AT_LOOKS
    return replace(preset, **changes)


def design_for_classes(design: Design, positive: str, comparison: str) -> Design:
    """Return a design about two classes of a study.

    A hypothesis and an influence class that name the classes of mammography name these instead.

    Examples
    --------
    >>> design_for_classes(design_preset("Recommended"), "cat", "dog").hypothesis
    'Readers of the explanations alone tell cat from dog cases better than chance.'
    """
    influence = design.influence_class
    return replace(
        design,
        positive=positive,
        comparison=comparison,
        influence_class=positive if influence == design.positive else influence,
        hypothesis=design.hypothesis.replace(
            f"tell {design.positive} from {design.comparison} cases",
            f"tell {positive} from {comparison} cases",
        ),
    )


def _default_hypothesis(design: Design) -> str | None:
    """Return the hypothesis of a design whose test is not that of the preset; None otherwise."""
    if design.primary == "advice_change":
        arm = ARM_TITLES[design.arms[0]]
        return f"Final answers in the arm {arm} are more accurate than first answers."
    # Texts of the first release, which the hash of a design covers: not the titles of the arms.
    first = display_name(design.arms[0])
    if design.primary == "auc_difference":
        others = " and ".join(display_name(arm) for arm in design.compared_arms)
        relation, than = {
            "superiority": ("more accurate", "than"),
            "noninferiority": ("not less accurate by the margin", "than"),
            "equivalence": ("as accurate within the margin", "as"),
        }[design.goal]
        if design.goal == "superiority" and design.side == "two-sided":
            relation = "more or less accurate"
        return f"Readers are {relation} in the arm {first} {than} in the arm {others}."
    if design.arms[0] == "explanation":
        return None
    return f"Readers of the arm {first} alone tell malignant from benign cases better than chance."


def design_from_dict(data: Mapping[str, Any]) -> Design:
    """Return the design of stored settings, the inverse of `Design.as_dict`.

    Raises
    ------
    UserError
        If a setting is unknown or a value is not allowed.
    """
    # An ignored setting would change the hash and report the protocol as altered.
    unknown = set(data) - {field.name for field in fields(Design)}
    if unknown:
        raise UserError(
            f"The design has the setting {sorted(unknown)[0]!r}, which this version of DeepMiner"
            " does not support; remove it."
        )
    return Design(**data)
