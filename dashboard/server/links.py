"""Sign-in links, and the address at which a study is served."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from dashboard.server import context
from dashboard.server.access_control import SIGN_IN_PATH

TEAM_CODE = "team"
ADDRESS_FILE = ".address"  # in the study folder while a server runs
DEFAULT_ADDRESS = "http://127.0.0.1:8501"


def team_token(path: Path) -> str:
    """Return the token of the team's link.

    It is derived from the study's key: every start prints the same link, and no file stores it.
    """
    # 160 bits of the digest, which keeps the link short enough for one line.
    return hmac.new(context.study_secret(path), b"team link", hashlib.sha256).hexdigest()[:40]


def invitation_link(base: str, token: str) -> str:
    """Return the invitation link of a token below the address of a server."""
    return f"{base.rstrip('/')}{context.url_prefix()}{SIGN_IN_PATH}?token={token}"


def server_address(path: Path) -> str:
    """Return the address at which a study is served on this machine, or the default address.

    After a server was killed this is the address of that server.
    """
    file = path / ADDRESS_FILE
    return file.read_text() if file.is_file() else DEFAULT_ADDRESS
