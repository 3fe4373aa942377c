"""The label audit on a study folder: which patches are judged, how it is opened and ended, its
results.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core import runs, store
from core.birads_lexicon import without_association
from core.class_labels import unit_name
from core.errors import UserError
from core.store import annotation_table, audit_table, run_table
from core.store.audit_table import Audit, Item
from evaluation.annotation.label_audit import AuditResult, audited

MOST_PATCHES = 32
# Middle-ranked patches are drawn from this part of a unit's order of all dissected patches.
MIDDLE = (0.4, 0.6)


def places(values: np.ndarray, number: int, seed: int, unit: int) -> dict[str, np.ndarray]:
    """Rank places of a unit's patches to judge: the `number` strongest; as many drawn from the
    middle fifth of its order; as many drawn from all others.

    `values` activations [patches]; returns places in the order of falling activation (ties by patch
    order) per kind, ascending, without overlap. UserError where there are not enough patches.
    """
    total = len(values)
    if total < 5 * number:
        raise UserError(
            f"The dissection has {total} patches, too few to draw {number} of each kind; choose at"
            f" most {total // 5}."
        )
    generator = np.random.default_rng([seed, unit])
    top = np.arange(number)
    middle = generator.choice(
        np.setdiff1d(np.arange(int(MIDDLE[0] * total), int(MIDDLE[1] * total)), top),
        number,
        replace=False,
    )
    rest = np.setdiff1d(np.arange(total), np.concatenate([top, middle]))
    return {
        "top": top,
        "middle": np.sort(middle),
        "random": np.sort(generator.choice(rest, number, replace=False)),
    }


def draw(study: Path, run: str, labels: dict[int, str], number: int, seed: int) -> list[Item]:
    """The items of an audit: for each labelled unit its words (without the verdict on them) and
    patches of every kind.
    """
    folder = runs.folder(study, run)
    activations, ids = (
        np.load(folder / "activations.npy", mmap_mode="r"),
        np.load(folder / "patch_ids.npy"),
    )
    found: list[Item] = []
    for unit, label in labels.items():
        values = np.array(activations[:, unit], np.float32)
        order = np.argsort(-values, kind="stable")
        for kind, chosen in places(values, number, seed, unit).items():
            for place in chosen:
                row = order[place]
                found.append(
                    Item(
                        item=len(found) + 1,
                        unit=unit,
                        label=without_association(label) or label,
                        kind=kind,
                        patch_id=int(ids[row]),
                        rank=int(place),
                        activation=float(values[row]),
                    )
                )
    return found


def start(study: Path, number: int, seed: int, who: str) -> Audit:
    """Draw the patches of every labelled unit of the current dissection and open the audit to
    experts.
    """
    if not 1 <= number <= MOST_PATCHES:
        raise UserError(
            f"An audit has 1 to {MOST_PATCHES} patches of each kind; {number} were asked for."
        )
    with store.read(study) as con:
        run = annotation_table.current_run(con)
        labels = annotation_table.labels(con, run) if run else {}
    if run is None or not labels:
        raise UserError(
            "No unit carries a label yet, so there are no words to audit; let an expert annotate"
            " first (People page, then Annotate)."
        )
    items = draw(study, run, {unit: label.text for unit, label in labels.items()}, number, seed)
    with store.write(study) as con:
        made = audit_table.start(
            con, run, seed, number, who, items, any(label.simulated for label in labels.values())
        )
        run_table.log(
            con,
            who,
            "label audit started",
            f"{made.audit}: {len(labels)} units, {number} patches of each kind",
        )
    return made


def end(study: Path, who: str) -> Audit:
    """End the open audit: no further answers."""
    with store.write(study) as con:
        made = audit_table.end(con, who)
        run_table.log(con, who, "label audit ended", made.audit)
    return made


def newest(study: Path) -> Audit | None:
    """The open audit, else the one ended last."""
    with store.read(study) as con:
        found = audit_table.audits(con)
    return next((a for a in reversed(found) if a.ended is None), found[-1] if found else None)


def every(study: Path) -> list[Audit]:
    """All audits, the first one first."""
    with store.read(study) as con:
        return audit_table.audits(con)


def results(study: Path, name: str | None = None) -> tuple[Audit, AuditResult]:
    """Precision of every audited label in the named audit (the newest one if not given); UserError
    where there is none, or no answer.
    """
    audit = (
        newest(study) if name is None else next((a for a in every(study) if a.audit == name), None)
    )
    if audit is None and name is not None:
        raise UserError(
            f"There is no label audit {name!r}; there are"
            f" {', '.join(a.audit for a in every(study)) or 'none'}."
        )
    if audit is None:
        raise UserError(
            "There has been no label audit; start one with `deepminer labels audit-start`."
        )
    with store.read(study) as con:
        frame = audit_table.judgements(con, audit)
    if not len(frame):
        raise UserError(
            f"Nobody has answered in {audit.audit} yet; annotators find it behind the button Audit"
            " on their page."
        )
    return audit, audited(frame)


def of_unit(study: Path, run: str, unit: int) -> tuple[Audit, AuditResult] | None:
    """The newest audit of a dissection in which this unit's patches were judged, and the result on
    them alone; None where there is none.
    """
    with store.read(study) as con:
        for audit in reversed([a for a in audit_table.audits(con) if a.run == run]):
            frame = audit_table.judgements(con, audit)
            mine = frame[frame["unit"] == unit]
            if len(mine):
                return audit, audited(mine)
    return None


def results_table(audit: Audit, result: AuditResult) -> pd.DataFrame:
    """A row per unit and kind, then the pooled ones, with the difference top - random beside: what
    the page shows and the CSV holds.
    """
    rows = []
    for share in (*result.units, *result.pooled):
        gap = result.difference_of(share.unit) if share.kind == "top" else None
        rows.append({
            "unit": unit_name(share.unit) if share.unit is not None else "all units", "label": share.label, "kind": share.kind, "yes": share.yes, "no": share.no,
            "unsure": share.unsure, "patches": share.patches, "patients": share.patients, "experts": share.experts, "precision": share.interval.estimate,
            "low": share.interval.low, "high": share.interval.high, "reason": share.interval.reason or "",
            "top_minus_random": gap.estimate if gap else None, "difference_low": gap.low if gap else None, "difference_high": gap.high if gap else None,
            "difference_reason": (gap.reason or "") if gap else "", "simulated_judgements": result.simulated, "simulated_labels": audit.simulated,
        })  # fmt: skip
    return pd.DataFrame(rows)


def judgements_table(study: Path, audit: Audit) -> pd.DataFrame:
    """Every version of every judgement, for the export."""
    with store.read(study) as con:
        frame = audit_table.judgements(con, audit, versions=True)
    return frame.assign(
        unit=[unit_name(int(u)) for u in frame["unit"]],
        simulated_labels=audit.simulated,
        audit=audit.audit,
    )
