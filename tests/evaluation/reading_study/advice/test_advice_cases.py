"""Cases of a study with advice: which images fit a share of wrong advice, by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from evaluation.reading_study import Design, design_preset
from evaluation.reading_study.advice import advice_cases

ADVICE = "Reading with advice"
# Truth and decision of each image, in random order: 4 malignant (2 decided wrongly) and 7 benign
# (3 decided wrongly), and one image of another class.
IMAGES = ("mb", "bb", "bm", "mm", "bb", "bm", "mb", "xm", "bb", "mm", "bm", "bb")
NAMES = {"m": "malignant", "b": "benign", "x": "unproven"}


def images(*places: int) -> pd.DataFrame:
    """Return the images at the places, all of them by default."""
    chosen = [IMAGES[place] for place in places] or list(IMAGES)
    return pd.DataFrame(
        {
            "image": list(places) or range(len(IMAGES)),
            "any_malignant": [NAMES[pair[0]] for pair in chosen],
            "predicted": [NAMES[pair[1]] for pair in chosen],
        }
    )


def design(**settings: Any) -> Design:
    return design_preset(ADVICE, **settings)


def sampled(table: pd.DataFrame, **settings: Any) -> list[int]:
    return advice_cases.sample_wrong_share(table, design(**settings))["image"].tolist()


def test_wrong_decisions() -> None:
    wrong = advice_cases.wrong_decisions(images(), design())
    assert np.flatnonzero(wrong).tolist() == [0, 2, 5, 6, 7, 10]


def test_as_many_images_as_the_share_allows() -> None:
    # Half of 4 is 2 wrong and 2 right of each class; the first ones, in the order of the table.
    assert sampled(images(), wrong_advice=0.5) == [0, 1, 2, 3, 4, 5, 6, 9]
    # A quarter of 4 is 1; of 3 it rounds to 1 as well.
    assert sampled(images(), wrong_advice=0.25) == [0, 1, 2, 3, 4, 9]
    # Three quarters of 4 are 3 wrong, of which malignant has 2; of 3 they are 2.
    assert sampled(images(), wrong_advice=0.75) == [0, 1, 2, 3, 5, 6]
    # Two of each class are the least that hold a wrong and a right decision.
    assert sampled(images(0, 1, 2, 3), wrong_advice=0.5) == [0, 1, 2, 3]


def test_number_of_cases_that_the_design_asks_for() -> None:
    assert sampled(images(), wrong_advice=0.5, cases_per_class=2) == [0, 1, 2, 3]
    assert sampled(images(), wrong_advice=0.5, cases_per_class=4) == [0, 1, 2, 3, 4, 5, 6, 9]
    numbers = "malignant: 2 wrong and 2 right decisions; benign: 3 wrong and 4 right decisions"
    message = (
        f"A share of 0.5 wrong advice cannot be sampled with 5 cases per class ({numbers}). The"
        " numbers that allow it lie between 2 and 4: change cases_per_class or wrong_advice, or"
        " allow more images a patient."
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        sampled(images(), wrong_advice=0.5, cases_per_class=5)


@pytest.mark.parametrize(
    ("places", "numbers"),
    [
        # One class allows a share that the other does not.
        ((0, 3, 1, 4), "malignant: 1 wrong and 1 right decisions; benign: 0 wrong and 2 right"),
        ((3, 9, 1, 2), "malignant: 0 wrong and 2 right decisions; benign: 1 wrong and 1 right"),
        ((0, 6, 1, 2), "malignant: 2 wrong and 0 right decisions; benign: 1 wrong and 1 right"),
        ((0, 3, 2, 5), "malignant: 1 wrong and 1 right decisions; benign: 2 wrong and 0 right"),
        ((7,), "malignant: 0 wrong and 0 right decisions; benign: 0 wrong and 0 right"),
    ],
)
def test_images_that_allow_no_share(places: tuple[int, ...], numbers: str) -> None:
    message = re.escape(f"whatever the number of cases ({numbers} decisions)")
    with pytest.raises(UserError, match=message):
        sampled(images(*places), wrong_advice=0.5)


def test_arms_need_two_cases_each() -> None:
    arms = ("advice_units", "advice_shuffled", "no_advice")
    generator = np.random.default_rng(1)
    with pytest.raises(UserError, match="has 5 cases for 3 arms; .* at least two for each arm"):
        advice_cases.assign_arms(images(0, 1, 2, 3, 4), design(arms=arms), generator)
    assigned = advice_cases.assign_arms(images(0, 1, 2, 3, 4, 5), design(arms=arms), generator)
    assert list(assigned) == list(arms)
    assert [len(rows) for rows in assigned.values()] == [2, 2, 2]


def test_each_arm_has_its_part_of_each_stratum() -> None:
    table = pd.concat([images(0, 1, 2, 3, 4, 5, 6, 9)] * 3, ignore_index=True)
    table["image"] = range(24)
    arms = ("advice_units", "advice_shuffled", "no_advice")
    assigned = advice_cases.assign_arms(table, design(arms=arms), np.random.default_rng(4))
    assert sorted(image for rows in assigned.values() for image in rows["image"]) == [*range(24)]
    for rows in assigned.values():
        strata = rows.groupby(["any_malignant", "predicted"]).size()
        assert strata.tolist() == [2, 2, 2, 2]
        assert rows["image"].is_monotonic_increasing
    # A crossover: each arm has all cases, and each case another period in each arm.
    crossover = design(arms=arms, washout_days=28, duration_days=120)
    assigned = advice_cases.assign_arms(table, crossover, np.random.default_rng(4))
    periods = np.array([rows["base_period"] for rows in assigned.values()])
    assert all(rows["image"].tolist() == [*range(24)] for rows in assigned.values())
    assert (np.sort(periods, axis=0) == [[0], [1], [2]]).all()
    assert ((periods[1:] - periods[:-1]) % 3 == 1).all()


def test_what_advice_states() -> None:
    cases = pd.DataFrame(
        {
            "arm": ["advice_units", "no_advice", "advice_shuffled", "advice_units"],
            "predicted": ["malignant", "malignant", "benign", "benign"],
            # The decision lies below one half: the band stays on its side.
            "advice_probability": [0.95, 0.95, 0.2, 0.5],
        }
    )
    assert advice_cases.stated_advice(cases, design(advice="class")) == [
        "malignant",
        None,
        "benign",
        "benign",
    ]
    bands = advice_cases.stated_advice(cases, design(advice="probability_band"))
    assert bands == ["90-100", None, "10-30", "30-50"]
