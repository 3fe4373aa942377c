"""Leakage checks of a designed protocol in a study folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, store
from core.images import blinded_rendering
from core.sessions.arms import MAMMOGRAM_ARMS
from core.settings import load_order_of_experts
from core.store import annotation_table, dataset_table, participant_table, reading_table
from core.store.protocol_table import Protocol
from evaluation.intervals import count_text
from evaluation.permutation import PatientPermutations
from evaluation.reading_study.case_selection import reader_order
from evaluation.reading_study.design import MALIGNANT, TRUTH_RULES, UNPROVEN, Design
from evaluation.reading_study.leakage_checks import (
    check_leakage,
    image_issues,
    leakage_table,
    order_issues,
)
from evaluation.reading_study.leakage_issues import (
    ERROR,
    NOTE,
    IssueCode,
    LeakageIssue,
    truth_conflict_issue,
)
from evaluation.reading_study.workflow.candidates import load_truth_by_rule
from evaluation.reading_study.workflow.protocols import (
    append_next_state,
    find_protocol,
    protocol_design,
    require_original_study,
)

# Mean brightness hardly changes on every fourth pixel, and the check stays fast.
_PIXEL_STEP = 4


def check_protocol(
    study: Path, protocol: str | None, user: str, reviewed: str = ""
) -> tuple[Protocol, tuple[LeakageIssue, ...]]:
    """Run the leakage checks on a designed protocol and store the issues.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str or None
        Name of the reading study; None for the newest.
    user : str
        Code of the acting person.
    reviewed : str
        Result of a review of the cases with conflicting truth rules. With it the conflict is a
        warning, which needs a reason at freezing; without it an error.

    Returns
    -------
    Protocol
        The protocol in the state "lint".
    tuple of LeakageIssue
        Errors first.

    Raises
    ------
    UserError
        If the study is a site bundle, or the protocol is frozen already.
    """
    with store.read(study) as con:
        require_original_study(con)
        current = find_protocol(con, protocol)
        cases = reading_table.load_reading_cases(con, current.protocol, current.version)
        truth = load_truth_by_rule(con)
    dissect = lineage.ancestor_run(study, current.run, "dissect")
    with store.read(study) as con:
        unit_labels = annotation_table.unit_labels(con, dissect, load_order_of_experts(study))
        annotators = annotation_table.annotation_progress_by_expert(con, dissect)["code"].tolist()
    design = protocol_design(current)
    conflicts = _count_conflicts(truth[truth["mammogram_id"].isin(cases["mammogram_id"])])
    issues = [
        *check_leakage(
            leakage_table(cases),
            labels={str(unit): label.text for unit, label in unit_labels.items()},
            conflicts=conflicts,
            annotators=annotators,
            seed=design.seed,
        ),
        *reader_order_issues(cases, design, planned_reader_codes(study, design)),
        *_image_arm_issues(study, cases, design),
    ]
    note = reviewed.strip()
    if note:
        issues = [
            truth_conflict_issue(conflicts, user, note)
            if issue.code is IssueCode.TRUTH_CONFLICT
            else issue
            for issue in issues
        ]
    # Stable: within errors and within the rest the order of the checks remains.
    issues.sort(key=lambda issue: issue.severity != ERROR)
    with store.write(study) as con:
        append_next_state(con, current, "lint", user, lint=[issue.as_dict() for issue in issues])
        return find_protocol(con, current.protocol), tuple(issues)


def _count_conflicts(truth: pd.DataFrame) -> int:
    """Count mammograms whose truth rules differ or are unproven."""
    rules = truth[list(TRUTH_RULES)].dropna(axis=1, how="all")
    # A rule without a value for any case was dropped above and cannot conflict.
    differs = rules.nunique(axis=1, dropna=False) > 1
    return int((differs | (rules == UNPROVEN).any(axis=1)).sum())


def _image_arm_issues(study: Path, cases: pd.DataFrame, design: Design) -> list[LeakageIssue]:
    """Check the mammograms of the image arms for differences in shape, brightness and scanner."""
    displayed = cases[cases["arm"].isin(MAMMOGRAM_ARMS)].drop_duplicates("mammogram_id")
    if displayed.empty:
        return []
    with store.read(study) as con:
        mammograms = dataset_table.load_mammograms(con).set_index("mammogram_id")
    # In the order of `displayed`: the table below joins both by position.
    mammograms = mammograms.loc[displayed["mammogram_id"]]
    brightness = []
    for file in mammograms["file"]:
        pixels = np.load(study / "images" / f"{file}.npy")[::_PIXEL_STEP, ::_PIXEL_STEP]
        breast = blinded_rendering.breast_mask(np.ascontiguousarray(pixels))
        brightness.append(float(pixels[breast].mean()) if breast.any() else 0.0)
    table = pd.DataFrame(
        {
            "truth": (displayed["truth"] == MALIGNANT).to_numpy(),
            "patient": displayed["patient_id"].to_numpy(),
            "grey": brightness,
            "height": (mammograms["height"] / mammograms["width"]).to_numpy(),
            "scanner": mammograms["scanner"].to_numpy(),
        }
    )
    return image_issues(table, design.seed)


def planned_reader_codes(study: Path, design: Design) -> list[str]:
    """Return the codes of the planned readers.

    Invited readers come first. Missing ones receive the codes R1, R2, ... that the next invitations
    will assign, so that their orders can be checked in advance.
    """
    with store.read(study) as con:
        table = participant_table.load_participants(con)
    codes = (
        [str(code) for code in table[(table["role"] == "reader") & ~table["simulated"]]["code"]]
        if len(table)
        else []
    )
    next_codes = (f"R{number}" for number in range(1, 10_000))
    while len(codes) < design.readers:
        code = next(next_codes)
        if code not in codes:
            codes.append(code)
    return codes


def reader_order_issues(
    cases: pd.DataFrame, design: Design, codes: list[str]
) -> list[LeakageIssue]:
    """Check the order of each planned reader for information about truth or network score.

    Returns
    -------
    list of LeakageIssue
        An error for each leaking order, or one note if no order leaks.
    """
    errors: list[LeakageIssue] = []
    for code in codes:
        table = leakage_table(cases, reader_order(cases, design, code))
        table = table.sort_values("order", kind="stable")
        # The permutations belong to an order of rows, which differs between readers.
        tests = PatientPermutations(table["patient"].to_numpy(), design.seed)
        errors += [
            replace(issue, field=f"order of {code}")
            for issue in order_issues(table, tests)
            if issue.severity == ERROR
        ]
    if errors:
        return errors
    return [
        LeakageIssue(
            field="order",
            severity=NOTE,
            finding=(
                f"the orders of {count_text(len(codes), 'planned reader')} ({', '.join(codes)})"
                " predict neither truth nor the network's score"
            ),
            code=IssueCode.READER_ORDERS,
        )
    ]
