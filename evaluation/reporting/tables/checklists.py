"""Reporting checklists: the evidence in a study's record for each item of the guidelines.

No item is marked as fulfilled by the program; the table names evidence for the authors to check.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evaluation.reporting.tables.advice_evidence import advice_evidence
from evaluation.reporting.tables.base import Table, TableColumn
from evaluation.reporting.tables.checklist_evidence import recorded_evidence
from evaluation.reporting.tables.guidelines import listed_guidelines

# States of an item; the program never declares one fulfilled.
FOUND = "evidence found"
MISSING = "missing"
WRITE = "please write"


@dataclass(frozen=True)
class ChecklistItem:
    """An item of a guideline: its number, the paraphrased text, the state and the evidence.

    evidence: its location (evidence found), the command that supplies it (missing), or why only the
    authors can answer (please write).
    """

    guideline: str
    number: str
    text: str
    state: str
    evidence: str


def build_checklist_table(study: Path) -> Table:
    """Tabulate the evidence for the items of `checklist_items`."""
    items = checklist_items(study)
    return Table(
        (
            TableColumn("Guideline"),
            TableColumn("Item"),
            TableColumn("Text (paraphrased)", wrap=True),
            TableColumn("State"),
            TableColumn("Evidence", wrap=True),
        ),
        [(i.guideline, i.number, i.text, i.state, i.evidence) for i in items],
        "Evidence found means only that the record contains something to check; no item is marked"
        " as fulfilled automatically. The items are paraphrased: consult the guidelines. DECIDE-AI"
        " is listed once a reading study with advice is frozen.",
    )


def checklist_items(study: Path) -> list[ChecklistItem]:
    """Return every item of the guidelines with the evidence in the record.

    The items of DECIDE-AI belong to a study in which a reading study with advice was frozen.
    """
    advice = advice_evidence(study)
    record = recorded_evidence(study) | advice
    items = []
    for guideline, entries in listed_guidelines(with_advice=bool(advice)).items():
        for number, text, fact in entries:
            if fact:
                present, evidence = record[fact]
                state = FOUND if present else MISSING
            else:
                state, evidence = WRITE, "not in the record; only the authors can answer"
            items.append(ChecklistItem(guideline, number, text, state, evidence))
    return items
