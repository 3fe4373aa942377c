"""Selection of the cases of a reading study, and the order of each reader."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.errors import UserError
from core.sessions.arms import shows_texts
from core.sessions.case_order import assign_blocks, reader_case_order, text_keys
from core.sessions.reading.crossover import crossover_case_order
from evaluation.reading_study.advice.advice_cases import (
    assign_arms,
    period_blocks,
    sample_wrong_share,
    stated_advice,
)
from evaluation.reading_study.case_texts import (
    name_drawn_films,
    name_own_films,
    shuffled_texts,
)
from evaluation.reading_study.design import NO_ADVICE, TRUTH_RULES, Design, check_looks
from evaluation.reading_study.sealed_key import KEY_COLUMNS

# Patients that an error names.
_LISTED_PATIENTS = 20
_NEEDED_COLUMNS = (
    "mammogram_id",
    "patient_id",
    "split",
    "network_score",
    "predicted",
    "texts",
)


@dataclass(frozen=True)
class CaseFlow:
    """Images and patients that remain after each step of the case selection.

    Parameters
    ----------
    steps : tuple
        (description of the step, images, patients) in order.
    """

    steps: tuple[tuple[str, int, int], ...]

    def sentence(self) -> str:
        """Return all steps as one sentence for the flow figure and the protocol."""
        return (
            "; ".join(
                f"{description}: {images} images of {patients} patients"
                for description, images, patients in self.steps
            )
            + "."
        )


def choose_cases(candidates: pd.DataFrame, design: Design) -> tuple[pd.DataFrame, CaseFlow]:
    """Choose the cases of a design and build their sealed key.

    The selection is seeded and by patient: patients are shuffled within their class, images within
    a patient, and equally many malignant and benign images are taken.

    Parameters
    ----------
    candidates : DataFrame
        One row per image with mammogram_id, patient_id, split, network_score, predicted, texts (see
        `case_texts.explanation_texts`) and the truth by each available rule in the columns
        `TRUTH_RULES` (malignant, benign, unproven or None). The arm random_units also needs
        random_texts. Exams have one row per patient, with films, fits (see
        `workflow.exams.pool_exams`) and text_films, the film of each text.
    design : Design
        The design.

    Returns
    -------
    cases : DataFrame
        The columns `KEY_COLUMNS`, block (see `core.sessions.case_order.assign_blocks`), the truth
        rules and, in a study with advice, advice; one row per case and arm. case_number counts from
        1 in random order.
    flow : CaseFlow
        Images and patients left after each step.

    Raises
    ------
    UserError
        If a column is missing or too few images are eligible.

    Examples
    --------
    >>> import pandas as pd
    >>> images = pd.DataFrame({
    ...     "mammogram_id": ["m1", "m2", "m3"], "patient_id": ["p1", "p2", "p3"],
    ...     "split": "test", "any_malignant": ["malignant", "benign", "benign"],
    ...     "network_score": [0.9, 0.2, 0.4], "predicted": "malignant",
    ...     "texts": [("Mass",), ("Skin",), ("Vessel",)],
    ... })
    >>> cases, flow = choose_cases(images, Design(arms=("explanation",)))
    >>> sorted(cases["truth"])
    ['benign', 'malignant']
    >>> flow.steps[-1]
    ('chosen, as many of each class', 2, 2)
    """
    needed = [*_NEEDED_COLUMNS[:3], design.truth_rule, *_NEEDED_COLUMNS[3:]]
    missing = [name for name in needed if name not in candidates.columns]
    if missing:
        raise UserError(
            f"The table of images lacks {missing[0]!r}; choosing cases needs {', '.join(needed)}."
        )
    # One generator serves every random step, so the order of the calls below fixes the cases.
    generator = np.random.default_rng(design.seed)
    eligible, steps = _eligible_images(candidates, design)
    chosen = _balanced_sample(eligible, design, generator)
    steps.append(_flow_step("chosen, as many of each class", chosen))
    check_looks(design, len(chosen))
    members = None if design.advice == NO_ADVICE else assign_arms(chosen, design, generator)
    cases = pd.concat(
        [
            _arm_cases(chosen, arm, design, generator, None if members is None else members[arm])
            for arm in design.arms
        ],
        ignore_index=True,
    )
    # Case numbers leave the study in bundles and exports, so they must not follow arm or class.
    cases = cases.iloc[generator.permutation(len(cases))].reset_index(drop=True)
    cases["case_number"] = np.arange(1, len(cases) + 1)
    cases["block"] = _blocks(cases, design)
    rules = [rule for rule in TRUTH_RULES if rule in cases.columns]
    if members is None:
        return cases[[*KEY_COLUMNS, "block", *rules]], CaseFlow(tuple(steps))
    cases["advice"] = stated_advice(cases, design)
    return cases[[*KEY_COLUMNS, "advice", "block", *rules]], CaseFlow(tuple(steps))


def _blocks(cases: pd.DataFrame, design: Design) -> list[int]:
    """Return the block of each case of a new key."""
    texts = text_keys(cases["texts"].tolist())
    if "base_period" in cases.columns:
        return period_blocks(cases, texts, design)
    return assign_blocks(cases["arm"].tolist(), cases["patient_id"].tolist(), texts, design.seed)


def _flow_step(description: str, table: pd.DataFrame) -> tuple[str, int, int]:
    images = int(table["films"].map(len).sum()) if "films" in table.columns else len(table)
    return description, images, int(table["patient_id"].nunique())


def _complete_exams(
    table: pd.DataFrame, design: Design
) -> tuple[pd.DataFrame, list[tuple[str, int, int]]]:
    """Leave out exams that the layout cannot show, and decide about those of a single film."""
    table = table[table["fits"].astype(bool)]
    steps = [_flow_step("every film explained, one CC and MLO a side at most", table)]
    single = table["films"].map(len) == 1
    if design.single_films == "ask" and single.any():
        patients = sorted(table.loc[single, "patient_id"])
        raise UserError(
            f"{len(patients)} of {len(table)} exams of the {design.split} split have a single film"
            f" (patients {', '.join(patients[:_LISTED_PATIENTS])}"
            f"{', ...' if len(patients) > _LISTED_PATIENTS else ''}). State whether they are read:"
            " set single_films to in, or to out to leave them out."
        )
    if design.single_films == "out":
        table = table[~single]
        steps.append(_flow_step("two films or more", table))
    return table, steps


def _eligible_images(
    candidates: pd.DataFrame, design: Design
) -> tuple[pd.DataFrame, list[tuple[str, int, int]]]:
    """Apply the inclusion criteria one by one and count what remains after each."""
    table = candidates[candidates["split"] == design.split]
    steps = [_flow_step(f"{design.split} split", table)]
    if design.case_unit == "exam":
        table, exam_steps = _complete_exams(table, design)
        steps += exam_steps
    table = table[table[design.truth_rule].isin([design.positive, design.comparison])]
    steps.append(_flow_step(f"{design.positive} or {design.comparison} finding", table))
    rules = [rule for rule in TRUTH_RULES if rule in table.columns and table[rule].notna().any()]
    if design.discrepant == "out" and len(rules) > 1:
        # A missing value beside a class counts as a difference.
        table = table[table[rules].nunique(axis=1, dropna=False) == 1]
        steps.append(_flow_step("truth rules agree", table))
    if any(map(shows_texts, design.arms)):
        table = table[table["texts"].map(len) > 0]
        steps.append(_flow_step("an annotated unit explains it", table))
    return table, steps


def _balanced_sample(
    eligible: pd.DataFrame, design: Design, generator: np.random.Generator
) -> pd.DataFrame:
    """Draw equally many malignant and benign images, patient by patient."""
    # Sorting first makes the result independent of the order of the rows.
    table = eligible.sort_values("mammogram_id", kind="stable").assign(
        image_key=lambda rows: generator.random(len(rows))
    )
    if design.images_per_patient is not None:
        table = (
            table.sort_values("image_key")
            .groupby("patient_id", sort=False)
            .head(design.images_per_patient)
        )
    # The permutation applies to positions, so the patients need a fixed order.
    patients = sorted(table["patient_id"].unique())
    patient_keys = dict(zip(patients, generator.permutation(len(patients))))
    table = table.assign(patient_key=table["patient_id"].map(patient_keys))
    table = table.sort_values(["patient_key", "image_key"])
    counts = table[design.truth_rule].value_counts()
    classes = (design.positive, design.comparison)
    available = min(int(counts.get(truth, 0)) for truth in classes)
    per_class = available if design.cases_per_class is None else design.cases_per_class
    if available < per_class or not available:
        eligible_counts = " and ".join(f"{counts.get(name, 0)} {name}" for name in classes)
        remedy = (
            f"the design requires {per_class} of each; ask for at most {available}, allow more"
            " images a patient"
            if available
            else "a study needs both; choose another split"
        )
        raise UserError(
            f"The {design.split} split has {eligible_counts} eligible images, and {remedy}, or"
            " annotate more units."
        )
    if design.wrong_advice is None:
        sample = table.groupby(design.truth_rule, sort=False).head(per_class)
    else:
        sample = sample_wrong_share(table, design)
    return sample.drop(columns=["image_key", "patient_key"])


def _arm_cases(
    chosen: pd.DataFrame,
    arm: str,
    design: Design,
    generator: np.random.Generator,
    members: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the rows of one arm.

    The first arm holds all cases, every other arm a balanced share of them. members: the images of
    the arm in a study with advice.
    """
    table = chosen if members is None else members
    table = table.assign(arm=arm, truth=table[design.truth_rule])
    if arm != design.arms[0] and members is None:
        per_class = max(1, round(design.comparison_share * len(table) / 2))
        shuffled = table.iloc[generator.permutation(len(table))]
        table = shuffled.groupby("truth", sort=False).head(per_class)
    # Texts that an arm does not display must not be in its rows, which site bundles copy.
    if not shows_texts(arm):
        return table.assign(texts=[()] * len(table))
    if arm in ("shuffled", "advice_shuffled"):
        texts = shuffled_texts(table, chosen, generator)
        return table.assign(texts=name_drawn_films(table, texts, generator))
    if arm == "random_units":
        if "random_texts" not in table.columns:
            raise UserError(
                "The table of images lacks 'random_texts'; the arm random_units shows the texts of"
                " randomly drawn annotated units."
            )
        texts = table["random_texts"].tolist()
        return table.assign(texts=name_drawn_films(table, texts, generator))
    return table.assign(texts=name_own_films(table))


def reader_order(
    cases: pd.DataFrame, design: Design, code: str, rotation: int = 0
) -> list[tuple[int, bool]]:
    """Return the order in which a reader sees the cases.

    Parameters
    ----------
    cases : DataFrame
        Cases with case_number, patient_id, texts and, except in protocols of the first release,
        block; in any order of rows.
    design : Design
        Provides the seed and the number of hidden repeats.
    code : str
        Code of the reader, which seeds the order together with the design.
    rotation : int
        How many readers of a crossover began before.

    Returns
    -------
    list of (int, bool)
        Case number and whether it is a hidden repeat, see
        `core.sessions.case_order.reader_case_order`.

    Examples
    --------
    >>> import pandas as pd
    >>> cases = pd.DataFrame({
    ...     "case_number": [1, 2, 3], "patient_id": ["a", "b", "c"], "texts": [("x",), (), ()]
    ... })
    >>> order = reader_order(cases, Design(repeats=1), "R1")
    >>> sorted(number for number, is_repeat in order if not is_repeat)
    [1, 2, 3]
    >>> len(order)
    4
    """
    numbers, patients, texts = (
        cases[name].tolist() for name in ("case_number", "patient_id", "texts")
    )
    blocks = stored_blocks(cases)
    if design.washout_days is not None:
        known = [block or 0 for block in blocks]
        order = crossover_case_order(numbers, patients, texts, known, design.seed, code, rotation)
        return [(number, False) for number, _ in order]
    return reader_case_order(numbers, patients, texts, design.seed, code, design.repeats, blocks)


def stored_blocks(cases: pd.DataFrame) -> list[int | None]:
    """Return the block of each case; None in protocols of the first release."""
    if "block" not in cases.columns:
        return [None] * len(cases)
    return [None if pd.isna(block) else int(block) for block in cases["block"]]
