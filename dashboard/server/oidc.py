"""Sign-in of team members through an institution's OpenID Connect provider, by Authlib.

A file outside the study, named in DEEPMINER_OIDC, configures it: issuer, client_id, client_secret,
address (of this server as browsers use it) and a table [people] from a verified e-mail address, or
the provider's subject, to a participant code. Only codes reach the study.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.errors import UserError
from dashboard.server import context
from dashboard.server.sign_in import SignIn
from dashboard.server.sign_in_limits import SignInLimit
from dashboard.server.static_pages import PageLink, message_page

OIDC_VARIABLE = "DEEPMINER_OIDC"
OIDC_PATH, OIDC_CALLBACK_PATH = "/oidc", "/oidc/back"
STATE_S = 600  # time for the login at the provider
TIMEOUT_S = 10
CLOCK_SKEW_S = 60  # by which the clocks of provider and server may differ
# Asymmetric signatures only: the provider's public keys verify them.
ALGORITHMS = ("RS256", "PS256", "ES256")
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


class SignInRefused(UserError):
    """The sign-in did not succeed; the message is for the person who tried."""


@dataclass(frozen=True)
class OidcSettings:
    """The content of DEEPMINER_OIDC's file; `people` maps lower-case e-mail or subject to code."""

    issuer: str
    client_id: str
    client_secret: str
    address: str
    people: Mapping[str, str]

    def participant_code(self, claims: Mapping[str, Any]) -> str:
        """Return the code for the subject, or for an e-mail address that the provider verified."""
        names = [str(claims["sub"]).lower()]
        if claims.get("email_verified") is True:
            names.append(str(claims.get("email", "")).lower())
        for name in names:
            if name in self.people:
                return self.people[name]
        raise SignInRefused(
            "Your institution confirmed your identity, but you are not in this study's list of the"
            " research team; ask them to add you."
        )


def load_oidc_settings() -> OidcSettings | None:
    """Return the provider's settings, or None if no provider is configured.

    Raises UserError with the mistake if the file cannot be read or is incomplete.
    """
    name = os.environ.get(OIDC_VARIABLE)
    if not name:
        return None
    try:
        values = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{OIDC_VARIABLE} names {name}, which cannot be read ({error.strerror}); write that"
            " file, or unset the variable."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name} is not TOML ({error}); correct it.") from error
    settings = _checked_settings(name, values)
    if find_spec("authlib") is None or find_spec("httpx2") is None:
        raise UserError(
            "Sign-in with OpenID Connect needs the packages Authlib and httpx2; run"
            " `pip install Authlib httpx2`."
        )
    return settings


def _checked_settings(name: str, values: dict[str, Any]) -> OidcSettings:
    required = ("issuer", "client_id", "client_secret", "address")
    missing = [key for key in required if not isinstance(values.get(key), str) or not values[key]]
    people = values.get("people")
    if (
        missing
        or not isinstance(people, dict)
        or not all(isinstance(code, str) for code in people.values())
    ):
        raise UserError(
            f"{name} lacks {missing[0] if missing else 'a table [people] of addresses and codes'};"
            " see docs/guides/deployment.md for the content of that file."
        )
    for key in ("issuer", "address"):
        if not _uses_tls(values[key]):
            raise UserError(f"{name}: {key} is {values[key]!r}; it must begin with https://.")
    return OidcSettings(
        issuer=values["issuer"],
        client_id=values["client_id"],
        client_secret=values["client_secret"],
        address=values["address"].rstrip("/"),
        people={person.lower(): code for person, code in people.items()},
    )


def _uses_tls(url: object) -> bool:
    """Return whether a URL is https, or http on this machine (for tests)."""
    parts = urlsplit(str(url))
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)


class InstitutionSignIn:
    """The redirect to the provider and the callback from it.

    Authlib does discovery, PKCE, state, nonce and the verification of the identity token; a key
    that is unknown causes one new request for the provider's keys.
    """

    def __init__(self, settings: OidcSettings, sign_in: SignIn) -> None:
        from authlib.integrations.starlette_client import OAuth

        self.settings, self._sign_in = settings, sign_in
        # The provider limits attempts to sign in; this limits the records of them.
        self._recorded = SignInLimit()
        self._path = f"{context.url_prefix()}{OIDC_PATH}"
        self._cookie = f"{sign_in.cookies.name}_oidc"
        self._serializer = URLSafeTimedSerializer(sign_in.secret, salt="oidc state")
        self._client = OAuth().register(
            "institution",
            client_id=settings.client_id,
            # RFC 6749 2.3.1 form-encodes the secret in the Authorization header; Authlib does not.
            client_secret=quote(settings.client_secret, safe=""),
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic",
                "timeout": TIMEOUT_S,
            },
        )

    async def load_metadata(self) -> None:
        """Load the provider's metadata once and check issuer and addresses."""
        import httpx2

        try:
            metadata = await self._client.load_server_metadata()
        except (httpx2.HTTPError, ValueError) as error:
            raise SignInRefused(
                "The login service does not answer; try again later, or use the link that was sent"
                " to you."
            ) from error
        addresses = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        expected = metadata.get("issuer") == self.settings.issuer
        if not expected or not all(_uses_tls(metadata.get(name)) for name in addresses):
            metadata.clear()  # the next sign-in loads it again
            raise SignInRefused(
                "The login service describes itself differently from this server's configuration;"
                " tell the research team."
            )
        # Authlib accepts the algorithms that the provider announces, "none" and HMAC among them.
        metadata["id_token_signing_alg_values_supported"] = list(ALGORITHMS)

    async def redirect(self, request: Request) -> Response:
        """Send the browser to the provider."""
        try:
            await self.load_metadata()
        except SignInRefused as refusal:
            return self._refused(refusal)
        state: dict[str, Any] = {}
        address = self.settings.address + OIDC_CALLBACK_PATH
        response: Response = await self._client.authorize_redirect(
            _with_session(request, state), address
        )
        # Lax and not strict: the provider sends the browser back from another site.
        response.set_cookie(
            self._cookie,
            str(self._serializer.dumps(state)),
            max_age=STATE_S,
            path=self._path,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    async def callback(self, request: Request) -> Response:
        """Sign in the person whom the provider sends back."""
        try:
            await self.load_metadata()
            code = self.settings.participant_code(await self._claims(request))
            token_hash = await self._sign_in.invitations.token_hash_of(code, "team")
            if token_hash is None:
                raise SignInRefused(
                    "You are in this server's list, but the research team has ended your"
                    " invitation, or has given you another role."
                )
        except SignInRefused as refusal:
            await self._sign_in.record_failure(request, "institution", self._recorded)
            return self._refused(refusal)
        # A page and no redirect: the browser comes from another site and would not send the new
        # SameSite=Strict cookie along with a redirect.
        link = PageLink(self._sign_in.home, "Open the study")
        text = f"As {code}, a member of the research team."
        page = message_page("You are signed in", text, link=link)
        page.delete_cookie(self._cookie, self._path)
        return await self._sign_in.begin_session(request, page, code, token_hash)

    async def _claims(self, request: Request) -> Mapping[str, Any]:
        """Return the verified claims (OpenID Connect Core 3.1.3.7)."""
        import httpx2
        from authlib.integrations.base_client.errors import MismatchingStateError, OAuthError
        from joserfc.errors import JoseError

        issuer, query = self.settings.issuer, request.query_params
        if "code" not in query:
            raise SignInRefused(
                "The login service did not let you in; begin again, or use the link that was sent"
                " to you."
            )
        if query.get("iss", issuer) != issuer:
            raise SignInRefused("The answer came from another login service; begin again.")
        # Authlib checks the audience only if it is asked to.
        expected = {"iss": issuer, "aud": self.settings.client_id}
        options = {name: {"essential": True, "value": value} for name, value in expected.items()}
        try:
            state = self._serializer.loads(request.cookies.get(self._cookie, ""), STATE_S)
        except BadData:
            state = {}
        try:
            token = await self._client.authorize_access_token(
                _with_session(request, state), claims_options=options, leeway=CLOCK_SKEW_S
            )
            claims: Mapping[str, Any] = token["userinfo"]
        except MismatchingStateError as error:
            raise SignInRefused(
                "This sign-in was not begun in this browser, or has taken too long; begin again."
            ) from error
        except (OAuthError, httpx2.HTTPError) as error:
            raise SignInRefused(
                "The login service did not accept this sign-in; begin again."
            ) from error
        except (JoseError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise SignInRefused(
                "The login service's identity could not be verified; begin again, and tell the"
                " research team if the problem persists."
            ) from error
        return claims

    def _refused(self, refusal: SignInRefused) -> Response:
        link = PageLink(self._path, "Begin again")
        page = message_page("Not signed in", str(refusal), 403, link)
        page.delete_cookie(self._cookie, self._path)
        return page

    def routes(self) -> list[Route]:
        """Return the routes of the redirect and of the callback."""
        return [
            Route(OIDC_PATH, self.redirect, methods=["GET"]),
            Route(OIDC_CALLBACK_PATH, self.callback, methods=["GET"]),
        ]


def _with_session(request: Request, session: dict[str, Any]) -> Request:
    """Return the request with a session of its own for Authlib's state.

    Streamlit stores `request.session` in a cookie of its own, for every path and for two weeks.
    """
    return Request({**request.scope, "session": session}, request.receive)
