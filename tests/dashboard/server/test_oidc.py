"""Sign-in through an institution, against a stub provider: who is admitted, and who is refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from joserfc import jwk, jwt

from core import store
from core.errors import UserError
from core.sessions.tokens import load_secret_key
from core.store import participant_table
from dashboard.server import oidc
from dashboard.server.sign_in import SignIn
from support import synthetic_study
from support.live_server import Served, start_server, stop_server
from support.oidc_provider import StubProvider
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stub():
    """A provider."""
    provider = StubProvider()
    yield provider
    provider.close()


@pytest.fixture(autouse=True)
def restored_stub(request: pytest.FixtureRequest) -> None:
    """Undo the changes that the previous test made to the provider."""
    if "stub" in request.fixturenames:
        provider = request.getfixturevalue("stub")
        provider.user = {"sub": "subject-1", "email": "Anna@Example.org", "email_verified": True}
        provider.deny, provider.refused = False, []
        provider.alter = lambda claims: None
        provider.sign = lambda claims: jwt.encode(
            {"alg": "RS256", "kid": "k1"}, claims, provider.key
        )


def settings_file(path: Path, stub: StubProvider, address: str) -> Path:
    path.write_text(
        f'issuer = "{stub.issuer}"\nclient_id = "{stub.client[0]}"\nclient_secret ='
        f' "{stub.client[1]}"\naddress = "{address}"\n[people]\n"anna@example.org" ='
        ' "T7"\n"subject-2" = "T8"\n"reader@example.org" = "R7"\n"gone@example.org" = "T9"\n'
    )
    return path


@pytest.fixture(scope="module")
def oidc_server(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory):
    """A server with the provider: two team members, a reader and a revoked team member."""
    folder = tmp_path_factory.mktemp("oidc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    study = synthetic_study.create_study(folder / "study")
    with store.write(study) as con:
        for code, role in (("T7", "team"), ("T8", "team"), ("R7", "reader"), ("T9", "team")):
            participant_table.invite_participant(
                con, code, role, participant_table.hash_token(code)
            )
        participant_table.revoke_invitations(con, "T9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            oidc.OIDC_VARIABLE,
            str(settings_file(folder / "oidc.toml", stub, f"http://127.0.0.1:{port}")),
        )
        running = start_server(study, port)
    yield running
    stop_server(running)


class Visitor:
    """An HTTP client that keeps every cookie."""

    def __init__(self, served: Served) -> None:
        self.host, self.jar = served.base.removeprefix("http://"), {}
        self.set_cookie = ""

    def get(self, url: str) -> tuple[int, str, str]:
        """Return (status, location, body)."""
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
                key, _, content = value.split(";")[0].partition("=")
                self.jar[key] = content
                self.set_cookie = value
        line.close()
        return reply.status, reply.getheader("location") or "", body

    def sign_in(self) -> tuple[int, str]:
        """Go to the provider and return from it."""
        status, away, _ = self.get("/oidc")
        assert status == 302, away
        back = self.get(away)[1]
        self.back = back
        status, _, body = self.get(back)
        return status, body


def test_team_members_sign_in(oidc_server: Served, stub: StubProvider) -> None:
    visitor = Visitor(oidc_server)
    status, _, body = visitor.get("/")
    assert status == 401 and 'href="/oidc"' in body and "Sign in through your institution" in body
    status, body = visitor.sign_in()
    assert status == 200 and "As T7, a member of the research team" in body and not stub.refused
    assert visitor.get("/participants")[0] == 200
    assert visitor.get(visitor.back)[0] == 403  # the same answer again signs nobody in
    stub.user = {"sub": "Subject-2", "email": "anna@example.org", "email_verified": False}
    other = Visitor(oidc_server)
    assert "As T8" in other.sign_in()[1]  # by subject; the unverified address does not count
    with store.write(oidc_server.study) as con:
        participant_table.revoke_invitations(con, "T8")
    # The server looks for revoked invitations once a second.
    wait_until(lambda: other.get("/participants")[0] == 401, seconds=10)
    assert other.sign_in()[0] == 403


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
def test_others_are_refused(oidc_server: Served, stub: StubProvider, who: dict, words: str) -> None:
    stub.user = who
    visitor = Visitor(oidc_server)
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
def test_tokens_for_another_purpose_are_refused(
    oidc_server: Served, stub: StubProvider, change: dict
) -> None:
    def alter(claims: dict) -> None:
        claims.update(change)
        for name in [n for n, v in claims.items() if v is None]:
            del claims[name]

    stub.alter = alter
    assert Visitor(oidc_server).sign_in()[0] == 403


def test_tokens_with_a_foreign_signature_are_refused(
    oidc_server: Served, stub: StubProvider
) -> None:
    other = jwk.RSAKey.generate_key(2048, {"kid": "k1"})
    stub.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "k1"}, claims, other)
    assert Visitor(oidc_server).sign_in()[0] == 403
    public = jwk.OctKey.import_key(json.dumps(stub.key.as_dict(private=False)))
    stub.sign = lambda claims: jwt.encode(
        {"alg": "HS256", "kid": "k1"}, claims, public, algorithms=["HS256"]
    )
    assert Visitor(oidc_server).sign_in()[0] == 403
    good = jwt.encode({"alg": "RS256", "kid": "k1"}, {"iss": stub.issuer}, stub.key).split(".")
    stub.sign = lambda claims: ".".join(["eyJhbGciOiJub25lIn0", good[1], ""])
    assert Visitor(oidc_server).sign_in()[0] == 403
    stub.sign = lambda claims: "x"
    assert Visitor(oidc_server).sign_in()[0] == 403


def test_the_callback_needs_the_same_browser(oidc_server: Served, stub: StubProvider) -> None:
    victim, attacker = Visitor(oidc_server), Visitor(oidc_server)
    away = victim.get("/oidc")[1]
    back = victim.get(away)[1]
    assert attacker.get(back)[0] == 403  # no cookie
    attacker.get("/oidc")
    assert attacker.get(back)[0] == 403  # another's state
    state = parse_qs(urlsplit(back).query)["state"][0]
    other = Visitor(oidc_server)
    own = other.get(other.get("/oidc")[1])[1]
    assert (
        other.get(own.replace(parse_qs(urlsplit(own).query)["state"][0], state))[0] == 403
        and other.get("/participants")[0] == 401
    )  # an answer to another question
    assert victim.get(f"{back}&iss=https://other.example")[0] in (200, 403)
    fresh = Visitor(oidc_server)
    fresh.get("/oidc")
    assert (
        fresh.get(f"/oidc/back?code=x&state={state}")[0] == 403
        and fresh.get("/oidc/back")[0] == 403
    )
    stub.deny = True
    status, body = Visitor(oidc_server).sign_in()
    assert status == 403 and "did not let you in" in body and 'href="/oidc"' in body


def test_the_state_cookie_is_restricted(oidc_server: Served, stub: StubProvider) -> None:
    visitor = Visitor(oidc_server)
    visitor.get("/oidc")
    assert (
        "Path=/oidc" in visitor.set_cookie
        and "HttpOnly" in visitor.set_cookie
        and "SameSite=lax" in visitor.set_cookie
        and "Max-Age=600" in visitor.set_cookie
    )


@pytest.mark.browser
def test_in_a_browser(oidc_server: Served, stub: StubProvider, context) -> None:
    page = context.new_page()
    page.goto(oidc_server.base)
    page.click("text=Sign in through your institution")
    page.wait_for_selector("text=You are signed in")
    page.click("text=Open the study")
    page.wait_for_selector("text=Overview")
    page.reload()
    page.wait_for_selector("text=Overview")


def test_a_new_key_is_fetched_once(
    oidc_server: Served, stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Visitor(oidc_server).sign_in()[0] == 200
    requests = stub.key_requests
    assert Visitor(oidc_server).sign_in()[0] == 200 and stub.key_requests == requests
    new_key = jwk.RSAKey.generate_key(2048, {"kid": "k2", "use": "sig"})
    monkeypatch.setattr(stub, "key", new_key)
    stub.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "k2"}, claims, stub.key)
    assert Visitor(oidc_server).sign_in()[0] == 200 and stub.key_requests == requests + 1


def _load_metadata(study: Path, issuer: str) -> None:
    settings = oidc.OidcSettings(issuer, "a", "b", "http://127.0.0.1:8501", {})
    sign_in = oidc.InstitutionSignIn(settings, SignIn(study))
    with ThreadPoolExecutor(1) as pool:  # the browser driver keeps a loop running in this thread
        pool.submit(asyncio.run, sign_in.load_metadata()).result()


def test_a_provider_that_does_not_answer(tmp_path: Path, stub: StubProvider) -> None:
    store.create(tmp_path)
    with pytest.raises(oidc.SignInRefused, match="does not answer"):
        _load_metadata(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(oidc.SignInRefused, match="describes itself differently"):
        _load_metadata(tmp_path, stub.issuer + "/")


def test_settings_are_checked(
    tmp_path: Path, stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert oidc.load_oidc_settings() is None
    path = tmp_path / "oidc.toml"
    monkeypatch.setenv(oidc.OIDC_VARIABLE, str(path))
    with pytest.raises(UserError, match="cannot be read"):
        oidc.load_oidc_settings()
    good = settings_file(path, stub, "https://study.example.org/").read_text()
    assert (
        oidc.load_oidc_settings().address == "https://study.example.org"
        and oidc.load_oidc_settings().people["anna@example.org"] == "T7"
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
            oidc.load_oidc_settings()


@pytest.mark.parametrize(("age", "status"), [(oidc.STATE_S - 20, 200), (oidc.STATE_S + 20, 403)])
def test_a_sign_in_runs_out(
    oidc_server: Served,
    stub: StubProvider,
    monkeypatch: pytest.MonkeyPatch,
    age: int,
    status: int,
) -> None:
    """The state in the cookie is signed with its time, whatever the browser keeps."""
    visitor = Visitor(oidc_server)
    back = visitor.get(visitor.get("/oidc")[1])[1]
    ((name, cookie),) = ((k, v) for k, v in visitor.jar.items() if k.endswith("_oidc"))
    serializer = URLSafeTimedSerializer(load_secret_key(oidc_server.study), salt="oidc state")
    state = serializer.loads(cookie)
    begun = int(time.time()) - age
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda signer: begun)
    visitor.jar[name] = str(serializer.dumps(state))
    got, _, body = visitor.get(back)
    assert got == status and ("has taken too long" in body) == (status == 403)
