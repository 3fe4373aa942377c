"""Text files of DDSM: the .ics file of a case and the .OVERLAY files of its films.

Films and folders belong in `core.sources.ddsm`, chain codes in `core.sources.ddsm_outlines`.

References
----------
Heath M, Bowyer K, Kopans D, Moore R, Kegelmeyer WP. The Digital Database for Screening Mammography.
Proceedings of the 5th International Workshop on Digital Mammography, 212-218 (2001).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.sources.conventions import parse_lesion_type
from core.sources.ddsm_outlines import parse_chain_code
from core.sources.records import PATHOLOGIES, Finding, Problem

DDSM_VIEWS = ("LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO")


@dataclass(frozen=True, kw_only=True)
class FilmLine:
    """The line of one film in an .ics file.

    lines, pixels_per_line: height and width in pixels. bits: per pixel. resolution: micrometres per
    pixel, None if unknown. overlay: the line announces an overlay.
    """

    view: str
    lines: int
    pixels_per_line: int
    bits: int
    resolution: float | None
    overlay: bool


@dataclass(frozen=True, kw_only=True)
class DdsmCase:
    """The content of an .ics file.

    id: such as "B_3013_1". institution: its letter. age: years. density: BI-RADS 1 to 4. digitizer:
    first word of DIGITIZER. Unknown values are `None` or "".
    """

    id: str
    institution: str
    age: int | None
    density: int | None
    digitizer: str
    films: tuple[FilmLine, ...]


@dataclass(frozen=True)
class Overlay:
    """The findings of an .OVERLAY file, and its data-quality problems."""

    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...] = field(default=())


def read_text_lines(path: Path | str) -> list[str]:
    """Return the lines of a text file; bytes that are not ASCII are replaced.

    UserError if the file cannot be read.
    """
    try:
        return Path(path).read_bytes().decode("ascii", "replace").splitlines()
    except OSError as error:
        raise UserError(
            f"The file {path} cannot be read ({error.strerror}): check the copy of the archive."
        ) from None


def read_ics(path: Path | str) -> DdsmCase:
    """Read the .ics file of a case.

    Unknown keywords are ignored, and so are dates, because they would identify the patient.

    Parameters
    ----------
    path : Path or str
        The .ics file.

    Returns
    -------
    DdsmCase
        The case with one `FilmLine` per film.

    Raises
    ------
    UserError
        If the file has no `filename` line or no film, lists a film twice, or a film line lacks its
        size.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "B-3013-1.ics"
    >>> _ = path.write_text('''filename B-3013-1
    ... PATIENT_AGE 42
    ... DIGITIZER LUMISYS LASER
    ... LEFT_CC LINES 4736 PIXELS_PER_LINE 2240 BITS_PER_PIXEL 12 RESOLUTION 50 OVERLAY
    ... ''')
    >>> case = read_ics(path)
    >>> case.id, case.institution, case.age, case.digitizer
    ('B_3013_1', 'B', 42, 'LUMISYS')
    >>> case.films[0].lines, case.films[0].pixels_per_line, case.films[0].overlay
    (4736, 2240, True)
    >>> folder.cleanup()
    """
    values: dict[str, str] = {}
    films: dict[str, FilmLine] = {}
    for number, line in enumerate(read_text_lines(path), start=1):
        parts = line.split()
        if not parts:
            continue
        keyword = parts[0].upper()
        if keyword not in DDSM_VIEWS:
            values.setdefault(keyword, " ".join(parts[1:]))
            continue
        if keyword in films:
            raise UserError(
                f"{path}, line {number}: {keyword} is listed a second time: remove the line or"
                " exclude the case."
            )
        films[keyword] = _parse_film_line(path, number, parts)
    name = values.get("FILENAME", "")
    if not name:
        raise UserError(
            f"{path} is not a valid .ics file of DDSM: the line `filename` is missing. Correct the"
            " file or exclude the case."
        )
    if not films:
        raise UserError(
            f"{path} lists no film (a line such as LEFT_CC LINES ...): correct the file or exclude"
            " the case."
        )
    age = _leading_number(values.get("PATIENT_AGE", ""))
    density = _leading_number(values.get("DENSITY", ""))
    # DIGITIZER has one or more words; the calibration formulas depend on the first.
    digitizer = (values.get("DIGITIZER") or "").upper().split()
    return DdsmCase(
        # The names of the image files have underscores instead of the dashes.
        id=name.replace("-", "_"),
        institution=name[0].upper(),
        # PATIENT_AGE is blank in some cases.
        age=age if age and age <= 120 else None,
        density=density if density in (1, 2, 3, 4) else None,
        digitizer=digitizer[0] if digitizer else "",
        films=tuple(films.values()),
    )


def _parse_film_line(path: Path | str, number: int, parts: list[str]) -> FilmLine:
    """Return the film of a line, given as its words; UserError if its size is missing."""
    # Keyword and value alternate, so each word is also taken as the value of the word before it.
    values = {key.upper(): value for key, value in pairwise(parts[1:])}
    lines = _leading_number(values.get("LINES", ""))
    pixels_per_line = _leading_number(values.get("PIXELS_PER_LINE", ""))
    if not lines or not pixels_per_line:
        raise UserError(
            f"{path}, line {number}: LINES or PIXELS_PER_LINE is missing or not a number: correct"
            " the line or exclude the case."
        )
    resolution = values.get("RESOLUTION", "")
    micrometres = float(resolution) if re.fullmatch(r"\d+(\.\d+)?", resolution) else 0.0
    return FilmLine(
        view=parts[0].upper(),
        lines=lines,
        pixels_per_line=pixels_per_line,
        bits=_leading_number(values.get("BITS_PER_PIXEL", "")) or 0,
        resolution=micrometres or None,
        # Whole words are compared, because NON_OVERLAY contains OVERLAY.
        overlay="OVERLAY" in (part.upper() for part in parts),
    )


def _leading_number(text: str) -> int | None:
    """Return the whole number with which a text begins, None if it begins otherwise."""
    match = re.match(r"\d+", text)
    return int(match.group()) if match else None


def read_overlay(path: Path | str) -> tuple[Finding, ...]:
    """Read the findings of an .OVERLAY file.

    Parameters
    ----------
    path : Path or str
        The .OVERLAY file.

    Returns
    -------
    tuple of Finding
        Outlines are float [n, 2] arrays of (x, y) in pixels, counted from 0.

    Raises
    ------
    UserError
        As for `parse_overlay`.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "B_3013_1.LEFT_CC.OVERLAY"
    >>> _ = path.write_text('''TOTAL_ABNORMALITIES 1
    ... ABNORMALITY 1
    ... LESION_TYPE MASS SHAPE OVAL MARGINS CIRCUMSCRIBED
    ... PATHOLOGY BENIGN
    ... TOTAL_OUTLINES 1
    ... BOUNDARY
    ... 11 21 2 4 6 0 #
    ... ''')
    >>> [finding] = read_overlay(path)
    >>> finding.pathology, finding.descriptors
    ('BENIGN', {'shape': 'OVAL', 'margins': 'CIRCUMSCRIBED'})
    >>> finding.outline[0].tolist()
    [[10.0, 20.0], [11.0, 20.0], [11.0, 21.0], [10.0, 21.0], [10.0, 20.0]]
    >>> folder.cleanup()
    """
    return parse_overlay(read_text_lines(path), str(path)).findings


def parse_overlay(lines: list[str], item: str) -> Overlay:
    """Return the findings of an overlay's lines: BOUNDARY as outline, CORE as nested outline.

    item: name of the file in problems. Counts that disagree and chain codes with faults are listed
    as problems. UserError for an unknown pathology and for text without TOTAL_ABNORMALITIES.
    """
    findings, problems = [], []
    announced: int | None = None
    for number, block in _split_blocks(lines):
        if number is None:
            announced = next(
                (
                    _leading_number(line.split(None, 1)[1])
                    for line in block
                    if line.startswith("TOTAL_ABNORMALITIES ")
                ),
                None,
            )
            continue
        finding, warnings = _parse_finding(number, block, item)
        findings.append(finding)
        problems += warnings
    if announced is None:
        raise UserError(
            f"{item} is not a valid overlay of DDSM: the line TOTAL_ABNORMALITIES is missing."
            " Correct the file or exclude the case."
        )
    if announced != len(findings):
        problems.append(
            Problem(
                item,
                f"TOTAL_ABNORMALITIES is {announced}, but {len(findings)} are described",
                "the described ones are used",
            )
        )
    return Overlay(tuple(findings), tuple(problems))


def _split_blocks(lines: list[str]) -> Iterator[tuple[int | None, list[str]]]:
    """Yield the lines above the first abnormality (None), then those of each with its number."""
    number: int | None = None
    block: list[str] = []
    for line in (line.strip() for line in lines):
        if line.startswith("ABNORMALITY"):
            yield number, block
            written = _leading_number(line.removeprefix("ABNORMALITY").strip())
            number, block = written or (number or 0) + 1, []
        elif line:
            block.append(line)
    yield number, block


@dataclass
class _Abnormality:
    """The parts of one abnormality of an overlay, as its lines are read.

    chains: (BOUNDARY or CORE, chain code). report: the descriptive lines.
    """

    lesion_types: list[str] = field(default_factory=list)
    descriptors: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    chains: list[tuple[str, str]] = field(default_factory=list)
    report: list[str] = field(default_factory=list)

    @classmethod
    def from_lines(cls, block: list[str]) -> _Abnormality:
        """Sort the lines of an abnormality by keyword."""
        parts, outline = cls(), ""
        for line in block:
            keyword, _, rest = line.partition(" ")
            if keyword in ("BOUNDARY", "CORE"):
                # The chain code follows on the same line or on the next one.
                outline, line = keyword, rest.strip()
            # A negative start is accepted here; `parse_chain_code` reports it as a fault.
            if outline and (line[:1].isdigit() or line.startswith("-")):
                parts.chains.append((outline, line))
                outline = ""
            elif keyword == "LESION_TYPE":
                parts._add_lesion_type(rest)
                parts.report.append(line)
            elif keyword not in ("BOUNDARY", "CORE"):
                parts.values[keyword] = rest.strip()
                if keyword in ("ASSESSMENT", "SUBTLETY", "PATHOLOGY"):
                    parts.report.append(line)
        return parts

    def _add_lesion_type(self, text: str) -> None:
        """Add one of the LESION_TYPE lines; values of a repeated keyword are joined by "+"."""
        lesion_type, descriptors = parse_lesion_type(text)
        self.lesion_types.append(lesion_type)
        for name, value in descriptors.items():
            previous = self.descriptors.get(name)
            self.descriptors[name] = value if previous is None else f"{previous}+{value}"


def _parse_finding(number: int, block: list[str], item: str) -> tuple[Finding, list[Problem]]:
    """Return one abnormality of an overlay and its problems."""
    position = f"{item}, abnormality {number}"
    parts = _Abnormality.from_lines(block)
    pathology = parts.values.get("PATHOLOGY", "").upper()
    # An error and not a problem: the pathology is the truth that labels and scores rest on.
    if pathology not in PATHOLOGIES:
        raise UserError(
            f"{position}: unknown pathology {pathology!r}; use one of {', '.join(PATHOLOGIES)}, or"
            " exclude the case."
        )
    announced = _leading_number(parts.values.get("TOTAL_OUTLINES", ""))
    outlines, problems = _parse_outlines(parts.chains, announced, position)
    scales = {}
    for scale in ("ASSESSMENT", "SUBTLETY"):
        text = parts.values.get(scale, "")
        scales[scale] = _leading_number(text)
        if (scales[scale] or 0) > 5:
            problems.append(
                Problem(position, f"{scale} is {text[:20]!r}, beyond 0 to 5", "treated as unknown")
            )
            scales[scale] = None
    finding = Finding(
        number=number,
        pathology=pathology,
        # An abnormality has one or two LESION_TYPE lines.
        lesion_type="+".join(dict.fromkeys(parts.lesion_types)),
        descriptors=parts.descriptors,
        assessment=scales["ASSESSMENT"],
        subtlety=scales["SUBTLETY"],
        outline=tuple(outlines["BOUNDARY"]),
        nested=tuple(outlines["CORE"]),
        report=" ".join(parts.report),
    )
    return finding, problems


def _parse_outlines(
    chains: list[tuple[str, str]], announced: int | None, position: str
) -> tuple[dict[str, list[np.ndarray]], list[Problem]]:
    """Return outlines by keyword, and the problems of their chain codes."""
    outlines: dict[str, list[np.ndarray]] = {"BOUNDARY": [], "CORE": []}
    problems = []
    for keyword, text in chains:
        points, fault = parse_chain_code(text)
        # Fewer than three points enclose no area.
        usable = len(points) > 2
        if fault:
            action = "used up to the fault" if usable else "outline left out"
            problems.append(Problem(position, f"{keyword}: {fault}", action))
        if usable:
            outlines[keyword].append(points)
    # TOTAL_OUTLINES is too high in some files of the archive.
    if announced is not None and announced != len(chains):
        problems.append(
            Problem(
                position,
                f"TOTAL_OUTLINES is {announced}, but {len(chains)} are given",
                "the given ones are used",
            )
        )
    if not outlines["BOUNDARY"]:
        problems.append(Problem(position, "no outline", "the finding is kept without an outline"))
    return outlines, problems
