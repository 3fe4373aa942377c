from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.class_labels import SPLITS
from core.dataset.splits import split_patients
from core.errors import UserError


def table(strata: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"p{i}" for i in range(len(strata))], "stratum": strata})


@settings(max_examples=60, deadline=None)
@given(
    strata=st.lists(st.sampled_from("abc"), min_size=1, max_size=80),
    seed=st.integers(0, 99),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2)]),
)
def test_split_sizes(strata: list[str], seed: int, fractions: tuple) -> None:
    got = split_patients(table(strata), fractions, seed)
    assert set(got) == set(table(strata)["id"])
    for split, share in zip(SPLITS, fractions):
        assert abs(Counter(got.values())[split] - share * len(strata)) <= 1
        for stratum in set(strata):
            members = [got[f"p{i}"] for i, s in enumerate(strata) if s == stratum]
            assert abs(members.count(split) - share * len(members)) <= 2


def test_split_depends_on_seed_not_on_order() -> None:
    patients = table(["a", "b"] * 30)
    one = split_patients(patients, seed=3)
    assert one == split_patients(patients.sample(frac=1, random_state=0), seed=3)
    assert one != split_patients(patients, seed=4)
    assert split_patients(patients[["id"]], seed=3) == split_patients(patients[["id"]], seed=3)


def test_published_split() -> None:
    patients = table(["a"] * 4)
    published = {"p0": "train", "p1": "holdout", "p2": "test", "p3": "train", "other": "test"}
    assert split_patients(patients, published=published) == {
        f"p{i}": published[f"p{i}"] for i in range(4)
    }


def test_published_split_without_holdout() -> None:
    patients = table(["a"] * 20)
    published = {f"p{i}": "train" if i < 18 else "test" for i in range(20)}
    got = Counter(split_patients(patients, published=published).values())
    assert got == {"train": 16, "holdout": 2, "test": 2}


def test_invalid_splits() -> None:
    with pytest.raises(UserError, match="p1"):
        split_patients(table(["a", "a"]), published={"p0": "train"})
    with pytest.raises(UserError, match="'validation'"):
        split_patients(table(["a"]), published={"p0": "validation"})
    with pytest.raises(UserError, match="sum to 1"):
        split_patients(table(["a"]), (0.5, 0.1, 0.1))
    with pytest.raises(ValueError, match="twice"):
        split_patients(pd.DataFrame({"id": ["p", "p"]}))
