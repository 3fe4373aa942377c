"""Invitations: hashed, revocable, one role per code; progress reveals nothing about answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.store import participant_table
from core.store.evidence import verify_chain
from core.store.labels.set_names import RESERVED_NAMES
from core.store.withdrawal import withdraw_participant
from support import synthetic_study


def test_invitation_is_valid_until_revoked(empty: Path) -> None:
    token, other = (
        participant_table.new_invitation_token(),
        participant_table.new_invitation_token(),
    )
    with store.write(empty) as con:
        participant_table.invite_participant(
            con, "R1", "reader", participant_table.hash_token(token)
        )
        assert participant_table.valid_invitations(con) == {
            participant_table.hash_token(token): participant_table.Participant("R1", "reader")
        }
        participant_table.reissue_invitation(con, "R1", participant_table.hash_token(other))
        assert list(participant_table.valid_invitations(con)) == [
            participant_table.hash_token(other)
        ]
        participant_table.revoke_invitations(con, "R1")
        assert participant_table.valid_invitations(con) == {}
        assert participant_table.participant_role(con, "R1") == "reader"
        everything = str(
            [con.execute(f"SELECT * FROM {t}").fetchall() for t in ("people", "invitations", "log")]
        )
    assert token not in everything and other not in everything


def test_undone_revocation(empty: Path) -> None:
    """The link that was revoked last works again; the chain holds revocation and undo."""
    with store.write(empty) as con:
        participant_table.invite_participant(con, "R1", "reader", "a" * 64)
        participant_table.reissue_invitation(con, "R1", "b" * 64)
        with pytest.raises(UserError, match="R1 has a valid link"):
            participant_table.undo_revocation(con, "R1")
        participant_table.revoke_invitations(con, "R1")
        assert participant_table.has_revoked_link_only(con, "R1")
        participant_table.undo_revocation(con, "R1")
        # The link that was replaced stays revoked.
        assert participant_table.valid_token_hashes(con, "R1") == ["b" * 64]
        participant_table.revoke_invitations(con, "R1")
        participant_table.add_participant(con, "R2", "reader")
        with pytest.raises(UserError, match="No link of R2 was revoked"):
            participant_table.undo_revocation(con, "R2")
    with store.read(empty) as con:
        result = verify_chain(con)
        assert result.valid and result.counts["withdrawal"] == 4
    with store.write(empty) as con:
        withdraw_participant(con, "R1", "team")
        with pytest.raises(UserError, match="R1 withdrew"):
            participant_table.undo_revocation(con, "R1")


@pytest.mark.parametrize("code", ["", "Dr. Anna Schmidt", "<b>R1</b>", "R" * 300, "-x", "R1\n"])
def test_names_and_markup_are_refused_as_codes(empty: Path, code: str) -> None:
    with pytest.raises(UserError, match="code"), store.write(empty) as con:
        participant_table.invite_participant(con, code, "reader", "h")


def test_code_has_one_role(empty: Path) -> None:
    with store.write(empty) as con:
        assert participant_table.next_free_code(con, "reader") == "R1"
        participant_table.invite_participant(con, "R1", "reader", "h")
        assert participant_table.next_free_code(con, "reader") == "R2"
        assert participant_table.next_free_code(con, "annotator") == "A1"
        with pytest.raises(UserError, match="taken"):
            participant_table.invite_participant(con, "R1", "team", "h2")
        with pytest.raises(UserError, match="role"):
            participant_table.invite_participant(con, "R9", "boss", "h3")
        with pytest.raises(UserError, match="no participant"):
            participant_table.revoke_invitations(con, "R8")
    with store.read(empty) as con:
        assert list(participant_table.valid_invitations(con).values()) == [
            participant_table.Participant("R1", "reader")
        ]


def test_consents_carry_the_hash_of_their_text(empty: Path) -> None:
    with store.write(empty) as con:
        participant_table.record_consent(con, "R1", "", "Termo de consentimento: não há risco.\n")
        stored = con.execute("SELECT consent_hash FROM consents").fetchall()
    # printf 'Termo de consentimento: não há risco.\n' | sha256sum
    assert stored == [("821e605dcf9b4f874974d917192f4cc21c658fb8622f05a4fdf2f46df18d8564",)]


def test_ended_sessions(empty: Path) -> None:
    with store.write(empty) as con:
        for name in ("a", "a", "b"):
            participant_table.end_session(con, name)
        assert participant_table.ended_sessions(con) == {"a", "b"}


def test_progress_of_participants(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 1, synthetic_study.mass_answer())
        synthetic_study.annotate(con, "A1", 1, synthetic_study.mass_answer("obscured"))
        synthetic_study.annotate(con, "A1", 30, synthetic_study.mass_answer(), practice=True)
        participant_table.add_participant(con, "R1", "reader")
        participant_table.record_consent(con, "R1", " twelve   years ", "text")
        frame = participant_table.load_participants(con).set_index("code")
    assert frame.loc["A1", "annotated"] == 1 and frame.loc["R1", "answered"] == 0
    assert frame.loc["R1", "experience"] == "twelve years"
    assert bool(frame.loc["R1", "consented"]) and not bool(frame.loc["A1", "consented"])
    assert set(frame.columns) == {
        "role",
        "simulated",
        "made",
        "link",
        "experience",
        "consented",
        "annotated",
        "audited",
        "answered",
        "last_seen",
    }


@pytest.mark.parametrize("code", [*RESERVED_NAMES, "Machine"])
def test_names_of_label_sets_are_no_codes(empty: Path, code: str) -> None:
    for role in participant_table.ROLES:
        with store.write(empty) as con, pytest.raises(UserError, match="name of a label set"):
            participant_table.add_participant(con, code, role)
    with store.read(empty) as con:
        assert participant_table.participant_role(con, code) is None
