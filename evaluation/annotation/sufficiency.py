"""Results of a sufficiency run: what the named units carry by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core import store
from core.store import run_table, unit_table
from core.store.connection import Connection
from evaluation.intervals import (
    count_text,
    decimal,
    interval_text,
    percent,
    percent_range,
)

# Subjects of the table.
ALL_UNITS, NAMED, SELECTED, BOTTLENECK = "all", "named", "selected", "bottleneck"
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Sufficiency:
    """The AUC of one class from a set of units alone, on the patches of the test split.

    subject: "named" units, or the "selected" ones where no unit has a name; units: size of the set
    of all living units of the layer; auc, low, high: of the set alone with its interval by patient;
    whole: AUC of the whole network; share: of the AUC above chance; random, random_low,
    random_high: median and central 95 % of random sets of as many units; bottleneck: AUC of a
    classifier of its own on the named units; bottleneck_units: units that it uses; drop: AUC of the
    network beyond it. A number that is not estimable is missing (None).
    """

    class_name: str
    subject: str
    units: int
    living: int
    patches: int
    patients: int
    auc: float | None
    low: float | None
    high: float | None
    whole: float | None
    share: float | None
    share_low: float | None
    share_high: float | None
    random: float | None
    random_low: float | None
    random_high: float | None
    bottleneck: float | None = None
    bottleneck_units: int = 0
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None

    @property
    def comparison(self) -> str:
        """Return how the set compares with random sets of its size: "more", "less" or "as much"."""
        if self.auc is None or self.random_low is None or self.random_high is None:
            return ""
        if self.auc > self.random_high:
            return "more"
        return "less" if self.auc < self.random_low else "as much"

    def sentence(self) -> str:
        """Return the sentence of report and Explanations page."""
        subject = f"the {self.units} {self.subject} of {self.living} living units"
        if self.auc is None or self.whole is None:
            return f"What {subject} carry alone is not estimable for {self.class_name}."
        carried = (
            f"{percent(self.share, 0)} ({_share_interval(self)}) of the decision above chance"
            if self.share is not None
            else "a share that is not estimable, since the whole network is not above chance"
        )
        than = "as" if self.comparison == "as much" else "than"
        return (
            f"Sufficiency, {self.class_name}: alone, with every other unit at its hold-out mean,"
            f" {subject} carry {carried}: patch AUC {decimal(self.auc)}"
            f" ({interval_text(self.low, self.high, _LEVEL)}, patients as clusters) where the whole"
            f" network has {decimal(self.whole)} and chance is .5. Random sets of as many units"
            f" have a median of {decimal(self.random)} (95 % of the sets"
            f" {decimal(self.random_low)} to {decimal(self.random_high)}): the {self.subject} units"
            f" carry {self.comparison} {than} random units do. Test split,"
            f" {self.patches:,} patches of {count_text(self.patients, 'patient')}."
            f"{self._bottleneck_text()}"
        )

    def _bottleneck_text(self) -> str:
        if self.bottleneck is None:
            return ""
        return (
            " A classifier of its own on the named units (sparse logistic regression, which uses"
            f" {self.bottleneck_units} of them) has an AUC of {decimal(self.bottleneck)};"
            f" difference of the whole network from it {decimal(self.drop)}"
            f" ({interval_text(self.drop_low, self.drop_high, _LEVEL)})."
        )


def _share_interval(result: Sufficiency) -> str:
    if result.share_low is None:
        return f"{100 * _LEVEL:g} % CI not estimable"
    return f"{100 * _LEVEL:g} % CI {percent_range(result.share_low, result.share_high, 0)}"


def latest_sufficiency(study: Path, dissect: str) -> str | None:
    """Return the latest sufficiency run of a dissect run, or None."""
    with store.read(study) as con:
        return run_table.latest_run(con, "sufficiency", dissect)


def load_sufficiency(study: Path, dissect: str, code: int | None = None) -> Sufficiency | None:
    """Return the result of one class, of the named units if any has a name; None without a run.

    code: code of the class, by default of the positive class.
    """
    with store.read(study) as con:
        return read_sufficiency(con, dissect, code)


def read_sufficiency(con: Connection, dissect: str, code: int | None = None) -> Sufficiency | None:
    """Return `load_sufficiency` over an open connection."""
    run = run_table.latest_run(con, "sufficiency", dissect)
    if run is None:
        return None
    classes = run_table.run_classes(con, dissect)
    code = classes.positive_code if code is None else code
    table = unit_table.load_ablations(con, run)
    manifest = run_table.load_run(con, run)["manifest"]
    rows = {
        (row["subject"], row["name"]): {key: _known(value) for key, value in row.items()}
        for row in table[table["class"] == code].to_dict("records")
    }
    subject = NAMED if (NAMED, "auc") in rows else SELECTED
    area = rows[subject, "auc"]
    share = rows[subject, "share_above_chance"]
    missing = {"estimate": None, "low": None, "high": None}
    random = rows.get((subject, "auc_random_sets"), missing)
    head = rows.get((BOTTLENECK, "auc"), missing | {"n": 0})
    drop = rows.get((BOTTLENECK, "auc_drop"), missing)
    return Sufficiency(
        class_name=classes.outputs[code],
        subject=subject,
        units=int(area["n"]),
        living=int(manifest["living_units"]),
        patches=int(manifest["patches"]),
        patients=int(manifest["patients"]),
        auc=area["estimate"],
        low=area["low"],
        high=area["high"],
        whole=rows[ALL_UNITS, "auc"]["estimate"],
        share=share["estimate"],
        share_low=share["low"],
        share_high=share["high"],
        random=random["estimate"],
        random_low=random["low"],
        random_high=random["high"],
        bottleneck=head["estimate"],
        bottleneck_units=int(head["n"]),
        drop=drop["estimate"],
        drop_low=drop["low"],
        drop_high=drop["high"],
    )


def _known(value: Any) -> Any:
    """Return a stored value, None for a missing number."""
    return None if pd.isna(value) else value
