"""Auxiliary features: patient columns beside the image, joined by attention.

Source: Wu et al. 2021 (HDSR), section 2.5. Every column j becomes a token t_j, and the image's
pooled features become t_0. Additive attention (Bahdanau et al. 2015, equation 6) weighs the image
and the k columns,

    a = softmax_j(v . tanh t_j),
    logits = (1 + k) * (a_0 * head(pooled maps) + sum over columns of a_j * V tanh(t_j)).

With equal weights and V = 0, as before training, the factor 1 + k gives the image's own logits.
Both a_0 and the columns' term are constant over positions. The class map is therefore the image's
map times a factor plus a constant, and its spatial mean stays the classifier's logit. Influence
(activation x weight) refers to the image; the factor is common to all units and classes of a case
and changes no ranking.
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

TOKEN_SIZE = 16
IMAGE_SOURCE = "image"  # the image's name among the sources of attention


@dataclass(frozen=True)
class AuxiliaryColumn:
    """One patient column in the encoding of a classifier.

    levels: of a categorical column, empty for a numeric one; mean, deviation: of a numeric column
    over the training patients.
    """

    name: str
    levels: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def encoded_width(self) -> int:
        """Numbers per patient: the standardised value or one flag per level, and a missing flag."""
        return (len(self.levels) or 1) + 1

    def encode(self, value: Any) -> list[float]:
        """Return the value or the level flags of one patient, followed by the missing flag.

        A missing number is encoded as the training mean, that is 0. A level that no training
        patient has counts as missing.
        """
        known = not pd.isna(value) and (not self.levels or str(value) in self.levels)
        missing = float(not known)
        if self.levels:
            return [*(float(known and str(value) == level) for level in self.levels), missing]
        return [(float(value) - self.mean) / self.deviation if known else 0.0, missing]


@dataclass(frozen=True)
class AuxiliaryColumns:
    """The auxiliary columns of a classifier, in order."""

    columns: tuple[AuxiliaryColumn, ...] = ()

    @property
    def encoded_widths(self) -> list[int]:
        """Numbers per column."""
        return [column.encoded_width for column in self.columns]

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """Return float32 [patients, sum of widths] of the rows of a `patient_columns` table."""
        rows = [
            [number for column in self.columns for number in column.encode(row[column.name])]
            for row in table.to_dict("records")
        ]
        # reshape: without rows or columns numpy would return one dimension.
        return np.array(rows, np.float32).reshape(len(table), sum(self.encoded_widths))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the columns as JSON-compatible dicts, for a run's manifest."""
        return [asdict(column) for column in self.columns]


def columns_from_dicts(rows: Sequence[dict[str, Any]]) -> AuxiliaryColumns:
    """Return the columns that `AuxiliaryColumns.to_dicts` wrote."""
    return AuxiliaryColumns(
        tuple(
            AuxiliaryColumn(row["name"], tuple(row["levels"]), row["mean"], row["deviation"])
            for row in rows
        )
    )


def patient_columns(patients: pd.DataFrame) -> pd.DataFrame:
    """Return patient_id and every auxiliary column: age, density and the columns of `features`.

    patients: with `features` a dict of numbers or texts per patient. A feature called age or
    density does not replace the patient's own column.
    """
    features = pd.DataFrame(list(patients["features"]), index=patients.index)
    own = patients[["patient_id", "age", "density"]]
    return pd.concat(
        [own, features.drop(columns=[name for name in features if name in own])], axis=1
    )


def fit_columns(table: pd.DataFrame, names: Sequence[str]) -> AuxiliaryColumns:
    """Return the encoding of the named columns, standardised on the training patients' rows.

    Numbers are standardised by mean and standard deviation; texts become one flag per level.
    UserError for a column that is unknown, empty, constant or not finite.
    """
    return AuxiliaryColumns(tuple(_fit_column(table, name) for name in names))


def _fit_column(table: pd.DataFrame, name: str) -> AuxiliaryColumn:
    known = [column for column in table if column != "patient_id"]
    if name not in known:
        raise UserError(
            f"training.auxiliary names {name!r}, which no patient has; the study's columns are"
            f" {', '.join(map(str, known))}."
        )
    values = table[name][table[name].notna()]
    if not len(values):
        raise UserError(
            f"training.auxiliary: no training patient has a value of {name!r}; remove it from the"
            " list, or ingest data with this column."
        )
    if values.nunique() == 1:
        raise UserError(
            f"training.auxiliary: {name!r} is {values.iloc[0]} for every training patient and"
            " carries no information; remove it from the list."
        )
    # bool is a subclass of int but stands for two levels.
    if all(
        isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        for value in values
    ):
        numbers = values.to_numpy(float)
        if not np.isfinite(numbers).all():
            raise UserError(
                f"training.auxiliary: {name!r} holds a value that is not a finite number; correct"
                " the source and ingest it again."
            )
        # Constant columns were refused above, so that the deviation is not 0.
        return AuxiliaryColumn(name, mean=float(numbers.mean()), deviation=float(numbers.std()))
    return AuxiliaryColumn(name, levels=tuple(sorted({str(value) for value in values})))


class AuxiliaryAttention(nn.Module):
    """Additive attention over the image and the columns.

    units: channels of the maps that feed the head; widths: encoded width of each column.
    """

    def __init__(
        self, units: int, classes: int, widths: Sequence[int], size: int = TOKEN_SIZE
    ) -> None:
        super().__init__()
        self.widths = list(widths)
        self.image = nn.Linear(units, size)
        self.tokens = nn.ModuleList([nn.Linear(width, size) for width in widths])
        self.score = nn.Linear(size, 1, bias=False)
        self.value = nn.Linear(size, classes, bias=False)
        # Zeros give equal weights and no contribution of the columns: training starts from the
        # image alone.
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.score.weight)

    def forward(self, pooled: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Combine pooled maps [n, units] and encoded columns [n, sum of widths].

        Return the factor of the image's logits [n, 1], the columns' addend [n, classes], and the
        weights [n, 1 + columns] of the image and the columns, which sum to one.
        """
        parts = columns.split(self.widths, 1)
        tokens = torch.stack(
            [self.image(pooled), *(token(part) for token, part in zip(self.tokens, parts))], 1
        ).tanh()
        weights = self.score(tokens)[:, :, 0].softmax(1)
        share = weights * weights.shape[1]
        return share[:, :1], (share[:, 1:, None] * self.value(tokens[:, 1:])).sum(1), weights
