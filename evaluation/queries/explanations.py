"""Explained mammograms of an explain run, for the Explanations page and figures.

With auxiliary columns an explanation includes attention weights (HDSR 2021, section 2.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.class_labels import ClassDefinition, view_name
from core.interpretation.explanation import (
    STORED_UNITS,
    NamedUnit,
    Phenomenon,
    displayed_phenomena,
)
from core.settings import load_order_of_experts
from core.store import dataset_table, run_table, unit_table
from core.store.labels import label_sets
from core.store.labels.label_states import states_sentence


@dataclass(frozen=True, kw_only=True)
class ExplainedMammogram:
    """One mammogram with its explanation.

    predicted: class name ("other" for not malignant in a study of two classes), None without
    tissue; truth: class name or None; scores: by class name; units: the 8 most influential for the
    decision; further: the units after them with a positive influence, where units were selected by
    groups, otherwise none; class_map: float [h, w], probability of the decision's class; unit_maps:
    float [units, h', w'], contribution of each unit by rank (map x weight); scale: largest
    contribution among all explained mammograms, the same for every case; findings: table;
    simulated: whether a label comes from a simulated expert; label_set: name of the labels;
    outside: share of the 8 units' contributions outside the breast, None in runs from before that
    figure.
    """

    mammogram_id: str
    patient_id: str
    image_file: str
    width: int
    height: int
    view: str
    split: str
    predicted: str | None
    truth: str | None
    scores: dict[str, float | None]
    units: tuple[NamedUnit, ...]
    further: tuple[NamedUnit, ...] = ()
    class_map: np.ndarray
    unit_maps: np.ndarray
    scale: float
    findings: pd.DataFrame
    simulated: bool
    outside: float | None
    classes: ClassDefinition
    label_set: str = label_sets.DEFAULT_SET

    def unit_heat(self, unit: NamedUnit) -> np.ndarray:
        """Return a unit's map as colour values, float [h', w'] in 0..1.

        The square root of the share of `scale` keeps weak units visible on one scale for all cases
        and units: 1/2 stands for a quarter of the scale. Negative contributions are 0.
        """
        return np.sqrt(np.clip(self.unit_maps[unit.rank - 1] / self.scale, 0, 1))

    @property
    def all_units(self) -> tuple[NamedUnit, ...]:
        """The units whose labels the explanation can print, the most influential first."""
        return (*self.units, *self.further)

    def phenomena(self, limit: int) -> list[Phenomenon]:
        """Return up to `limit` labels of the explanation, each once with all units behind it."""
        return displayed_phenomena(self.all_units, limit)

    def rank_text(self, unit: NamedUnit) -> str:
        """Return the rank of a unit among those whose maps are stored, such as 3 of 8."""
        return f"{unit.rank} of {len(self.unit_maps)}"

    def label_sentence(self) -> str:
        """Return the label set, and how many labels of the units are in which state."""
        states = states_sentence(unit.state for unit in self.all_units if unit.label)
        return f"{label_sets.set_sentence(self.label_set)} {states}".rstrip()

    @property
    def verdict(self) -> str:
        """True or false positive or negative, for malignant (the positive class).

        Empty without decision or truth.
        """
        if self.predicted is None or self.truth is None:
            return ""
        positive = self.predicted == self.classes.positive
        correct = positive == (self.truth == self.classes.positive)
        return f"{'true' if correct else 'false'} {'positive' if positive else 'negative'}"


def list_explained(study: Path, run: str, kind: str, seed: int) -> pd.DataFrame:
    """Return the explained mammograms of a kind in seeded random order.

    kind: a class name (by prediction), "wrong" or "all". The column `right` states whether the
    decision equals the truth.
    """
    with store.read(study) as con:
        table = unit_table.load_explanations(con, run)
    names = lineage.run_classes(study, run).outputs
    # With two outputs, code 0 stands for all mammograms that are not malignant (positive).
    truth = table["truth"].where(table["truth"].isna() | table["truth"].isin(list(names)), 0)
    table = table.assign(right=table["predicted"] == truth)
    if kind == "wrong":
        table = table[table["truth"].notna() & ~table["right"]]
    elif kind != "all":
        table = table[table["predicted"].isin([c for c, name in names.items() if name == kind])]
    # The second number separates this order from other draws with the same seed.
    order = np.random.default_rng([seed, 3]).permutation(len(table))
    return table.iloc[order].reset_index(drop=True)


def load_explanation(
    study: Path, run: str, mammogram_id: str, label_set: str | None = None
) -> ExplainedMammogram:
    """Return one explained mammogram; label_set: None for the labels of the explain run."""
    dissect = lineage.ancestor_run(study, run, "dissect")
    label_set = label_set or lineage.run_label_set(study, run)
    with store.read(study) as con:
        table = unit_table.load_explanations(con, run, mammogram_id)
        row: dict[str, Any] = table.iloc[0].to_dict()
        influences = unit_table.load_influences(con, run, mammogram_id)
        labels = label_sets.load_label_set(con, dissect, label_set, load_order_of_experts(study))
        findings = dataset_table.load_findings(con, [mammogram_id])
        manifest = run_table.load_run(con, run)["manifest"]
        classes = run_table.run_classes(con, run)
    # np.load keeps an .npz file open until it is closed, hence the block.
    with np.load(runs.run_folder(study, run) / row["file"]) as arrays:
        probability = arrays["probability"].astype(np.float32)
        order, unit_maps = arrays["units"], arrays["maps"].astype(np.float32)
    decided = int(row["predicted"]) if row["predicted"] >= 0 else None
    # A mammogram without a decision is explained for malignant, the positive class.
    code = classes.positive_code if decided is None else decided
    influence = influences[influences["class"] == code].set_index("unit")["influence"]
    units = tuple(
        NamedUnit(
            rank,
            int(unit),
            float(influence.get(int(unit), np.nan)),
            labels[int(unit)].text if int(unit) in labels else None,
            labels[int(unit)].state if int(unit) in labels else "",
        )
        for rank, unit in enumerate(order, start=1)
    )
    channel = classes.codes.index(code)
    return ExplainedMammogram(
        mammogram_id=mammogram_id,
        patient_id=row["patient_id"],
        image_file=row["film"],
        width=int(row["width"]),
        height=int(row["height"]),
        view=view_name(row["laterality"], row["view"]),
        split=row["split"],
        predicted=None if decided is None else classes.outputs[decided],
        truth=None if pd.isna(row["truth"]) else classes.names[int(row["truth"])],
        scores={
            name: None if pd.isna(row[f"p_{name}"]) else float(row[f"p_{name}"])
            for name in classes.scored
        },
        classes=classes,
        units=units[:STORED_UNITS],
        further=tuple(unit for unit in units[STORED_UNITS:] if unit.influence > 0),
        class_map=probability[channel],
        unit_maps=unit_maps,
        # 1: without a positive contribution every map is 0, and 0 / 0 would be nan.
        scale=float(manifest["largest_unit_contribution"]) or 1.0,
        findings=findings,
        simulated=any(labels[u.unit].simulated for u in units if u.unit in labels),
        outside=None if pd.isna(row["outside"]) else float(row["outside"]),
        label_set=label_set,
    )


@dataclass(frozen=True)
class AttentionWeight:
    """Weight of one input of a decision.

    name: "image" or an auxiliary column; value: the patient's value as text, None for the image and
    for a missing value; weight: all weights of a case sum to one.
    """

    name: str
    value: str | None
    missing: bool
    weight: float


def load_attention_weights(study: Path, run: str, mammogram_id: str) -> tuple[AttentionWeight, ...]:
    """Return the weights of one mammogram in an evaluate or explain run.

    The image comes first, then the columns in the classifier's order. Empty for a classifier
    without auxiliary columns.
    """
    with store.read(study) as con:
        # An explain run rests on the weights that its evaluate run stored.
        evaluated = run_table.ancestor(con, run, "evaluate")
        table = unit_table.load_attention(con, evaluated, mammogram_id)
    return tuple(
        AttentionWeight(row.source, row.value or None, bool(row.missing), float(row.weight))
        for row in table.itertuples()
    )
