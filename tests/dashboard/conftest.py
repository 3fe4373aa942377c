"""A synthetic study, a real server in its own process, and a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core import store
from core.store import people

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))
import synthetic  # noqa: E402


def find_chromium() -> str | None:
    """A browser of this machine, or None to let playwright use its own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Served:
    """A running server and its study."""

    study: Path
    base: str
    process: subprocess.Popen

    def invite(self, role: str, code: str | None = None) -> str:
        """A new person's link."""
        token = people.new_token()
        with store.write(self.study) as con:
            people.invite(con, code or people.next_code(con, role), role, people.token_hash(token))
        return f"{self.base}/enter?token={token}"


def start_server(study: Path, port: int | None = None) -> Served:
    """Serve a study in a subprocess and wait until it answers."""
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    code = "import sys; from pathlib import Path; from dashboard.server import serve; serve(Path(sys.argv[1]), port=int(sys.argv[2]))"
    log = open(study / "server.log", "a")  # noqa: SIM115 - the child keeps it
    process = subprocess.Popen([sys.executable, "-c", code, str(study), str(port)], cwd=ROOT, stdout=log, stderr=log)
    log.close()
    served = Served(study, f"http://127.0.0.1:{port}", process)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{served.base}/_stcore/health", timeout=2).close()
            return served
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError((study / "server.log").read_text()[-3000:])


def stop_server(served: Served) -> None:
    """End it politely, then surely."""
    served.process.send_signal(signal.SIGINT)
    try:
        served.process.wait(10)
    except subprocess.TimeoutExpired:
        served.process.kill()
        served.process.wait()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A fresh synthetic study."""
    return synthetic.make(tmp_path / "study")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a synthetic study, shared by a module's tests."""
    running = start_server(synthetic.make(tmp_path_factory.mktemp("served") / "study"))
    yield running
    stop_server(running)


@pytest.fixture(scope="session")
def browser():
    """One Chromium for the session."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started ({str(error).splitlines()[0]}); install one or set CHROMIUM")
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    """A browser profile of its own, at the size the pages are built for."""
    made = browser.new_context(viewport={"width": 1280, "height": 640})
    yield made
    made.close()
