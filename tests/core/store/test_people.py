"""Invitations: hashed, revocable, one role per code; progress that tells nothing about answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from core import store
from core.errors import UserError
from core.store import people


def test_an_invitation_lives_until_it_is_revoked(empty: Path) -> None:
    token, other = people.new_token(), people.new_token()
    with store.write(empty) as con:
        people.invite(con, "R1", "reader", people.token_hash(token))
        assert people.valid(con) == {people.token_hash(token): people.Person("R1", "reader")}
        people.reissue(con, "R1", people.token_hash(other))
        assert list(people.valid(con)) == [people.token_hash(other)]
        people.revoke(con, "R1")
        assert people.valid(con) == {} and people.role_of(con, "R1") == "reader"
        everything = str(
            [con.execute(f"SELECT * FROM {t}").fetchall() for t in ("people", "invitations", "log")]
        )
    assert token not in everything and other not in everything


@pytest.mark.parametrize("code", ["", "Dr. Anna Schmidt", "<b>R1</b>", "R" * 300, "-x", "R1\n"])
def test_names_and_markup_are_no_codes(empty: Path, code: str) -> None:
    with pytest.raises(UserError, match="code"), store.write(empty) as con:
        people.invite(con, code, "reader", "h")


def test_a_code_has_one_role(empty: Path) -> None:
    with store.write(empty) as con:
        assert people.next_code(con, "reader") == "R1"
        people.invite(con, "R1", "reader", "h")
        assert (
            people.next_code(con, "reader") == "R2" and people.next_code(con, "annotator") == "A1"
        )
        with pytest.raises(UserError, match="taken"):
            people.invite(con, "R1", "team", "h2")
        with pytest.raises(UserError, match="role"):
            people.invite(con, "R9", "boss", "h3")
        with pytest.raises(UserError, match="nobody"):
            people.revoke(con, "R8")
    with store.read(empty) as con:
        assert list(people.valid(con).values()) == [people.Person("R1", "reader")]


def test_the_teams_own_link_is_kept(empty: Path) -> None:
    with store.write(empty) as con:
        for _ in range(2):
            people.ensure(con, "team", "team", "h")
        assert con.execute("SELECT count(*) FROM invitations").fetchone()[0] == 1


def test_progress_of_people(study: Path) -> None:
    with store.write(study) as con:
        synthetic.annotate(con, "A1", 1, synthetic.mass())
        synthetic.annotate(con, "A1", 1, synthetic.mass("obscured"))
        synthetic.annotate(con, "A1", 30, synthetic.mass(), practice=True)
        people.add(con, "R1", "reader")
        people.consent(con, "R1", " twelve   years ", "text")
        frame = people.people(con).set_index("code")
    assert frame.loc["A1", "annotated"] == 1 and frame.loc["R1", "answered"] == 0
    assert (
        frame.loc["R1", "experience"] == "twelve years"
        and bool(frame.loc["R1", "consented"])
        and not bool(frame.loc["A1", "consented"])
    )
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
