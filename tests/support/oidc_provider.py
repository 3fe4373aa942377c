"""An OpenID Connect provider for tests.

It signs everyone in at once, issues one-time codes, checks the client and its PKCE verifier, and
signs identity tokens.
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
    """A provider on a port of its own.

    `alter` changes the claims before they are signed, `sign` makes the token, `deny` answers with
    an error. `refused` lists the failed checks of token requests, `key_requests` counts the
    requests for the public keys.
    """

    def __init__(self, client_id: str = "mining", client_secret: str = "s&cret") -> None:
        self.client = (client_id, client_secret)
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
        self.codes: dict[str, dict[str, str]] = {}
        self.user = {"sub": "subject-1", "email": "Anna@Example.org", "email_verified": True}
        self.alter: Callable[[dict[str, Any]], None] = lambda claims: None
        self.sign: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode(
            {"alg": "RS256", "kid": "k1"}, claims, self.key
        )
        self.deny = False
        self.refused: list[str] = []
        self.key_requests = 0
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def identity(self, nonce: str) -> str:
        """Return an identity token for the current user."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client[0],
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.user,
        }
        self.alter(claims)
        return self.sign(claims)


class _Handler(BaseHTTPRequestHandler):
    stub: StubProvider

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _json(self, values: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(values).encode()
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
            self.stub.key_requests += 1
            self._json({"keys": [self.stub.key.as_dict(private=False)]})
        elif path.path == "/authorize":
            authorization = {name: values[0] for name, values in parse_qs(path.query).items()}
            assert (
                authorization["response_type"] == "code"
                and authorization["client_id"] == self.stub.client[0]
                and authorization["code_challenge_method"] == "S256"
            )
            code = secrets.token_urlsafe(8)
            self.stub.codes[code] = authorization
            answer = {"error": "access_denied"} if self.stub.deny else {"code": code}
            self.send_response(302)
            query = urlencode({**answer, "state": authorization["state"], "iss": base})
            self.send_header("Location", f"{authorization['redirect_uri']}?{query}")
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
        authorization = self.stub.codes.pop(form.get("code", ""), None)
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
        failed = [
            name
            for name, right in (
                ("code", authorization is not None),
                (
                    "client",
                    client == f"{self.stub.client[0]}:{self.stub.client[1].replace('&', '%26')}",
                ),
                ("verifier", authorization and challenge == authorization["code_challenge"]),
                (
                    "redirect",
                    authorization and form.get("redirect_uri") == authorization["redirect_uri"],
                ),
            )
            if not right
        ]
        self.stub.refused += failed
        if failed or authorization is None:
            self._json({"error": "invalid_grant"}, 400)
        else:
            self._json(
                {
                    "id_token": self.stub.identity(authorization["nonce"]),
                    "token_type": "Bearer",
                    "access_token": "x",
                }
            )
