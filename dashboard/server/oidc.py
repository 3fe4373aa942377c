"""Signing in through an institution's OpenID Connect provider, for the research team: authorization
code with PKCE, the identity token checked by joserfc.

Configured by a file of its own, outside the study, named in DEEPMINER_OIDC: issuer, client_id,
client_secret, address (of this server as browsers know it) and a table [people] from a verified
e-mail address, or the provider's subject, to a code of the People page. Codes alone reach the
study.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from core.errors import UserError

VARIABLE = "DEEPMINER_OIDC"
BEGIN, BACK = "/oidc", "/oidc/back"
STATE_S = 600
TIMEOUT_S = 10
MOST_BYTES = 1024 * 1024
ALGORITHMS = ("RS256", "PS256", "ES256")
LOCAL = ("127.0.0.1", "localhost", "::1")


class Refusal(UserError):
    """Signing in did not succeed; the sentence is for the person."""


@dataclass(frozen=True)
class Settings:
    """What DEEPMINER_OIDC's file says. people: e-mail address in lower case, or subject -> code."""

    issuer: str
    client_id: str
    client_secret: str
    address: str
    people: Mapping[str, str]


def settings() -> Settings | None:
    """The provider's settings, or None where none is configured.

    UserError names what is wrong with the file.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    try:
        found = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{VARIABLE} names {name}, which cannot be read ({error.strerror}); write that file, or"
            " unset the variable."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name} is not TOML ({error}); correct it.") from error
    needed = ("issuer", "client_id", "client_secret", "address")
    missing = [key for key in needed if not isinstance(found.get(key), str) or not found[key]]
    people = found.get("people")
    if (
        missing
        or not isinstance(people, dict)
        or not all(isinstance(code, str) for code in people.values())
    ):
        raise UserError(
            f"{name} lacks {missing[0] if missing else 'a table [people] of addresses and codes'};"
            " see docs/guides/deployment.md for what belongs there."
        )
    for key in ("issuer", "address"):
        _only_tls(found[key], f"{name}: {key}")
    try:
        import joserfc  # noqa: F401
    except ImportError as error:
        raise UserError(
            "Signing in with OpenID Connect needs the package joserfc; run `pip install joserfc`."
        ) from error
    found["address"] = found["address"].rstrip("/")
    return Settings(
        **{key: found[key] for key in needed},
        people={who.lower(): code for who, code in people.items()},
    )


def _only_tls(url: str, what: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise UserError(f"{what} is {url!r}; it must begin with https://.")
    return url


class Provider:
    """One institution's provider.

    Its addresses and keys are asked for when first needed; all methods block.
    """

    def __init__(self, chosen: Settings, secret: bytes) -> None:
        self.chosen, self._secret = chosen, secret
        self._lock = threading.Lock()
        self._found: dict[str, Any] | None = None

    def _addresses(self) -> dict[str, Any]:
        with self._lock:
            if self._found is None:
                found = _fetch(self.chosen.issuer.rstrip("/") + "/.well-known/openid-configuration")
                if found.get("issuer") != self.chosen.issuer:
                    raise Refusal(
                        "The login service calls itself otherwise than this server was told; tell"
                        " the research team."
                    )
                self._found = found
            return self._found

    def begin(self) -> tuple[str, str]:
        """(where to send the browser, a signed value to keep in a cookie until it comes back)."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
            .rstrip(b"=")
            .decode()
        )
        asked = {
            "response_type": "code",
            "client_id": self.chosen.client_id,
            "redirect_uri": self.chosen.address + BACK,
            "scope": "openid email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        where = _only_tls(
            self._addresses()["authorization_endpoint"], "The login service's address"
        )
        payload = base64.urlsafe_b64encode(
            json.dumps([state, nonce, verifier, int(time.time()) + STATE_S]).encode()
        ).decode()
        return (
            f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}",
            f"{payload}.{self._sign(payload)}",
        )

    def _sign(self, payload: str) -> str:
        return hmac.new(self._secret, b"oidc|" + payload.encode(), hashlib.sha256).hexdigest()

    def finish(self, query: Mapping[str, str], kept: str) -> str:
        """The code of whoever comes back with this query and this cookie.

        Refusal says in a sentence why nobody is signed in.
        """
        payload, _, signature = kept.partition(".")
        if not hmac.compare_digest(self._sign(payload).encode(), signature.encode()):
            raise Refusal(
                "This sign-in was not begun in this browser, or has taken too long; begin again."
            )
        state, nonce, verifier, until = json.loads(base64.urlsafe_b64decode(payload))
        if time.time() > until or not hmac.compare_digest(
            state.encode(), query.get("state", "").encode()
        ):
            raise Refusal(
                "This sign-in was not begun in this browser, or has taken too long; begin again."
            )
        if query.get("iss", self.chosen.issuer) != self.chosen.issuer:
            raise Refusal("The answer came from another login service; begin again.")
        if "code" not in query:
            raise Refusal(
                "The login service did not let you in; begin again, or use the link that was sent"
                " to you."
            )
        claims = self._claims(self._token(query["code"], verifier), nonce)
        return self._code_of(claims)

    def _token(self, code: str, verifier: str) -> str:
        """The identity token for a code (RFC 6749 4.1.3, with the client's secret in the header)."""
        where = _only_tls(self._addresses()["token_endpoint"], "The login service's address")
        both = (
            f"{quote(self.chosen.client_id, safe='')}:{quote(self.chosen.client_secret, safe='')}"
        )
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.chosen.address + BACK,
            "code_verifier": verifier,
        }
        found = _fetch(
            where,
            urlencode(form).encode(),
            {"Authorization": "Basic " + base64.b64encode(both.encode()).decode()},
        )
        if not isinstance(found.get("id_token"), str):
            raise Refusal("The login service gave no identity; begin again.")
        return found["id_token"]

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """What the token says, once signature, issuer, audience, times and nonce are right (OpenID
        Connect Core 3.1.3.7).
        """
        from joserfc import jwk, jwt
        from joserfc.errors import JoseError

        found = _fetch(_only_tls(self._addresses()["jwks_uri"], "The login service's address"))
        rules = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": self.chosen.issuer},
            aud={"essential": True, "value": self.chosen.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            keys = jwk.KeySet.import_key_set(found)  # type: ignore[arg-type]
            claims = dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)
            rules.validate(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Refusal(
                "The login service's identity could not be verified; begin again, and tell the"
                " research team if it lasts."
            ) from error
        if claims.get("azp", self.chosen.client_id) != self.chosen.client_id:
            raise Refusal("The login service's identity was made for another site; begin again.")
        return claims

    def _code_of(self, claims: Mapping[str, Any]) -> str:
        """By subject, or by an e-mail address that the provider has verified."""
        names = [str(claims["sub"]).lower()]
        if claims.get("email_verified") is True:
            names.append(str(claims.get("email", "")).lower())
        code = next(
            (self.chosen.people[name] for name in names if name in self.chosen.people), None
        )
        if code is None:
            raise Refusal(
                "Your institution knows you, but you are not in this study's list of the research"
                " team; ask them to add you."
            )
        return code


def _fetch(
    url: str, form: bytes | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A JSON object of the provider's; a form is posted.

    Redirects are not followed away from TLS.
    """
    request = urllib.request.Request(url, form, {"Accept": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
            _only_tls(reply.url, "The login service's address")
            found = json.loads(reply.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        raise Refusal("The login service did not accept this sign-in; begin again.") from error
    except (OSError, ValueError) as error:
        raise Refusal(
            "The login service does not answer; try again later, or use the link that was sent to"
            " you."
        ) from error
    if not isinstance(found, dict):
        raise Refusal("The login service does not answer as it should; tell the research team.")
    return found
