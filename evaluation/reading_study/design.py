"""The reading study before anybody reads: its design, its cases, what they show, each reader's
order, and the hash that freezes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from core.birads_lexicon import without_association
from core.errors import UserError
from core.sessions.case_order import reading_order
from evaluation.power import Power, SampleSize, binomial_power, binomial_sample_size

ARMS = ("explanation", "shuffled", "random_units", "class_map", "image", "image_explanation")
TEXT_ARMS = ("explanation", "shuffled", "random_units", "image_explanation")
WORDLESS_ARMS = ("class_map", "image")
RULES = ("folder", "first_abnormality", "any_malignant")
PRIMARY = ("gee", "sign_flip", "exact_binomial")
SIDES = ("greater", "two-sided")
MALIGNANT, BENIGN, UNPROVEN = "malignant", "benign", "unproven"
# What the hash covers besides the design: all that decides a score. Media and tokens are made anew
# for each reader.
KEY_COLUMNS = (
    "case_number",
    "mammogram_id",
    "patient_id",
    "arm",
    "texts",
    "truth",
    "network_score",
    "predicted",
)


@dataclass(frozen=True, kw_only=True)
class Design:
    """Everything about a reading study that must be fixed before it is read.

    A wrong value is a UserError that names it.

    `cases_per_class` and `depth` None: as many as there are, all units. `images_per_patient` None:
    all. `discrepant` cases whose truth rules differ go "in" or "out". `comparison_share` of the
    cases is shown a second time in each further arm. `repeats` hidden repeats a reader.
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
        object.__setattr__(self, "arms", tuple(self.arms))
        choices = {
            "truth_rule": RULES,
            "discrepant": ("in", "out"),
            "influence_class": ("predicted", MALIGNANT),
            "scale": (6, 2),
            "side": SIDES,
            "primary": PRIMARY,
            "split": ("train", "holdout", "test"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UserError(
                    f"The design's {name} is {getattr(self, name)!r}; it must be one of"
                    f" {', '.join(map(str, allowed))}."
                )
        wrong = [arm for arm in self.arms if arm not in ARMS]
        if wrong or not self.arms or len(set(self.arms)) < len(self.arms):
            raise UserError(
                f"The design's arms are {', '.join(map(str, self.arms)) or 'none'}; they must be"
                f" different ones of {', '.join(ARMS)}."
            )
        if (
            self.side == "two-sided"
            and self.primary == "exact_binomial"
            and self.preset == "DeepMiner 2021"
        ):
            raise UserError(
                "The preset DeepMiner 2021 tests one side; choose the side greater, or another"
                " preset."
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        least = {
            "texts": 1,
            "readers": 1,
            "repeats": 0,
            "cases_per_class": 1,
            "images_per_patient": 1,
            "depth": 1,
        }
        for name, low in least.items():
            value = getattr(self, name)
            if value is None and name in ("cases_per_class", "images_per_patient", "depth"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise UserError(
                    f"The design's {name} is {value!r}; it must be a whole number from {low} on."
                )
        for name, low, high in (
            ("alpha", 0, 1),
            ("expected_share", 0, 1),
            ("comparison_share", 0, 1.000001),
        ):
            if not low < getattr(self, name) < high:
                raise UserError(
                    f"The design's {name} is {getattr(self, name)!r}; it must lie between 0 and 1."
                )
        if not self.design_effect >= 1:
            raise UserError(f"The design effect is {self.design_effect!r}; it is at least 1.")
        if not str(self.name).strip() or len(self.name) > 200:
            raise UserError("The design needs a name of at most 200 characters.")

    @property
    def threshold(self) -> int:
        """The least answer that says malignant: 4 of 6, or 2 of 2."""
        return self.scale // 2 + 1

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the store and the hash."""
        return {**asdict(self), "arms": list(self.arms)}


def preset(name: str, /, **changes: Any) -> Design:
    """A preset of PAGES, "Recommended" or "DeepMiner 2021", with changes."""
    if name not in PRESETS:
        raise UserError(f"{name!r} is not a preset; choose {' or '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)


PRESETS = {
    "Recommended": Design(),
    "DeepMiner 2021": Design(
        name="DeepMiner 2021",
        preset="DeepMiner 2021",
        arms=("explanation",),
        cases_per_class=165,
        images_per_patient=None,
        truth_rule="folder",
        discrepant="in",
        influence_class=MALIGNANT,
        depth=None,
        association_words=True,
        scale=2,
        readers=1,
        repeats=0,
        primary="exact_binomial",
    ),
}


def design_from(data: Mapping[str, Any]) -> Design:
    """A design from stored plain data; an unknown setting is a UserError."""
    unknown = set(data) - {field.name for field in fields(Design)}
    if unknown:
        raise UserError(
            f"The design has a setting {sorted(unknown)[0]!r} that this version does not know;"
            " remove it."
        )
    return Design(**data)


def designed(texts: Sequence[str]) -> dict[str, Any]:
    """Settings of a design from `NAME=VALUE` texts; "none" limits nothing.

    UserError for an unknown name or a value of another kind.
    """
    kinds = {
        field.name: str(field.type)
        for field in fields(Design)
        if field.name not in ("name", "preset", "arms")
    }
    found: dict[str, Any] = {}
    for text in texts:
        name, mark, value = (part.strip() for part in text.partition("="))
        if not mark or name not in kinds:
            raise UserError(
                f"{text!r} is not NAME=VALUE with a setting of the design; these can be set:"
                f" {', '.join(kinds)}."
            )
        try:
            found[name] = _as_kind(value, kinds[name])
        except ValueError as error:
            raise UserError(f"The design's {name} cannot be {value!r}: {error}.") from error
    return found


def _as_kind(value: str, kind: str) -> Any:
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


def shown_texts(units: Sequence[int], labels: Mapping[int, str], design: Design) -> tuple[str, ...]:
    """What a case shows: the labels of the most influential annotated units (DEFINITIONS,
    Explanation).

    `units` 0-based in the order of influence, `labels` unit -> label. Searched to the design's
    depth; with `merge_duplicates` a label is shown once; verdict words are taken out unless the
    design keeps them.
    """
    found: list[str] = []
    for unit in units[: design.depth]:
        label = labels.get(int(unit), "").strip()
        text = label if design.association_words else without_association(label)
        if text and not (design.merge_duplicates and text in found):
            found.append(text)
        if len(found) == design.texts:
            break
    return tuple(found)


@dataclass(frozen=True)
class Flow:
    """How many images and patients were left at each step of choosing the cases, and why the others
    were not.
    """

    steps: tuple[tuple[str, int, int], ...]

    def sentence(self) -> str:
        """For the patient-flow figure and the protocol."""
        return (
            "; ".join(
                f"{words}: {images} images of {patients} patients"
                for words, images, patients in self.steps
            )
            + "."
        )


def choose_cases(candidates: pd.DataFrame, design: Design) -> tuple[pd.DataFrame, Flow]:
    """The cases of a design with everything readers must not see, and the flow to them.

    `candidates`, one row per image: mammogram_id, patient_id, split, the truth by each rule that is
    known (columns `folder`, `first_abnormality`, `any_malignant`: malignant, benign, unproven or
    None), network_score, predicted, and `texts` (of `shown_texts`); for the arm random_units also
    `random_texts`. Seeded and by patient: patients are shuffled within their truth, images within a
    patient, and as many of each class are taken. Columns returned: KEY_COLUMNS and the truth rules,
    case_number 1.. in random order.
    """
    needed = [
        "mammogram_id",
        "patient_id",
        "split",
        design.truth_rule,
        "network_score",
        "predicted",
        "texts",
    ]
    missing = [name for name in needed if name not in candidates.columns]
    if missing:
        raise UserError(
            f"The table of images lacks {missing[0]!r}; choosing cases needs {', '.join(needed)}."
        )
    generator = np.random.default_rng(design.seed)
    eligible, steps = _eligible(candidates, design)
    chosen = _balanced(eligible, design, generator)
    steps.append(_step("chosen, as many of each class", chosen))
    cases = pd.concat(
        [_arm(chosen, arm, design, generator) for arm in design.arms], ignore_index=True
    )
    cases = cases.iloc[generator.permutation(len(cases))].reset_index(drop=True)
    cases["case_number"] = np.arange(1, len(cases) + 1)
    rules = [rule for rule in RULES if rule in cases.columns]
    return cases[[*KEY_COLUMNS, *rules]], Flow(tuple(steps))


def _step(words: str, table: pd.DataFrame) -> tuple[str, int, int]:
    return words, len(table), int(table["patient_id"].nunique())


def _eligible(
    candidates: pd.DataFrame, design: Design
) -> tuple[pd.DataFrame, list[tuple[str, int, int]]]:
    table = candidates[candidates["split"] == design.split]
    steps = [_step(f"{design.split} split", table)]
    table = table[table[design.truth_rule].isin([MALIGNANT, BENIGN])]
    steps.append(_step("malignant or benign finding", table))
    rules = [rule for rule in RULES if rule in table.columns and table[rule].notna().any()]
    if design.discrepant == "out" and len(rules) > 1:
        table = table[table[rules].nunique(axis=1, dropna=False) == 1]
        steps.append(_step("truth rules agree", table))
    if set(design.arms) & set(TEXT_ARMS):
        table = table[table["texts"].map(len) > 0]
        steps.append(_step("an annotated unit explains it", table))
    return table, steps


def _balanced(
    eligible: pd.DataFrame, design: Design, generator: np.random.Generator
) -> pd.DataFrame:
    """As many of each class, patient by patient; 1:1."""
    # Sorted first, so that the same seed gives the same cases whatever the order of the table.
    table = eligible.sort_values("mammogram_id", kind="stable").assign(
        luck=lambda rows: generator.random(len(rows))
    )
    if design.images_per_patient is not None:
        table = (
            table.sort_values("luck")
            .groupby("patient_id", sort=False)
            .head(design.images_per_patient)
        )
    patients = sorted(table["patient_id"].unique())
    place = dict(zip(patients, generator.permutation(len(patients))))
    table = table.assign(place=table["patient_id"].map(place)).sort_values(["place", "luck"])
    counts = table[design.truth_rule].value_counts()
    most = min(int(counts.get(kind, 0)) for kind in (MALIGNANT, BENIGN))
    wanted = most if design.cases_per_class is None else design.cases_per_class
    if most < wanted or not most:
        have = f"{counts.get(MALIGNANT, 0)} malignant and {counts.get(BENIGN, 0)} benign"
        raise UserError(
            f"The {design.split} split has {have} eligible images and the design wants"
            f" {wanted or 1} of each; ask for fewer cases, allow more images a patient, or annotate"
            " more units."
        )
    return table.groupby(design.truth_rule, sort=False).head(wanted).drop(columns=["luck", "place"])


def _arm(
    chosen: pd.DataFrame, arm: str, design: Design, generator: np.random.Generator
) -> pd.DataFrame:
    """The rows of one arm: all cases in the first, a share of them (as many of each class) in the
    others.
    """
    table = chosen.assign(arm=arm, truth=chosen[design.truth_rule])
    if arm != design.arms[0]:
        number = max(1, round(design.comparison_share * len(table) / 2))
        table = (
            table.iloc[generator.permutation(len(table))].groupby("truth", sort=False).head(number)
        )
    if arm in WORDLESS_ARMS:
        return table.assign(texts=[()] * len(table))
    if arm == "shuffled":
        return table.assign(texts=shuffled_texts(table, chosen, generator))
    if arm == "random_units":
        if "random_texts" not in table.columns:
            raise UserError(
                "The table of images lacks 'random_texts'; the arm random_units shows the texts of"
                " randomly drawn annotated units."
            )
        return table.assign(texts=table["random_texts"])
    return table


def shuffled_texts(
    table: pd.DataFrame, donors: pd.DataFrame, generator: np.random.Generator
) -> list[tuple[str, ...]]:
    """Each case gets the texts of an image of another patient, drawn without replacement while they
    last: the same kind of texts, without the information. UserError where all cases are of one
    patient.
    """
    order = list(generator.permutation(len(donors)))
    patients, texts = donors["patient_id"].to_numpy(), donors["texts"].tolist()
    given = []
    for patient in table["patient_id"]:
        place = next((k for k, donor in enumerate(order) if patients[donor] != patient), None)
        if place is None:
            order = list(generator.permutation(len(donors)))
            place = next((k for k, donor in enumerate(order) if patients[donor] != patient), None)
        if place is None:
            raise UserError(
                "All cases are of one patient; an arm with shuffled explanations needs at least"
                " two."
            )
        given.append(tuple(texts[order.pop(place)]))
    return given


def order_of(cases: pd.DataFrame, design: Design, code: str) -> list[tuple[int, bool]]:
    """A reader's order as (case_number, is hidden repeat): random from the design's seed and the
    reader's code, the same patient at least 20 and the same text at least 10 places apart where
    possible (PAGES, Read).
    """
    seed = int.from_bytes(hashlib.sha256(f"{design.seed}:{code}".encode()).digest()[:8], "big")
    # The stored order of the cases is random already, and it must not matter.
    table = cases.sort_values("case_number")
    numbers = table["case_number"].tolist()
    # Cases without words have nothing in common that would have to be kept apart.
    shown = [tuple(texts) or ("", number) for texts, number in zip(table["texts"], numbers)]
    order = reading_order(table["patient_id"].tolist(), shown, seed, design.repeats)
    return [(int(numbers[index]), repeat) for index, repeat in order]


def protocol_hash(design: Design, cases: pd.DataFrame) -> str:
    """SHA-256 of the canonical JSON of the design and the sealed key (KEY_COLUMNS by case number):
    frozen once, printed in every export.
    """
    rows = [
        [_plain(row[name]) for name in KEY_COLUMNS]
        for row in cases.sort_values("case_number").to_dict("records")
    ]
    text = json.dumps(
        {"design": design.as_dict(), "key": rows},
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return [str(text) for text in value]
    if (
        value is None
        or (isinstance(value, (float, np.floating)) and np.isnan(value))
        or value is pd.NA
    ):
        return None
    return value.item() if isinstance(value, np.generic) else value


def check_frozen(design: Design, cases: pd.DataFrame, frozen: str) -> None:
    """UserError where the design or the key is not what was frozen."""
    if protocol_hash(design, cases) != frozen:
        raise UserError(
            f"The protocol {design.name!r} is not the one that was frozen ({frozen[:12]}); restore"
            " it, or design and freeze a new version."
        )


def lint_table(
    cases: pd.DataFrame, order: Sequence[tuple[int, bool]] | None = None
) -> pd.DataFrame:
    """The cases of one arm or all as `evaluation.reading_study.leakage_checks.lint` takes them: case, texts, truth, score,
    patient, arm, order.
    """
    table = pd.DataFrame(
        {
            "case": cases["case_number"],
            "texts": cases["texts"],
            "truth": cases["truth"] == MALIGNANT,
            "patient": cases["patient_id"],
            "score": cases["network_score"].astype(float),
            "arm": cases["arm"],
        }
    )
    if order is not None:
        place = {case: index for index, (case, repeat) in enumerate(order) if not repeat}
        table["order"] = table["case"].map(place)
    return table


def planned_power(design: Design, cases: int) -> tuple[Power, SampleSize]:
    """Power of the design's one-sided test with this many cases read by one reader (divided by the
    design effect), and the cases needed for .8; a two-sided design spends half its alpha on the
    upper side.
    """
    alpha = design.alpha if design.side == "greater" else design.alpha / 2
    effective = max(1, int(cases / design.design_effect))
    return (
        binomial_power(effective, design.expected_share, alpha=alpha),
        binomial_sample_size(
            design.expected_share, alpha=alpha, design_effect=design.design_effect
        ),
    )
