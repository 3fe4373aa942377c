"""The Digital Database for Screening Mammography as its archive holds it: case folders with .ics,
.OVERLAY and .LJPEG files, anywhere beneath a folder. Also the same tree with the films converted to
PNG, JPEG or TIFF.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.images.decoding import read_film
from core.images.polygons import fill, scaled
from core.sources import ljpeg
from core.sources.ddsm_metadata import (
    Case,
    FilmLine,
    Overlay,
    parse_overlay,
    read_ics,
    read_lines,
    read_overlay,
    within,
)
from core.sources.records import Finding, Mammogram, Patient, Problem

__all__ = [
    "fill_outline",
    "optical_density",
    "read",
    "read_ics",
    "read_overlay",
    "simulated",
    "tasks",
    "truths",
]

simulated = False
CONVERTED = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DENSEST = 4.0  # optical density that is shown black; all scanners' ranges end at or below it
WHITE = 65535
FOLDER_CLASSES = {"cancer": "MALIGNANT", "benign_without_callback": "BENIGN_WITHOUT_CALLBACK", "bwc": "BENIGN_WITHOUT_CALLBACK", "benign": "BENIGN",
                  "normal": "NORMAL"}  # fmt: skip
ABNORMAL = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK")


@dataclass(frozen=True)
class DdsmTask:
    """One case. root: the folder that was given, at or beneath which folders' names tell the case's
    class.
    """

    patient: str
    ics: Path
    root: Path


def fill_outline(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool [h, w] of one filled outline [n, 2] of (x, y) counted from 0, its border included."""
    return fill([points], shape)


def optical_density(grey: np.ndarray, institution: str, digitizer: str) -> np.ndarray | None:
    """Optical density of grey levels for a scanner, by the archive's calibration formulas
    (TECH_FACTS, "DDSM optical density"); None for a scanner without one. Institutions: A
    Massachusetts General Hospital, B Wake Forest, C Washington University, D Sacred Heart.
    """
    g = np.asarray(grey, np.float64)
    if (institution, digitizer) == ("A", "DBA"):
        return (np.log10(g.clip(4, 64064)) - 4.80662) / -1.07553
    if (institution, digitizer) == ("A", "HOWTEK"):
        return 3.789 - 0.00094568 * g.clip(0, 4006)
    if (institution, digitizer) == ("D", "HOWTEK"):
        return 3.96604096 - 0.00099055807612 * g.clip(0, 4003)
    if institution in ("B", "C") and digitizer == "LUMISYS":
        return (g.clip(61, 4097) - 4096.99) / -1009.01
    return None


@lru_cache(maxsize=8)
def _brightness(institution: str, digitizer: str) -> np.ndarray | None:
    """uint16 [65536]: brightness, linear in optical density (0 white, DENSEST black), of every grey
    level.
    """
    density = optical_density(np.arange(65536), institution, digitizer)
    return (
        None
        if density is None
        else np.rint((1 - density.clip(0, DENSEST) / DENSEST) * WHITE).astype(np.uint16)
    )


def tasks(path: Path | None, skip_bad: bool = False) -> tuple[list[DdsmTask], list[Problem]]:
    """A task per .ics beneath the folder, ordered by case; headers, overlays and the films'
    presence are checked here. UserError for the first fault; with skip_bad faulty cases are left
    out and listed.
    """
    if path is None or not Path(path).is_dir():
        raise UserError(f"{path} is no folder: give the folder that holds DDSM's case folders.")
    found: dict[str, DdsmTask] = {}
    problems: list[Problem] = []
    files = sorted(
        file for file in Path(path).rglob("*") if file.suffix.lower() == ".ics" and file.is_file()
    )
    if not files:
        raise UserError(
            f"The folder {path} holds no .ics file: give the folder that holds DDSM's case folders."
        )
    for file in files:
        try:
            case = read_ics(file)
            if case.id in found:
                raise UserError(
                    f"Case {case.id} occurs twice, in {found[case.id].ics} and {file}: take one of"
                    " them out."
                )
            _overlays(case, file)
            for line in case.films:
                _film_file(case, line, file)
        except UserError as error:
            if not skip_bad:
                raise
            problems.append(Problem(file.parent.name, str(error), "case left out", skipped=True))
        else:
            found[case.id] = DdsmTask(case.id, file, Path(path))
    return [found[name] for name in sorted(found)], problems


def files(task: DdsmTask) -> list[Path]:
    """All that lies in the case's folder."""
    return sorted(task.ics.parent.iterdir())


def read(task: DdsmTask) -> Patient:
    """Decode one case. UserError naming the file for a film that cannot be decoded."""
    case = read_ics(task.ics)
    overlays, filed = _overlays(case, task.ics), folder_class(task.ics, task.root)
    problems = _strays(case, task.ics)
    mammograms = []
    for line in case.films:
        overlay = overlays.get(line.view)
        mammogram, odd = _mammogram(case, line, task.ics, overlay)
        if line.overlay and overlay is None:
            odd.append(
                Problem(
                    mammogram.id,
                    "the .ics tells of an overlay that is missing",
                    "no findings and no patch labels for this film",
                )
            )
            mammogram = replace(mammogram, unlocated=True)
        if not line.overlay and overlay is not None:
            odd.append(Problem(mammogram.id, "an overlay that the .ics does not tell of", "taken"))
        mammograms.append(mammogram)
        problems += odd
    if filed in ABNORMAL and not overlays:
        problems.append(
            Problem(
                case.id,
                f"filed under {filed}, but without any overlay",
                "no findings and no patch labels for its films",
            )
        )
        mammograms = [replace(mammogram, unlocated=True) for mammogram in mammograms]
    return Patient(
        id=case.id,
        mammograms=tuple(mammograms),
        age=case.age,
        density=case.density,
        filed_as=filed,
        problems=tuple(problems),
    )


def folder_class(ics: Path, root: Path) -> str | None:
    """The pathology under whose folder a case is filed, such as cancers/cancer_01/case0001, at or
    beneath root; None if no folder says it.
    """
    beneath = len(ics.relative_to(root).parts)
    for parent in [*ics.parents][:beneath]:
        name = re.sub(r"s?(_\d+)?$", "", parent.name.lower().replace("-", "_"))
        if name in FOLDER_CLASSES:
            return FOLDER_CLASSES[name]
    return None


def truths(findings: tuple[Finding, ...], filed_as: str | None) -> dict[str, str]:
    """Truth of a film or case by the three rules of DEFINITIONS ("Reading study"), side by side:

    `folder`, `first_abnormality` (the one with the lowest number) and `any_malignant` (the worst
    finding). UNPROVEN ones decide nothing under the last; without findings the truth is NORMAL.
    """
    first = min(findings, key=lambda finding: finding.number).pathology if findings else "NORMAL"
    order = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "UNPROVEN")
    worst = min((finding.pathology for finding in findings), key=order.index, default="NORMAL")
    return {"folder": filed_as or "UNKNOWN", "first_abnormality": first, "any_malignant": worst}


def _overlays(case: Case, ics: Path) -> dict[str, Overlay]:
    """The case's overlays by view; UserError for an overlay whose film is not in the case."""
    overlays = {}
    for file in _files(case, ics):
        view = _view(case, file)
        if file.suffix.upper() != ".OVERLAY" or view is None:
            continue
        if view not in {line.view for line in case.films}:
            raise UserError(
                f"{file} belongs to no film: {ics.name} lists no {view}; add its line or take the"
                " overlay out."
            )
        overlays[view] = parse_overlay(read_lines(file), file.name)
    return overlays


def _files(case: Case, ics: Path) -> list[Path]:
    """Files beside the .ics, by name."""
    return sorted(file for file in ics.parent.iterdir() if file.is_file())


def _view(case: Case, file: Path) -> str | None:
    """The view that a file of the case names, such as B_3013_1.LEFT_CC.OVERLAY."""
    match = re.match(
        re.escape(case.id) + r"\.((?:LEFT|RIGHT)_(?:CC|MLO))\.", file.name.upper().replace("-", "_")
    )
    return match.group(1) if match else None


def _film_file(case: Case, line: FilmLine, ics: Path) -> Path:
    """The film's file: .LJPEG, else a converted one; UserError if there is none."""
    mine = [file for file in _files(case, ics) if _view(case, file) == line.view]
    for suffix in (".ljpeg", *CONVERTED):
        for file in mine:
            if file.suffix.lower() == suffix:
                return file
    overlay = next(
        (f" (though {file.name} is there)" for file in mine if file.suffix.upper() == ".OVERLAY"),
        "",
    )
    raise UserError(
        f"The film {line.view} that {ics} lists is missing{overlay}: add"
        f" {case.id}.{line.view}.LJPEG or take the line out."
    )


def _strays(case: Case, ics: Path) -> list[Problem]:
    """Files that belong to no film and to no overlay."""
    used = {ics.name} | {_film_file(case, line, ics).name for line in case.films}
    known = (".overlay", ".16_pgm")
    stray = [
        f.name for f in _files(case, ics) if f.name not in used and f.suffix.lower() not in known
    ]
    return [Problem(case.id, f"stray file {name}", "passed over") for name in stray]


def _mammogram(
    case: Case, line: FilmLine, ics: Path, overlay: Overlay | None
) -> tuple[Mammogram, list[Problem]]:
    """One film with its findings."""
    file, name = _film_file(case, line, ics), f"{case.id}.{line.view}"
    side, view = line.view.split("_")
    problems = list(overlay.problems) if overlay else []
    if file.suffix.lower() == ".ljpeg":
        pixels, maximum, file_hash, odd = _ljpeg_film(case, line, file)
    else:
        pixels, maximum, file_hash, odd = _converted_film(line, file)
    factors = (pixels.shape[1] / line.pixels_per_line, pixels.shape[0] / line.lines)
    findings = []
    for finding in overlay.findings if overlay else ():
        kept, outside = within(
            finding, (line.lines, line.pixels_per_line), f"{name}, abnormality {finding.number}"
        )
        problems += outside
        if factors != (1, 1):
            kept = replace(
                kept, outline=scaled(kept.outline, factors), nested=scaled(kept.nested, factors)
            )
        findings.append(kept)
    mammogram = Mammogram(
        id=name,
        laterality=side,
        view=view,
        pixels=pixels,
        maximum=maximum,
        findings=tuple(findings),
        pixel_mm=line.resolution / 1000 / factors[0] if line.resolution else None,
        scanner=f"{case.institution} {case.digitizer}".strip(),
        file_hash=file_hash,
        source_file=file.name,
        unlocated=any(not finding.outline for finding in findings),
    )
    return mammogram, [*problems, *(replace(problem, item=name) for problem in odd)]


def _ljpeg_film(
    case: Case, line: FilmLine, file: Path
) -> tuple[np.ndarray, int, str, list[Problem]]:
    """Pixels, maximum, SHA-256 and problems of an .LJPEG film, in brightness linear in optical
    density.
    """
    try:
        data = file.read_bytes()
        grey = ljpeg.decode(data, line.lines, line.pixels_per_line)
    except (UserError, OSError) as error:
        raise UserError(f"The film {file}: {error}.") from error
    file_hash, table = (
        hashlib.sha256(data).hexdigest(),
        _brightness(case.institution, case.digitizer),
    )
    if table is None:
        scanner = f"scanner {case.digitizer!r} of institution {case.institution}"
        odd = Problem(
            "", f"no optical density formula for {scanner}", "grey levels taken as they are"
        )
        return grey, 65535 if line.bits > 12 or grey.max() > 4095 else 4095, file_hash, [odd]
    return table[grey], WHITE, file_hash, []


def _converted_film(line: FilmLine, file: Path) -> tuple[np.ndarray, int, str, list[Problem]]:
    """The same of a film that somebody converted; it may have been made smaller."""
    film = read_film(file)
    height, width = film.pixels.shape
    if abs(height / line.lines / (width / line.pixels_per_line) - 1) > 0.01:
        raise UserError(
            f"The film {file} is {width} x {height} pixels, but its .ics says"
            f" {line.pixels_per_line} x {line.lines}: it was cut or turned; convert it without, or"
            " its outlines would not fit."
        )
    odd = [
        Problem(
            "",
            f"converted film ({file.suffix})",
            "grey levels taken as they are, not as optical density",
        )
    ]
    if (height, width) != (line.lines, line.pixels_per_line):
        odd.append(
            Problem(
                "",
                f"converted to {width} x {height} from {line.pixels_per_line} x {line.lines}",
                "outlines scaled with it",
            )
        )
    # The .ics knows the depth better than the brightest pixel of one film does.
    depth = (1 << line.bits) - 1
    maximum = (
        depth
        if film.maximum > 255 and line.bits > 8 and film.pixels.max() <= depth
        else film.maximum
    )
    return film.pixels, maximum, film.file_hash, odd
