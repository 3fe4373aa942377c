"""Label audit: precision of unit labels from blinded judgements of patches.

Experts judge whether a label applies to the top, middle-ranked and random patches of a unit.
Precision is the proportion of judgements with the answer yes; "unsure" counts as not yes and is
also counted separately. Patches of one patient are not independent, so intervals are Wilson's
(1927) on the effective number of judgements: n divided by the design effect with patients as
clusters. See `docs/reference/definitions.md`, "Annotation".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy

from core.errors import UserError
from core.store.audit_table import AUDIT_PATCH_KINDS
from evaluation.agreement import Agreement, krippendorff_alpha
from evaluation.clustered import clustered_proportion
from evaluation.intervals import Interval
from evaluation.resampling import clustered_proportion_difference
from evaluation.validation import Array

PRECISION_METHOD = "Wilson on the effective number of judgements, clustered by patient"
# Middle-ranked patches are drawn from this range of a unit's ranking of all dissected patches.
MIDDLE_RANGE = (0.4, 0.6)
# The random sample needs room beside the top and the middle sample.
_MIN_PATCHES_FACTOR = 5
# For a nominal alpha, so the order of the codes has no meaning.
_ANSWER_CODES = {"no": 0.0, "unsure": 1.0, "yes": 2.0}


def sample_patch_ranks(values: Array, number: int, seed: int, unit: int) -> dict[str, Array]:
    """Sample the patches of a unit for an audit.

    Parameters
    ----------
    values : ndarray of float, shape (patches,)
        Maximum activation of the unit on each patch.
    number : int
        Patches per kind.
    seed, unit : int
        Together seed the sample, so that units are sampled independently.

    Returns
    -------
    dict
        Ascending 0-based ranks by falling activation, without overlap: "top" (the strongest),
        "middle" (from the middle fifth of the ranking) and "random" (from all others).

    Raises
    ------
    UserError
        If there are fewer than five times `number` patches.

    Examples
    --------
    >>> import numpy as np
    >>> ranks = sample_patch_ranks(np.arange(20.0), 2, seed=1, unit=0)
    >>> ranks["top"].tolist(), len(ranks["middle"]), len(ranks["random"])
    ([0, 1], 2, 2)
    """
    total = len(values)
    if total < _MIN_PATCHES_FACTOR * number:
        raise UserError(
            f"The dissection has {total} patches, too few to draw {number} of each kind; choose at"
            f" most {total // _MIN_PATCHES_FACTOR}."
        )
    # A stream per unit: the sample of a unit does not depend on which others are labelled.
    generator = np.random.default_rng([seed, unit])
    top = np.arange(number)
    low, high = (int(bound * total) for bound in MIDDLE_RANGE)
    middle = generator.choice(np.setdiff1d(np.arange(low, high), top), number, replace=False)
    others = np.setdiff1d(np.arange(total), np.concatenate([top, middle]))
    random = generator.choice(others, number, replace=False)
    return {"top": top, "middle": np.sort(middle), "random": np.sort(random)}


@dataclass(frozen=True, kw_only=True)
class LabelPrecision:
    """Judgements of one kind of patches under one label.

    Parameters
    ----------
    unit : int or None
        0-based unit; None for all units together.
    label : str
        The label, "" for all units.
    kind : {"top", "middle", "random"}
        Kind of patches.
    yes, no, unsure : int
        Judgements by answer.
    patches, patients, experts : int
        Distinct patches, patients and experts.
    interval : Interval
        Precision.
    """

    unit: int | None
    label: str
    kind: str
    yes: int
    no: int
    unsure: int
    patches: int
    patients: int
    experts: int
    interval: Interval

    def text(self) -> str:
        """Return count and precision, such as `6 of 8, .75 (.41 to .93)`."""
        judgements = self.yes + self.no + self.unsure
        if not judgements:
            return "–"
        reason = f"; {self.interval.reason}" if self.interval.reason else ""
        return f"{self.yes} of {judgements}, {self.interval.short()}{reason}"


@dataclass(frozen=True)
class AuditResult:
    """Result of a label audit.

    Parameters
    ----------
    units : tuple of LabelPrecision
        Each unit and kind, in order of unit.
    pooled : tuple of LabelPrecision
        Each kind over all units.
    differences : dict
        Unit, or None for all, to the precision on top minus that on random patches.
    agreement : Agreement or None
        Agreement of the experts on the same patches; None with one expert.
    simulated : bool
        Whether a judgement is simulated.
    """

    units: tuple[LabelPrecision, ...]
    pooled: tuple[LabelPrecision, ...]
    differences: dict[int | None, Interval]
    agreement: Agreement | None
    simulated: bool

    def difference_of(self, unit: int | None) -> Interval:
        """Return the precision on top minus random patches for a unit, or for all (None)."""
        return self.differences[unit]


def compute_audit_result(judgements: pd.DataFrame, level: float = 0.95) -> AuditResult:
    """Compute the precision of every audited label.

    Parameters
    ----------
    judgements : DataFrame
        Latest judgements with code, item, unit, label, kind, patient_id, answer (yes, no, unsure)
        and simulated.
    level : float
        Level of the intervals.

    Returns
    -------
    AuditResult

    Examples
    --------
    >>> import pandas as pd
    >>> judgements = pd.DataFrame({
    ...     "code": "A1", "item": range(8), "unit": 3, "label": "Mass", "patient_id": range(8),
    ...     "kind": ["top"] * 4 + ["random"] * 4, "simulated": False,
    ...     "answer": ["yes", "yes", "yes", "unsure", "no", "yes", "no", "no"],
    ... })
    >>> result = compute_audit_result(judgements)
    >>> result.units[0].interval.estimate, result.difference_of(3).estimate
    (0.75, 0.5)
    """
    units: list[LabelPrecision] = []
    differences: dict[int | None, Interval] = {}
    for unit, rows in judgements.groupby("unit", sort=True):
        label = str(rows["label"].iloc[0])
        units += [
            _label_precision(rows, int(unit), label, kind, level) for kind in AUDIT_PATCH_KINDS
        ]
        # A label that applies to random patches equally often is not specific to the unit.
        differences[int(unit)] = _precision_difference(rows, level)
    return AuditResult(
        units=tuple(units),
        pooled=tuple(
            _label_precision(judgements, None, "", kind, level) for kind in AUDIT_PATCH_KINDS
        ),
        differences={**differences, None: _precision_difference(judgements, level)},
        agreement=_expert_agreement(judgements),
        simulated=bool(judgements["simulated"].any()),
    )


def precision_interval(yes: Array, patients: Array, level: float = 0.95) -> Interval:
    """Return a proportion with Wilson's interval on the effective number of judgements.

    The effective number is n divided by the design effect, at most n. If all judgements agree there
    is no design effect, and the number of patients is used.

    Parameters
    ----------
    yes : ndarray of bool, shape (n,)
        Judgements.
    patients : ndarray, shape (n,)
        Patient of each judgement.
    level : float
        Level of the interval.

    Returns
    -------
    Interval
        Without bounds if there are no judgements or all are of one patient.

    Examples
    --------
    >>> import numpy as np
    >>> result = precision_interval(np.array([True, True, False, True]), np.arange(4))
    >>> result.estimate, round(result.low, 2), round(result.high, 2)
    (0.75, 0.26, 0.96)
    """
    if not len(yes):
        return Interval.without_bounds(
            level, PRECISION_METHOD, "no patch has been judged", unit="patient"
        )
    # With one patient the between-patient variance cannot be estimated.
    clusters = clustered_proportion(yes, patients, level=level)
    if clusters.clusters < 2:
        return Interval.without_bounds(
            level,
            PRECISION_METHOD,
            "all patches come from one patient",
            clusters.estimate,
            unit="patient",
        )
    # A design effect below 1 is sampling error and must not narrow the interval.
    effective = (
        min(float(len(yes)), clusters.effective_n)
        if clusters.effective_n
        else float(clusters.clusters)
    )
    low, high = wilson_bounds(clusters.estimate or 0.0, effective, level)
    return Interval(
        estimate=clusters.estimate,
        low=low,
        high=high,
        level=level,
        method=PRECISION_METHOD,
        unit="patient",
    )


def wilson_bounds(p: float, n: float, level: float) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion for a real number of observations.

    `evaluation.proportion.proportion_interval` takes whole counts only; an effective number of
    observations is not whole.

    Parameters
    ----------
    p : float
        Proportion in [0, 1].
    n : float
        Positive number of observations.
    level : float
        Level of the interval.

    Returns
    -------
    tuple of float
        Lower and upper bound.

    References
    ----------
    Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat Assoc
    1927;22:209-212.

    Examples
    --------
    >>> low, high = wilson_bounds(0.6, 20, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.387, 0.781)
    """
    z = float(scipy.stats.norm.isf((1 - level) / 2))
    center = p + z**2 / (2 * n)
    half_width = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    # At 0 and 1 the bound is exact; rounding would leave a value such as 1e-17.
    low = 0.0 if p == 0 else float((center - half_width) / scale)
    high = 1.0 if p == 1 else float((center + half_width) / scale)
    return low, high


def _label_precision(
    judgements: pd.DataFrame, unit: int | None, label: str, kind: str, level: float
) -> LabelPrecision:
    rows = judgements[judgements["kind"] == kind]
    counts = rows["answer"].value_counts()
    yes, no, unsure = (int(counts.get(answer, 0)) for answer in ("yes", "no", "unsure"))
    return LabelPrecision(
        unit=unit,
        label=label,
        kind=kind,
        yes=yes,
        no=no,
        unsure=unsure,
        patches=rows["item"].nunique(),
        patients=rows["patient_id"].nunique(),
        experts=rows["code"].nunique(),
        interval=precision_interval(*_outcomes(rows), level),
    )


def _outcomes(rows: pd.DataFrame) -> tuple[Array, Array]:
    """Return whether each judgement is yes, and its patient."""
    return (rows["answer"] == "yes").to_numpy(), rows["patient_id"].to_numpy()


def _precision_difference(judgements: pd.DataFrame, level: float) -> Interval:
    """Return the precision on top minus that on random patches."""
    top, random = (judgements[judgements["kind"] == kind] for kind in ("top", "random"))
    difference = clustered_proportion_difference(_outcomes(top), _outcomes(random), level)
    # If all patients agree the bootstrap has no variance; width 0 would suggest certainty.
    if difference.low is not None and difference.low == difference.high:
        reason = "every resample gives the same difference"
        return replace(difference, low=None, high=None, reason=reason)
    return difference


def _expert_agreement(judgements: pd.DataFrame) -> Agreement | None:
    """Return Krippendorff's alpha (nominal) over the experts; None with a single expert."""
    if judgements["code"].nunique() < 2:
        return None
    table = judgements.assign(value=judgements["answer"].map(_ANSWER_CODES)).pivot(
        index="code", columns="item", values="value"
    )
    return krippendorff_alpha(table.to_numpy(dtype=float), "nominal")
