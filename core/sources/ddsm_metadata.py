"""DDSM's text files: a case's .ics and its films' .OVERLAY."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.sources.birads import read_lesion_words
from core.sources.records import PATHOLOGIES, Finding, Problem

VIEWS = ("LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO")
# Chain code: 0 is up, then clockwise to 7, up and left; as steps (x, y).
STEPS = np.array([(0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1)])
FIRST_PIXEL = 1  # chains count pixels from 1: with 0 the real outline of B-3013-1 misses its published mask by a pixel, with 1 it fits exactly


@dataclass(frozen=True, kw_only=True)
class FilmLine:
    """A film's line of an .ics. lines, pixels_per_line: height and width, px; bits: per pixel;
    resolution: microns per pixel; overlay: an overlay is told of.
    """

    view: str
    lines: int
    pixels_per_line: int
    bits: int
    resolution: float | None
    overlay: bool


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case's .ics. id: such as "B_3013_1"; institution: its letter; digitizer: first word of
    DIGITIZER; density 1-4; None where unknown.
    """

    id: str
    institution: str
    age: int | None
    density: int | None
    digitizer: str
    films: tuple[FilmLine, ...]


@dataclass(frozen=True)
class Overlay:
    """What an .OVERLAY holds, and what is odd about it."""

    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...] = field(default=())


def read_lines(path: Path | str) -> list[str]:
    """Lines of a text file of the archive (bytes that are no ASCII are replaced); UserError if it
    cannot be read.
    """
    try:
        return Path(path).read_bytes().decode("ascii", "replace").splitlines()
    except OSError as error:
        raise UserError(
            f"The file {path} cannot be read ({error.strerror}): check the archive's copy."
        ) from None


def read_ics(path: Path | str) -> Case:
    """Read a case's .ics.

    Unknown keywords and dates are passed over (dates would identify); UserError for a file without
    name or films, and for a film's line that cannot be read.
    """
    words: dict[str, str] = {}
    films: list[FilmLine] = []
    for number, line in enumerate(read_lines(path), start=1):
        parts = line.split()
        if not parts:
            continue
        if parts[0].upper() in VIEWS:
            if parts[0].upper() in {film.view for film in films}:
                raise UserError(
                    f"{path}, line {number}: {parts[0].upper()} is listed a second time: take the"
                    " line or the case out."
                )
            films.append(_film_line(path, number, parts))
        else:
            words.setdefault(parts[0].upper(), " ".join(parts[1:]))
    name = words.get("FILENAME", "")
    if not name:
        raise UserError(
            f"{path} has no line `filename`: it is no .ics of DDSM, mend it or take the case out."
        )
    if not films:
        raise UserError(
            f"{path} lists no film (a line such as LEFT_CC LINES ...): mend it or take the case"
            " out."
        )
    age, density = _number(words.get("PATIENT_AGE", "")), _number(words.get("DENSITY", ""))
    digitizer = (words.get("DIGITIZER") or "").upper().split()
    return Case(
        id=name.replace("-", "_"),
        institution=name[0].upper(),
        age=age if age and age <= 120 else None,
        density=density if density in (1, 2, 3, 4) else None,
        digitizer=digitizer[0] if digitizer else "",
        films=tuple(films),
    )


def _film_line(path: Path | str, number: int, parts: list[str]) -> FilmLine:
    values = {key.upper(): value for key, value in pairwise(parts[1:])}
    lines, pixels = _number(values.get("LINES", "")), _number(values.get("PIXELS_PER_LINE", ""))
    if not lines or not pixels:
        raise UserError(
            f"{path}, line {number}: LINES or PIXELS_PER_LINE is missing or no number: mend the"
            " line or take the case out."
        )
    resolution = values.get("RESOLUTION", "")
    microns = float(resolution) if re.fullmatch(r"\d+(\.\d+)?", resolution) else 0.0
    bits, overlay = (
        _number(values.get("BITS_PER_PIXEL", "")) or 0,
        "OVERLAY" in (part.upper() for part in parts),
    )
    return FilmLine(
        view=parts[0].upper(),
        lines=lines,
        pixels_per_line=pixels,
        bits=bits,
        resolution=microns or None,
        overlay=overlay,
    )


def _number(text: str) -> int | None:
    """The whole number that a text begins with, None if there is none."""
    found = re.match(r"\d+", text)
    return int(found.group()) if found else None


def read_overlay(path: Path | str) -> tuple[Finding, ...]:
    """Findings of an .OVERLAY, with outlines float [n, 2] of (x, y) counted from 0; see
    parse_overlay.
    """
    return parse_overlay(read_lines(path), str(path)).findings


def parse_overlay(lines: list[str], item: str) -> Overlay:
    """Findings of an overlay's lines:

    BOUNDARY as outline, CORE as nested outlines. item: the file as problems name it. Counts that do
    not agree and chains that are odd are listed; UserError for an unknown pathology and for lines
    that begin no abnormality.
    """
    findings, problems = [], []
    announced: int | None = None
    for number, block in _blocks(lines):
        if number is None:
            announced = next(
                (
                    _number(line.split(None, 1)[1])
                    for line in block
                    if line.startswith("TOTAL_ABNORMALITIES ")
                ),
                None,
            )
            continue
        finding, odd = _finding(number, block, item)
        findings.append(finding)
        problems += odd
    if announced is None:
        raise UserError(
            f"{item} has no line TOTAL_ABNORMALITIES: it is no overlay of DDSM, mend it or take the"
            " case out."
        )
    if announced != len(findings):
        problems.append(
            Problem(
                item,
                f"TOTAL_ABNORMALITIES is {announced}, but {len(findings)} are described",
                "those described are taken",
            )
        )
    return Overlay(tuple(findings), tuple(problems))


def _blocks(lines: list[str]) -> Iterator[tuple[int | None, list[str]]]:
    """The lines above the first abnormality (None) and those of each abnormality with its number."""
    number: int | None = None
    block: list[str] = []
    for line in (line.strip() for line in lines):
        if line.startswith("ABNORMALITY"):
            yield number, block
            number, block = (
                _number(line.removeprefix("ABNORMALITY").strip()) or (number or 0) + 1,
                [],
            )
        elif line:
            block.append(line)
    yield number, block


def _finding(number: int, block: list[str], item: str) -> tuple[Finding, list[Problem]]:
    """One abnormality of an overlay."""
    place = f"{item}, abnormality {number}"
    words: dict[str, str] = {}
    kinds, descriptors, report = [], dict[str, str](), []
    chains: list[tuple[str, str]] = []
    pending = ""
    for line in block:
        keyword, _, rest = line.partition(" ")
        if keyword in ("BOUNDARY", "CORE"):
            pending = keyword
            line = rest.strip()
        if pending and (line[:1].isdigit() or line.startswith("-")):
            chains.append((pending, line))
            pending = ""
        elif keyword == "LESION_TYPE":
            kind, found = read_lesion_words(rest)
            kinds.append(kind)
            for name, value in found.items():
                descriptors[name] = f"{descriptors[name]}+{value}" if name in descriptors else value
            report.append(line)
        elif keyword not in ("BOUNDARY", "CORE"):
            words[keyword] = rest.strip()
            if keyword in ("ASSESSMENT", "SUBTLETY", "PATHOLOGY"):
                report.append(line)
    pathology = words.get("PATHOLOGY", "").upper()
    if pathology not in PATHOLOGIES:
        raise UserError(
            f"{place}: unknown pathology {pathology!r}; use one of {', '.join(PATHOLOGIES)}, or"
            " take the case out."
        )
    outlines, problems = _outlines(chains, _number(words.get("TOTAL_OUTLINES", "")), place)
    scales = {name: _number(words.get(name, "")) for name in ("ASSESSMENT", "SUBTLETY")}
    for scale, level in scales.items():
        if level is not None and level > 5:
            problems.append(
                Problem(
                    place, f"{scale} is {words[scale][:20]!r}, beyond 0 to 5", "taken as unknown"
                )
            )
            scales[scale] = None
    finding = Finding(
        number=number, pathology=pathology, lesion_type="+".join(dict.fromkeys(kinds)), descriptors=descriptors, assessment=scales["ASSESSMENT"], subtlety=scales["SUBTLETY"],
        outline=tuple(outlines["BOUNDARY"]), nested=tuple(outlines["CORE"]), report=" ".join(report),
    )  # fmt: skip
    return finding, problems


def _outlines(
    chains: list[tuple[str, str]], announced: int | None, place: str
) -> tuple[dict[str, list[np.ndarray]], list[Problem]]:
    """Outlines by keyword, and what is odd about them."""
    outlines: dict[str, list[np.ndarray]] = {"BOUNDARY": [], "CORE": []}
    problems = []
    for keyword, text in chains:
        points, fault = read_chain(text)
        if fault:
            problems.append(
                Problem(
                    place,
                    f"{keyword}: {fault}",
                    "taken as far as it goes" if len(points) > 2 else "outline left out",
                )
            )
        if len(points) > 2:
            outlines[keyword].append(points)
    if announced is not None and announced != len(chains):
        problems.append(
            Problem(
                place,
                f"TOTAL_OUTLINES is {announced}, but {len(chains)} are given",
                "those given are taken",
            )
        )
    if not outlines["BOUNDARY"]:
        problems.append(Problem(place, "no outline", "the finding comes in without one"))
    return outlines, problems


def read_chain(text: str) -> tuple[np.ndarray, str]:
    """A chain line "column row d d ... #" as points float [n, 2] of (x, y) from 0, and what is odd
    about it, "" if nothing. A chain that runs on past its start is cut where it last was there,
    since filling would take the second round for a hole.
    """
    body, end, _ = text.partition("#")
    words = body.split()
    good = next(
        (
            k
            for k, word in enumerate(words)
            if not re.fullmatch(r"\d{1,6}" if k < 2 else "[0-7]", word)
        ),
        len(words),
    )
    fault = "" if end else "it has no end mark #"
    if good < len(words):
        fault = f"it holds {words[good]!r}, which is no step"
    if good < 3:
        return np.zeros((0, 2)), fault or "it has no steps"
    numbers = np.array(words[:good], int)
    points = (
        np.concatenate([numbers[:2][None], numbers[:2] + STEPS[numbers[2:]].cumsum(0)])
        - FIRST_PIXEL
    )
    back = np.flatnonzero((points[1:] == points[0]).all(1)) + 1
    gap = int(np.abs(points[-1] - points[0]).max())
    if gap > 1 and len(back) and back[-1] > 2:
        fault = fault or f"it runs {len(points) - 1 - back[-1]} steps past its start"
        points = points[: back[-1] + 1]
    elif gap > 1:
        fault = fault or f"it ends {gap} pixels from its start"
    return points.astype(float), fault


def within(finding: Finding, shape: tuple[int, int], place: str) -> tuple[Finding, list[Problem]]:
    """The finding with its outlines kept inside an image of shape [h, w], and a problem for each
    that left it by more than the pixel about which the counting from 0 or 1 leaves doubt.
    """
    limit, problems = np.array([shape[1] - 1, shape[0] - 1]), []
    kept: dict[str, list[np.ndarray]] = {}
    for name in ("outline", "nested"):
        kept[name] = []
        for points in getattr(finding, name):
            outside = np.any((points < 0) | (points > limit), axis=1)
            far = bool(np.any((points < -1) | (points > limit + 1)))
            if outside.all():
                problems.append(
                    Problem(place, "an outline lies outside the film", "outline left out")
                )
                continue
            if far:
                problems.append(
                    Problem(
                        place,
                        f"a chain leaves the film ({int(outside.sum())} of {len(points)} points)",
                        "cut at the film's edge",
                    )
                )
            kept[name].append(points.clip(0, limit))
    return replace(finding, outline=tuple(kept["outline"]), nested=tuple(kept["nested"])), problems
