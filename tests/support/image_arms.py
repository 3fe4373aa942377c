"""Reading studies with image arms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.store.reading import protocol_table
from evaluation.reading_study import design_preset, workflow
from evaluation.reading_study.leakage_issues import WARNING


def freeze_image_study(
    study: Path,
    arms: tuple[str, ...],
    name: str = "Pictures",
    preset: str = "Recommended",
    **settings: Any,
) -> protocol_table.Protocol:
    """Create and freeze a reading study with these arms; settings: more of its design."""
    given = {"arms": arms, "comparison_share": 1.0, "repeats": 2, "readers": 1, "seed": 2}
    design = design_preset(preset, name=name, **given | settings)
    workflow.create_protocol(study, name, design, "team")
    _, issues = workflow.check_protocol(study, name, "team")
    reasons = {issue.field: "accepted" for issue in issues if issue.severity == WARNING}
    return workflow.freeze_protocol(study, name, "team", reasons)


def close_open_study(study: Path) -> None:
    """Close the reading study that the demonstration leaves open."""
    with store.read(study) as con:
        newest = protocol_table.newest_open_protocol(con)
    if newest is not None:
        workflow.close_protocol(
            study, newest.protocol, "team", confirm=newest.protocol, version=newest.version
        )
