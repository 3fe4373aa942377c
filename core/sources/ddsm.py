"""The Digital Database for Screening Mammography (DDSM) in the layout of its archive.

Case folders hold one .ics file, .OVERLAY files and .LJPEG films, or films converted to PNG, JPEG or
TIFF. Text files belong in `core.sources.ddsm_metadata`, film decoding in `core.sources.ljpeg`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.images.decoding import read_image
from core.images.polygons import fill_polygons, scale_polygons
from core.sources import ljpeg
from core.sources.ddsm_metadata import (
    DdsmCase,
    FilmLine,
    Overlay,
    parse_overlay,
    read_ics,
    read_overlay,
    read_text_lines,
)
from core.sources.ddsm_outlines import clip_to_image
from core.sources.ddsm_vocabulary import folder_pathology, truth_by_rule
from core.sources.records import Finding, Mammogram, Patient, Problem

__all__ = [
    "SIMULATED",
    "fill_outline",
    "list_tasks",
    "optical_density",
    "read_ics",
    "read_overlay",
    "read_patient",
    "task_files",
    "truth_by_rule",
]

SIMULATED = False
TRUTH_BASIS = "pathology"
_CONVERTED_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Optical density that is displayed black: the ranges of all scanners end at or below it.
_MAX_DENSITY = 4.0
_WHITE = 65535
# At optical density 0.5 a tenth of the light of a clear film passes, and tissue is denser.
_TRANSMISSION_QUANTILE, _TRANSMISSION_SHARE = 0.9, 0.4


@dataclass(frozen=True)
class DdsmTask:
    """One case; root is the folder that the user gave, see `folder_pathology`."""

    patient: str
    ics: Path
    root: Path


@dataclass(frozen=True, kw_only=True)
class _Film:
    """A decoded film: pixels [h, w] and their maximum, SHA-256 of the file, (cause, action)s."""

    pixels: np.ndarray
    maximum: int
    file_hash: str
    warnings: tuple[tuple[str, str], ...] = ()


def fill_outline(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the filled outline as a mask, border pixels included.

    Parameters
    ----------
    points : float array, shape [n, 2]
        Corners (x, y) in pixels, counted from 0.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    bool array, shape [h, w]

    Examples
    --------
    >>> square = np.array([[1, 1], [3, 1], [3, 2], [1, 2]])
    >>> fill_outline(square, (4, 5)).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]])
    """
    return fill_polygons([points], shape)


def optical_density(grey: np.ndarray, institution: str, digitizer: str) -> np.ndarray | None:
    """Return the optical density of grey levels, by the calibration formula of the scanner.

    Parameters
    ----------
    grey : integer array
        Grey levels of an .LJPEG film.
    institution : str
        A Massachusetts General Hospital, B Wake Forest, C Washington University, D Sacred Heart.
    digitizer : str
        DBA, HOWTEK or LUMISYS.

    Returns
    -------
    float array of the same shape, or None
        None for a scanner without a published formula.

    References
    ----------
    Calibration formulas of the DDSM web pages, University of South Florida.

    Examples
    --------
    >>> optical_density(np.array([61, 4097]), "B", "LUMISYS").round(2)
    array([ 4., -0.])
    """
    g = np.asarray(grey, np.float64)
    # Grey levels are clipped to the range in which each formula was fitted.
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
def _brightness_table(institution: str, digitizer: str) -> np.ndarray | None:
    """Return uint16 [65536]: the brightness of every grey level, None without a formula.

    Brightness is linear in optical density; 0 is white and _MAX_DENSITY is black.
    """
    # A table: a film has over ten million pixels, but at most 65,536 grey levels.
    density = optical_density(np.arange(65536), institution, digitizer)
    if density is None:
        return None
    brightness = 1 - density.clip(0, _MAX_DENSITY) / _MAX_DENSITY
    return np.rint(brightness * _WHITE).astype(np.uint16)


def list_tasks(path: Path | None, skip_bad: bool = False) -> tuple[list[DdsmTask], list[Problem]]:
    """Return one task per .ics file below the folder, ordered by case, and the problems found.

    Headers, overlays and the presence of the films are checked. UserError for the first fault; with
    skip_bad the case is left out and listed instead.
    """
    if path is None or not Path(path).is_dir():
        raise UserError(
            f"{path} is not a folder: give the folder that holds the case folders of DDSM."
        )
    ics_files = sorted(
        file for file in Path(path).rglob("*") if file.suffix.lower() == ".ics" and file.is_file()
    )
    if not ics_files:
        raise UserError(
            f"The folder {path} has no .ics file: give the folder that holds the case folders of"
            " DDSM."
        )
    tasks: dict[str, DdsmTask] = {}
    problems: list[Problem] = []
    for file in ics_files:
        try:
            case = read_ics(file)
            if case.id in tasks:
                raise UserError(
                    f"Case {case.id} occurs twice, in {tasks[case.id].ics} and {file}: remove one"
                    " of them."
                )
            # Everything but the pixels is checked here, before the first film is decoded.
            _read_overlays(case, file)
            for line in case.films:
                _film_file(case, line, file)
        except UserError as error:
            if not skip_bad:
                raise
            problems.append(Problem(file.parent.name, str(error), "case left out", skipped=True))
        else:
            tasks[case.id] = DdsmTask(case.id, file, Path(path))
    return [tasks[name] for name in sorted(tasks)], problems


def task_files(task: DdsmTask) -> list[Path]:
    """Return all files of the case folder."""
    return sorted(task.ics.parent.iterdir())


def read_patient(task: DdsmTask) -> Patient:
    """Decode one case; UserError that names the file for a film that cannot be decoded."""
    case = read_ics(task.ics)
    overlays, filed_as = _read_overlays(case, task.ics), folder_pathology(task.ics, task.root)
    problems = _stray_files(case, task.ics)
    mammograms = []
    for line in case.films:
        overlay = overlays.get(line.view)
        mammogram, warnings = _read_mammogram(case, line, task.ics, overlay)
        mammograms.append(mammogram)
        problems += warnings
    abnormal = filed_as not in (None, "NORMAL")
    if abnormal and not overlays:
        problems.append(
            Problem(
                case.id,
                f"filed under {filed_as}, but without any overlay",
                "no findings and no patch labels for its films",
            )
        )
        # The finding may lie in any film of the case, so no patch of them can be called normal.
        mammograms = [replace(mammogram, unlocated=True) for mammogram in mammograms]
    return Patient(
        id=case.id,
        mammograms=tuple(mammograms),
        age=case.age,
        density=case.density,
        filed_as=filed_as,
        problems=tuple(problems),
    )


def _read_overlays(case: DdsmCase, ics: Path) -> dict[str, Overlay]:
    """Return the overlays of a case by view; UserError for an overlay without a film."""
    overlays = {}
    for file in _case_files(ics):
        view = _view_of_file(case, file)
        if file.suffix.upper() != ".OVERLAY" or view is None:
            continue
        if view not in {line.view for line in case.films}:
            raise UserError(
                f"{file} belongs to no film: {ics.name} lists no {view}; add its line or remove"
                " the overlay."
            )
        overlays[view] = parse_overlay(read_text_lines(file), file.name)
    return overlays


def _case_files(ics: Path) -> list[Path]:
    """Return the files in the folder of an .ics file, by name."""
    return sorted(file for file in ics.parent.iterdir() if file.is_file())


def _view_of_file(case: DdsmCase, file: Path) -> str | None:
    """Return the view that a file name of the case contains, such as B_3013_1.LEFT_CC.OVERLAY."""
    # The field `filename` of an .ics file has dashes where the image names have underscores.
    match = re.match(
        re.escape(case.id) + r"\.((?:LEFT|RIGHT)_(?:CC|MLO))\.", file.name.upper().replace("-", "_")
    )
    return match.group(1) if match else None


def _film_file(case: DdsmCase, line: FilmLine, ics: Path) -> Path:
    """Return the file of a film: .LJPEG, else a converted one; UserError if it is missing."""
    candidates = [file for file in _case_files(ics) if _view_of_file(case, file) == line.view]
    # The .LJPEG film is preferred: the calibration formulas hold for its grey levels only.
    for suffix in (".ljpeg", *_CONVERTED_SUFFIXES):
        for file in candidates:
            if file.suffix.lower() == suffix:
                return file
    overlay = next(
        (
            f" (though {file.name} is there)"
            for file in candidates
            if file.suffix.upper() == ".OVERLAY"
        ),
        "",
    )
    raise UserError(
        f"The film {line.view} that {ics} lists is missing{overlay}: add"
        f" {case.id}.{line.view}.LJPEG or remove the line."
    )


def _stray_files(case: DdsmCase, ics: Path) -> list[Problem]:
    """Return a problem for each file that belongs to no film and is not an overlay."""
    used = {ics.name} | {_film_file(case, line, ics).name for line in case.films}
    # Each case of the archive includes a small .16_PGM overview of its films.
    ignored_suffixes = (".overlay", ".16_pgm")
    return [
        # The archive contains backup files that end in ~ or .1.
        Problem(case.id, f"stray file {file.name}", "ignored")
        for file in _case_files(ics)
        if file.name not in used and file.suffix.lower() not in ignored_suffixes
    ]


def _read_mammogram(
    case: DdsmCase, line: FilmLine, ics: Path, overlay: Overlay | None
) -> tuple[Mammogram, list[Problem]]:
    """Return one film with its findings, and its problems."""
    file, name = _film_file(case, line, ics), f"{case.id}.{line.view}"
    laterality, view = line.view.split("_")
    is_ljpeg = file.suffix.lower() == ".ljpeg"
    read_film = _read_ljpeg_film if is_ljpeg else _read_converted_film
    film = read_film(case, line, file)
    height, width = film.pixels.shape
    # A converted film can be smaller than the scan, and outlines are in pixels of the scan.
    factors = (width / line.pixels_per_line, height / line.lines)
    findings, problems = _fit_findings(line, overlay, name, factors)
    problems += [Problem(name, cause, action) for cause, action in film.warnings]
    overlay_missing = line.overlay and overlay is None
    if overlay_missing:
        problems.append(
            Problem(
                name,
                "the .ics file announces an overlay that is missing",
                "no findings and no patch labels for this film",
            )
        )
    if not line.overlay and overlay is not None:
        problems.append(
            Problem(name, "an overlay that the .ics file does not announce", "overlay used")
        )
    mammogram = Mammogram(
        id=name,
        laterality=laterality,
        view=view,
        pixels=film.pixels,
        maximum=film.maximum,
        findings=tuple(findings),
        pixel_mm=line.resolution / 1000 / factors[0] if line.resolution else None,
        scanner=f"{case.institution} {case.digitizer}".strip(),
        file_hash=film.file_hash,
        source_file=file.name,
        # A finding without an outline can lie in any patch, so no patch is known to be normal.
        unlocated=overlay_missing or any(not finding.outline for finding in findings),
    )
    return mammogram, problems


def _fit_findings(
    line: FilmLine, overlay: Overlay | None, name: str, factors: tuple[float, float]
) -> tuple[list[Finding], list[Problem]]:
    """Return an overlay's findings clipped to the film and scaled to its pixels, and problems."""
    if overlay is None:
        return [], []
    findings, problems = [], list(overlay.problems)
    for finding in overlay.findings:
        # Before scaling: the tolerance of one pixel refers to the scan.
        clipped, warnings = clip_to_image(
            finding, (line.lines, line.pixels_per_line), f"{name}, abnormality {finding.number}"
        )
        problems += warnings
        if factors != (1, 1):
            clipped = replace(
                clipped,
                outline=scale_polygons(clipped.outline, factors),
                nested=scale_polygons(clipped.nested, factors),
            )
        findings.append(clipped)
    return findings, problems


def _read_ljpeg_film(case: DdsmCase, line: FilmLine, file: Path) -> _Film:
    """Return an .LJPEG film, with brightness linear in optical density."""
    try:
        data = file.read_bytes()
        grey = ljpeg.decode(data, line.lines, line.pixels_per_line)
    except (UserError, OSError) as error:
        raise UserError(f"The film {file}: {error}.") from error
    file_hash = hashlib.sha256(data).hexdigest()
    table = _brightness_table(case.institution, case.digitizer)
    if table is not None:
        return _Film(pixels=table[grey], maximum=_WHITE, file_hash=file_hash)
    scanner = f"scanner {case.digitizer!r} of institution {case.institution}"
    return _Film(
        pixels=grey,
        maximum=_WHITE if line.bits > 12 or grey.max() > 4095 else 4095,
        file_hash=file_hash,
        warnings=((f"no optical density formula for {scanner}", "grey levels used unchanged"),),
    )


def _read_converted_film(case: DdsmCase, line: FilmLine, file: Path) -> _Film:
    """Return a film converted to a common image format, possibly at a smaller size."""
    image = read_image(file)
    height, width = image.pixels.shape
    # A resized film keeps its aspect ratio except for rounding.
    if abs(height / line.lines / (width / line.pixels_per_line) - 1) > 0.01:
        raise UserError(
            f"The film {file} is {width} x {height} pixels, but its .ics file gives"
            f" {line.pixels_per_line} x {line.lines}: it was cropped or rotated, so its outlines do"
            " not fit. Convert it again without that."
        )
    pixels, maximum = image.pixels, image.maximum
    # The depth in the .ics file is more reliable than the brightest pixel of one film.
    depth = (1 << line.bits) - 1
    if maximum > 255 and line.bits > 8 and pixels.max() <= depth:
        maximum = depth
    action = "grey levels used unchanged, not as optical density"
    table = _brightness_table(case.institution, case.digitizer)
    if table is not None and _holds_transmission(line, pixels):
        # DBA scanners store transmitted light; unchanged, such a film is nearly black.
        pixels, maximum = table[pixels], _WHITE
        action = "16 bits of transmitted light, converted to optical density as for .LJPEG"
    warnings = [(f"converted film ({file.suffix})", action)]
    if (height, width) != (line.lines, line.pixels_per_line):
        warnings.append(
            (
                f"converted to {width} x {height} from {line.pixels_per_line} x {line.lines}",
                "outlines scaled with it",
            )
        )
    return _Film(
        pixels=pixels, maximum=maximum, file_hash=image.file_hash, warnings=tuple(warnings)
    )


def _holds_transmission(line: FilmLine, pixels: np.ndarray) -> bool:
    """Return whether a converted film holds the grey levels of a 16-bit scanner unchanged.

    The scanner stores transmitted light, of which breast tissue lets little through. A film that
    was converted to optical density uses the upper half of the range as well.
    """
    if line.bits != 16 or pixels.dtype != np.uint16:
        return False
    return float(np.quantile(pixels, _TRANSMISSION_QUANTILE)) < _TRANSMISSION_SHARE * _WHITE
