"""In a real browser: every team page in both themes at both sizes, without exception, console
error, horizontal scroll or serious fault of accessibility in what we draw; work in a terminal shows
while it runs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from core import store
from core.class_labels import unit_name
from core.store import annotation_table, run_table
from support.live_server import Served, start_server, stop_server
from support.paths import ROOT

PAGES = (
    "",
    "data",
    "performance",
    "units",
    "explanations",
    "annotations",
    "reading_study",
    "figures",
    "participants",
)
SIZES = ((1280, 640), (1440, 780))
# Streamlit looks for its own endpoints beneath the page's path first, and axe judges what Streamlit
# draws itself: neither is ours.
PROBES = ("/_stcore/health", "/_stcore/host-config")


@pytest.fixture(scope="module")
def server(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import shutil

    study = tmp_path_factory.mktemp("walk") / "study"
    shutil.copytree(demonstration, study, ignore=shutil.ignore_patterns("images"))
    (study / "images").symlink_to(demonstration / "images")
    running = start_server(study)
    yield running
    stop_server(running)


def enter(page, server: Served, code: str) -> None:
    page.goto(server.invite("team", code))
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector('[data-testid="stMainBlockContainer"]', timeout=30_000)


def settled(page) -> None:
    """Until the script has run and its content stands: an empty page has no faults."""
    page.wait_for_function(
        """() => { const app = document.querySelector('[data-testid="stApp"]');
        return app && app.dataset.testScriptState === 'notRunning' && document.querySelectorAll('[data-testid="stElementContainer"]').length > 3
            && !document.querySelector('[data-stale="true"]'); }""",
        timeout=60_000,
    )
    page.wait_for_timeout(500)


OURS = """async () => {
  const result = await axe.run({runOnly: ["wcag2a", "wcag2aa"]});
  const ours = node => { const first = Array.isArray(node.target[0]) ? node.target[0][0] : node.target[0];
    const e = document.querySelector(first); return e && !!e.closest('[data-testid="stHtml"], [data-testid^="stBidiComponent"]'); };
  return result.violations.filter(v => ["serious", "critical"].includes(v.impact)).flatMap(v => v.nodes.filter(ours).map(n => v.id + ": " + n.html.slice(0, 160)));
}"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["1280", "1440"])
def test_every_page_is_whole_in_both_themes_at_both_sizes(
    scheme: str, size: tuple[int, int], server: Served, browser
) -> None:
    judged = (
        size == SIZES[0]
    )  # one size for axe, which needs the content policy out of its way; the other keeps the policy
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, bypass_csp=judged
    )
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on(
        "response",
        lambda r: (
            faults.append(f"{r.status} {r.url}")
            if r.status >= 400 and not r.url.endswith(PROBES)
            else None
        ),
    )
    page.on(
        "console",
        lambda m: (
            faults.append(f"{page.url}: {m.text}")
            if m.type == "error" and "Failed to load resource" not in m.text
            else None
        ),
    )
    enter(page, server, f"W{scheme}{size[0]}")
    with store.read(server.study) as con:
        unit = annotation_table.selected_units(con, run_table.latest(con, "dissect") or "")[0]
    for path in (*PAGES, f"units?unit={unit_name(unit)}", "reading?study=New+design"):
        page.goto(f"{server.base}/{path}")
        settled(page)
        assert page.locator('[data-testid="stException"]').count() == 0, path
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, (
            f"{path} scrolls sideways"
        )
        top = page.evaluate(
            "document.querySelector('[data-testid=stMainBlockContainer]').getBoundingClientRect().top"
        )
        assert top <= 56, f"{path}: content starts at {top}"
        if path == "performance":
            tab = page.get_by_role("tab", name="Failures").bounding_box()
            assert tab["y"] + tab["height"] < size[1] / 2, "the tabs are found without scrolling"
        if judged:
            page.add_script_tag(path=str(AXE_FILE_PATH))
            faults += [f"{path or 'overview'}: {fault}" for fault in page.evaluate(OURS)]
    context.close()
    assert faults == []


@pytest.mark.browser
def test_work_in_a_terminal_shows_while_it_runs_and_its_result_after(
    server: Served, browser
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 640})
    page = context.new_page()
    enter(page, server, "T-terminal")
    command = [
        sys.executable,
        "-m",
        "dashboard.cli",
        "train",
        "--epochs",
        "4",
        "--study",
        str(server.study),
    ]
    training = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        folder = server.study / "runs"
        while not list(folder.glob("train-*.partial/progress.json")):
            assert training.poll() is None
            time.sleep(0.05)
        page.get_by_text("train --epochs 4").first.wait_for(
            timeout=20_000
        )  # seen within 5 s on a machine that does nothing else
        assert training.wait(120) == 0
        page.get_by_text("4 epochs").first.wait_for(timeout=10_000)
    finally:
        training.kill()
        training.wait()
        context.close()
