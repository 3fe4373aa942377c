"""mini-MIAS: a text file with a circle per abnormality, films of 1024 x 1024 pixels.

Layout: Info.txt (film, tissue, class of abnormality, severity B or M, x, y, radius, of which the
last three can be missing), mdb001.pgm to mdb322.pgm. y counts from the lower edge. Films 1
and 2, 3 and 4, ... belong to one patient: right and left, both MLO.

References
----------
Suckling J et al. The Mammographic Image Analysis Society digital mammogram database. Excerpta
Medica International Congress Series 1069, 375-378 (1994); README of mini-MIAS (peipa.essex.ac.uk).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.errors import UserError
from core.sources.outlines.records import Outline
from core.sources.plans.cells import ImageIndex, find_table, require_folder
from core.sources.plans.reading import keep_valid_plans, plan_files, read_planned_patient
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "radiologists"
_LINE = re.compile(
    r"(mdb(\d{3}))\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)"
    r"(?:\s+([BM])(?:\s+(\d+)\s+(\d+)\s+(\d+))?)?(?:\s+\*NOTE.*)?\s*"
)
_LESIONS = {
    "CALC": ("CALCIFICATION", ""),
    "CIRC": ("MASS", "CIRCUMSCRIBED"),
    "SPIC": ("MASS", "SPICULATED"),
    "MISC": ("MASS", "ILL_DEFINED"),
    "ARCH": ("ARCHITECTURAL_DISTORTION", ""),
    "ASYM": ("ASYMMETRY", ""),
}
_SIDE = 1024

task_files = plan_files
read_patient = read_planned_patient


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A line of Info.txt. circle: x, y from below, radius; None without coordinates."""

    film: str
    number: int
    lesion: str
    severity: str
    circle: tuple[float, float, float] | None
    origin: str


def list_tasks(
    path: Path | None, skip_bad: bool = False
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient, and the problems found."""
    root = require_folder(path, "Info.txt and the films of mini-MIAS")
    entries = _read_entries(find_table(root, ["Info.txt"]))
    index = ImageIndex(root)
    # Films 1 and 2, 3 and 4, ... are pairs.
    pairs: dict[int, list[_Entry]] = {}
    for entry in entries:
        pairs.setdefault((entry.number + 1) // 2, []).append(entry)

    def build(pair: int) -> PatientPlan:
        """Return the plan of the patient with this pair of films."""
        films = sorted({entry.film for entry in pairs[pair]})
        return PatientPlan(
            patient=f"mdb{2 * pair - 1:03d}-{2 * pair:03d}",
            films=tuple(
                _film([entry for entry in pairs[pair] if entry.film == film], index)
                for film in films
            ),
        )

    return keep_valid_plans(
        [(f"mdb{2 * pair - 1:03d}", partial(build, pair)) for pair in sorted(pairs)],
        skip_bad=skip_bad,
    )


def _read_entries(path: Path) -> list[_Entry]:
    """Return the lines about films; UserError for a line about a film that cannot be read."""
    entries = []
    for line, text in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        if not re.match(r"\s*mdb\d{3}\b", text):
            continue
        match = _LINE.fullmatch(text.strip())
        if match is None:
            raise UserError(
                f"{path}, row {line}: {text.strip()[:60]!r} is not a line of mini-MIAS (film,"
                " tissue, class, severity, x, y, radius); correct it."
            )
        film, number, _, lesion, severity, x, y, radius = match.groups()
        if (lesion == "NORM") != (severity is None):
            raise UserError(
                f"{path}, row {line}: a film has a severity exactly if it is abnormal; correct it."
            )
        entries.append(
            _Entry(
                film=film,
                number=int(number),
                lesion=lesion,
                severity=severity or "",
                circle=None if x is None else (float(x), float(y), float(radius)),
                origin=f"{path}, row {line}",
            )
        )
    return entries


def _film(entries: list[_Entry], index: ImageIndex) -> FilmPlan:
    first = entries[0]
    image = index.find(first.film)
    if image is None:
        raise UserError(
            f"{first.origin}: the film {first.film} is missing; add {first.film}.pgm or leave the"
            " patient out with --skip-bad."
        )
    return FilmPlan(
        image=image,
        laterality="RIGHT" if first.number % 2 else "LEFT",
        view="MLO",
        findings=tuple(_finding(entry) for entry in entries if entry.lesion != "NORM"),
        annotated_size=(_SIDE, _SIDE),
        origin=first.origin,
    )


def _finding(entry: _Entry) -> FindingPlan:
    lesion_type, margins = _LESIONS[entry.lesion]
    outline = None
    # Calcifications all over a film have no centre: the film then gives no patch labels.
    if entry.circle is not None:
        outline = Outline(circles=(entry.circle,), from_below=True)
    return FindingPlan(
        pathology="MALIGNANT" if entry.severity == "M" else "BENIGN",
        lesion_type=lesion_type,
        descriptors=(("margins", margins),) if margins else (),
        outline=outline,
        report=entry.lesion,
        origin=entry.origin,
    )
