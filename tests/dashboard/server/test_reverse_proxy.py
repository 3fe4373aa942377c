"""Behind a reverse proxy: TLS that ends there, a path prefix that it keeps or removes."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from core.errors import UserError
from dashboard.server import context as serving
from dashboard.server import links
from support import synthetic_study
from support.expert_client import FORM_TYPE, token_of
from support.live_server import Served, start_server, stop_server
from support.reading_browser import answer_practice, wait_for_case


def sign_in(served: Served, headers: dict[str, str], path: str = "/enter") -> tuple[int, str, str]:
    """Press Start through the proxy and return (status, cookie, location)."""
    line = http.client.HTTPConnection(served.base.removeprefix("http://"), timeout=20)
    token = token_of(served.invite("reader"))
    line.request("POST", path, f"token={token}", FORM_TYPE | headers)
    reply = line.getresponse()
    reply.read()
    line.close()
    return reply.status, reply.getheader("set-cookie") or "", reply.getheader("location") or ""


def get(served: Served, path: str, cookie: str) -> tuple[int, bytes]:
    line = http.client.HTTPConnection(served.base.removeprefix("http://"), timeout=20)
    line.request(
        "GET", path, headers={"Cookie": cookie.split(";")[0], "X-Forwarded-Proto": "https"}
    )
    reply = line.getresponse()
    body = reply.read()
    line.close()
    return reply.status, body


@pytest.fixture
def prefixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server that is published under /mining/study."""
    monkeypatch.setenv(serving.PREFIX_VARIABLE, "/mining/study/")
    running = start_server(synthetic_study.create_study(tmp_path / "study"))
    yield running
    stop_server(running)


def test_cookies_are_secure_behind_tls(served: Served) -> None:
    status, cookie, location = sign_in(
        served, {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    )
    assert (
        status == 303
        and location == "/"
        and cookie.endswith("; Secure")
        and "; Path=/;" in cookie
        and "HttpOnly" in cookie
        and "SameSite=strict" in cookie
    )
    assert get(served, "/expert/read/state", cookie)[0] == 200
    assert (
        "Secure" not in sign_in(served, {})[1]
        and "Secure" not in sign_in(served, {"X-Forwarded-Proto": "http"})[1]
    )
    # The page comes from https://host, the request reaches us as http: the same host is the same
    # site.
    own = served.base.removeprefix("http://")
    assert sign_in(served, {"X-Forwarded-Proto": "https", "Origin": f"https://{own}"})[0] == 303
    assert (
        sign_in(served, {"X-Forwarded-Proto": "https", "Origin": "https://elsewhere.example"})[0]
        == 403
    )


def test_only_named_proxies_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")
    running = start_server(synthetic_study.create_study(tmp_path / "study"))
    try:
        assert "Secure" not in sign_in(running, {"X-Forwarded-Proto": "https"})[1]
    finally:
        stop_server(running)


def test_the_proxy_keeps_or_removes_the_prefix(prefixed: Served) -> None:
    for path in ("/mining/study/enter", "/enter"):
        status, cookie, location = sign_in(prefixed, {"X-Forwarded-Proto": "https"}, path)
        assert (
            status == 303
            and location == "/mining/study/"
            and "; Path=/mining/study/;" in cookie
            and cookie.endswith("; Secure")
        )
        for base in ("/mining/study", ""):
            assert (
                json.loads(get(prefixed, f"{base}/expert/read/state", cookie)[1])["stage"]
                == "consent"
            )
        assert (
            get(prefixed, "/mining/study/participants", cookie)[0] == 403
            and get(prefixed, "/mining/study/../participants", cookie)[0] == 403
        )
    assert get(prefixed, "/mining/study/participants", "")[0] == 401
    assert links.invitation_link("https://host", "t") == "https://host/mining/study/enter?token=t"


@pytest.mark.browser
def test_pages_work_under_the_prefix(prefixed: Served, context) -> None:
    def link(role: str) -> str:
        return prefixed.invite(role).replace("/enter", "/mining/study/enter")

    requested = []
    context.on("request", lambda request: requested.append(request.url))
    page = context.new_page()
    page.goto(link("reader"))
    page.click("button")
    page.check("#agree")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.click("text=Start with five practice texts")
    wait_for_case(page, "Practice 1 / 5")
    answer_practice(page, "3", "Practice 2 / 5")
    page.context.clear_cookies()
    page.goto(link("annotator"))
    page.click("button")
    page.check("#agree")
    page.click("text=Start with two practice units")
    page.wait_for_function(
        "() => [...document.querySelectorAll('*')].some(e => e.shadowRoot?.querySelector('.grid"
        " img')?.naturalWidth > 0)"
    )
    page.context.clear_cookies()
    page.goto(link("team"))
    page.click("button")
    page.wait_for_selector("text=Overview")
    page.click("text=Participants")
    page.wait_for_selector("text=Invite")
    assert "/mining/study/" in page.url
    assert [
        url
        for url in requested
        if url.startswith(prefixed.base) and "/mining/study/" not in url and "_stcore" not in url
    ] == []


def test_invalid_prefixes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("mining", "/a b", "/a//b", "/<x>"):
        monkeypatch.setenv(serving.PREFIX_VARIABLE, wrong)
        with pytest.raises(UserError, match="must be a path such as"):
            serving.url_prefix()
