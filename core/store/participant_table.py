"""The tables of participants, invitations and consents.

A participant is a code with one role; names of persons are never stored.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

import pandas as pd

from core.errors import UserError
from core.store import run_table
from core.store.connection import Connection, fetch_integer
from core.store.evidence import record_group, record_row
from core.store.labels import assignment_table
from core.store.labels.set_names import RESERVED_NAMES
from core.timestamps import utc_now

ROLES = ("team", "annotator", "reader")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


@dataclass(frozen=True)
class Participant:
    """The identity of a signed-in person: a code and one role."""

    code: str
    role: str


def new_invitation_token() -> str:
    """Return a fresh secret for an invitation link (192 bits); only its hash is stored."""
    return secrets.token_urlsafe(24)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token, the only form in which it is stored."""
    # No salt and no key stretching: a token of 192 random bits cannot be guessed from its hash.
    return hashlib.sha256(token.encode()).hexdigest()


def check_code(code: str) -> str:
    """Return the code; UserError if it contains blanks or markup or is too long."""
    if not _CODE.fullmatch(code):
        excerpt = code if len(code) <= 32 else code[:32] + "..."
        raise UserError(
            f"{excerpt!r} is not a code; use 1 to 32 letters, digits, dots, dashes or underscores,"
            " such as R1 (no names of persons)."
        )
    return code


def _check_role(role: str) -> str:
    if role not in ROLES:
        raise UserError(f"{role!r} is not a role; choose one of {', '.join(ROLES)}.")
    return role


def next_free_code(con: Connection, role: str) -> str:
    """Return the next free code of a role: T1, A1, R1, R2 ..."""
    taken = {row[0] for row in con.execute("SELECT code FROM people").fetchall()}
    letter = _check_role(role)[0].upper()
    return next(f"{letter}{i}" for i in range(1, len(taken) + 2) if f"{letter}{i}" not in taken)


def participant_role(con: Connection, code: str) -> str | None:
    """Return the role of a code, or None."""
    row = con.execute("SELECT role FROM people WHERE code = ?", [code]).fetchone()
    return row[0] if row else None


def add_participant(
    con: Connection, code: str, role: str, simulated: bool = False, dissection: str | None = None
) -> None:
    """Add a participant without an invitation.

    UserError if the code is taken, invalid, or the name of a label set, which would be ambiguous.

    dissection: what an annotator is assigned, by default the current one; `assignment_table`
    changes it.
    """
    check_code(code)
    _check_role(role)
    if code.lower() in RESERVED_NAMES:
        raise UserError(
            f"The code {code} is the name of a label set; choose another code, such as A1."
        )
    if participant_role(con, code) is not None:
        raise UserError(
            f"The code {code} is taken; choose another, or give {code} a new link on the"
            " Participants page."
        )
    con.execute("INSERT INTO people VALUES (?, ?, ?, ?)", [code, role, simulated, utc_now()])
    record_group(con, "participant", code, code=code)
    if role == "annotator":
        assignment_table.assign_new_annotator(con, code, dissection)


def invite_participant(con: Connection, code: str, role: str, token_hash: str) -> None:
    """Add a participant with a first invitation. UserError if the code is taken or invalid."""
    add_participant(con, code, role)
    _insert_invitation(con, code, token_hash)


def reissue_invitation(con: Connection, code: str, token_hash: str) -> None:
    """Replace a participant's link: earlier links are revoked, answers stay."""
    # In one transaction: there is no moment at which both links or neither are valid.
    revoke_invitations(con, code)
    _insert_invitation(con, code, token_hash)


def revoke_invitations(con: Connection, code: str) -> None:
    """End every link and session of a participant; answers stay. UserError for an unknown code."""
    if participant_role(con, code) is None:
        raise UserError(
            f"There is no participant with the code {code}; the Participants page lists the codes."
        )
    revoked = con.execute(
        "UPDATE invitations SET revoked_at = ? WHERE code = ? AND revoked_at IS NULL"
        " RETURNING token_hash",
        [utc_now(), code],
    ).fetchall()
    for (token_hash,) in revoked:
        record_group(con, "withdrawal", code, token_hash=token_hash)


def undo_revocation(con: Connection, code: str) -> None:
    """Make the link of a participant that was revoked last work again, with its open pages.

    The record of the revocation stays in the evidence chain, followed by that of its undo.
    UserError if no link was revoked, a newer link is valid, or the participant withdrew.
    """
    if valid_token_hashes(con, code):
        raise UserError(f"{code} has a valid link; there is no revoked link to restore.")
    if f"participant {code}" in set(run_table.load_log(con, "participant withdrawn")["detail"]):
        raise UserError(f"{code} withdrew from the study; the links of {code} stay revoked.")
    restored = con.execute(
        "UPDATE invitations SET revoked_at = NULL WHERE code = ? AND revoked_at ="
        " (SELECT max(revoked_at) FROM invitations WHERE code = ?) RETURNING token_hash, made",
        [code, code],
    ).fetchall()
    if not restored:
        raise UserError(f"No link of {code} was revoked; there is nothing to undo.")
    for token_hash, time in restored:
        # The row is no revocation any more: code and time name the removed record.
        record_group(con, "withdrawal", code, token_hash=token_hash, code=code, made=time)


def has_revoked_link_only(con: Connection, code: str) -> bool:
    """Return whether a participant has a revoked link and no valid one."""
    return not valid_token_hashes(con, code) and revoked_invitation_count(con, code) > 0


def revoked_invitation_count(con: Connection, code: str) -> int:
    """Return how many links of a participant were revoked or replaced."""
    return fetch_integer(
        con,
        "SELECT count(*) FROM invitations WHERE code = ? AND revoked_at IS NOT NULL",
        [code],
    )


def valid_token_hashes(con: Connection, code: str) -> list[str]:
    """Return the token hashes of a participant's links that are not revoked."""
    rows = con.execute(
        "SELECT token_hash FROM invitations WHERE code = ? AND revoked_at IS NULL ORDER BY made",
        [code],
    ).fetchall()
    return [row[0] for row in rows]


def _insert_invitation(con: Connection, code: str, token_hash: str) -> None:
    con.execute("INSERT INTO invitations VALUES (?, ?, ?, NULL)", [code, token_hash, utc_now()])


def valid_invitations(con: Connection) -> dict[str, Participant]:
    """Return the participant of each invitation that is not revoked, by token hash."""
    rows = con.execute(
        "SELECT token_hash, code, role FROM invitations JOIN people USING (code)"
        " WHERE revoked_at IS NULL"
    ).fetchall()
    return {row[0]: Participant(row[1], row[2]) for row in rows}


def record_consent(con: Connection, code: str, experience: str, text: str) -> None:
    """Record a participant's consent to a text, the text's SHA-256, and the experience stated.

    UserError if the experience has more than 200 characters.
    """
    if len(experience) > 200:
        raise UserError("The experience has more than 200 characters; shorten it.")
    stored = con.execute(
        "INSERT INTO consents (code, experience, consent, made, consent_hash)"
        " VALUES (?, ?, ?, ?, sha256(?)) RETURNING *",
        [code, " ".join(experience.split()), text, utc_now(), text],
    )
    record_row(con, "consent", stored, code)


def has_consented(con: Connection, code: str) -> bool:
    """Return whether a participant has given consent."""
    return fetch_integer(con, "SELECT count(*) FROM consents WHERE code = ?", [code]) > 0


def end_session(con: Connection, session: str) -> None:
    """Record that a session was ended by signing out; it is refused from now on."""
    con.execute("INSERT OR IGNORE INTO ended_sessions VALUES (?, ?)", [session, utc_now()])


def ended_sessions(con: Connection) -> frozenset[str]:
    """Return the sessions that were ended by signing out."""
    return frozenset(row[0] for row in con.execute("SELECT session FROM ended_sessions").fetchall())


def record_sign_in(con: Connection, code: str) -> None:
    """Write to the study's log that a participant signed in with a link."""
    run_table.append_log(con, code, "signed in")


def load_participants(con: Connection) -> pd.DataFrame:
    """Return the participants with their progress.

    Columns: code, role, simulated, made, link (a valid one exists), experience, consented,
    annotated (units), audited (patches), answered (cases), last_seen.
    """
    # Counts only. Neither correctness nor the distribution of answers may be added here: the team
    # sees this table while reading studies are open.
    return con.execute("""
        WITH seen AS (
            SELECT who AS code, made FROM log
            UNION ALL SELECT code, made FROM annotations
            UNION ALL SELECT code, made FROM answers
            UNION ALL SELECT code, made FROM consents
            UNION ALL SELECT code, made FROM skips
            UNION ALL SELECT code, made FROM audit_answers
        ),
        last AS (SELECT code, max(made) AS last_seen FROM seen GROUP BY code),
        agreed AS (
            SELECT code, arg_max(experience, made) AS experience, count(*) > 0 AS consented
            FROM consents GROUP BY code
        ),
        named AS (
            SELECT code, count(DISTINCT unit) AS annotated
            FROM annotations WHERE NOT practice GROUP BY code
        ),
        checked AS (
            SELECT code, count(DISTINCT (audit, item)) AS audited FROM audit_answers GROUP BY code
        ),
        judged AS (
            SELECT code, count(DISTINCT (protocol, version, position)) AS answered
            FROM answers JOIN reading_items USING (protocol, version, code, position)
            WHERE NOT practice GROUP BY code
        )
        SELECT p.code, p.role, p.simulated, p.made,
            EXISTS (
                SELECT 1 FROM invitations i WHERE i.code = p.code AND i.revoked_at IS NULL
            ) AS link,
            coalesce(experience, '') AS experience, coalesce(consented, FALSE) AS consented,
            coalesce(annotated, 0) AS annotated, coalesce(audited, 0) AS audited,
            coalesce(answered, 0) AS answered, last_seen
        FROM people p
            LEFT JOIN last USING (code)
            LEFT JOIN agreed USING (code)
            LEFT JOIN named USING (code)
            LEFT JOIN checked USING (code)
            LEFT JOIN judged USING (code)
        ORDER BY p.role, p.code
    """).df()
