"""Session cookies: signed, limited in time and valid for one study."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response

SESSION_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Session:
    """The content of a cookie: a participant, the invitation used, and this session's own name."""

    code: str
    token_hash: str
    name: str


class SessionCookies:
    """Write and read the session cookies of one study.

    The cookie's name is derived from the study's key, so that two studies on one host do not
    overwrite each other's cookies.
    """

    def __init__(self, secret: bytes) -> None:
        self.name = "dm_" + hashlib.sha256(b"cookie name" + secret).hexdigest()[:10]
        # The salt separates these signatures from others that are made with the same key.
        self._serializer = URLSafeTimedSerializer(
            secret,
            salt="session cookie",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def sign(self, code: str, token_hash: str) -> str:
        """Return the cookie value for a participant and the invitation that was used."""
        # The name lets one session be ended while another device stays signed in.
        return str(self._serializer.dumps([code, token_hash, secrets.token_hex(16)]))

    def read(self, connection: HTTPConnection) -> Session | None:
        """Return the session of a request, or None without a valid, recent cookie."""
        try:
            code, token_hash, name = self._serializer.loads(
                connection.cookies.get(self.name, ""), max_age=SESSION_S
            )
        except (BadData, TypeError, ValueError):
            return None
        return Session(code, token_hash, name)

    def set_cookie(
        self, response: Response, code: str, token_hash: str, *, path: str, secure: bool
    ) -> None:
        """Add the session cookie to a response."""
        response.set_cookie(
            self.name,
            self.sign(code, token_hash),
            max_age=SESSION_S,
            path=path,
            secure=secure,
            httponly=True,
            samesite="strict",
        )
