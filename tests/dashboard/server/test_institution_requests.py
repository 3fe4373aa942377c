"""Sign-in through an institution, request by request in this process, against a stub provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

import pytest
from joserfc import jwt

from core import store
from core.errors import UserError
from core.store import participant_table
from dashboard.server import oidc
from dashboard.server.oidc import OidcSettings, SignInRefused
from support.guarded_study import GuardedStudy
from support.oidc_provider import StubProvider

ADDRESS = "http://127.0.0.1:8501"


class KeepRedirect(HTTPRedirectHandler):
    """Returns the address of a redirect instead of following it."""

    def redirect_request(self, request: Any, fp: Any, code: Any, msg: Any, headers: Any, url: str):
        """Refuse to follow."""
        raise _Redirected(url)


class _Redirected(Exception):
    """A redirect to another address."""


def redirect_of(url: str) -> str:
    """Return where the provider sends the browser."""
    try:
        build_opener(KeepRedirect).open(url, timeout=20)
    except _Redirected as redirected:
        return str(redirected)
    raise AssertionError(url)


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    """A provider."""
    provider = StubProvider()
    yield provider
    provider.close()


@pytest.fixture
def guarded(
    stub: StubProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GuardedStudy]:
    """The middleware of a study with two team members at the institution."""
    file = tmp_path / "oidc.toml"
    file.write_text(
        f'issuer = "{stub.issuer}"\nclient_id = "{stub.client[0]}"\n'
        f'client_secret = "{stub.client[1]}"\naddress = "{ADDRESS}/"\n'
        '[people]\n"Anna@Example.org" = "T1"\n"Subject-2" = "T8"\n"reader@example.org" = "R1"\n'
    )
    monkeypatch.setenv(oidc.OIDC_VARIABLE, str(file))
    stub.user = {"sub": "subject-1", "email": "Anna@Example.org", "email_verified": True}
    stub.deny, stub.refused = False, []
    stub.alter = lambda claims: None
    stub.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "k1"}, claims, stub.key)
    yield GuardedStudy(tmp_path / "study")


class Browser:
    """A browser at the institution: keeps the cookies."""

    def __init__(self, guarded: GuardedStudy) -> None:
        self._guarded = guarded
        self.cookies: dict[str, str] = {}

    def get(self, url: str) -> tuple[int, dict[bytes, bytes], str]:
        """Return status, headers and body."""
        parts = urlsplit(url)
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = [(b"cookie", jar.encode())] if jar else []
        status, sent, body = self._guarded.ask(parts.path, headers=headers, query=parts.query)
        if b"set-cookie" in sent:
            name, _, value = sent[b"set-cookie"].decode().split(";")[0].partition("=")
            self.cookies[name] = value
        return status, sent, body

    def back(self) -> str:
        """Go to the provider, and return the address to which it sends the browser."""
        status, headers, _ = self.get("/oidc")
        assert status == 302
        return redirect_of(headers[b"location"].decode())


def test_redirect_to_the_provider(guarded: GuardedStudy, stub: StubProvider) -> None:
    browser = Browser(guarded)
    status, headers, _ = browser.get("/oidc")
    away = urlsplit(headers[b"location"].decode())
    asked = {name: values[0] for name, values in parse_qs(away.query).items()}
    assert (
        status == 302 and f"{away.scheme}://{away.netloc}{away.path}" == f"{stub.issuer}/authorize"
    )
    random = {asked.pop(name) for name in ("state", "nonce", "code_challenge")}
    assert len(random) == 3 and asked == {
        "response_type": "code",
        "client_id": stub.client[0],
        "redirect_uri": f"{ADDRESS}/oidc/back",
        "scope": "openid email",
        "code_challenge_method": "S256",
    }
    (cookie,) = browser.cookies
    assert cookie.startswith("dm_") and cookie.endswith("_oidc")
    attributes = headers[b"set-cookie"].decode().split("; ")[1:]
    # Plain HTTP here, so that the cookie is not limited to TLS.
    assert sorted(attributes) == ["HttpOnly", "Max-Age=600", "Path=/oidc", "SameSite=lax"]


def test_return_from_the_provider(guarded: GuardedStudy, stub: StubProvider) -> None:
    browser = Browser(guarded)
    status, _, body = browser.get(browser.back())
    assert status == 200 and "<title>You are signed in</title>" in body
    assert "<p>As T1, a member of the research team.</p>" in body
    assert '<a class="link" href="/">Open the study</a>' in body and stub.refused == []
    session = {n: v for n, v in browser.cookies.items() if not n.endswith("_oidc")}
    assert len(session) == 1
    browser.cookies = session
    status, _, body = browser.get("/participants")
    assert status == 200 and "x-auth-role: team" in body and "x-auth-who: T1" in body
    # The subject counts before an address, in any spelling; an unverified address never does.
    stub.user = {"sub": "SUBJECT-2", "email": "anna@example.org", "email_verified": True}
    with store.write(guarded.path) as con:
        participant_table.invite_participant(
            con, "T8", "team", participant_table.hash_token("other")
        )
    other = Browser(guarded)
    assert "As T8" in other.get(other.back())[2]


@pytest.mark.parametrize(
    ("query", "user", "text"),
    [
        ("", {"email": "reader@example.org"}, "has ended your invitation, or has given you"),
        ("", {"email": "eve@example.org"}, "but you are not in this study"),
        ("", {"email_verified": False}, "but you are not in this study"),
        ("&iss=https://other.example", {}, "from another login service"),
        ("&code=", {}, "did not let you in"),
        ("&state=x", {}, "was not begun in this browser, or has taken too long"),
    ],
)
def test_refusals(
    guarded: GuardedStudy, stub: StubProvider, query: str, user: dict[str, Any], text: str
) -> None:
    stub.user = stub.user | user
    browser = Browser(guarded)
    back = browser.back()
    if query:
        name = query[1:].split("=")[0]
        parts = urlsplit(back)
        kept = [part for part in parts.query.split("&") if not part.startswith(f"{name}=")]
        back = f"{parts.path}?{'&'.join(kept)}{query if query != '&code=' else ''}"
    status, headers, body = browser.get(back)
    assert status == 403 and text in body and "<title>Not signed in</title>" in body
    assert '<a class="link" href="/oidc">Begin again</a>' in body
    # The state of the attempt ends.
    assert b"Max-Age=0" in headers[b"set-cookie"] and b"Path=/oidc" in headers[b"set-cookie"]
    assert browser.get("/participants")[0] == 401
    with store.read(guarded.path) as con:
        details = con.execute("SELECT detail FROM log WHERE event = 'sign-in refused'").fetchall()
    assert len(details) == 1 and details[0][0].startswith("institution, address ")


def test_answers_of_the_provider_that_do_not_hold(
    guarded: GuardedStudy, stub: StubProvider
) -> None:
    browser = Browser(guarded)
    back = browser.back()
    # The code was used already.
    assert browser.get(back)[0] == 200
    browser = Browser(guarded)
    back = browser.back()
    stub.codes.clear()
    status, _, body = browser.get(back)
    assert status == 403 and "did not accept this sign-in" in body
    stub.alter = lambda claims: claims.update({"nonce": "other"})
    browser = Browser(guarded)
    status, _, body = browser.get(browser.back())
    assert status == 403 and "could not be verified" in body


def test_clocks_may_differ_by_a_minute(guarded: GuardedStudy, stub: StubProvider) -> None:
    for late, status in ((40, 200), (90, 403)):

        def alter(claims: dict[str, Any], late: int = late) -> None:
            claims["exp"] = claims["iat"] - late

        stub.alter = alter
        browser = Browser(guarded)
        assert browser.get(browser.back())[0] == status


def test_provider_that_changes_its_description(
    guarded: GuardedStudy, stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub, "issuer", f"{stub.issuer}/other")
    status, _, body = Browser(guarded).get("/oidc")
    assert status == 403 and "describes itself differently" in body
    monkeypatch.undo()


def test_people_of_the_settings() -> None:
    settings = OidcSettings("i", "c", "s", "a", {"s1": "T1", "anna@example.org": "T2"})
    verified = {"email": "Anna@example.org", "email_verified": True}
    assert settings.participant_code({"sub": "S1", **verified}) == "T1"
    assert settings.participant_code({"sub": "x", **verified}) == "T2"
    for claims in (
        {"sub": "x"},
        {"sub": "x", **verified, "email_verified": "true"},
        {"sub": "x", **verified, "email_verified": None},
        {"sub": 1, "email_verified": True},
    ):
        with pytest.raises(SignInRefused, match="not in this study's list"):
            settings.participant_code(claims)


def test_limits_of_the_sign_in() -> None:
    """Ten minutes at the provider; ten seconds for its replies; clocks within a minute."""
    assert (oidc.STATE_S, oidc.TIMEOUT_S, oidc.CLOCK_SKEW_S) == (600, 10, 60)
    assert oidc.ALGORITHMS == ("RS256", "PS256", "ES256")
    assert (oidc.OIDC_PATH, oidc.OIDC_CALLBACK_PATH) == ("/oidc", "/oidc/back")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"people": {"a": "T1", "b": 2}}, "a table .people."),
        ({"people": "T1"}, "a table .people."),
        ({"issuer": ""}, "lacks issuer"),
        ({"client_id": 3}, "lacks client_id"),
        ({"client_secret": None, "address": ""}, "lacks client_secret"),
        ({"issuer": "http://a.org"}, "issuer is 'http://a.org'; it must begin with https://"),
        ({"address": "http://a.org"}, "address is 'http://a.org'; it must begin with https://"),
    ],
)
def test_settings_of_a_provider(change: dict[str, Any], text: str) -> None:
    values = {
        "issuer": "https://i.org/",
        "client_id": "c",
        "client_secret": "s",
        "address": "https://a.org/",
        "people": {"Anna@x.org": "T1", "S2": "T2"},
    }
    assert oidc._checked_settings("f", values) == OidcSettings(
        "https://i.org/", "c", "s", "https://a.org", {"anna@x.org": "T1", "s2": "T2"}
    )
    with pytest.raises(UserError, match=text):
        oidc._checked_settings("f", values | change)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://login.example.org", True),
        ("http://login.example.org", False),
        ("http://127.0.0.1:9", True),
        ("http://localhost", True),
        ("http://[::1]:80", True),
        ("ftp://127.0.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_addresses_with_tls(url: Any, safe: bool) -> None:
    assert oidc._uses_tls(url) is safe
