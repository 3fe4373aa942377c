"""What a leakage check saw and a frozen protocol fixes: one hash for each part.

The protocol hash of `evaluation.reading_study.sealed_key` covers what decides a score. These hashes
cover in addition what readers see and their instructions, so that freezing accepts only what was
checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from core import store
from core.errors import UserError
from core.images import blinded_rendering
from core.sessions.case_order import order_rule
from core.sessions.consent import consent_hash
from core.sessions.reading_instructions import reading_instructions
from core.sessions.reading_session import PRACTICE_TEXTS
from core.store import withdrawal
from core.store.reading import reading_table
from core.store.reading.protocol_states import next_command
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import CasePicture
from evaluation.reading_study.case_selection import stored_blocks
from evaluation.reading_study.design import TRUTH_RULES
from evaluation.reading_study.sealed_key import KEY_COLUMNS, canonical_hash, canonical_rows
from evaluation.reading_study.workflow.candidates import load_truth_by_rule
from evaluation.reading_study.workflow.pictures import case_pictures
from evaluation.reading_study.workflow.protocols import protocol_design

# The parts in the order in which a difference is reported.
PART_NAMES = {
    "design": "the design",
    "cases": "the cases or their truth",
    "texts": "the texts of the cases",
    "order": "the rule or the blocks of the order",
    "pictures": "the pictures of the cases",
    "rendered": "the rendered files of the pictures",
    "practice": "the practice cases",
    "truth": "the truth by one of the rules",
    "instructions": "the instructions to readers",
    "consent": "the consent text",
    "issues": "the result of the leakage check",
    "reasons": "the reasons for accepting warnings",
}
# Parts of which the store of the study holds nothing: an update of DeepMiner may change the wording
# of the instructions, and each consent carries the hash of its own text.
_OUTSIDE_STORE = ("instructions", "consent")


def draft_content(
    study: Path,
    protocol: Protocol,
    cases: pd.DataFrame,
    shown: tuple[list[list[str]], list[str | None] | None, list[CasePicture]] | None = None,
) -> dict[str, str]:
    """Return the hash of each part of a draft as it is now, before or without its check.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : Protocol
        The designed or checked protocol.
    cases : DataFrame
        Its sealed key.
    shown : tuple, optional
        The result of `case_pictures`, where the caller has it.

    Returns
    -------
    dict
        Part, a key of `PART_NAMES`, to SHA-256.
    """
    practice, advice, pictures = shown or case_pictures(study, protocol, cases)
    with store.read(study) as con:
        truth = load_truth_by_rule(con, protocol_design(protocol))
    parts = _store_parts(protocol, cases, [practice, advice], truth)
    instructions = reading_instructions(protocol.design, has_images=bool(pictures))
    return parts | {
        "pictures": _pictures_hash(study, pictures),
        "instructions": canonical_hash(
            [instructions.question, instructions.answers, instructions.paragraphs]
        ),
        "consent": consent_hash(study),
    }


def checked_content(draft: Mapping[str, str], issues: Sequence[Any]) -> dict[str, str]:
    """Return the parts of a draft together with the issues that the check found in it.

    An issue contains the result of a review that a person stated, so a later change of it needs a
    new check as well.
    """
    return dict(draft) | {"issues": canonical_hash(list(issues))}


def frozen_content(
    checked: Mapping[str, str], reasons: Mapping[str, str], pictures: Sequence[CasePicture]
) -> dict[str, str]:
    """Return the checked parts together with what freezing adds to them.

    pictures: as frozen; their sources name the rendered files by the SHA-256 of each.
    """
    return dict(checked) | {
        "rendered": canonical_hash(
            sorted(_picture_row(picture, picture.source) for picture in pictures)
        ),
        "reasons": canonical_hash(dict(reasons)),
    }


def _picture_row(picture: CasePicture, source: str) -> tuple[Any, ...]:
    """Return a picture for a hash; the slot is named only where there are several."""
    row = (picture.case_number, picture.kind, source)
    return (*row, picture.slot) if picture.slot else row


def _store_parts(
    protocol: Protocol, cases: pd.DataFrame, practice: Sequence[Any], truth: pd.DataFrame
) -> dict[str, str]:
    """Return the hashes of the parts that the study's store holds.

    practice: the texts of the practice cases, and their advice or None.
    """
    # Reasons and practice are parts of their own; a draft does not hold them yet.
    added = ("reasons", "practice", "practice_advice")
    design = {k: v for k, v in protocol.design.items() if k not in added}
    texts, advice = practice
    case_texts = ["case_number", "texts"] if advice is None else ["case_number", "texts", "advice"]
    ordered = cases.sort_values("case_number")
    blocks = stored_blocks(ordered)
    known = truth[truth["mammogram_id"].isin(cases["mammogram_id"])]
    return {
        "design": canonical_hash(design),
        "cases": canonical_hash(
            canonical_rows(ordered, [name for name in KEY_COLUMNS if name != "texts"])
        ),
        "texts": canonical_hash(canonical_rows(ordered, case_texts)),
        "order": canonical_hash([order_rule(blocks), blocks]),
        "practice": canonical_hash(
            [list(shown) for shown in texts]
            if advice is None
            else [[list(shown) for shown in texts], list(advice)]
        ),
        "truth": canonical_hash(
            canonical_rows(known.sort_values("mammogram_id"), ["mammogram_id", *TRUTH_RULES])
        ),
    }


def _pictures_hash(study: Path, pictures: Sequence[CasePicture]) -> str:
    """Return the hash of the pictures: what each is, and the files from which it is drawn."""
    # The names of rendered files, which freezing adds, are hashes of these files already.
    rows = sorted(
        _picture_row(picture, blinded_rendering.original_source(picture.source))
        for picture in pictures
    )
    files = sorted(
        {
            file
            for _, kind, source, *_ in rows
            for file in blinded_rendering.source_files(study, kind, source)
        }
    )
    return canonical_hash([rows, [_file_hash(file) for file in files]])


def _file_hash(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror}); a picture of this reading study is drawn"
            " from it. Restore the file, or design the study again."
        ) from error


def changed_parts(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs between two contents, in words, for the parts that both may hold.

    Examples
    --------
    >>> changed_parts({"texts": "1", "cases": "2"}, {"texts": "0", "cases": "2"})
    ['the texts of the cases']
    """
    return [
        name
        for part, name in PART_NAMES.items()
        if part in before and before[part] != now.get(part)
    ]


def check_unchanged_draft(protocol: Protocol, now: Mapping[str, str]) -> None:
    """Raise a UserError unless a checked draft is what was checked; now: `checked_content`."""
    again = next_command(protocol.protocol, protocol.version, "design")
    version = f"{protocol.protocol}, version {protocol.version},"
    if "issues" not in protocol.content:
        raise UserError(
            f"{version} was checked by an earlier DeepMiner, which did not record all that it"
            f" checked; check it again (`{again}`) before freezing."
        )
    changed = changed_parts(protocol.content, now)
    if changed:
        raise UserError(
            f"{version} is not what was checked: {', '.join(changed)} changed since the leakage"
            f" check. Check it again (`{again}`) before freezing."
        )


def check_frozen_content(
    study: Path, protocol: Protocol, cases: pd.DataFrame, *, pictures: bool
) -> None:
    """Raise a UserError if a frozen protocol differs from what was frozen.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : Protocol
        The protocol in any state after freezing. One of the first release has no content, and
        nothing is compared.
    cases : DataFrame
        Its sealed key.
    pictures : bool
        Whether the files of the pictures are read and compared as well.
    """
    if not protocol.content:
        return
    with store.read(study) as con:
        stored = reading_table.load_case_pictures(con, protocol.protocol, protocol.version)
        truth = load_truth_by_rule(con, protocol_design(protocol))
        withdrawn = withdrawal.withdrawn_patients(con)
    practice = [
        protocol.design.get("practice") or PRACTICE_TEXTS,
        protocol.design.get("practice_advice"),
    ]
    now = frozen_content(
        checked_content(_store_parts(protocol, cases, practice, truth), protocol.lint),
        protocol.design.get("reasons", {}),
        stored,
    )
    compared = {
        part: value for part, value in protocol.content.items() if part not in _OUTSIDE_STORE
    }
    if withdrawn & set(cases["patient_id"]):
        # The findings of a withdrawn patient are gone; the sealed key still fixes the truth.
        compared.pop("truth", None)
    if pictures:
        now["pictures"] = _pictures_hash(study, stored)
    else:
        compared.pop("pictures", None)
    changed = changed_parts(compared, now)
    if changed:
        raise UserError(
            f"{protocol.protocol}, version {protocol.version}, is not what was frozen:"
            f" {', '.join(changed)} changed; restore a backup, or design and freeze a new version."
        )
