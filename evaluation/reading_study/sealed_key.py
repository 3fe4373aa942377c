"""Sealed key of a reading study and the hash that freezes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.errors import UserError
from evaluation.reading_study.design import NO_ADVICE, Design

# Columns of the sealed key that the protocol hash covers: everything that decides a score. Images
# and tokens are excluded because they are created anew for each reader.
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


def protocol_hash(design: Design, cases: pd.DataFrame) -> str:
    """Return the SHA-256 of a design and its sealed key.

    The hash is stored when the study is frozen and printed in every export. It covers the canonical
    JSON of the design and the columns `KEY_COLUMNS`, sorted by case number.

    Parameters
    ----------
    design : Design
        The design.
    cases : DataFrame
        The sealed key with the columns `KEY_COLUMNS`, in any order of rows.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> import pandas as pd
    >>> row = [1, "m1", "p1", "explanation", ("Skin",), "benign", 0.25, "benign"]
    >>> key = pd.DataFrame([row], columns=list(KEY_COLUMNS))
    >>> protocol_hash(Design(), key)[:12]
    'ca47485ab29b'
    """
    # A table has no fixed order of rows; the hash must not depend on it.
    # Only a study with advice hashes what its advice states: older hashes stay as they are.
    columns = KEY_COLUMNS if design.advice == NO_ADVICE else (*KEY_COLUMNS, "advice")
    rows = canonical_rows(cases.sort_values("case_number"), columns)
    return canonical_hash({"design": design.as_dict(), "key": rows})


def canonical_hash(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of a value.

    Examples
    --------
    >>> canonical_hash({"b": 1, "a": 2}) == canonical_hash({"a": 2, "b": 1})
    True
    """
    # The exact serialization is part of the definition: every frozen study depends on it.
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_rows(table: pd.DataFrame, columns: Sequence[str]) -> list[list[Any]]:
    """Return the rows of a table, in its order, as JSON data for `canonical_hash`.

    Missing values of any kind become None.
    """
    values = [table[name].tolist() for name in columns]
    return [[_json_value(value) for value in row] for row in zip(*values, strict=True)]


def _json_value(value: Any) -> Any:
    """Return a cell of the key as JSON data; missing values of any kind become None."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return [str(text) for text in value]
    if (
        # pandas and the store use None, NaN or NA for a missing value; the hash must agree.
        value is None
        or (isinstance(value, (float, np.floating)) and np.isnan(value))
        or value is pd.NA
    ):
        return None
    # json cannot serialize NumPy scalars.
    return value.item() if isinstance(value, np.generic) else value


def check_frozen(design: Design, cases: pd.DataFrame, frozen: str) -> None:
    """Raise a UserError if the design or the key differs from the frozen protocol.

    Parameters
    ----------
    design : Design
        The design as it is now.
    cases : DataFrame
        The sealed key as it is now, see `protocol_hash`.
    frozen : str
        The hash stored at freezing.
    """
    if protocol_hash(design, cases) != frozen:
        raise UserError(
            f"The protocol {design.name!r} is not the one that was frozen ({frozen[:12]}); restore"
            " it, or design and freeze a new version."
        )
