"""A synthetic study, a real server in its own process, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.server import context as served_study
from dashboard.server import identity
from support import synthetic_study
from support.live_server import Served, find_chromium, start_server, stop_server
from support.paths import ROOT


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A fresh synthetic study."""
    return synthetic_study.make(tmp_path / "study")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a synthetic study, shared by a module's tests."""
    running = start_server(synthetic_study.make(tmp_path_factory.mktemp("served") / "study"))
    yield running
    stop_server(running)


@pytest.fixture(scope="session")
def browser():
    """One Chromium for the session."""
    from playwright import sync_api as playwright

    with playwright.sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(
                executable_path=find_chromium(),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
        except playwright.Error as error:
            # Browser tests must run, not skip: `make test` brings a browser first.
            pytest.fail(
                f"no Chromium can be started ({str(error).splitlines()[0]}); run python"
                " tests/support/install_browser.py, or set CHROMIUM"
            )
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    """A browser profile of its own, at the size the pages are built for."""
    made = browser.new_context(viewport={"width": 1280, "height": 640})
    yield made
    made.close()


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    """Opens a page as the team, on a study."""
    monkeypatch.setattr(identity, "current", lambda: identity.Identity("team", "team"))
    monkeypatch.chdir(ROOT)

    def page(study: Path, name: str, **query: str) -> AppTest:
        monkeypatch.setenv(served_study.VARIABLE, str(study))
        test = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
        for key, value in query.items():
            test.query_params[key] = value
        test.run()
        if name != "overview":
            test.switch_page(f"pages/{name}.py").run()
        return test

    yield page
