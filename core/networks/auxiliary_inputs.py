"""Auxiliary features (HDSR 2021, section 2.5): columns per patient beside the image, joined to it
by attention whose weights can be read.

Every column becomes a token t_j; the image's pooled features become t_0. Additive attention
(Bahdanau et al. 2015, eq. 6) weighs them, a = softmax_j(v . tanh t_j) over the image and the k
columns, and the class logits are the weighed evidence of all,

    logits = (1 + k) * (a_0 * head(pooled maps) + sum over columns of a_j * V tanh(t_j));

1 + k makes equal weights of a block that has learned nothing (V = 0) the image's own logits. Both
a_0 and the columns' part are one number (per class) for the whole input, the same at every
position: the class map is the image's map times a factor plus a constant, so that its spatial mean
stays the classifier's logit. Influence (activation x weight) is that of the image; the factor,
common to all units and classes of a case, changes no ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from core.errors import UserError

SIZE = 16
IMAGE = "image"


@dataclass(frozen=True)
class Column:
    """One column as the network takes it. levels: of a categorical column (none for a numeric one);
    mean, deviation: of the training patients' values.
    """

    name: str
    levels: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def width(self) -> int:
        """Numbers per patient: the standardised value or a flag per level, and whether the value is
        missing.
        """
        return (len(self.levels) or 1) + 1

    def encoded(self, value: Any) -> list[float]:
        """[value or flags, missing].

        A missing value stands at the training mean and says so; a word never seen in training
        counts as missing.
        """
        known = not pd.isna(value) and (not self.levels or str(value) in self.levels)
        if self.levels:
            return [float(known and str(value) == level) for level in self.levels] + [
                float(not known)
            ]
        return [(float(value) - self.mean) / self.deviation if known else 0.0, float(not known)]


@dataclass(frozen=True)
class Columns:
    """The auxiliary columns of a network, in order."""

    columns: tuple[Column, ...] = ()

    @property
    def widths(self) -> list[int]:
        """Numbers per column."""
        return [column.width for column in self.columns]

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """float32 [patients, sum of widths] of `patient_columns`' rows."""
        rows = [
            [n for column in self.columns for n in column.encoded(row[column.name])]
            for row in table.to_dict("records")
        ]
        return np.array(rows, np.float32).reshape(len(table), sum(self.widths))

    def as_plain(self) -> list[dict[str, Any]]:
        """For a run's manifest."""
        return [asdict(column) for column in self.columns]


def from_plain(rows: Sequence[dict[str, Any]]) -> Columns:
    """Columns from a run's manifest."""
    return Columns(
        tuple(
            Column(row["name"], tuple(row["levels"]), row["mean"], row["deviation"]) for row in rows
        )
    )


def patient_columns(patients: pd.DataFrame) -> pd.DataFrame:
    """patient_id and every auxiliary column there is: age, density, and what stands in `features`
    (dicts of numbers or words).
    """
    features = pd.DataFrame(list(patients["features"]), index=patients.index)
    own = patients[["patient_id", "age", "density"]]
    return pd.concat(
        [own, features.drop(columns=[name for name in features if name in own])], axis=1
    )


def fit(table: pd.DataFrame, names: Sequence[str]) -> Columns:
    """Columns standardised on the training patients' rows of `patient_columns`: numbers by mean and
    deviation, words as flags per level. UserError for a column that is not there, has no value in
    training, or only one.
    """
    return Columns(tuple(_fitted(table, name) for name in names))


def _fitted(table: pd.DataFrame, name: str) -> Column:
    known = [column for column in table if column != "patient_id"]
    if name not in known:
        raise UserError(
            f"training.auxiliary names {name!r}, which no patient has; the study's columns are"
            f" {', '.join(map(str, known))}."
        )
    values = table[name][table[name].notna()]
    if not len(values):
        raise UserError(
            f"training.auxiliary: no training patient has a value of {name!r}; take it out of the"
            " list, or ingest data that has it."
        )
    if values.nunique() == 1:
        raise UserError(
            f"training.auxiliary: {name!r} is {values.iloc[0]} for every training patient and tells"
            " nothing; take it out of the list."
        )
    if all(
        isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        for value in values
    ):
        numbers = values.to_numpy(float)
        if not np.isfinite(numbers).all():
            raise UserError(
                f"training.auxiliary: {name!r} holds a value that is not a finite number; correct"
                " the source and ingest it anew."
            )
        return Column(name, mean=float(numbers.mean()), deviation=float(numbers.std()))
    return Column(name, levels=tuple(sorted({str(value) for value in values})))


class Attention(nn.Module):
    """The block that joins columns to the image. units: of the maps that feed the head; widths: of
    the columns.
    """

    def __init__(self, units: int, classes: int, widths: Sequence[int], size: int = SIZE) -> None:
        super().__init__()
        self.widths = list(widths)
        self.image = nn.Linear(units, size)
        self.tokens = nn.ModuleList([nn.Linear(width, size) for width in widths])
        self.score = nn.Linear(size, 1, bias=False)
        self.value = nn.Linear(size, classes, bias=False)
        # At first all weigh the same and the columns say nothing: training starts from the image
        # alone.
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.score.weight)

    def forward(self, pooled: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pooled [n, units], columns [n, sum of widths] -> (factor of the image's logits [n, 1],
        what the columns add [n, classes], weights [n, 1 + columns] of the image and the columns,
        summing to one).
        """
        parts = columns.split(self.widths, 1)
        tokens = torch.stack(
            [self.image(pooled), *(token(part) for token, part in zip(self.tokens, parts))], 1
        ).tanh()
        weights = self.score(tokens)[:, :, 0].softmax(1)
        share = weights * weights.shape[1]
        return share[:, :1], (share[:, 1:, None] * self.value(tokens[:, 1:])).sum(1), weights
