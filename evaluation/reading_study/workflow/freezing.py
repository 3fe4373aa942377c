"""Freezing of a checked protocol: reasons for warnings, images of the cases, protocol hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store
from core.errors import UserError
from core.images import blinded_rendering
from core.sessions.arms import shows_images, shows_texts
from core.sessions.reading_session import PRACTICE_TEXTS
from core.store import reading_table, run_table, unit_table
from core.store.protocol_table import Protocol
from core.store.reading_table import CasePicture
from evaluation.intervals import count_text
from evaluation.reading_study.leakage_issues import (
    ERROR,
    WARNING,
    LeakageIssue,
    acceptance_reason,
    has_errors,
    parse_issues,
)
from evaluation.reading_study.sealed_key import protocol_hash
from evaluation.reading_study.workflow.protocols import (
    append_next_state,
    find_protocol,
    protocol_design,
)

PRACTICE_CASES_PER_ARM = 2
# Second seed of the practice cases, so that they are independent of the case selection.
_PRACTICE_STREAM = 17


def freeze_protocol(
    study: Path, protocol: str | None, user: str, reasons: Mapping[str, str] | None = None
) -> Protocol:
    """Freeze a checked protocol; its hash covers the design and the sealed key.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str or None
        Name of the reading study; None for the newest.
    user : str
        Code of the acting person, for the log.
    reasons : mapping, optional
        Why each warning is accepted, by "field: finding" for one warning or by field for all
        warnings of that field.

    Returns
    -------
    Protocol
        The frozen protocol.

    Raises
    ------
    UserError
        If the protocol was not checked or has errors, a warning lacks a reason, or a reason has no
        warning.
    """
    with store.read(study) as con:
        current = find_protocol(con, protocol)
        cases = reading_table.load_reading_cases(con, current.protocol, current.version)
    issues = parse_issues(current.lint)
    if current.state != "lint":
        raise UserError(
            f"Version {current.version} of {current.protocol} is {current.state}; run"
            " `deepminer reading lint` on a new design before freezing."
        )
    if has_errors(issues):
        error = next(issue for issue in issues if issue.severity == ERROR)
        raise UserError(
            f"{current.protocol} cannot be frozen: {error.field}: {error.finding}. Change the"
            " design and lint again."
        )
    warnings = [issue for issue in issues if issue.severity == WARNING]
    _check_reasons(current.protocol, warnings, reasons or {})
    # The hash is computed from the stored rows, not from what was in memory at design time.
    digest = protocol_hash(protocol_design(current), cases)
    practice, pictures = case_pictures(study, current, cases)
    extras: dict[str, Any] = {"reasons": dict(reasons or {})}
    if pictures:
        extras["practice"] = practice
    with store.write(study) as con:
        append_next_state(con, current, "frozen", user, design=current.design | extras, hash=digest)
        reading_table.add_case_pictures(con, current.protocol, current.version, pictures)
        run_table.append_log(
            con,
            user,
            "reading study frozen",
            f"{current.protocol} version {current.version} {digest}",
        )
        return find_protocol(con, current.protocol)


def _check_reasons(protocol: str, warnings: list[LeakageIssue], reasons: Mapping[str, str]) -> None:
    """Raise a UserError unless every warning has a reason and every reason a warning."""
    fields = {warning.field for warning in warnings}
    # A reason without a warning usually has a misspelt field.
    unknown = set(reasons) - fields - {f"{w.field}: {w.finding}" for w in warnings}
    if unknown:
        raise UserError(
            f"The leakage checks gave no warning about {sorted(unknown)[0]!r}; their warnings are"
            f" about {', '.join(dict.fromkeys(w.field for w in warnings)) or 'nothing'}."
        )
    missing = [w for w in warnings if not acceptance_reason(reasons, w.field, w.finding)]
    if missing:
        raise UserError(
            f"{protocol} has {count_text(len(missing), 'warning')} without a reason (first:"
            f" {missing[0].field}: {missing[0].finding}); give one for each, such as --reason"
            f" '{missing[0].field}=accepted because ...'."
        )


def case_pictures(
    study: Path, protocol: Protocol, cases: pd.DataFrame
) -> tuple[list[list[str]], list[CasePicture]]:
    """Return the practice texts and the images of the cases of the image arms.

    Practice consists of the usual texts if an arm displays texts, then of two mammograms for each
    image arm. These come from patients outside the study. Practice case i has the number -i.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : Protocol
        The protocol with its explain run.
    cases : DataFrame
        The sealed key.

    Returns
    -------
    practice : list of list of str
        Texts of each practice case; empty if no arm displays images.
    pictures : list of CasePicture
    """
    arms = [arm for arm in protocol.design["arms"] if shows_images(arm)]
    if not arms:
        return [], []
    with store.read(study) as con:
        explained = unit_table.load_explanations(con, protocol.run).set_index("mammogram_id")
    pictures = [
        _picture(row["case_number"], row["arm"], explained.loc[row["mammogram_id"]], protocol.run)
        for row in cases.to_dict("records")
        if row["arm"] in arms
    ]
    has_texts = any(map(shows_texts, protocol.design["arms"]))
    practice = [list(texts) for texts in PRACTICE_TEXTS] if has_texts else []
    # A practice image of a study patient would make the reader familiar with a case.
    others = explained[~explained["patient_id"].isin(cases["patient_id"])]
    generator = np.random.default_rng([int(protocol.design["seed"]), _PRACTICE_STREAM])
    practice_arms = [arm for arm in arms for _ in range(PRACTICE_CASES_PER_ARM)]
    drawn = zip(generator.permutation(len(others)), practice_arms)
    for position, (index, arm) in enumerate(drawn):
        texts = PRACTICE_TEXTS[position % len(PRACTICE_TEXTS)] if shows_texts(arm) else ()
        practice.append(list(texts))
        # Case numbers count from 1, so a negative number cannot collide with one.
        pictures.append(_picture(-len(practice), arm, others.iloc[index], protocol.run))
    # A small study may have no patient left for practice; one text keeps the practice page usable.
    return practice or [list(PRACTICE_TEXTS[0])], pictures


def _picture(number: int, arm: str, explanation: Any, run: str) -> CasePicture:
    """Return the image of one case: a class map or a mammogram."""
    if arm == "class_map":
        kind = blinded_rendering.CLASS_MAP
        source = blinded_rendering.class_map_source(run, explanation["file"], explanation["film"])
    else:
        kind = blinded_rendering.MAMMOGRAM
        source = blinded_rendering.mammogram_source(explanation["film"])
    return CasePicture(int(number), kind, source)
