"""Sign-in links, and the address at which a study is served."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from core import store
from core.store import participant_table
from dashboard.server import context
from dashboard.server.access_control import SIGN_IN_PATH

TEAM_CODE = "team"
ADDRESS_FILE = ".address"  # in the study folder while a server runs
DEFAULT_ADDRESS = "http://127.0.0.1:8501"


def ensure_team_link(path: Path) -> str:
    """Return the token of the team's link, which is the only valid one of its participant.

    It is derived from the study's key: every start prints the same link, and no file stores it.
    Where the link was revoked, replaced on a page, or made with a key that was deleted, a new one
    replaces whatever was valid: an earlier link never becomes valid again.
    """
    with store.write(path) as con:
        if participant_table.participant_role(con, TEAM_CODE) is None:
            participant_table.add_participant(con, TEAM_CODE, "team")
        token = _team_token(path, participant_table.revoked_invitation_count(con, TEAM_CODE))
        valid = participant_table.valid_token_hashes(con, TEAM_CODE)
        if valid != [participant_table.hash_token(token)]:
            participant_table.revoke_invitations(con, TEAM_CODE)
            token = _team_token(path, participant_table.revoked_invitation_count(con, TEAM_CODE))
            participant_table.reissue_invitation(
                con, TEAM_CODE, participant_table.hash_token(token)
            )
    return token


def _team_token(path: Path, revoked: int) -> str:
    """Return the token of the team's link after `revoked` earlier ones."""
    # Without a number after none: the links of existing studies stay as they are.
    message = f"team link {revoked}" if revoked else "team link"
    # 160 bits of the digest, which keeps the link short enough for one line.
    digest = hmac.new(context.study_secret(path), message.encode(), hashlib.sha256)
    return digest.hexdigest()[:40]


def invitation_link(base: str, token: str) -> str:
    """Return the invitation link of a token below the address of a server."""
    return f"{base.rstrip('/')}{context.url_prefix()}{SIGN_IN_PATH}?token={token}"


def is_served(path: Path) -> bool:
    """Return whether a server of a study runs on this machine, or was killed."""
    return (path / ADDRESS_FILE).is_file()


def server_address(path: Path) -> str:
    """Return the address at which a study is served on this machine, or the default address.

    After a server was killed this is the address of that server.
    """
    file = path / ADDRESS_FILE
    return file.read_text() if file.is_file() else DEFAULT_ADDRESS
