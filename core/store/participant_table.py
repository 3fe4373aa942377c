"""People in the store: who was invited in which role, consent, progress, last seen.

A person is a code; names are never stored.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

import duckdb
import pandas as pd

from core.errors import UserError
from core.sessions.tokens import number
from core.timestamps import now

Connection = duckdb.DuckDBPyConnection
ROLES = ("team", "annotator", "reader")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


@dataclass(frozen=True)
class Person:
    """Who somebody is for the gate: a code and one role."""

    code: str
    role: str


def new_token() -> str:
    """A fresh secret for an invitation link (192 bits); only its hash is stored."""
    return secrets.token_urlsafe(24)


def token_hash(token: str) -> str:
    """What the store keeps of a token: its SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_code(code: str) -> str:
    """The code itself; UserError if it could be a name with blanks, markup or a novel."""
    if not _CODE.fullmatch(code):
        shown = code if len(code) <= 32 else code[:32] + "..."
        raise UserError(
            f"{shown!r} is not a code; use 1 to 32 letters, digits, dots, dashes or underscores,"
            " such as R1 (no names of persons)."
        )
    return code


def next_code(con: Connection, role: str) -> str:
    """The next free code of a role: T1, A1, R1, R2 ..."""
    taken = {row[0] for row in con.execute("SELECT code FROM people").fetchall()}
    letter = _role(role)[0].upper()
    return next(f"{letter}{i}" for i in range(1, len(taken) + 2) if f"{letter}{i}" not in taken)


def _role(role: str) -> str:
    if role not in ROLES:
        raise UserError(f"{role!r} is not a role; choose one of {', '.join(ROLES)}.")
    return role


def add(con: Connection, code: str, role: str, simulated: bool = False) -> None:
    """Add a person without an invitation. UserError if the code is taken or not one."""
    check_code(code)
    _role(role)
    if role_of(con, code) is not None:
        raise UserError(
            f"The code {code} is taken; choose another, or give {code} a new link on the People"
            " page."
        )
    con.execute("INSERT INTO people VALUES (?, ?, ?, ?)", [code, role, simulated, now()])


def invite(con: Connection, code: str, role: str, token_hash: str) -> None:
    """Add a person with a first invitation. UserError if the code is taken or not one."""
    add(con, code, role)
    con.execute("INSERT INTO invitations VALUES (?, ?, ?, NULL)", [code, token_hash, now()])


def reissue(con: Connection, code: str, token_hash: str) -> None:
    """Replace a person's link: earlier ones end, answers stay."""
    revoke(con, code)
    con.execute("INSERT INTO invitations VALUES (?, ?, ?, NULL)", [code, token_hash, now()])


def revoke(con: Connection, code: str) -> None:
    """End every link and session of a person; answers stay.

    UserError if there is nobody of that code.
    """
    if role_of(con, code) is None:
        raise UserError(f"There is nobody with the code {code}; the People page lists the codes.")
    con.execute(
        "UPDATE invitations SET revoked_at = ? WHERE code = ? AND revoked_at IS NULL", [now(), code]
    )


def ensure(con: Connection, code: str, role: str, token_hash: str) -> None:
    """See that a person exists with this very invitation (the link that the server prints on every
    start).
    """
    if role_of(con, code) is None:
        add(con, code, role)
    if not number(
        con,
        "SELECT count(*) FROM invitations WHERE code = ? AND token_hash = ? AND revoked_at IS NULL",
        [code, token_hash],
    ):
        con.execute("INSERT INTO invitations VALUES (?, ?, ?, NULL)", [code, token_hash, now()])


def role_of(con: Connection, code: str) -> str | None:
    """The role of a code, or None."""
    row = con.execute("SELECT role FROM people WHERE code = ?", [code]).fetchone()
    return row[0] if row else None


def valid(con: Connection) -> dict[str, Person]:
    """token hash -> person, for every invitation that is not revoked."""
    rows = con.execute(
        "SELECT token_hash, code, role FROM invitations JOIN people USING (code) WHERE revoked_at"
        " IS NULL"
    ).fetchall()
    return {row[0]: Person(row[1], row[2]) for row in rows}


def consent(con: Connection, code: str, experience: str, text: str) -> None:
    """Record that a person agreed to this text and what experience they stated (at most 200
    characters).
    """
    if len(experience) > 200:
        raise UserError("The experience has more than 200 characters; shorten it.")
    con.execute(
        "INSERT INTO consents VALUES (?, ?, ?, ?)",
        [code, " ".join(experience.split()), text, now()],
    )


def has_consented(con: Connection, code: str) -> bool:
    """Whether a person has agreed."""
    return number(con, "SELECT count(*) FROM consents WHERE code = ?", [code]) > 0


def entered(con: Connection, code: str) -> None:
    """Record that a person signed in with a link."""
    con.execute("INSERT INTO log VALUES (?, ?, 'signed in', '')", [now(), code])


def people(con: Connection) -> pd.DataFrame:
    """code, role, simulated, made, link (a valid one exists), experience, consented, annotated
    (units), audited (patches), answered (cases), last_seen.

    Progress only: nothing here tells how good or how balanced anybody's answers are.
    """
    return con.execute("""
        WITH seen AS (SELECT who AS code, made FROM log UNION ALL SELECT code, made FROM annotations UNION ALL SELECT code, made FROM answers
                      UNION ALL SELECT code, made FROM consents UNION ALL SELECT code, made FROM skips UNION ALL SELECT code, made FROM audit_answers),
             last AS (SELECT code, max(made) AS last_seen FROM seen GROUP BY code),
             agreed AS (SELECT code, arg_max(experience, made) AS experience, count(*) > 0 AS consented FROM consents GROUP BY code),
             named AS (SELECT code, count(DISTINCT unit) AS annotated FROM annotations WHERE NOT practice GROUP BY code),
             checked AS (SELECT code, count(DISTINCT (audit, item)) AS audited FROM audit_answers GROUP BY code),
             judged AS (SELECT code, count(DISTINCT (protocol, version, position)) AS answered FROM answers JOIN reading_items
                        USING (protocol, version, code, position) WHERE NOT practice GROUP BY code)
        SELECT p.code, p.role, p.simulated, p.made, EXISTS (SELECT 1 FROM invitations i WHERE i.code = p.code AND i.revoked_at IS NULL) AS link,
               coalesce(experience, '') AS experience, coalesce(consented, FALSE) AS consented, coalesce(annotated, 0) AS annotated, coalesce(audited, 0) AS audited,
               coalesce(answered, 0) AS answered, last_seen
        FROM people p LEFT JOIN last USING (code) LEFT JOIN agreed USING (code) LEFT JOIN named USING (code) LEFT JOIN checked USING (code) LEFT JOIN judged USING (code)
        ORDER BY p.role, p.code""").df()
