"""Names of the classes of a study: three, or with two classes "other" for all that is not malignant
(SPIE 2018).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core import store
from core.class_labels import CLASSES, label_name
from core.store import run_table


@lru_cache(maxsize=256)
def _classes(study: Path, run: str) -> int:
    """Number of classes of the patches run that a run rests on; a run never changes."""
    with store.read(study) as con:
        row = run_table.get(con, run)
        while not row["run"].startswith("patches-"):
            parent = next(
                (p for p in row["parents"] if p.startswith("patches-")), row["parents"][0]
            )
            row = run_table.get(con, parent)
    return int(row["manifest"]["classes"])


def class_words(study: Path, run: str) -> dict[int, str]:
    """Name by code, from normal (or other) to malignant, of the patches run that a run rests on."""
    return words(_classes(study, run))


def words(classes: int) -> dict[int, str]:
    """Name by code for a study of three or two classes."""
    return {
        code: label_name(code, classes) for code in range(len(CLASSES)) if classes == 3 or code != 1
    }
