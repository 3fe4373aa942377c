"""Signing in through an institution, against a stub provider: who gets in, and every way in which
nobody does.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwk, jwt

from core import store
from core.errors import UserError
from core.store import participant_table
from dashboard.server import oidc
from support import synthetic_study
from support.live_server import Served, start_server, stop_server
from support.oidc_provider import StubProvider


@pytest.fixture(scope="module")
def stub():
    """A provider."""
    made = StubProvider()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def as_usual(request: pytest.FixtureRequest) -> None:
    """The provider as it is without a test's changes."""
    if "stub" in request.fixturenames:
        made = request.getfixturevalue("stub")
        made.who, made.deny, made.refused = (
            {"sub": "subject-1", "email": "Anna@Example.org", "email_verified": True},
            False,
            [],
        )
        made.spoil, made.sign = (
            (lambda claims: None),
            (lambda claims: jwt.encode({"alg": "RS256", "kid": "k1"}, claims, made.key)),
        )


def settings_file(path: Path, stub: StubProvider, address: str) -> Path:
    path.write_text(
        f'issuer = "{stub.issuer}"\nclient_id = "{stub.client[0]}"\nclient_secret ='
        f' "{stub.client[1]}"\naddress = "{address}"\n[people]\n"anna@example.org" ='
        ' "T7"\n"subject-2" = "T8"\n"reader@example.org" = "R7"\n"gone@example.org" = "T9"\n'
    )
    return path


@pytest.fixture(scope="module")
def house(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory):
    """A server that knows the provider, with two members of the team, a reader and somebody who was
    revoked.
    """
    folder = tmp_path_factory.mktemp("oidc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    study = synthetic_study.make(folder / "study")
    with store.write(study) as con:
        for code, role in (("T7", "team"), ("T8", "team"), ("R7", "reader"), ("T9", "team")):
            participant_table.invite(con, code, role, participant_table.token_hash(code))
        participant_table.revoke(con, "T9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            oidc.VARIABLE,
            str(settings_file(folder / "oidc.toml", stub, f"http://127.0.0.1:{port}")),
        )
        running = start_server(study, port)
    yield running
    stop_server(running)


class Visitor:
    """A browser without a window that keeps every cookie."""

    def __init__(self, served: Served) -> None:
        self.host, self.jar = served.base.removeprefix("http://"), {}

    def get(self, url: str) -> tuple[int, str, str]:
        """(status, where to, body)."""
        parts = urlsplit(url)
        line = http.client.HTTPConnection(parts.netloc or self.host, timeout=20)
        line.request(
            "GET",
            f"{parts.path}?{parts.query}" if parts.query else parts.path,
            headers={"Cookie": "; ".join(f"{k}={v}" for k, v in self.jar.items())},
        )
        reply = line.getresponse()
        body = reply.read().decode(errors="replace")
        for name, value in reply.getheaders():
            if name.lower() == "set-cookie":
                key, _, kept = value.split(";")[0].partition("=")
                self.jar[key] = kept
                self.said = value
        line.close()
        return reply.status, reply.getheader("location") or "", body

    def sign_in(self) -> tuple[int, str]:
        """Away and back."""
        status, away, _ = self.get("/oidc")
        assert status == 303, away
        back = self.get(away)[1]
        self.back = back
        status, _, body = self.get(back)
        return status, body


def test_a_member_of_the_team_gets_in_and_out(house: Served, stub: StubProvider) -> None:
    visitor = Visitor(house)
    status, _, body = visitor.get("/")
    assert status == 401 and 'href="/oidc"' in body and "Sign in through your institution" in body
    status, body = visitor.sign_in()
    assert status == 200 and "As T7, a member of the research team" in body and not stub.refused
    assert visitor.get("/participants")[0] == 200
    assert visitor.get(visitor.back)[0] == 403  # the same answer again signs nobody in
    stub.who = {"sub": "Subject-2", "email": "anna@example.org", "email_verified": False}
    other = Visitor(house)
    assert "As T8" in other.sign_in()[1]  # by subject; the unverified address does not count
    with store.write(house.study) as con:
        participant_table.revoke(con, "T8")
    time.sleep(1.2)
    assert other.get("/participants")[0] == 401 and other.sign_in()[0] == 403


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ({"sub": "x", "email": "anna@example.org", "email_verified": False}, "not in this study"),
        ({"sub": "x", "email": "anna@example.org"}, "not in this study"),
        ({"sub": "x", "email": "eve@example.org", "email_verified": True}, "not in this study"),
        ({"sub": "x"}, "not in this study"),
        ({"sub": "x", "email": "reader@example.org", "email_verified": True}, "another role"),
        (
            {"sub": "x", "email": "gone@example.org", "email_verified": True},
            "ended your invitation",
        ),
    ],
)
def test_who_is_not_of_the_team_stays_out(
    house: Served, stub: StubProvider, who: dict, words: str
) -> None:
    stub.who = who
    visitor = Visitor(house)
    status, body = visitor.sign_in()
    assert status == 403 and words in body and visitor.get("/participants")[0] == 401


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "other"},
        {"aud": "other"},
        {"iss": "https://other.example"},
        {"exp": 1},
        {"aud": ["mining", "other"], "azp": "other"},
        {"nonce": None},
        {"exp": None},
        {"sub": None},
    ],
)
def test_an_identity_made_for_something_else_is_refused(
    house: Served, stub: StubProvider, change: dict
) -> None:
    def spoil(claims: dict) -> None:
        claims.update(change)
        for name in [n for n, v in claims.items() if v is None]:
            del claims[name]

    stub.spoil = spoil
    assert Visitor(house).sign_in()[0] == 403


def test_a_token_signed_otherwise_is_refused(house: Served, stub: StubProvider) -> None:
    other = jwk.RSAKey.generate_key(2048, {"kid": "k1"})
    stub.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "k1"}, claims, other)
    assert Visitor(house).sign_in()[0] == 403
    public = jwk.OctKey.import_key(json.dumps(stub.key.as_dict(private=False)))
    stub.sign = lambda claims: jwt.encode(
        {"alg": "HS256", "kid": "k1"}, claims, public, algorithms=["HS256"]
    )
    assert Visitor(house).sign_in()[0] == 403
    good = jwt.encode({"alg": "RS256", "kid": "k1"}, {"iss": stub.issuer}, stub.key).split(".")
    stub.sign = lambda claims: ".".join(["eyJhbGciOiJub25lIn0", good[1], ""])
    assert Visitor(house).sign_in()[0] == 403
    stub.sign = lambda claims: "x"
    assert Visitor(house).sign_in()[0] == 403


def test_only_the_browser_that_began_comes_back(house: Served, stub: StubProvider) -> None:
    victim, thief = Visitor(house), Visitor(house)
    away = victim.get("/oidc")[1]
    back = victim.get(away)[1]
    assert thief.get(back)[0] == 403  # no cookie
    thief.get("/oidc")
    assert thief.get(back)[0] == 403  # another's state
    state = parse_qs(urlsplit(back).query)["state"][0]
    other = Visitor(house)
    own = other.get(other.get("/oidc")[1])[1]
    assert (
        other.get(own.replace(parse_qs(urlsplit(own).query)["state"][0], state))[0] == 403
        and other.get("/participants")[0] == 401
    )  # an answer to another question
    assert victim.get(f"{back}&iss=https://other.example")[0] in (200, 403)
    fresh = Visitor(house)
    fresh.get("/oidc")
    assert (
        fresh.get(f"/oidc/back?code=x&state={state}")[0] == 403
        and fresh.get("/oidc/back")[0] == 403
    )
    stub.deny = True
    status, body = Visitor(house).sign_in()
    assert status == 403 and "did not let you in" in body and 'href="/oidc"' in body


def test_the_cookies_are_narrow(house: Served, stub: StubProvider) -> None:
    visitor = Visitor(house)
    visitor.get("/oidc")
    assert (
        "Path=/oidc" in visitor.said
        and "HttpOnly" in visitor.said
        and "SameSite=Lax" in visitor.said
        and "Max-Age=600" in visitor.said
    )


@pytest.mark.browser
def test_in_a_browser(house: Served, stub: StubProvider, context) -> None:
    page = context.new_page()
    page.goto(house.base)
    page.click("text=Sign in through your institution")
    page.wait_for_selector("text=You are signed in")
    page.click("text=Open the study")
    page.wait_for_selector("text=Overview")
    page.reload()
    page.wait_for_selector("text=Overview")


def test_a_provider_that_does_not_answer(tmp_path: Path, stub: StubProvider) -> None:
    chosen = oidc.Settings("http://127.0.0.1:9", "a", "b", "http://127.0.0.1:8501", {})
    with pytest.raises(oidc.Refusal, match="does not answer"):
        oidc.Provider(chosen, b"x").begin()
    with pytest.raises(oidc.Refusal, match="calls itself otherwise"):
        oidc.Provider(
            oidc.Settings(stub.issuer + "/", "a", "b", "http://127.0.0.1:8501", {}), b"x"
        ).begin()


def test_settings_are_checked_at_the_start(
    tmp_path: Path, stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert oidc.settings() is None
    path = tmp_path / "oidc.toml"
    monkeypatch.setenv(oidc.VARIABLE, str(path))
    with pytest.raises(UserError, match="cannot be read"):
        oidc.settings()
    good = settings_file(path, stub, "https://study.example.org/").read_text()
    assert (
        oidc.settings().address == "https://study.example.org"
        and oidc.settings().people["anna@example.org"] == "T7"
    )
    for bad, words in (
        (good.replace("client_secret", "secret"), "lacks client_secret"),
        (good.split("[people]")[0], "table .people."),
        ("issuer = ", "is not TOML"),
        (good.replace(stub.issuer, "http://login.example.org"), "must begin with https"),
        (good.replace("https://study", "http://study"), "must begin with https"),
    ):
        path.write_text(bad)
        with pytest.raises(UserError, match=words):
            oidc.settings()
