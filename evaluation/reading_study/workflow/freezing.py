"""Freezing of a checked protocol: reasons for warnings, pictures of the cases, hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core import store
from core.errors import UserError
from core.sessions.reading_pictures import remove_reading_pictures, render_reading_pictures
from core.store import run_table
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import FROZEN, check_transition
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import CasePicture
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
from evaluation.reading_study.workflow.content import (
    check_unchanged_draft,
    checked_content,
    draft_content,
    frozen_content,
)
from evaluation.reading_study.workflow.pictures import case_pictures
from evaluation.reading_study.workflow.protocols import append_next_state, protocol_design


def freeze_protocol(
    study: Path,
    protocol: str | None,
    user: str,
    reasons: Mapping[str, str] | None = None,
    *,
    version: int | None = None,
) -> Protocol:
    """Freeze a checked protocol.

    Its hash covers the design and the sealed key; its content, also what readers see, their
    instructions, and the reasons. See `evaluation.reading_study.workflow.content`.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str or None
        Name of the reading study; None for the one that changed last.
    user : str
        Code of the acting person, for the log.
    reasons : mapping, optional
        Why each warning is accepted, by "field: finding" for one warning or by field for all
        warnings of that field.
    version : int, optional
        May be left out where the study has one version.

    Returns
    -------
    Protocol
        The frozen protocol.

    Raises
    ------
    UserError
        If the version was not checked, is not what was checked or has errors, if a warning lacks a
        reason, or a reason has no warning.
    """
    with store.read(study) as con:
        current = protocol_table.find_protocol(con, protocol, version)
        cases = reading_table.load_reading_cases(con, current.protocol, current.version)
    check_transition(current.protocol, current.version, current.state, FROZEN)
    issues = parse_issues(current.lint)
    if has_errors(issues):
        error = next(issue for issue in issues if issue.severity == ERROR)
        raise UserError(
            f"{current.protocol}, version {current.version}, cannot be frozen: {error.field}:"
            f" {error.finding}. Change the design and check it again."
        )
    reasons = dict(reasons or {})
    warnings = [issue for issue in issues if issue.severity == WARNING]
    _check_reasons(current.protocol, warnings, reasons)
    shown = case_pictures(study, current, cases)
    content = checked_content(draft_content(study, current, cases, shown), current.lint)
    check_unchanged_draft(current, content)
    practice, advice, pictures = shown
    # Before the transaction, because it takes long; before any reader, because a first sight must
    # not take longer than a second one.
    pictures = render_reading_pictures(study, pictures)
    frozen = {
        "design": current.design
        | {"reasons": reasons, "practice": practice}
        | ({} if advice is None else {"practice_advice": advice}),
        # The hash is computed from the stored rows, not from what was in memory at design time.
        "hash": protocol_hash(protocol_design(current), cases),
        "content": frozen_content(content, reasons, pictures),
    }
    try:
        return _record_freezing(study, current, user, frozen, pictures)
    except BaseException:  # also an interruption: files without a frozen study are of no use
        remove_reading_pictures(study, pictures)
        raise


def _record_freezing(
    study: Path,
    checked: Protocol,
    user: str,
    frozen: Mapping[str, Any],
    pictures: Sequence[CasePicture],
) -> Protocol:
    """Store the state frozen of a checked version and its pictures, and return it.

    frozen: design, hash and content of the state.
    """
    with store.write(study) as con:
        append_next_state(con, checked, FROZEN, user, **frozen)
        reading_table.add_case_pictures(con, checked.protocol, checked.version, pictures)
        run_table.append_log(
            con,
            user,
            "reading study frozen",
            f"{checked.protocol} version {checked.version} {frozen['hash']}",
        )
        return protocol_table.find_protocol(con, checked.protocol, checked.version)


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
            f"{protocol} has {count_text(len(missing), 'warning')} without a reason:"
            f" {'; '.join(f'{w.field}: {w.finding}' for w in missing)}. Give a reason for each"
            f" field, such as --reason '{missing[0].field}=accepted because ...'."
        )
