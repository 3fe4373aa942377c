"""Settings of a reading study that are fixed before the first case is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from core.errors import UserError
from core.sessions.arms import ARMS
from core.sessions.reading.advice_statements import ADVICE_KINDS
from core.store.labels.label_sets import DEFAULT_SET
from evaluation.reading_study.design.advice_settings import advice_conflicts
from evaluation.reading_study.design.questions import (
    MAX_CASE_QUESTIONS,
    MAX_QUESTIONNAIRE,
    Question,
    parse_questions,
)

TRUTH_RULES = ("folder", "first_abnormality", "any_malignant")
# Names in print of the primary analyses, by the value of the setting.
ANALYSIS_NAMES = {
    "gee": "proportion correct, GEE clustered by patient",
    "sign_flip": "proportion correct, sign-flip test of patients",
    "exact_binomial": "proportion correct, exact binomial test",
    "auc": "AUC of the ratings, clustered by patient",
    "auc_difference": "difference in mean AUC between two arms (Obuchowski-Rockette)",
    "advice_change": "change in mean AUC from first to final answers (Obuchowski-Rockette)",
}
PRIMARY_ANALYSES = tuple(ANALYSIS_NAMES)
RATING_ANALYSES = ("auc", "auc_difference", "advice_change")
TEST_SIDES = ("greater", "two-sided")
GOALS = ("superiority", "noninferiority", "equivalence")
MULTIPLICITY_RULES = ("none", "holm", "fixed_sequence")
MISSING_RULES = ("complete_case", "counted_wrong")
SPENDING_RULES = ("obrien_fleming", "pocock")
MALIGNANT, BENIGN, UNPROVEN = "malignant", "benign", "unproven"
STOPPING_AT_THE_END = "Every reader reads every case; nobody looks at results before closing."
# The default of a design with interim looks.
STOPPING_AT_LOOKS = (
    "Every reader reads every case unless a planned interim look crosses its boundary; no estimate"
    " is seen before closing."
)
_CHOICES: dict[str, tuple[Any, ...]] = {
    "truth_rule": TRUTH_RULES,
    "discrepant": ("in", "out"),
    "scale": (6, 2),
    "side": TEST_SIDES,
    "primary": PRIMARY_ANALYSES,
    "split": ("train", "holdout", "test"),
    "goal": GOALS,
    "multiplicity": MULTIPLICITY_RULES,
    "missing_answers": MISSING_RULES,
    "spending": SPENDING_RULES,
    "advice": ADVICE_KINDS,
    "case_unit": ("image", "exam"),
    "single_films": ("ask", "in", "out"),
}
_LEAST_INTEGERS = {
    "texts": 1,
    "readers": 1,
    "repeats": 0,
    "cases_per_class": 1,
    "images_per_patient": 1,
    "depth": 1,
    "looks": 1,
}
_UNLIMITED_BY_NONE = ("cases_per_class", "images_per_patient", "depth")
# A comparison arm may contain all cases, so its share may be exactly 1.
_OPEN_RANGES = {"alpha": 1, "expected_share": 1, "comparison_share": 1.000001}
# Settings that came after the first release. At their defaults they are left out of the stored
# form, so that the protocol hash of an older design does not change.
_LATER_SETTINGS = (
    "goal",
    "margin",
    "multiplicity",
    "missing_answers",
    "looks",
    "spending",
    "label_set",
    "positive",
    "comparison",
    "advice",
    "wrong_advice",
    "wrong_advice_told",
    "predict_network",
    "washout_days",
    "duration_days",
    "expected_first_share",
    "questions",
    "questionnaire",
    "case_unit",
    "single_films",
)


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
    influence_class : {"predicted", "malignant"}, or the positive class
        Class whose most influential units explain a case.
    depth : int or None
        Number of most influential units searched for labelled ones; None for all units.
    merge_duplicates : bool
        Whether a label appears only once per case.
    label_set : str
        Labels that the texts consist of: "default", "consensus", "published" or an expert's code.
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
    primary : {"gee", "sign_flip", "exact_binomial", "auc", "auc_difference", "advice_change"}
        Primary analysis, see `ANALYSIS_NAMES`. The last three need ratings (scale 6).
    expected_share : float
        Expected proportion correct, for the planned power, in (0, 1).
    design_effect : float
        Expected design effect of clustering by patient, at least 1.
    prevalence_told : bool
        Whether the instructions state the share of malignant cases.
    seed : int
        Seed of the case selection and of the reading orders.
    goal : {"superiority", "noninferiority", "equivalence"}
        What the comparison of arms is to show. Non-inferiority is one-sided, equivalence consists
        of two one-sided tests at alpha each.
    margin : float or None
        Margin of the difference in AUC, in (0, 1). For superiority the difference must exceed it;
        None is a margin of 0.
    multiplicity : {"none", "holm", "fixed_sequence"}
        Rule over the comparisons of the first arm with each other arm. Under "none" the comparison
        with the second arm alone is primary.
    missing_answers : {"complete_case", "counted_wrong"}
        Whether an assigned case without an answer is left out, or counted as wrong.
    looks : int
        Planned analyses, the final one included.
    spending : {"obrien_fleming", "pocock"}
        Alpha-spending function where there are interim looks.
    positive, comparison : str
        Classes of findings that readers tell apart; answers from `threshold` on mean the positive.
    advice : {"none", "class", "probability_band"}
        What the advice states after a first answer on the image alone. With advice, all arms are of
        `ADVICE_ARMS` and comparison_share has no effect: each case is in one arm, or in a crossover
        in every arm.
    wrong_advice : float or None
        Share of wrong decisions of the network among the cases, fixed by sampling, in (0, 1); None
        for the share that the network has by nature.
    wrong_advice_told : bool
        Whether the instructions state that share.
    predict_network : bool
        Whether readers predict the network's decision before it is shown (simulatability).
    washout_days : int or None
        Days between the readings of a case in a crossover, in which each reader reads every case
        once in each arm; None without a crossover.
    duration_days : int or None
        Days that a crossover may take.
    expected_first_share : float or None
        Expected proportion correct of first answers, for the power of advice_change.
    questions, questionnaire : tuple of Question
        Further questions on each case, at most 2, and at the end of the study.
    case_unit : {"image", "exam"}
        Whether a case is one image, or the films of one patient: at most one CC and one MLO a side.
    single_films : {"ask", "in", "out"}
        Whether exams of a single film are cases; under "ask" they are an error that lists them.

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
    label_set: str = DEFAULT_SET
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
    stopping: str = STOPPING_AT_THE_END
    prevalence_told: bool = False
    seed: int = 1
    goal: str = "superiority"
    margin: float | None = None
    multiplicity: str = "none"
    missing_answers: str = "complete_case"
    looks: int = 1
    spending: str = "obrien_fleming"
    positive: str = MALIGNANT
    comparison: str = BENIGN
    advice: str = "none"
    wrong_advice: float | None = None
    wrong_advice_told: bool = False
    predict_network: bool = False
    washout_days: int | None = None
    duration_days: int | None = None
    expected_first_share: float | None = None
    questions: tuple[Question, ...] = ()
    questionnaire: tuple[Question, ...] = ()
    case_unit: str = "image"
    single_films: str = "ask"

    def __post_init__(self) -> None:
        # JSON returns the arms as a list; a frozen dataclass is set through object.
        object.__setattr__(self, "arms", tuple(self.arms))
        for name, most in (
            ("questions", MAX_CASE_QUESTIONS),
            ("questionnaire", MAX_QUESTIONNAIRE),
        ):
            parsed = parse_questions(getattr(self, name), name, most)
            object.__setattr__(self, name, parsed)
        self._check_choices()
        self._check_arms()
        self._check_integers()
        self._check_ranges()
        check_analysis_plan(self)

    def _check_choices(self) -> None:
        choices = _CHOICES | {"influence_class": ("predicted", self.positive)}
        for name, allowed in choices.items():
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
    def has_stages(self) -> bool:
        """Whether readers enter more than one answer to a case."""
        return self.advice != ADVICE_KINDS[0] or bool(self.questions or self.questionnaire)

    @property
    def compared_arms(self) -> tuple[str, ...]:
        """Arms whose comparison with the first arm is a primary hypothesis."""
        if self.primary != "auc_difference":
            return ()
        return self.arms[1:2] if self.multiplicity == "none" else self.arms[1:]

    @property
    def threshold(self) -> int:
        """Lowest answer that counts as malignant (the positive class): 4 of 6, or 2 of 2."""
        return self.scale // 2 + 1

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-compatible data, as stored and hashed.

        Settings that came after the first release are left out where they have their default.
        """
        defaults = {field.name: field.default for field in fields(self)}
        settings = asdict(self)
        return {
            name: _without_tuples(value)
            for name, value in settings.items()
            if name not in _LATER_SETTINGS or value != defaults[name]
        }


def _without_tuples(value: Any) -> Any:
    """Return a setting with lists for tuples: JSON then gives back what was written."""
    if isinstance(value, tuple | list):
        return [_without_tuples(part) for part in value]
    if isinstance(value, dict):
        return {name: _without_tuples(part) for name, part in value.items()}
    return value


def check_analysis_plan(design: Design) -> None:
    """Raise a UserError where the settings of the primary analysis do not fit together."""
    for is_wrong, sentence in (
        *_endpoint_conflicts(design),
        *_test_conflicts(design),
        *advice_conflicts(design),
    ):
        if is_wrong:
            raise UserError(sentence)


def _endpoint_conflicts(design: Design) -> Iterator[tuple[bool, str]]:
    """Yield whether the endpoint lacks what it needs, with the sentence that says so."""
    yield (
        design.primary in RATING_ANALYSES and design.scale == 2,
        f"The design's primary analysis is {design.primary}, which needs ratings, but its scale has"
        " 2 answers; choose scale 6, or a primary analysis of the proportion correct.",
    )
    compares = design.primary == "auc_difference"
    yield (
        compares and len(design.arms) < 2,
        "The design's primary analysis compares two arms, but it has one arm; add an arm, or choose"
        " another primary analysis.",
    )
    yield (
        not compares and (design.margin is not None or design.goal != "superiority"),
        "The design has a margin or a goal other than superiority without a comparison of arms; set"
        " primary to auc_difference, or remove both.",
    )
    yield (
        design.multiplicity != "none" and (not compares or len(design.arms) < 3),
        f"The design's multiplicity is {design.multiplicity}, but its primary analysis has a single"
        " comparison; set multiplicity to none, or compare at least three arms by auc_difference.",
    )


def _test_conflicts(design: Design) -> Iterator[tuple[bool, str]]:
    """Yield whether margin, side, alpha and looks contradict each other, with the sentence."""
    margin = design.margin
    yield (
        # bool is a subclass of int; the comparison is negated so that NaN is refused as well.
        margin is not None
        and (isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < 1),
        f"The design's margin is {margin!r}; it must lie between 0 and 1.",
    )
    yield (
        margin is None and design.goal != "superiority",
        f"The design's goal is {design.goal}, which needs a margin between 0 and 1.",
    )
    # A margin of superiority has a direction as well.
    needed = {"noninferiority": "greater", "equivalence": "two-sided"}.get(
        design.goal, None if margin is None else "greater"
    )
    yield (
        needed is not None and design.side != needed,
        f"The design's side is {design.side}, but its goal {design.goal} with a margin is tested"
        f" with the side {needed}.",
    )
    yield (
        design.alpha >= 0.5,
        f"The design's alpha is {design.alpha!r}; it must be less than .5.",
    )
    yield (
        design.cases_per_class is not None and design.looks > 2 * design.cases_per_class,
        _looks_sentence(design.looks, 2 * (design.cases_per_class or 0)),
    )


def check_looks(design: Design, cases: int) -> None:
    """Raise a UserError if a design has more looks than cases of its primary arm."""
    if design.looks > cases:
        raise UserError(_looks_sentence(design.looks, cases))


def _looks_sentence(looks: int, cases: int) -> str:
    return (
        f"The design's looks are {looks}, but it has {cases} cases; plan at most one look for each"
        " case."
    )
