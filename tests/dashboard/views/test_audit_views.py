"""What the tab of the label audit renders and does, as a whole."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from dashboard.views import label_audit
from evaluation.intervals import Interval
from support.page_transcript import Transcript, expected_lines, render_into

RUN, USER = "dissect-1", "T7"


def share(kind: str, unit: int | None, estimate: float | None, patients: int) -> SimpleNamespace:
    low, high = (None, None) if estimate is None else (estimate - 0.1, estimate + 0.05)
    reason = "one patient" if estimate is None else None
    interval = Interval(
        estimate=estimate, low=low, high=high, level=0.95, method="wilson", reason=reason
    )
    text = f"{kind} {patients}"
    return SimpleNamespace(
        kind=kind,
        unit=unit,
        label=f"Label {unit}",
        interval=interval,
        patients=patients,
        text=lambda: text,
    )


def audit_of(name: str, ended: datetime | None) -> SimpleNamespace:
    return SimpleNamespace(audit=name, run=RUN, patches=6, seed=3, ended=ended)


def audit_result(agreement: Any) -> SimpleNamespace:
    gap = Interval(estimate=0.5, low=0.25, high=0.75, level=0.95, method="bootstrap")
    gaps = {None: gap, 4: share("", 4, 0.6, 1).interval, 8: share("", 8, None, 1).interval}
    kinds = ("top", "middle", "random")
    return SimpleNamespace(
        pooled=[share(k, None, (0.7, 0.5, None)[n], 11 + n) for n, k in enumerate(kinds)],
        units=[share(k, u, 0.4, u + n) for u in (4, 8) for n, k in enumerate(kinds)],
        difference_of=lambda unit: gaps[unit],
        agreement=agreement,
        simulated=False,
    )


@pytest.fixture
def auditing(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, label_audit, own=("show_flash", "flash"))
    page.replace(label_audit.audit_workflow, "start_audit", "end_audit")
    table = pd.DataFrame({"unit": [4], "top": ["=1"]})
    monkeypatch.setattr(label_audit.audit_workflow, "audit_result_table", lambda *_: table)
    monkeypatch.setattr(label_audit, "load_order_of_experts", lambda _: ["E1"])
    monkeypatch.setattr(label_audit, "patch_url", lambda p, size: f"u{p['patch_id']} {size}")
    first, second = audit_of("audit-1", datetime(2026, 2, 3, 4, 5)), audit_of("audit-2", None)
    progress = pd.DataFrame(
        {
            "code": ["E1", "E2"],
            "simulated": [False, True],
            "done": [5, 6],
            "total": [17, 18],
            "corrections": [1, 2],
            "median_seconds": [3.26, 4.0],
            "last": ["l1", "l2"],
        }
    )
    judged = pd.DataFrame(
        [
            (unit, f"Label {unit}", kind, patch, answer)
            for unit, kind, patch, answer in (
                (4, "top", 31, "yes"),
                (4, "top", 30, "yes"),
                (4, "top", 30, "no"),
                (4, "top", 32, "unsure"),
                (4, "random", 33, "no"),
                (8, "top", 34, "yes"),
            )
        ],
        columns=["unit", "label", "kind", "patch_id", "answer"],
    )
    page.queries = {
        ("latest_audit",): second,
        ("load_audits",): [first, second],
        ("unit_labels", RUN, ("E1",)): {4: "a", 8: "b", 9: "c"},
        ("audit_progress_by_expert", "audit-1"): progress,
        ("audit_progress_by_expert", "audit-2"): progress.iloc[:0],
        ("load_audit_result", "audit-1"): (
            first,
            audit_result(SimpleNamespace(estimate=0.61, low=0.5, high=0.72)),
        ),
        ("outdated_labels", "audit-1"): {8: "unit_0009 changed."},
        ("load_judgements", repr(first)): judged,
        ("load_judgement_versions", repr(first)): judged,
        ("ancestor_run", RUN, "patches"): "patches-1",
        ("load_patches_by_id", "patches-1", "[30, 31, 32, 33]"): pd.DataFrame(
            {"patch_id": [33, 30, 32, 31]}
        ),
    }
    return page


def test_label_audit(auditing: Transcript) -> None:
    page = auditing
    label_audit.render_label_audit(RUN, USER)
    # An audit is open: no other one can be started.
    assert page.take() == expected_lines("annotations", "open audit")
    page.session_state["audit_shown"] = "audit-1"
    page.answers["Audit"] = "audit-1"
    label_audit.render_label_audit(RUN, USER)
    assert page.take() == expected_lines("annotations", "ended audit")


def test_start_of_an_audit(auditing: Transcript) -> None:
    page = auditing
    page.queries["latest_audit",] = None
    page.answers["Patches of each kind"] = 7
    label_audit.render_label_audit(RUN, USER)
    assert page.take() == expected_lines("annotations", "start of an audit")
    page.session_state["audit_shown"] = "audit-1"
    page.replace(
        label_audit.audit_workflow, "start_audit", "end_audit", result=audit_of("A9", None)
    )
    label_audit._start(RUN, 7, USER)
    label_audit._end(USER)
    # The list shows the new audit.
    assert page.session_state == {}
    page.replace(label_audit.audit_workflow, "end_audit")
    page.raise_from(label_audit.audit_workflow, "start_audit", "One is open.")
    label_audit._start(RUN, 7, USER)
    assert page.take() == expected_lines("annotations", "audit started and ended")
    page.queries["unit_labels", RUN, ("E1",)] = {}
    label_audit._render_start_form(RUN, USER)
    assert page.take() == expected_lines("annotations", "nothing to audit")


def test_agreement_of_an_audit(auditing: Transcript) -> None:
    agreement = label_audit._agreement_metric
    assert agreement(audit_result(None)) == []  # type: ignore[arg-type]
    only = SimpleNamespace(estimate=0.61, low=None, high=None)
    assert agreement(audit_result(only)) == [("Agreement, alpha", ".610")]  # type: ignore[arg-type]


def test_only_audit_needs_no_choice(auditing: Transcript) -> None:
    [_, second] = auditing.queries["load_audits",]
    auditing.queries["load_audits",] = [second]
    assert label_audit._selected_audit(second) is second and auditing.take() == []
