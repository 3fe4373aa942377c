"""Selection of the cases of a reading study, their texts, and the order of each reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.errors import UserError
from core.lexicon.birads_lexicon import without_association
from core.sessions.arms import shows_texts
from core.sessions.case_order import assign_blocks, reader_case_order, text_keys
from evaluation.reading_study.design import TRUTH_RULES, Design, check_looks
from evaluation.reading_study.sealed_key import KEY_COLUMNS

_NEEDED_COLUMNS = (
    "mammogram_id",
    "patient_id",
    "split",
    "network_score",
    "predicted",
    "texts",
)


def explanation_texts(
    units: Sequence[int], labels: Mapping[int, str], design: Design
) -> tuple[str, ...]:
    """Return the texts of a case: the labels of its most influential labelled units.

    Parameters
    ----------
    units : sequence of int
        0-based unit indices, the most influential first.
    labels : mapping
        Unit index to label.
    design : Design
        Limits the number of texts and the depth of the search, and decides whether repeated labels
        are merged and words for malignancy removed.

    Returns
    -------
    tuple of str
        At most `design.texts` labels; empty if no unit within the depth is labelled.

    Examples
    --------
    >>> labels = {3: "Mass, suspicious", 5: "Dense tissue", 9: "Dense tissue"}
    >>> explanation_texts([1, 3, 5, 9], labels, Design(texts=2))
    ('Mass', 'Dense tissue')
    """
    texts: list[str] = []
    for unit in units[: design.depth]:
        label = labels.get(int(unit), "").strip()
        text = label if design.association_words else without_association(label)
        # A label that consists of words for malignancy only is empty without them.
        if text and not (design.merge_duplicates and text in texts):
            texts.append(text)
        if len(texts) == design.texts:
            break
    return tuple(texts)


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
        `explanation_texts`) and the truth by each available rule in the columns `TRUTH_RULES`
        (malignant, benign, unproven or None). The arm random_units also needs random_texts.
    design : Design
        The design.

    Returns
    -------
    cases : DataFrame
        The columns `KEY_COLUMNS`, block (see `core.sessions.case_order.assign_blocks`) and the
        truth rules, one row per case and arm. case_number counts from 1 in random order.
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
    cases = pd.concat(
        [_arm_cases(chosen, arm, design, generator) for arm in design.arms], ignore_index=True
    )
    # Case numbers leave the study in bundles and exports, so they must not follow arm or class.
    cases = cases.iloc[generator.permutation(len(cases))].reset_index(drop=True)
    cases["case_number"] = np.arange(1, len(cases) + 1)
    cases["block"] = assign_blocks(
        cases["arm"].tolist(),
        cases["patient_id"].tolist(),
        text_keys(cases["texts"].tolist()),
        design.seed,
    )
    rules = [rule for rule in TRUTH_RULES if rule in cases.columns]
    return cases[[*KEY_COLUMNS, "block", *rules]], CaseFlow(tuple(steps))


def _flow_step(description: str, table: pd.DataFrame) -> tuple[str, int, int]:
    return description, len(table), int(table["patient_id"].nunique())


def _eligible_images(
    candidates: pd.DataFrame, design: Design
) -> tuple[pd.DataFrame, list[tuple[str, int, int]]]:
    """Apply the inclusion criteria one by one and count what remains after each."""
    table = candidates[candidates["split"] == design.split]
    steps = [_flow_step(f"{design.split} split", table)]
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
        raise UserError(
            f"The {design.split} split has {counts.get(classes[0], 0)} {classes[0]} and"
            f" {counts.get(classes[1], 0)} {classes[1]} eligible images and the design requires"
            f" {per_class or 1} of each; ask for fewer cases, allow more images a patient, or"
            " annotate more units."
        )
    sample = table.groupby(design.truth_rule, sort=False).head(per_class)
    return sample.drop(columns=["image_key", "patient_key"])


def _arm_cases(
    chosen: pd.DataFrame, arm: str, design: Design, generator: np.random.Generator
) -> pd.DataFrame:
    """Return the rows of one arm.

    The first arm holds all cases, every other arm a balanced share of them.
    """
    table = chosen.assign(arm=arm, truth=chosen[design.truth_rule])
    if arm != design.arms[0]:
        per_class = max(1, round(design.comparison_share * len(table) / 2))
        shuffled = table.iloc[generator.permutation(len(table))]
        table = shuffled.groupby("truth", sort=False).head(per_class)
    # Texts that an arm does not display must not be in its rows, which site bundles copy.
    if not shows_texts(arm):
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
    """Assign to each case the texts of an image of another patient.

    The control arm shows the same kind of texts without information about the case. Donors are
    drawn without replacement until none of another patient is left; then all are available again.

    Parameters
    ----------
    table : DataFrame
        Cases that receive texts, with patient_id.
    donors : DataFrame
        Images with patient_id and texts.
    generator : numpy.random.Generator
        Source of the order of the donors.

    Returns
    -------
    list of tuple of str
        Texts in the order of `table`.

    Raises
    ------
    UserError
        If all images are of one patient.
    """
    order = list(generator.permutation(len(donors)))
    patients, texts = donors["patient_id"].to_numpy(), donors["texts"].tolist()
    assigned = []
    for patient in table["patient_id"]:
        # Another image of the same patient can have the same findings and thus the same texts.
        position = _first_other_patient(order, patients, patient)
        if position is None:
            order = list(generator.permutation(len(donors)))
            position = _first_other_patient(order, patients, patient)
        if position is None:
            raise UserError(
                "All cases are of one patient; an arm with shuffled explanations needs at least"
                " two."
            )
        # Without replacement the control arm repeats each text about as often as the first arm.
        assigned.append(tuple(texts[order.pop(position)]))
    return assigned


def _first_other_patient(order: list[int], patients: np.ndarray, patient: str) -> int | None:
    """Return the position of the first donor of another patient, or None."""
    return next((k for k, donor in enumerate(order) if patients[donor] != patient), None)


def reader_order(cases: pd.DataFrame, design: Design, code: str) -> list[tuple[int, bool]]:
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
    return reader_case_order(
        cases["case_number"].tolist(),
        cases["patient_id"].tolist(),
        cases["texts"].tolist(),
        design.seed,
        code,
        design.repeats,
        stored_blocks(cases),
    )


def stored_blocks(cases: pd.DataFrame) -> list[int | None]:
    """Return the block of each case; None in protocols of the first release."""
    if "block" not in cases.columns:
        return [None] * len(cases)
    return [None if pd.isna(block) else int(block) for block in cases["block"]]
