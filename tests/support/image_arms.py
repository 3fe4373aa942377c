"""Reading studies with image arms."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.store import reading_table
from evaluation.reading_study import preset, workflow
from evaluation.reading_study.leakage_checks import WARNING


def freeze(study: Path, arms: tuple[str, ...], name: str = "Pictures") -> reading_table.Protocol:
    """A frozen study with these arms."""
    workflow.create(
        study,
        name,
        preset("Recommended", name=name, arms=arms, comparison_share=1.0, repeats=2, readers=1),
        "team",
    )
    _, findings = workflow.run_lint(study, name, "team")
    return workflow.freeze(
        study, name, "team", {f.field: "accepted" for f in findings if f.severity == WARNING}
    )


def close_open(study: Path) -> None:
    """Close what the demonstration left open."""
    with store.read(study) as con:
        found = reading_table.open_protocol(con)
    if found is not None:
        workflow.close(study, found.protocol, "team")
