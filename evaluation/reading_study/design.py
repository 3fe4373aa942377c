"""Design of a blinded reading study: settings, presets, planned power and the protocol hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from core.errors import UserError
from core.sessions.arms import ARMS
from evaluation.power import Power, SampleSize, binomial_power, binomial_sample_size

TRUTH_RULES = ("folder", "first_abnormality", "any_malignant")
PRIMARY_ANALYSES = ("gee", "sign_flip", "exact_binomial")
TEST_SIDES = ("greater", "two-sided")
MALIGNANT, BENIGN, UNPROVEN = "malignant", "benign", "unproven"
_CHOICES: dict[str, tuple[Any, ...]] = {
    "truth_rule": TRUTH_RULES,
    "discrepant": ("in", "out"),
    "influence_class": ("predicted", MALIGNANT),
    "scale": (6, 2),
    "side": TEST_SIDES,
    "primary": PRIMARY_ANALYSES,
    "split": ("train", "holdout", "test"),
}
_LEAST_INTEGERS = {
    "texts": 1,
    "readers": 1,
    "repeats": 0,
    "cases_per_class": 1,
    "images_per_patient": 1,
    "depth": 1,
}
_UNLIMITED_BY_NONE = ("cases_per_class", "images_per_patient", "depth")
# A comparison arm may contain all cases, so its share may be exactly 1.
_OPEN_RANGES = {"alpha": 1, "expected_share": 1, "comparison_share": 1.000001}


@dataclass(frozen=True, kw_only=True)
class Design:
    """Settings of a reading study that are fixed before the first case is read.

    Parameters
    ----------
    name : str
        Name of the study, at most 200 characters.
    preset : str
        Preset that the design started from.
    arms : tuple of str
        Distinct members of `ARMS`; the first one is the primary arm.
    comparison_share : float
        Share of the primary arm's cases that each further arm repeats, in (0, 1].
    split : {"train", "holdout", "test"}
        Split of the dataset that the cases come from.
    cases_per_class : int or None
        Malignant and benign cases each; None for as many as are eligible.
    images_per_patient : int or None
        Largest number of images of one patient; None for all.
    truth_rule : str
        Member of `TRUTH_RULES` that defines malignant and benign.
    discrepant : {"in", "out"}
        Whether cases with conflicting truth rules are included.
    texts : int
        Largest number of texts per case.
    influence_class : {"predicted", "malignant"}
        Class whose most influential units explain a case.
    depth : int or None
        Number of most influential units searched for labelled ones; None for all units.
    merge_duplicates : bool
        Whether a label appears only once per case.
    association_words : bool
        Whether words for malignancy or benignity remain in the texts.
    scale : {6, 2}
        Number of answer categories.
    readers : int
        Planned number of readers.
    repeats : int
        Hidden repeats per reader.
    hypothesis, stopping : str
        Hypothesis and stopping rule as printed in the protocol.
    side : {"greater", "two-sided"}
        Alternative hypothesis of the primary analysis.
    alpha : float
        Significance level, in (0, 1).
    primary : {"gee", "sign_flip", "exact_binomial"}
        Primary analysis.
    expected_share : float
        Expected proportion correct, for the planned power, in (0, 1).
    design_effect : float
        Expected design effect of clustering by patient, at least 1.
    prevalence_told : bool
        Whether the instructions state the share of malignant cases.
    seed : int
        Seed of the case selection and of the reading orders.

    Raises
    ------
    UserError
        If a value is not allowed; the message names the setting and the value.

    Examples
    --------
    >>> design = Design(arms=("explanation",), scale=2)
    >>> design.threshold, design.images_per_patient
    (2, 1)
    """

    name: str = "Recommended"
    preset: str = "Recommended"
    arms: tuple[str, ...] = ("explanation", "shuffled")
    comparison_share: float = 1 / 3
    split: str = "test"
    cases_per_class: int | None = None
    images_per_patient: int | None = 1
    truth_rule: str = "any_malignant"
    discrepant: str = "out"
    texts: int = 3
    influence_class: str = "predicted"
    depth: int | None = 20
    merge_duplicates: bool = False
    association_words: bool = False
    scale: int = 6
    readers: int = 3
    repeats: int = 10
    # The two texts below are part of every protocol hash: a new wording would change the hash of
    # an identical design.
    hypothesis: str = (
        "Readers of the explanations alone tell malignant from benign cases better than chance."
    )
    side: str = "greater"
    alpha: float = 0.05
    primary: str = "gee"
    expected_share: float = 0.55
    design_effect: float = 1.0
    stopping: str = "Every reader reads every case; nobody looks at results before closing."
    prevalence_told: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        # JSON returns the arms as a list; a frozen dataclass is set through object.
        object.__setattr__(self, "arms", tuple(self.arms))
        self._check_choices()
        self._check_arms()
        self._check_integers()
        self._check_ranges()

    def _check_choices(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(
                    f"The design's {name} is {getattr(self, name)!r}; it must be one of"
                    f" {', '.join(map(str, allowed))}."
                )
        if (
            # The published P of .0346 is one-sided.
            self.side == "two-sided"
            and self.primary == "exact_binomial"
            and self.preset == "DeepMiner 2021"
        ):
            raise UserError(
                "The preset DeepMiner 2021 tests one side; choose the side greater, or another"
                " preset."
            )

    def _check_arms(self) -> None:
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms or len(set(self.arms)) < len(self.arms):
            raise UserError(
                f"The design's arms are {', '.join(map(str, self.arms)) or 'none'}; they must be"
                f" different ones of {', '.join(ARMS)}."
            )

    def _check_integers(self) -> None:
        for name, least in _LEAST_INTEGERS.items():
            value = getattr(self, name)
            if value is None and name in _UNLIMITED_BY_NONE:
                continue
            # bool is a subclass of int.
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(
                    f"The design's {name} is {value!r}; it must be a whole number of at least"
                    f" {least}."
                )

    def _check_ranges(self) -> None:
        for name, high in _OPEN_RANGES.items():
            # Negated, so that NaN is refused as well.
            if not 0 < getattr(self, name) < high:
                raise UserError(
                    f"The design's {name} is {getattr(self, name)!r}; it must lie between 0 and 1."
                )
        if not self.design_effect >= 1:
            raise UserError(f"The design effect is {self.design_effect!r}; it must be at least 1.")
        if not str(self.name).strip() or len(self.name) > 200:
            raise UserError("The design needs a name of at most 200 characters.")

    @property
    def threshold(self) -> int:
        """Lowest answer that counts as malignant: 4 of 6, or 2 of 2."""
        return self.scale // 2 + 1

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-compatible data, as stored and hashed."""
        # JSON has no tuples: the list makes the result equal to what is read back.
        return {**asdict(self), "arms": list(self.arms)}


DESIGN_PRESETS = {
    "Recommended": Design(),
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
}


def design_preset(name: str, /, **changes: Any) -> Design:
    """Return a preset design with changes.

    Parameters
    ----------
    name : {"Recommended", "DeepMiner 2021"}
        Preset. "DeepMiner 2021" is the protocol of the published study.
    **changes
        Settings of `Design` that replace those of the preset.

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
    >>> design_preset("Recommended", alpha=0.025).alpha
    0.025
    """
    if name not in DESIGN_PRESETS:
        raise UserError(f"{name!r} is not a preset; choose {' or '.join(DESIGN_PRESETS)}.")
    return replace(DESIGN_PRESETS[name], **changes)


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


def parse_design_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parse settings of a design from `NAME=VALUE` texts.

    Parameters
    ----------
    texts : sequence of str
        One setting each; the value "none" removes a limit. Name, preset and arms are excluded
        because the command line has its own options for them.

    Returns
    -------
    dict
        Setting to value, in the type of the setting.

    Raises
    ------
    UserError
        If a name is unknown or a value cannot be converted.

    Examples
    --------
    >>> parse_design_settings(["side=two-sided", "depth=none", "repeats=4"])
    {'side': 'two-sided', 'depth': None, 'repeats': 4}
    """
    kinds = {
        field.name: str(field.type)
        for field in fields(Design)
        if field.name not in ("name", "preset", "arms")
    }
    settings: dict[str, Any] = {}
    for text in texts:
        name, mark, value = (part.strip() for part in text.partition("="))
        if not mark or name not in kinds:
            raise UserError(
                f"{text!r} is not NAME=VALUE with a setting of the design; these can be set:"
                f" {', '.join(kinds)}."
            )
        try:
            settings[name] = _parse_value(value, kinds[name])
        except ValueError as error:
            raise UserError(f"The design's {name} cannot be {value!r}: {error}.") from error
    return settings


def _parse_value(value: str, kind: str) -> Any:
    """Convert a text to the annotated type of a setting, such as "int | None"."""
    if kind == "bool":
        if value.lower() not in ("yes", "no", "true", "false"):
            raise ValueError("it is yes or no")
        return value.lower() in ("yes", "true")
    if value.lower() == "none" and "None" in kind:
        return None
    for number, name in ((int, "a whole number"), (float, "a number")):
        if kind.startswith(number.__name__):
            try:
                return number(value)
            except ValueError:
                raise ValueError(f"it is {name}" + (" or none" if "None" in kind else "")) from None
    return value


def planned_power(design: Design, cases: int) -> tuple[Power, SampleSize]:
    """Return the power of a design for one reader and the sample size for a power of .8.

    The number of cases is divided by the design effect. A two-sided design spends half of its alpha
    on the upper side.

    Parameters
    ----------
    design : Design
        Provides the expected proportion correct, alpha, side and design effect.
    cases : int
        Cases of the primary arm.

    Returns
    -------
    Power
        Power of the one-sided exact binomial test.
    SampleSize
        Cases needed for a power of .8.

    Examples
    --------
    >>> power, size = planned_power(design_preset("DeepMiner 2021"), 330)
    >>> round(power.power, 3), size.stable_n
    (0.545, 654)
    """
    alpha = design.alpha if design.side == "greater" else design.alpha / 2
    # n clustered answers carry the information of n / design effect independent ones.
    effective = max(1, int(cases / design.design_effect))
    return (
        binomial_power(effective, design.expected_share, alpha=alpha),
        binomial_sample_size(
            design.expected_share, alpha=alpha, design_effect=design.design_effect
        ),
    )
