"""Results of the leakage checks: severity, machine-readable code and message of each issue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from evaluation.intervals import count_text, decimal
from evaluation.permutation import Association

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
# Three planned readers make about thirty permutation tests: at .001 each, three clean designs in a
# hundred are stopped by chance, and another seed is chosen for them.
LEAKAGE_ALPHA = 0.001

# The side of each target for which a test looks, in print; other targets are named as they are.
_HIGH = {"truth": "positive cases", "the network's score": "higher scores"}


class IssueCode(StrEnum):
    """Kinds of leakage issues; program logic uses the code and never the message."""

    # The values are stored with the protocol: a renamed value would make old protocols unreadable.
    IDENTIFIER_VERDICT_WORDS = "identifier_verdict_words"
    IDENTIFIER_TRUTH = "identifier_truth"
    IDENTIFIER_SCORE = "identifier_score"
    ORDER_TRUTH = "order_truth"
    ORDER_SCORE = "order_score"
    ORDER_ARM = "order_arm"
    ORDER_TEXT = "order_text"
    ORDER_REPEAT = "order_repeat"
    READER_ORDERS = "reader_orders"
    IMAGE_TRUTH = "image_truth"
    MISSING_TEXTS = "missing_texts"
    TEXT_COUNT_TRUTH = "text_count_truth"
    TEXT_LENGTH_TRUTH = "text_length_truth"
    TEXT_VERDICT_WORDS = "text_verdict_words"
    FEW_DISTINCT_TEXTS = "few_distinct_texts"
    REPEATED_TEXT = "repeated_text"
    DOMINANT_LABEL = "dominant_label"
    UNUSED_LABELS = "unused_labels"
    UNKNOWN_LABELS = "unknown_labels"
    REPEATED_PATIENTS = "repeated_patients"
    SHARED_PATIENTS = "shared_patients"
    ANNOTATING_READERS = "annotating_readers"
    TRUTH_CONFLICT = "truth_conflict"
    TRUTH_CONFLICT_REVIEWED = "truth_conflict_reviewed"
    SINGLE_CLASS = "single_class"
    ADVICE_SHAM = "advice_sham"
    ADVICE_DECISION = "advice_decision"
    ADVICE_STATEMENT = "advice_statement"
    ADVICE_REPEATED_CASE = "advice_repeated_case"
    ADVICE_WASHOUT = "advice_washout"
    ADVICE_BALANCE = "advice_balance"
    ADVICE_BASE_RATE = "advice_base_rate"
    ADVICE_TOLD_SHARE = "advice_told_share"
    ADVICE_ORDER = "advice_order"
    UNCODED = "uncoded"


@dataclass(frozen=True, kw_only=True)
class LeakageIssue:
    """One result of the leakage checks.

    Parameters
    ----------
    field : str
        What was checked, such as "case", "order" or "texts".
    severity : {"error", "warning", "note"}
        An error prevents freezing, a warning needs a reason, a note is for the record.
    finding : str
        Message for the team.
    code : IssueCode
        Kind of issue.
    auc : float or None
        AUC of a tested field for truth or for a high network score, at least .5.
    p : float or None
        Two-sided permutation P of that test.
    """

    field: str
    severity: str
    finding: str
    code: IssueCode
    auc: float | None = None
    p: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the issue as JSON-compatible data, as stored and printed."""
        return asdict(self) | {"code": str(self.code)}

    def sentence(self) -> str:
        """Return severity, field and message as one sentence for the protocol."""
        return f"{self.severity.capitalize()}, {self.field}: {self.finding}"


def parse_issues(rows: Iterable[Mapping[str, Any]]) -> list[LeakageIssue]:
    """Return the issues of stored rows, the inverse of `LeakageIssue.as_dict`.

    Rows stored before issues had codes receive one by field and severity: an error in the field
    "truth" becomes TRUTH_CONFLICT, a warning there TRUTH_CONFLICT_REVIEWED, anything else UNCODED.
    The rule also covers the rare old error that all cases are of one class; its only effect is that
    the team is asked for a review note, which the next check ignores.

    Parameters
    ----------
    rows : iterable of mapping
        Dictionaries with field, severity, finding, auc, p and, in new rows, code.

    Returns
    -------
    list of LeakageIssue

    Examples
    --------
    >>> old = {"field": "truth", "severity": "error", "finding": "...", "auc": None, "p": None}
    >>> parse_issues([old])[0].code.value
    'truth_conflict'
    """
    uncoded = {
        ("truth", ERROR): IssueCode.TRUTH_CONFLICT,
        ("truth", WARNING): IssueCode.TRUTH_CONFLICT_REVIEWED,
    }
    issues = []
    for row in rows:
        key = (row["field"], row["severity"])
        code = row.get("code") or uncoded.get(key, IssueCode.UNCODED)
        issues.append(LeakageIssue(**{**row, "code": IssueCode(code)}))
    return issues


def has_errors(issues: Iterable[LeakageIssue]) -> bool:
    """Return whether any issue prevents the study from being frozen."""
    return any(issue.severity == ERROR for issue in issues)


def acceptance_reason(reasons: Mapping[str, str], field: str, finding: str) -> str:
    """Return why a warning was accepted, or "" if no reason was given.

    A reason for the individual warning, with the key "field: finding", takes precedence over a
    reason for all warnings of its field.

    Examples
    --------
    >>> acceptance_reason({"texts": "by design"}, "texts", "one label dominates")
    'by design'
    """
    return reasons.get(f"{field}: {finding}", reasons.get(field, "")).strip()


def association_issue(
    code: IssueCode, field: str, subject: str, result: Association, target: str, severity: str
) -> list[LeakageIssue]:
    """Return the issue of one permutation test, or no issue if the test was not possible.

    Parameters
    ----------
    code, field, severity
        As in `LeakageIssue`; the severity is used if P < `LEAKAGE_ALPHA`, otherwise NOTE.
    subject : str
        What was tested, such as "its value".
    result : Association
        AUC and P of the test.
    target : str
        What it was tested against, such as "truth".
    """
    if result.p is None:
        return []
    is_leak, area, auc = result.p < LEAKAGE_ALPHA, "", None
    if result.auc is not None:
        # An AUC below .5 leaks as much as one above, so the larger side is reported.
        auc = max(result.auc, 1 - result.auc)
        inverted = f", smaller values with {_HIGH.get(target, target)}" if result.auc < 0.5 else ""
        area = f"AUC {decimal(auc, 2)}{inverted}, "
    # A large P does not prove that a field is free of information, hence "not shown to predict".
    finding = (
        f"{subject} {'predicts' if is_leak else 'is not shown to predict'} {target}"
        f" ({area}permutation P {permutation_p_text(result.p)}, limit {decimal(LEAKAGE_ALPHA)})"
    )
    return [
        LeakageIssue(
            field=field,
            severity=severity if is_leak else NOTE,
            finding=finding,
            code=code,
            auc=auc,
            p=result.p,
        )
    ]


def permutation_p_text(p: float) -> str:
    """Return a permutation P with its relation, such as `= .04` or `< .001`."""
    return "< .001" if p < 0.001 else f"= {decimal(p)}"


def truth_conflict_issue(conflicts: int, reviewer: str = "", note: str = "") -> LeakageIssue:
    """Return the issue of cases with conflicting or unproven truth rules.

    Parameters
    ----------
    conflicts : int
        Number of such cases.
    reviewer, note : str
        Code of the person who reviewed the cases, and the result. With a note the issue is a
        warning, otherwise an error.

    Returns
    -------
    LeakageIssue

    Examples
    --------
    >>> truth_conflict_issue(2).code.value
    'truth_conflict'
    >>> truth_conflict_issue(2, "T1", "both are proven").severity
    'warning'
    """
    finding = f"{count_text(conflicts, 'case')} with conflicting or unproven truth rules"
    if note:
        return LeakageIssue(
            field="truth",
            severity=WARNING,
            finding=f"{finding}; reviewed by {reviewer}: {note}",
            code=IssueCode.TRUTH_CONFLICT_REVIEWED,
        )
    return LeakageIssue(
        field="truth",
        severity=ERROR,
        finding=f"{finding}, not reviewed",
        code=IssueCode.TRUTH_CONFLICT,
    )
