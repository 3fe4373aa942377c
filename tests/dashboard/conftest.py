"""A synthetic study, and pages of the team opened without a browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from dashboard.server import context as served_study
from dashboard.server import identity
from support import synthetic_study
from support.command_stub import Commands
from support.paths import ROOT
from support.team_page import Open


@pytest.fixture(scope="session", autouse=True)
def components_searched_once() -> Iterator[None]:
    """Search the installed packages for components once.

    Streamlit reads the metadata of all packages for each AppTest, which takes half a second.
    """
    with pytest.MonkeyPatch.context() as patch:
        search = cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", search)
        yield


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands whose work is replaced by stand-ins, on a study that is not there."""
    return Commands(monkeypatch)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A fresh synthetic study."""
    return synthetic_study.create_study(tmp_path / "study")


@pytest.fixture
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the main module, which AppTest replaces by the page.

    Otherwise a process that a later test spawns would begin by running the page.
    """
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch, main_module: None) -> Iterator[Open]:
    """Open a page as the team, through the script that selects the pages."""
    monkeypatch.setattr(identity, "current_identity", lambda: identity.Identity("team", "team"))
    monkeypatch.chdir(ROOT)

    def page(study: Path, name: str, **query: str) -> AppTest:
        monkeypatch.setenv(served_study.STUDY_VARIABLE, str(study))
        test = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=180)
        for key, value in query.items():
            test.query_params[key] = value
        if name != "overview":
            test.switch_page(f"pages/{name}.py")
        test.run()
        return test

    yield page


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, main_module: None) -> Open:
    """Open a page as the team by its own script, which keeps the query of the address."""
    monkeypatch.setattr(identity, "current_identity", lambda: identity.Identity("T1", "team"))

    def page(study: Path, name: str, **query: str) -> AppTest:
        monkeypatch.setenv(served_study.STUDY_VARIABLE, str(study))
        script = ROOT / "dashboard" / "pages" / f"{name}.py"
        test = AppTest.from_file(str(script), default_timeout=180)
        for key, value in query.items():
            test.query_params[key] = value
        test.run()
        assert not test.exception, test.exception[0].message
        return test

    return page
