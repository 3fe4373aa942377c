"""Splits by patient: all images of a patient share one (DEFINITIONS, "split")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.errors import UserError

SPLITS = ("train", "holdout", "test")


def split_patients(
    patients: pd.DataFrame,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 1,
    published: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Patient id -> "train" | "holdout" | "test".

    patients: a row per patient with columns id and, optionally, stratum (what the splits should
    balance). fractions: of SPLITS, summing to 1. The answer depends on ids, strata, fractions and
    seed only, not on the order of rows. published: a split given for every patient, taken as it is;
    where it names no hold-out (CBIS-DDSM), hold-out patients are drawn from its train patients in
    the ratio of the fractions. UserError where the published list leaves patients out, or names a
    split that does not exist.
    """
    ids = [str(i) for i in patients["id"]]
    if len(set(ids)) != len(ids):
        raise ValueError("a patient occurs twice in the table to be split")
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"The split fractions {tuple(fractions)} must be three numbers of at least 0 that sum"
            " to 1: change them in study.toml."
        )
    strata = (
        dict(zip(ids, patients["stratum"].astype(str)))
        if "stratum" in patients
        else dict.fromkeys(ids, "")
    )
    if published is None:
        return _deal(strata, dict(zip(SPLITS, fractions)), seed)
    given = _checked(ids, published)
    if "holdout" in given.values() or fractions[1] == 0 or "train" not in given.values():
        return given
    train = {i: strata[i] for i, split in given.items() if split == "train"}
    total = fractions[0] + fractions[1]
    return given | _deal(
        train, {"train": fractions[0] / total, "holdout": fractions[1] / total}, seed
    )


def _checked(ids: Sequence[str], published: Mapping[str, str]) -> dict[str, str]:
    """The published split of the ids; UserError where it is incomplete or has an unknown name."""
    missing = [i for i in ids if i not in published]
    if missing:
        counted = f"{len(missing)} of {len(ids)} patients"
        raise UserError(
            f"The published split list has no entry for {counted}, the first is {missing[0]}: add"
            " them or split anew."
        )
    wrong = [i for i in ids if published[i] not in SPLITS]
    if wrong:
        raise UserError(
            f"Patient {wrong[0]} is in an unknown split {published[wrong[0]]!r} of the published"
            f" list: use one of {', '.join(SPLITS)}."
        )
    return {i: published[i] for i in ids}


def _deal(strata: Mapping[str, str], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Deal patients, stratum after stratum and shuffled within, each to the split that lags most
    behind its share: every split's size is exact to one patient overall and to about one within a
    stratum.
    """
    rng = np.random.default_rng(seed)
    dealt = dict.fromkeys(fractions, 0)
    answer: dict[str, str] = {}
    for stratum in sorted(set(strata.values())):
        members = sorted(i for i, s in strata.items() if s == stratum)
        for k in rng.permutation(len(members)):
            lag = {
                split: share * (len(answer) + 1) - dealt[split]
                for split, share in fractions.items()
            }
            split = max(lag, key=lambda name: lag[name])
            dealt[split] += 1
            answer[members[k]] = split
    return answer
