"""DDSM's keywords in nested plain values: what a file says about cases, films and findings.

Reading the file without running code belongs in `core.sources.release_metadata.restricted_pickle`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.errors import UserError
from core.sources.conventions import normalize_pathology, parse_lesion_type
from core.sources.ddsm_metadata import parse_overlay
from core.sources.records import PATHOLOGIES, Finding

# Names such as benign_01-B_3102_1.LEFT_CC.LJPEG.1, B-3102-1.RIGHT_MLO.OVERLAY or B_3102_1.
_NAME = re.compile(
    r"(?P<case>[A-D][_-]\d{1,5}[_-]\d+)(?:[._-](?P<view>(?:LEFT|RIGHT)[_-](?:CC|MLO)))?(?![A-Z0-9])",
    re.IGNORECASE,
)
_VIEW = re.compile(r"(?:LEFT|RIGHT)[_-](?:CC|MLO)", re.IGNORECASE)
_NAME_KEYS = ("name", "image", "image_name", "file", "filename", "case", "film")
_FINDING_KEYS = ("lesion_type", "pathology", "assessment", "subtlety")
_DESCRIPTOR_KEYS = ("shape", "margins", "type", "distribution")
_AGE_KEYS = ("patient_age", "age")


@dataclass
class FoundWords:
    """What was found: age and density by case, findings by film ("B_3102_1.LEFT_CC")."""

    ages: dict[str, int] = field(default_factory=dict)
    densities: dict[str, int] = field(default_factory=dict)
    findings: dict[str, list[Finding]] = field(default_factory=dict)


def find_words(content: Any, position: str) -> FoundWords:
    """Return what nested values say under DDSM's keywords.

    Names of cases and films stand as keys of dictionaries, or under "name", "image" or "file". The
    published file is {"meta": {"cancers/<image>.jpg": [abnormality, ...]}}, each abnormality a list
    of the lines of an overlay file. The text of a whole overlay file is read as well, and a
    dictionary with one of the keywords PATHOLOGY, LESION_TYPE, ASSESSMENT or SUBTLETY is a finding
    of the film named above it. Keywords are read in capitals and in small letters.

    Parameters
    ----------
    content : object
        Dictionaries, lists and values.
    position : str
        Name of the file, for messages.

    Raises
    ------
    UserError
        For a value that is not in DDSM's vocabulary, and for a finding that belongs to no film.

    Examples
    --------
    >>> words = find_words(
    ...     {"B_3102_1.LEFT_CC": {"AGE": 61, "LESION_TYPE": "MASS SHAPE OVAL", "ASSESSMENT": 4}}, ""
    ... )
    >>> words.ages, words.findings["B_3102_1.LEFT_CC"][0].report
    ({'B_3102_1': 61}, 'LESION_TYPE MASS SHAPE OVAL ASSESSMENT 4')
    """
    words = FoundWords()
    _search(content, "", position, words)
    return words


def _search(node: Any, name: str, position: str, words: FoundWords) -> None:
    """Search a value that stands under a name of a case or film, "" without one."""
    if isinstance(node, Mapping):
        _search_mapping(node, name, position, words)
    elif isinstance(node, (list, tuple, np.ndarray)):
        lines = _abnormality_lines(node)
        if lines:
            _add_overlay(lines, name, position, words)
            return
        for value in node:
            _search(value, name, position, words)
    elif isinstance(node, str) and "TOTAL_ABNORMALITIES" in node:
        _add_overlay(node.splitlines(), name, position, words)


def _abnormality_lines(node: Sequence[Any] | np.ndarray) -> list[str]:
    """Return the overlay lines of a list of abnormalities; empty for another list.

    An abnormality is a list of lines that starts with ABNORMALITY. Where outlines follow, the
    published lists hold further parts without it, such as ["CORE"].
    """
    blocks = [list(block) for block in node if isinstance(block, (list, tuple))]
    lines = [line for block in blocks for line in block]
    if len(blocks) != len(node) or not all(isinstance(line, str) for line in lines):
        return []
    count = sum(line.strip().startswith("ABNORMALITY") for line in lines)
    return [f"TOTAL_ABNORMALITIES {count}", *lines] if count else []


def _add_overlay(lines: list[str], name: str, position: str, words: FoundWords) -> None:
    """Add the findings of the lines of an overlay file; lines that are present already count once.

    DDSM files some films in two volumes, and each names the same abnormalities.
    """
    known = {finding.report for finding in words.findings.get(name, ())}
    for finding in parse_overlay(lines, f"{position}, {name}").findings:
        if finding.report not in known:
            _add_finding(finding, name, position, words)


def _search_mapping(node: Mapping[Any, Any], name: str, position: str, words: FoundWords) -> None:
    fields = {
        str(key).strip().lower().replace(" ", "_").replace("-", "_"): value
        for key, value in node.items()
    }
    own = next((fields[key] for key in _NAME_KEYS if isinstance(fields.get(key), str)), "")
    name = _joined_name(name, own)
    where = f"{position}, {name or 'without a name'}"
    if any(_is_word(fields.get(key)) for key in _FINDING_KEYS):
        _add_finding(_finding(fields, where), name, position, words)
    case = name.partition(".")[0]
    if case:
        age = next((fields[key] for key in _AGE_KEYS if _is_word(fields.get(key))), None)
        _store_once(words.ages, case, _number(age, 0, 120, "age", where), "ages", position)
        # A finding of the archive has no density, so the keyword always describes the case.
        density = _number(fields.get("density"), 0, 4, "density", where)
        _store_once(words.densities, case, density, "densities", position)
    for key, value in node.items():
        if not _is_word(value) or (isinstance(value, str) and "TOTAL_ABNORMALITIES" in value):
            _search(value, _joined_name(name, str(key)), position, words)


def _is_word(value: Any) -> bool:
    """Return whether a value is a single text or number."""
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _joined_name(name: str, text: str) -> str:
    """Return the name of the case or film in a text, else the one above it."""
    match = _NAME.search(text)
    if match:
        case = match["case"].upper().replace("-", "_")
        if match["view"]:
            return f"{case}.{match['view'].upper().replace('-', '_')}"
        return name if name.partition(".")[0] == case else case
    view = _VIEW.fullmatch(text.strip())
    if view and name:
        return f"{name.partition('.')[0]}.{view[0].upper().replace('-', '_')}"
    return name


def _store_once(
    stored: dict[str, int], case: str, value: int | None, subject: str, position: str
) -> None:
    """Store a value of a case; UserError if another one is stored."""
    if value is None:
        return
    if stored.setdefault(case, value) != value:
        raise UserError(
            f"{position}: case {case} has two {subject}, {stored[case]} and {value}; correct the"
            " file."
        )


def _number(value: Any, low: int, high: int, subject: str, where: str) -> int | None:
    """Return a whole number, None for no value; UserError for anything else."""
    if value is None or (isinstance(value, str) and value.strip().upper() in ("", "N/A", "NONE")):
        return None
    if isinstance(value, float) and np.isnan(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not low <= number <= high or number != int(number):
        raise UserError(
            f"{where}: the {subject} is {str(value)[:40]!r}; it is a whole number from {low} to"
            f" {high}, or missing."
        )
    # Only an assessment can be 0; elsewhere 0 stands for an unknown value.
    return int(number) if number or subject == "assessment" else None


def _finding(fields: Mapping[str, Any], where: str) -> Finding:
    """Return a finding of a dictionary with DDSM's keywords; its film is not known yet."""
    lesion_type, descriptors = parse_lesion_type(str(fields.get("lesion_type") or ""))
    for key in _DESCRIPTOR_KEYS:
        if isinstance(fields.get(key), str) and fields[key].strip():
            descriptors[key] = fields[key].strip().upper()
    pathology = normalize_pathology(str(fields.get("pathology") or "").strip())
    if pathology and pathology not in PATHOLOGIES:
        raise UserError(
            f"{where}: unknown pathology {pathology!r}; use one of {', '.join(PATHOLOGIES)}."
        )
    assessment = _number(fields.get("assessment"), 0, 5, "assessment", where)
    subtlety = _number(fields.get("subtlety"), 0, 5, "subtlety", where)
    parts: list[tuple[str, Any]] = [("LESION_TYPE", lesion_type)] if lesion_type else []
    parts += [(key.upper(), value) for key, value in descriptors.items()]
    parts += [
        (key, value)
        for key, value in (
            ("ASSESSMENT", assessment),
            ("SUBTLETY", subtlety),
            ("PATHOLOGY", pathology),
        )
        if value not in (None, "")
    ]
    return Finding(
        number=1,
        pathology=pathology,
        lesion_type=lesion_type,
        descriptors=descriptors,
        assessment=assessment,
        subtlety=subtlety,
        # In the wording of an overlay file, so that both give the same text.
        report=" ".join(f"{key} {value}" for key, value in parts),
    )


def _add_finding(finding: Finding, name: str, position: str, words: FoundWords) -> None:
    if "." not in name:
        raise UserError(
            f"{position}: a finding ({finding.report[:60]!r}) belongs to no film; findings stand"
            " under the name of their film, such as B_3102_1.LEFT_CC."
        )
    known = words.findings.setdefault(name, [])
    known.append(replace(finding, number=len(known) + 1))


def list_names(content: Any) -> Iterator[str]:
    """Yield up to five keys of the outermost dictionary, or what stands in its place."""
    if isinstance(content, Mapping):
        yield from (repr(str(key)[:30]) for key, _ in zip(content, range(5)))
    else:
        yield f"a value of the type {type(content).__name__}"
