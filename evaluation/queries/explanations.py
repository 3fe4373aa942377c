"""What the Explanations page and the explanation figures show of one mammogram in an explain run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import runs, store
from core.class_labels import CLASSES, view_name
from core.interpretation.explanation import NamedUnit
from core.store import annotation_table, dataset_table, run_table, unit_table
from evaluation.queries.class_names import class_words


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One mammogram. predicted: class name ("other" for not malignant in a study of two classes) or
    None (no tissue); truth: class name or None; scores by class name; units: the 8 most influential
    for the decision; class_map float [h, w]: probability of the decision's class; unit_maps float
    [8, h', w']: contribution of each unit (map x weight), and `scale`: the largest contribution
    among all explained mammograms, the same for every case; findings: table; simulated: a label is
    simulated.
    """

    mammogram_id: str
    patient_id: str
    film: str
    width: int
    height: int
    view: str
    split: str
    predicted: str | None
    truth: str | None
    scores: dict[str, float | None]
    units: tuple[NamedUnit, ...]
    class_map: np.ndarray
    unit_maps: np.ndarray
    scale: float
    findings: pd.DataFrame
    simulated: bool

    def heat(self, unit: NamedUnit) -> np.ndarray:
        """A unit's map as colours float [h', w'] in 0..1: the square root of its share of `scale`,
        so that one scale for all cases and units leaves weak ones visible. 1/2 stands for a quarter
        of the scale; negative contributions are 0.
        """
        return np.sqrt(np.clip(self.unit_maps[unit.rank - 1] / self.scale, 0, 1))

    @property
    def verdict(self) -> str:
        """true or false positive or negative, for malignant."""
        if self.predicted is None or self.truth is None:
            return ""
        called, is_malignant = self.predicted == "malignant", self.truth == "malignant"
        return (
            f"{'true' if called == is_malignant else 'false'}"
            f" {'positive' if called else 'negative'}"
        )


def cases(study: Path, run: str, kind: str, seed: int) -> pd.DataFrame:
    """Explained mammograms of a kind (a class's name by prediction, "wrong", "all") in a seeded
    order that follows nothing else; `right`: whether the decision is the truth.
    """
    with store.read(study) as con:
        frame = unit_table.explanations(con, run)
    names = class_words(study, run)
    # With two classes benign films are "other": code 0 stands for all that is not malignant.
    truth = frame["truth"] if len(names) == 3 else frame["truth"].replace(1, 0)
    frame = frame.assign(right=frame["predicted"] == truth)
    if kind == "wrong":
        frame = frame[frame["truth"].notna() & ~frame["right"]]
    elif kind != "all":
        frame = frame[
            frame["predicted"].isin([code for code, name in names.items() if name == kind])
        ]
    return frame.iloc[np.random.default_rng([seed, 3]).permutation(len(frame))].reset_index(
        drop=True
    )


@lru_cache(maxsize=256)
def dissect_of(study: Path, run: str) -> str:
    """The dissect run an explain run rests on; asked once, since runs never change."""
    with store.read(study) as con:
        return next(p for p in run_table.get(con, run)["parents"] if p.startswith("dissect-"))


def one(study: Path, run: str, mammogram_id: str) -> Explained:
    """Everything about one explained mammogram."""
    dissect = dissect_of(study, run)
    with store.read(study) as con:
        frame = unit_table.explanations(con, run)
        row: dict[str, Any] = frame[frame["mammogram_id"] == mammogram_id].iloc[0].to_dict()
        influences = unit_table.influences_of(con, run, mammogram_id)
        labels = annotation_table.labels(con, dissect)
        findings = dataset_table.findings(con, mammogram_id)
        manifest = run_table.get(con, run)["manifest"]
    with np.load(runs.folder(study, run) / row["file"]) as maps:
        probability, order, unit_maps = (
            maps["probability"].astype(np.float32),
            maps["units"],
            maps["maps"].astype(np.float32),
        )
    decided = None if row["predicted"] < 0 else class_words(study, run)[int(row["predicted"])]
    code = int(row["predicted"]) if decided else 2
    values = influences[influences["class"] == code].set_index("unit")["influence"]
    units = tuple(
        NamedUnit(
            rank,
            int(u),
            float(values.get(int(u), np.nan)),
            labels[int(u)].text if int(u) in labels else None,
        )
        for rank, u in enumerate(order, start=1)
    )
    channel = code if len(probability) == 3 else (1 if code == 2 else 0)
    scores = {
        name: None if pd.isna(row[f"p_{name}"]) else float(row[f"p_{name}"]) for name in CLASSES
    }
    return Explained(
        mammogram_id=mammogram_id,
        patient_id=row["patient_id"],
        film=row["film"],
        width=int(row["width"]),
        height=int(row["height"]),
        view=view_name(row["laterality"], row["view"]),
        split=row["split"],
        predicted=decided,
        truth=None if pd.isna(row["truth"]) else CLASSES[int(row["truth"])],
        scores=scores,
        units=units,
        class_map=probability[channel],
        unit_maps=unit_maps,
        scale=float(manifest["largest_unit_contribution"]) or 1.0,
        findings=findings,
        simulated=any(labels[u.unit].simulated for u in units if u.unit in labels),
    )
