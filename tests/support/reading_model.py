"""What must hold of reading studies that are driven in any order, without the product's code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# (reader, position) to its revisions: each (revision, answer).
Answers = dict[tuple[str, int], list[tuple[int, int]]]


@dataclass(frozen=True)
class Surroundings:
    """What lies outside the tables of a reading study and belongs to what is checked."""

    pixel: bool = False
    consent: bool = False
    truth: bool = False


@dataclass
class Version:
    """What must hold of one version."""

    state: str = "design"
    seed: int = 0
    cases: list[tuple] = field(default_factory=list)
    checked: tuple[Surroundings, list[tuple]] | None = None
    frozen: Surroundings | None = None
    answers: Answers = field(default_factory=dict)
    practice: int = 0

    @property
    def has_counted_answer(self) -> bool:
        """Whether any answer was given to a case that is not practice."""
        return any(position > self.practice for _, position in self.answers)


@dataclass
class Model:
    """What must hold of the study: its versions; backups return to an earlier one."""

    versions: dict[int, Version] = field(default_factory=dict)
    truth: bool = False
    participants: set[str] = field(default_factory=set)
    begun: set[tuple[str, int]] = field(default_factory=set)
    bundles: set[str] = field(default_factory=set)


@dataclass
class Site:
    """A site bundle: what its reader R1 answered, and its exports with the answers in each."""

    bundle: str
    version: int
    folder: Path
    answers: Answers = field(default_factory=dict)
    exports: list[tuple[Path, Answers]] = field(default_factory=list)
