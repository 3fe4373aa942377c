"""The consent text is a file of the study; its hash belongs to each consent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.sessions import consent

PORTUGUESE = "# Termo\n\nA participação é voluntária.\n\n<script>alert(1)</script>\n"


def test_a_new_study_has_the_default_text(study: Path) -> None:
    assert (study / "consent.md").read_text(encoding="utf-8") == consent.DEFAULT_CONSENT
    (study / "consent.md").unlink()  # a study of the first release
    assert consent.consent_text(study) == consent.DEFAULT_CONSENT
    assert (study / "consent.md").is_file()


def test_the_text_of_the_ethics_board_is_used_as_it_is(study: Path) -> None:
    (study / "consent.md").write_text(PORTUGUESE, encoding="utf-8-sig")
    text = consent.consent_text(study)
    assert text == PORTUGUESE
    assert consent.consent_hash(study) == hashlib.sha256(PORTUGUESE.encode()).hexdigest()
    assert consent.consent_paragraphs(text) == [
        "Termo",
        "A participação é voluntária.",
        "<script>alert(1)</script>",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n# \n", "is empty"),
        ("não".encode("latin-1"), "not UTF-8"),
        (b"x" * 65_537, "65,537 bytes"),
    ],
)
def test_unusable_files_are_named(study: Path, content: bytes, message: str) -> None:
    (study / "consent.md").write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        consent.consent_text(study)
    assert "consent.md" in str(refused.value)


def test_consent_is_to_the_text_that_was_shown(study: Path) -> None:
    shown = consent.text_hash("an earlier text")
    with store.write(study) as con:
        with pytest.raises(RequestRefused, match="read it again") as refused:
            consent.give_consent(con, "R7", "", PORTUGUESE, shown)
        assert refused.value.code == "stale"
        assert con.execute("SELECT count(*) FROM consents").fetchone() == (0,)
        consent.give_consent(con, "R7", " 9   years", PORTUGUESE, consent.text_hash(PORTUGUESE))
        rows = con.execute("SELECT code, experience, consent, consent_hash FROM consents")
        digest = hashlib.sha256(PORTUGUESE.encode()).hexdigest()
        assert rows.fetchall() == [("R7", "9 years", PORTUGUESE, digest)]
        with pytest.raises(RequestRefused, match="200 characters") as refused:
            consent.give_consent(con, "R8", "x" * 201, PORTUGUESE)
        assert refused.value.code == "answer"
