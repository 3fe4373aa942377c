"""Splits by patient: all images of a patient share one split.

Published splits of archives are resolved in `core.sources.conventions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.class_labels import SPLITS
from core.errors import UserError


def split_patients(
    patients: pd.DataFrame,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 1,
    published: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assign each patient to train, hold-out or test.

    The result depends on ids, strata, fractions and seed only, not on the order of rows.

    Parameters
    ----------
    patients : DataFrame
        One row per patient; column id, and optionally stratum, over which splits are balanced.
    fractions : sequence of 3 floats
        Shares of train, hold-out and test; they sum to 1.
    seed : int
        Seed of the random assignment.
    published : mapping of str to str, optional
        A published split, used unchanged. If it has no hold-out (CBIS-DDSM), hold-out patients are
        drawn from its train patients in the ratio of the fractions.

    Returns
    -------
    dict of str to str
        Patient id to "train", "holdout" or "test".

    Raises
    ------
    UserError
        If fractions are invalid, or the published split is incomplete or has an unknown name.
    ValueError
        If a patient occurs twice.

    Examples
    --------
    >>> patients = pd.DataFrame({"id": [f"P{i}" for i in range(10)], "stratum": ["a", "b"] * 5})
    >>> splits = split_patients(patients, seed=3)
    >>> [list(splits.values()).count(name) for name in SPLITS]
    [8, 1, 1]
    >>> splits == split_patients(patients[::-1], seed=3)
    True
    """
    ids = [str(i) for i in patients["id"]]
    if len(set(ids)) != len(ids):
        raise ValueError("a patient occurs twice in the table to be split")
    # The test share is often computed as 1 minus the others, hence the tolerance.
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"The split fractions {tuple(fractions)} must be three numbers of at least 0 that sum"
            " to 1: change them in study.toml."
        )
    has_strata = "stratum" in patients
    strata = dict(zip(ids, patients["stratum"].astype(str) if has_strata else [""] * len(ids)))
    if published is None:
        return _assign(strata, dict(zip(SPLITS, fractions)), seed)
    splits = _check_published(ids, published)
    if "holdout" in splits.values() or fractions[1] == 0 or "train" not in splits.values():
        return splits
    train = {i: strata[i] for i, split in splits.items() if split == "train"}
    # The published test split is final; train and hold-out share the rest.
    total = fractions[0] + fractions[1]
    shares = {"train": fractions[0] / total, "holdout": fractions[1] / total}
    return splits | _assign(train, shares, seed)


def _check_published(ids: Sequence[str], published: Mapping[str, str]) -> dict[str, str]:
    """Return the published split of the ids; UserError if one is missing or unknown."""
    missing = [i for i in ids if i not in published]
    if missing:
        raise UserError(
            f"The published split list has no entry for {len(missing)} of {len(ids)} patients, the"
            f" first is {missing[0]}: add them or make a new split."
        )
    unknown = [i for i in ids if published[i] not in SPLITS]
    if unknown:
        raise UserError(
            f"Patient {unknown[0]} is in an unknown split {published[unknown[0]]!r} of the"
            f" published list: use one of {', '.join(SPLITS)}."
        )
    return {i: published[i] for i in ids}


def _assign(strata: Mapping[str, str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign patients, given with their stratum, to splits of the given shares.

    Patients are taken stratum by stratum, shuffled within, and go to the split that is furthest
    below its share. Split sizes are exact to one patient overall and to about one within a stratum.
    """
    rng = np.random.default_rng(seed)
    sizes = dict.fromkeys(shares, 0)
    splits: dict[str, str] = {}
    for stratum in sorted(set(strata.values())):
        # Sorted, so that the seed and not the order of rows determines the split.
        members = sorted(i for i, s in strata.items() if s == stratum)
        for k in rng.permutation(len(members)):
            # Counted over all strata: otherwise a stratum of one or two patients would be in train.
            deficit = {
                name: share * (len(splits) + 1) - sizes[name] for name, share in shares.items()
            }
            split = max(deficit, key=lambda name: deficit[name])
            sizes[split] += 1
            splits[members[k]] = split
    return splits
