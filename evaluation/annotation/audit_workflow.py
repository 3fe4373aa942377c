"""Label audit in a study folder: draw its patches, start and end it, load its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.class_labels import unit_name
from core.errors import UserError
from core.lexicon.annotation_answers import without_association
from core.lexicon.lexicon import Lexicon
from core.settings import load_order_of_experts
from core.store import audit_table, dataset_table, run_table
from core.store.audit_table import Audit, AuditItem
from core.store.labels import label_sets
from evaluation.annotation.label_audit import (
    AuditResult,
    compute_audit_result,
    sample_patch_ranks,
)

MAX_PATCHES_PER_KIND = 32


def judged_text(label: str, lexicon: Lexicon) -> str:
    """Return the words of a label that experts judge.

    Words for malignancy are left out: they would invite a judgement of cancer.
    """
    return without_association(label, lexicon.association_names) or label


def draw_items(
    study: Path, run: str, labels: Mapping[int, str], number: int, seed: int
) -> list[AuditItem]:
    """Draw the items of an audit.

    Parameters
    ----------
    study : Path
        The study folder.
    run : str
        Id of the dissect run.
    labels : mapping
        0-based unit to label. Experts see it without words for malignancy.
    number : int
        Patches per unit and kind.
    seed : int
        Seed of the sample.

    Returns
    -------
    list of AuditItem
    """
    folder = runs.run_folder(study, run)
    with store.read(study) as con:
        lexicon = dataset_table.load_lexicon(con)
    # Memory-mapped: only the labelled units' columns are read.
    activations = np.load(folder / "activations.npy", mmap_mode="r")
    patch_ids = np.load(folder / "patch_ids.npy")
    items: list[AuditItem] = []
    for unit, label in labels.items():
        values = np.array(activations[:, unit], np.float32)
        # A stable sort breaks ties by patch order, the same on every machine.
        order = np.argsort(-values, kind="stable")
        for kind, ranks in sample_patch_ranks(values, number, seed, unit).items():
            for rank in ranks:
                row = order[rank]
                items.append(
                    AuditItem(
                        item=len(items) + 1,
                        unit=unit,
                        label=judged_text(label, lexicon),
                        kind=kind,
                        patch_id=int(patch_ids[row]),
                        rank=int(rank),
                        activation=float(values[row]),
                    )
                )
    return items


def start_audit(
    study: Path,
    number: int,
    seed: int,
    user: str,
    dissect: str | None = None,
    label_set: str = label_sets.DEFAULT_SET,
) -> Audit:
    """Draw patches of every labelled unit of a dissection and open the audit.

    Parameters
    ----------
    study : Path
        The study folder.
    number : int
        Patches per unit and kind, 1 to `MAX_PATCHES_PER_KIND`.
    seed : int
        Seed of the sample.
    user : str
        Code of the acting person, for the log.
    dissect : str, optional
        Id of the dissect run; it is named where the study has several.
    label_set : str
        Name of the labels that are judged.

    Returns
    -------
    Audit

    Raises
    ------
    UserError
        If several dissections exist and none is named, the number is not allowed, no unit is
        labelled, or an audit is open.
    """
    if not 1 <= number <= MAX_PATCHES_PER_KIND:
        raise UserError(
            f"An audit has 1 to {MAX_PATCHES_PER_KIND} patches of each kind, not {number}."
        )
    order_of_experts = load_order_of_experts(study)
    run = lineage.choose_dissection(study, dissect)
    with store.read(study) as con:
        labels = label_sets.load_label_set(con, run, label_set, order_of_experts)
    if not labels:
        raise UserError(
            "No unit is labelled yet, so there are no labels to audit; let an expert annotate"
            " (Participants page), or decide where experts differ (Annotations page, Adjudication)."
        )
    # Stored with the items: a label that changes later does not change what was judged.
    texts = {unit: label.text for unit, label in labels.items()}
    items = draw_items(study, run, texts, number, seed)
    # Recorded now, because other labels can replace the simulated ones later.
    has_simulated_labels = any(label.simulated for label in labels.values())
    with store.write(study) as con:
        audit = audit_table.create_audit(
            con, run, seed, number, user, items, has_simulated_labels, label_set
        )
        run_table.append_log(
            con,
            user,
            "label audit started",
            f"{audit.audit}: {len(labels)} units, {number} patches of each kind",
        )
    return audit


def end_audit(study: Path, user: str) -> Audit:
    """End the open audit, so that no further answers are accepted, and return it."""
    with store.write(study) as con:
        audit = audit_table.close_audit(con, user)
        run_table.append_log(con, user, "label audit ended", audit.audit)
    return audit


def load_audits(study: Path) -> list[Audit]:
    """Return all audits, oldest first."""
    with store.read(study) as con:
        return audit_table.list_audits(con)


def latest_audit(study: Path) -> Audit | None:
    """Return the open audit, else the latest ended one; None without audits."""
    audits = load_audits(study)
    is_open = (audit for audit in reversed(audits) if audit.ended is None)
    return next(is_open, audits[-1] if audits else None)


def load_audit_result(study: Path, name: str | None = None) -> tuple[Audit, AuditResult]:
    """Return an audit and the precision of every audited label.

    Parameters
    ----------
    study : Path
        The study folder.
    name : str, optional
        Name of the audit; default `latest_audit`.

    Returns
    -------
    Audit
    AuditResult

    Raises
    ------
    UserError
        If the audit does not exist or has no answers.
    """
    audit = _find_audit(study, name)
    with store.read(study) as con:
        judgements = audit_table.load_judgements(con, audit)
    if judgements.empty:
        raise UserError(
            f"{audit.audit} has no answers yet; annotators start it with the button Audit on their"
            " page."
        )
    return audit, compute_audit_result(judgements)


def _find_audit(study: Path, name: str | None) -> Audit:
    if name is None:
        audit = latest_audit(study)
        if audit is None:
            raise UserError(
                "There is no label audit yet; start one with `deepminer labels audit-start`."
            )
        return audit
    audits = {audit.audit: audit for audit in load_audits(study)}
    if name not in audits:
        raise UserError(
            f"There is no label audit {name!r}; there are {', '.join(audits) or 'none'}."
        )
    return audits[name]


def load_unit_audit(study: Path, run: str, unit: int) -> tuple[Audit, AuditResult] | None:
    """Return the latest audit with judgements of a unit, and the result on this unit alone.

    Parameters
    ----------
    study : Path
        The study folder.
    run : str
        Id of the dissect run.
    unit : int
        0-based unit.

    Returns
    -------
    tuple of (Audit, AuditResult), or None
    """
    with store.read(study) as con:
        for audit in reversed([a for a in audit_table.list_audits(con) if a.run == run]):
            judgements = audit_table.load_judgements(con, audit)
            of_unit = judgements[judgements["unit"] == unit]
            if len(of_unit):
                return audit, compute_audit_result(of_unit)
    return None


def outdated_labels(study: Path, name: str) -> dict[int, str]:
    """Return the units whose label is no longer the one that an audit judged.

    Parameters
    ----------
    study : Path
        The study folder.
    name : str
        Name of the audit.

    Returns
    -------
    dict
        0-based unit to a sentence with both labels. A change of the association alone does
        not count: it was not judged.
    """
    audit = _find_audit(study, name)
    order = load_order_of_experts(study)
    with store.read(study) as con:
        judged = {item.unit: item.label for item in audit_table.load_audit_items(con, name)}
        # The set of a participant who withdrew since is gone, and so are its labels.
        labels = label_sets.find_label_set(con, audit.run, audit.label_set, order)
        lexicon = dataset_table.load_lexicon(con)
    outdated = {}
    for unit, text in judged.items():
        now = judged_text(labels[unit].text, lexicon) if unit in labels else ""
        if now != text:
            current = f"it is now “{now}”" if now else "no label of the unit counts now"
            outdated[unit] = f"Outdated: {name} judged “{text}”; {current}."
    return outdated


def audit_result_table(
    audit: Audit, result: AuditResult, outdated: Mapping[int, str]
) -> pd.DataFrame:
    """Return the result as a table for the page and the CSV file.

    Parameters
    ----------
    audit : Audit
        The audit.
    result : AuditResult
        Its result.
    outdated : mapping
        `outdated_labels` of the audit.

    Returns
    -------
    DataFrame
        One row per unit and kind, then the pooled rows; the difference of top and random patches
        stands in the row of the top patches.
    """
    rows = []
    for precision in (*result.units, *result.pooled):
        difference = result.difference_of(precision.unit) if precision.kind == "top" else None
        rows.append(
            {
                "unit": unit_name(precision.unit) if precision.unit is not None else "all units",
                "label": precision.label,
                "outdated": outdated.get(precision.unit, "") if precision.unit is not None else "",
                "kind": precision.kind,
                "yes": precision.yes,
                "no": precision.no,
                "unsure": precision.unsure,
                "patches": precision.patches,
                "patients": precision.patients,
                "experts": precision.experts,
                "precision": precision.interval.estimate,
                "low": precision.interval.low,
                "high": precision.interval.high,
                "reason": precision.interval.reason or "",
                "top_minus_random": difference.estimate if difference else None,
                "difference_low": difference.low if difference else None,
                "difference_high": difference.high if difference else None,
                "difference_reason": (difference.reason or "") if difference else "",
                # In every row, because single rows are copied out of the file.
                "simulated_judgements": result.simulated,
                "simulated_labels": audit.simulated,
            }
        )
    return pd.DataFrame(rows)


def load_judgement_versions(study: Path, audit: Audit) -> pd.DataFrame:
    """Return every version of every judgement of an audit, for the export."""
    with store.read(study) as con:
        judgements = audit_table.load_judgements(con, audit, versions=True)
    return judgements.assign(
        unit=[unit_name(int(unit)) for unit in judgements["unit"]],
        simulated_labels=audit.simulated,
        audit=audit.audit,
    )
