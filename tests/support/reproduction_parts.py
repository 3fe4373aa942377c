"""Parts of a reproduction that need no file and no run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from evaluation.reproduction.material import CheckpointFile, LabelFile, Material
from evaluation.reproduction.studies import NetworkRuns, RebuiltStudy

FOLDER = Path("study")


def label_file(
    architecture: str, classes: int, units: list[int], kind: str = "consensus", name: str = ""
) -> LabelFile:
    """Return labels whose units name something, and one more that names nothing."""
    named = [(unit, {"recognisable": "yes", "phenomena": [], "words": "w"}) for unit in units]
    empty = [(99, {"recognisable": "nothing", "phenomena": [], "words": ""})]
    entries = [SimpleNamespace(set=kind, unit=u, answer=answer) for u, answer in [*named, *empty]]
    file = Path(name or f"{architecture}.json")
    return LabelFile(file, architecture, classes, tuple(entries))  # type: ignore[arg-type]


def network_runs(architecture: str, number: int, explain: bool = True) -> NetworkRuns:
    """Return the numbered runs of a network."""
    return NetworkRuns(
        checkpoint=CheckpointFile(Path(f"{architecture}.pt"), architecture, 3),
        train=f"train-{number}",
        evaluate=f"evaluate-{number}",
        dissect=f"dissect-{number}",
        coverage=f"coverage-{number}",
        explain=f"explain-{number}" if explain else None,
    )


def rebuilt_study(classes: int, *networks: NetworkRuns, partial: bool = False) -> RebuiltStudy:
    """Return a study of a number of classes with these networks."""
    return RebuiltStudy(FOLDER, classes, networks, (), partial)


def found_material(patch_labels: tuple[int, ...] = (3, 2), **changes: Any) -> Material:
    """Return material that lacks all but the changes."""
    nothing = {"films": None, "checkpoints": (), "labels": (), "sheets": {}, "gaps": ()}
    return Material(patch_labels=patch_labels, **nothing | changes)
