"""Influence: how much each unit has to do with each class on each mammogram, and which units are
selected for the experts.

DEFINITIONS "Units": I[i, c, u] = (largest value of unit u's map over the whole mammogram i) x
(weight of u for class c), no bias. AlexNet and VGG have no single linear head: there it is the
largest product of activation and gradient of the class logit. Here units are ranked and selected;
the numbers come from `core.interpretation.inference`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

DEPTH = 64
SPIE_UNITS, SPIE_RANDOM, SPIE_CANCER = 45, 0.2, 0.5
SPIE_TOP = 32  # top patches looked at


@dataclass(frozen=True)
class Selection:
    """Units of one class, most frequent first: units int [n] (0-based), counts int [n] of images
    that have the unit among their top.
    """

    units: np.ndarray
    counts: np.ndarray


def ranked(influence: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Unit indices int [..., depth] by falling influence [..., units]; equal influences in order of
    the unit.
    """
    return np.argsort(-influence, axis=-1, kind="stable")[..., :depth]


def select(top: np.ndarray, units: int, number: int) -> Selection:
    """The `number` units most often among the top units int [images, top]; equal counts in order of
    the unit; units that never occur are not selected.
    """
    counts = np.bincount(top.ravel(), minlength=units)
    order = np.argsort(-counts, kind="stable")[:number]
    order = order[counts[order] > 0]
    return Selection(order, counts[order])


def spie_units(
    top: pd.DataFrame, alive: set[int], number: int = SPIE_UNITS, seed: int = 1
) -> list[int]:
    """SPIE 2018: units whose top patches are mostly cancer, and a random share of the others. top:
    unit, label (of each top patch); dead units are never chosen. Mostly: more than half; where that
    gives too many, those with the largest share.
    """
    share = (
        top[top["unit"].isin(alive)].groupby("unit")["label"].agg(lambda s: float((s == 2).mean()))
    )
    number = min(number, len(share))
    drawn = round(SPIE_RANDOM * number)
    cancer = (
        share[share > SPIE_CANCER]
        .sort_values(ascending=False, kind="stable")
        .index[: number - drawn]
        .tolist()
    )
    rest = np.array(sorted(set(share.index) - set(cancer)))
    return sorted(
        int(u) for u in [*cancer, *np.random.default_rng([seed, 31]).permutation(rest)[:drawn]]
    )
