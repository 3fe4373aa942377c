"""Fixtures: a server over a synthetic study, a capture of its traffic, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import synthetic_study
from support.install_browser import installed_browser
from support.live_server import Served, start_server, stop_server
from support.network_capture import NetworkCapture

# Milliseconds until a condition must hold; a page on a busy machine needs many seconds.
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a synthetic study, shared by the tests of a module."""
    running = start_server(
        synthetic_study.create_study(tmp_path_factory.mktemp("served") / "study")
    )
    yield running
    stop_server(running)


@pytest.fixture
def wire(served: Served) -> Iterator[NetworkCapture]:
    """A capture of the bytes between browser and server."""
    with NetworkCapture(served.port) as capture:
        yield capture


@pytest.fixture(scope="session")
def browser():
    """One Chromium for the session."""
    from playwright import sync_api as playwright

    playwright.expect.set_options(timeout=WAIT_MS)

    path = installed_browser()  # starts a driver of its own, so before the one below
    if path is None:
        # Browser tests fail rather than skip, because `make test` installs a browser first.
        pytest.fail(
            "no browser is installed; run python tests/support/install_browser.py, or set CHROMIUM"
        )
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    """A browser profile of its own, at the size for which the pages are built."""
    profile = browser.new_context(viewport={"width": 1280, "height": 640})
    profile.set_default_timeout(WAIT_MS)
    yield profile
    profile.close()
