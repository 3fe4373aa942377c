"""An OpenID Connect provider for tests: lets everybody in at once, hands out one-time codes, checks
the client and its PKCE verifier, signs identities.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt


class StubProvider:
    """Listens on a port of its own.

    `spoil` changes claims before they are signed, `sign` how they are signed, `deny` answers with
    an error.
    """

    def __init__(self, client_id: str = "mining", client_secret: str = "s&cret") -> None:
        self.client = (client_id, client_secret)
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
        self.codes: dict[str, dict[str, str]] = {}
        self.who = {"sub": "subject-1", "email": "Anna@Example.org", "email_verified": True}
        self.spoil: Callable[[dict[str, Any]], None] = lambda claims: None
        self.sign: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode(
            {"alg": "RS256", "kid": "k1"}, claims, self.key
        )
        self.deny = False
        self.refused: list[str] = []
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def identity(self, nonce: str) -> str:
        """The identity token for whoever signs in now."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client[0],
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.who,
        }
        self.spoil(claims)
        return self.sign(claims)


class _Handler(BaseHTTPRequestHandler):
    stub: StubProvider

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _json(self, found: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        base, path = self.stub.issuer, urlsplit(self.path)
        if path.path == "/.well-known/openid-configuration":
            self._json(
                {
                    "issuer": base,
                    "authorization_endpoint": f"{base}/authorize",
                    "token_endpoint": f"{base}/token",
                    "jwks_uri": f"{base}/jwks",
                }
            )
        elif path.path == "/jwks":
            self._json({"keys": [self.stub.key.as_dict(private=False)]})
        elif path.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(path.query).items()}
            assert (
                asked["response_type"] == "code"
                and asked["client_id"] == self.stub.client[0]
                and asked["code_challenge_method"] == "S256"
            )
            code = secrets.token_urlsafe(8)
            self.stub.codes[code] = asked
            answer = {"error": "access_denied"} if self.stub.deny else {"code": code}
            self.send_response(302)
            self.send_header(
                "Location",
                f"{asked['redirect_uri']}?{urlencode({**answer, 'state': asked['state'], 'iss': base})}",
            )
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._json({}, 404)

    def do_POST(self) -> None:
        form = {
            n: v[0]
            for n, v in parse_qs(
                self.rfile.read(int(self.headers["Content-Length"])).decode()
            ).items()
        }
        asked = self.stub.codes.pop(form.get("code", ""), None)
        challenge = (
            base64.urlsafe_b64encode(
                hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            )
            .rstrip(b"=")
            .decode()
        )
        client = base64.b64decode(
            self.headers.get("Authorization", "").removeprefix("Basic ")
        ).decode()
        wrong = [
            name
            for name, right in (
                ("code", asked is not None),
                (
                    "client",
                    client == f"{self.stub.client[0]}:{self.stub.client[1].replace('&', '%26')}",
                ),
                ("verifier", asked and challenge == asked["code_challenge"]),
                ("redirect", asked and form.get("redirect_uri") == asked["redirect_uri"]),
            )
            if not right
        ]
        self.stub.refused += wrong
        if wrong or asked is None:
            self._json({"error": "invalid_grant"}, 400)
        else:
            self._json(
                {
                    "id_token": self.stub.identity(asked["nonce"]),
                    "token_type": "Bearer",
                    "access_token": "x",
                }
            )
