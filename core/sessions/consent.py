"""The consent text of a study: a file that the team replaces by what its ethics board approved.

The file may be in any language. Its SHA-256 is stored with every consent.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from core.atomic_files import write_text
from core.errors import RequestRefused, UserError
from core.sessions.tokens import refuse_invalid_answer
from core.store import participant_table
from core.store.connection import Connection

CONSENT_NAME = "consent.md"
MAX_CONSENT_BYTES = 64 * 1024
DEFAULT_CONSENT = """\
You take part in research on what a computer program has learned from mammograms.

If you name units: you will see groups of image patches to which the program responds, and describe
what they have in common. The first session takes about 15 minutes. A second task may follow: to
judge single patches.

If you read cases: you will be shown mammograms, maps that the program computed, short descriptions
of what it detected, or several of these, and judge whether a finding is malignant. A case takes a
few seconds. You receive no feedback. Please do not discuss cases with others.

You can pause at any time and continue later, on any device, with the same link. Your answers, the
time you take and your experience are stored under a code, never with your name, and are used for
research only.
"""


def consent_text(study: Path) -> str:
    """Return the consent text of a study.

    The default text is written where the study has none.

    Parameters
    ----------
    study : Path
        The study folder.

    Raises
    ------
    UserError
        If the file is empty, too long or not UTF-8, or cannot be read.
    """
    path = study / CONSENT_NAME
    try:
        if not path.exists():
            write_text(path, DEFAULT_CONSENT)
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read or written ({error.strerror}); check its permissions."
        ) from error
    if len(content) > MAX_CONSENT_BYTES:
        raise UserError(
            f"{path} has {len(content):,} bytes; a consent text has at most {MAX_CONSENT_BYTES:,}."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save it in that encoding.") from error
    if not consent_paragraphs(text):
        raise UserError(f"{path} is empty; write the consent text into it.")
    return text


def text_hash(text: str) -> str:
    """Return the SHA-256 of a consent text, hexadecimal, of its UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def consent_hash(study: Path) -> str:
    """Return the SHA-256 of the consent text of a study."""
    return text_hash(consent_text(study))


def consent_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a consent text, which blank lines separate, for a page.

    The marks of Markdown headings are left out; all other characters stay as they are.

    Examples
    --------
    >>> consent_paragraphs("# Consent\\n\\nFirst line\\nof a paragraph.\\n\\n<b>Second</b>")
    ['Consent', 'First line of a paragraph.', '<b>Second</b>']
    """
    blocks = "\n".join(line.strip() for line in text.splitlines()).split("\n\n")
    return [
        paragraph for block in blocks if (paragraph := " ".join(block.split()).lstrip("#").strip())
    ]


def give_consent(con: Connection, code: str, experience: str, text: str, shown: str = "") -> None:
    """Record a participant's consent to the present text of the study.

    Parameters
    ----------
    con : Connection
        A connection with an open transaction.
    code : str
        The participant.
    experience : str
        The experience stated, at most 200 characters.
    text : str
        The present consent text.
    shown : str
        The SHA-256 of the text that the page displayed; empty where that is not known.

    Raises
    ------
    RequestRefused
        "stale" if another text was displayed, "answer" if the experience is too long.
    """
    if shown and shown != text_hash(text):
        raise RequestRefused(
            "stale", "The consent text has been changed meanwhile; please read it again."
        )
    with refuse_invalid_answer():
        participant_table.record_consent(con, code, experience, text)
