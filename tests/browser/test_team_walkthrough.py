"""Team pages in a real browser, in both themes at both sizes.

Pages must have no exception, console error, horizontal scrolling or serious accessibility fault in
the elements of this project. A step that runs in a terminal must appear while it runs.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import TimeoutError, expect

from core import runs, store
from core.class_labels import unit_name
from core.settings.study_settings import SETTINGS_NAME
from core.store import run_table, unit_table
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
# Colours of the text and of a line of charts, whose figures are drawn in the theme of the last run.
CHART_TEXT = {"light": "rgb(87, 96, 107)", "dark": "rgb(167, 176, 186)"}
CHART_LINE = {"light": "rgb(213, 94, 0)", "dark": "rgb(255, 138, 77)"}  # of malignant
# Streamlit requests its own endpoints below the path of the page first; these requests fail.
STREAMLIT_PROBES = ("/_stcore/health", "/_stcore/host-config")


@pytest.fixture(scope="module")
def server(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a copy of the demonstration."""
    study = tmp_path_factory.mktemp("walk") / "study"
    shutil.copytree(demonstration, study, ignore=shutil.ignore_patterns("images"))
    (study / "images").symlink_to(demonstration / "images")
    running = start_server(study)
    yield running
    stop_server(running)


def sign_in(page, server: Served, code: str) -> None:
    """Open the dashboard as a new team member."""
    page.goto(server.invite("team", code))
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector('[data-testid="stMainBlockContainer"]', timeout=60_000)


SCRIPT_IS_DONE = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    const elements = document.querySelectorAll('[data-testid="stElementContainer"]');
    const stale = document.querySelector('[data-stale="true"]');
    return app && app.dataset.testScriptState === 'notRunning' && elements.length > 3 && !stale;
}"""
NO_SIDEWAYS_SCROLLING = """width => window.innerWidth === width
    && document.documentElement.scrollWidth <= window.innerWidth"""
THEME_IS = """scheme => getComputedStyle(document.querySelector('[data-testid="stApp"]'))
    .colorScheme === scheme"""
CONTENT_TOP = """() => document
    .querySelector('[data-testid=stMainBlockContainer]').getBoundingClientRect().top"""
# The elements of Streamlit itself, which this project cannot change, are not judged. axe still
# reports page-wide rules.
ACCESSIBILITY_FAULTS = """async () => {
    const own = '[data-testid="stHtml"], [data-testid^="stBidiComponent"]';
    const result = await axe.run(
        {include: [...document.querySelectorAll(own)]},
        {runOnly: ["wcag2a", "wcag2aa"], resultTypes: ["violations"]},
    );
    const isOwn = node => {
        const target = node.target[0];
        const e = document.querySelector(Array.isArray(target) ? target[0] : target);
        return e && e.closest(own) !== null;
    };
    const serious = result.violations.filter(v => ["serious", "critical"].includes(v.impact));
    return serious.flatMap(v =>
        v.nodes.filter(isOwn).map(n => v.id + ": " + n.html.slice(0, 160)));
}"""


def wait_for_content(page) -> None:
    """Wait until the script has run and its elements are drawn."""
    page.wait_for_function(SCRIPT_IS_DONE, timeout=60_000)
    page.wait_for_timeout(500)


def collect_faults(page) -> list[str]:
    """Return a list that grows with script errors, failed requests and console errors of a page."""
    faults: list[str] = []

    def add_response(response) -> None:
        if response.status >= 400 and not response.url.endswith(STREAMLIT_PROBES):
            faults.append(f"{response.status} {response.url}")

    def add_message(message) -> None:
        # A failed request is recorded with its address by `add_response`.
        if message.type == "error" and "Failed to load resource" not in message.text:
            faults.append(f"{page.url}: {message.text}")

    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("response", add_response)
    page.on("console", add_message)
    return faults


@pytest.mark.browser
def test_pages_have_no_faults(server: Served, browser) -> None:
    """Each page is opened in one theme and then changed to the other, in turns."""
    context = browser.new_context(viewport=viewport(SIZES[0]), color_scheme="light")
    page = context.new_page()
    faults = collect_faults(page)
    sign_in(page, server, "W1")
    axe = AXE_FILE_PATH.read_text(encoding="utf-8")
    with store.read(server.study) as con:
        units = unit_table.selected_unit_ids(con, run_table.latest_run(con, "dissect") or "")
    unit = f"units?unit={unit_name(units[0])}"
    pair = f"{unit}&with={unit_name(units[1])}"
    schemes = ["light", "dark"]
    for path in (*PAGES, unit, pair, "reading_study?study=New+design"):
        page.goto(f"{server.base}/{path}")
        wait_for_content(page)
        expect(page.locator('[data-testid="stException"]'), path).to_have_count(0)
        for size in SIZES:
            page.set_viewport_size(viewport(size))
            check_layout(page, path, size)
        # The debugger evaluates it, so that the page keeps its content security policy.
        page.evaluate(axe)
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(THEME_IS, arg=scheme, timeout=60_000)
            wait_for_content(page)
            if path == "performance":
                tick = page.locator(".js-plotly-plot .xtick text").first
                expect(tick).to_have_css("fill", CHART_TEXT[scheme])
                line = page.locator(".js-plotly-plot").first.locator("path.js-line").last
                expect(line).to_have_css("stroke", CHART_LINE[scheme])
            faults += [
                f"{path or 'overview'}, {scheme}: {fault}"
                for fault in page.evaluate(ACCESSIBILITY_FAULTS)
            ]
        schemes.reverse()
        page.set_viewport_size(viewport(SIZES[0]))
    context.close()
    assert faults == []
    # Streamlit warns of caches that are defined before the server runs.
    assert "No runtime found" not in (server.study / "server.log").read_text()


def viewport(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


def check_layout(page, path: str, size: tuple[int, int]) -> None:
    """Check that a page at a size of the window neither scrolls sideways nor begins low."""
    # Charts follow a change of the window's size a moment later.
    with contextlib.suppress(TimeoutError):
        page.wait_for_function(NO_SIDEWAYS_SCROLLING, arg=size[0], timeout=60_000)
    assert page.evaluate(NO_SIDEWAYS_SCROLLING, size[0]), f"{path} scrolls sideways at {size}"
    top = page.evaluate(CONTENT_TOP)
    assert top <= 56, f"{path}: content starts at {top}"
    if path == "performance":
        tab = page.get_by_role("tab", name="Failures").bounding_box()
        assert tab["y"] + tab["height"] < size[1] / 2, "the tabs must be visible without scrolling"


# The training waits before its first epoch until the page has shown it.
HELD_TRAINING = """
import sys, time
from pathlib import Path
from core.pipeline import train
from dashboard import cli

study, train_classifier = Path(sys.argv[-1]), train.train_classifier

def train_once_shown(*arguments, **options):
    while not (study / "shown").exists():
        time.sleep(0.05)
    return train_classifier(*arguments, **options)

train.train_classifier = train_once_shown
sys.argv[0] = cli.__file__
cli.main()
"""


@pytest.mark.browser
def test_a_step_in_a_terminal_appears_while_it_runs(server: Served, browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 640})
    page = context.new_page()
    sign_in(page, server, "T-terminal")
    settings_file = server.study / SETTINGS_NAME
    kept = settings_file.read_text(encoding="utf-8")
    short = re.sub(r"(?m)^draws = .*", "draws = 64", kept)
    assert short != kept
    settings_file.write_text(short, encoding="utf-8")
    command = [sys.executable, "-c", HELD_TRAINING, "train", "--epochs", "2"]
    command += ["--study", str(server.study)]
    training = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        # Of this process: an earlier test may have left an unfinished training in the study.
        while all(run["pid"] != training.pid for run in runs.unfinished_runs(server.study)):
            assert training.poll() is None
            time.sleep(0.05)
        # The Overview refreshes every 3 s; a loaded machine needs longer.
        page.get_by_text("train --epochs 2").first.wait_for(timeout=60_000)
        (server.study / "shown").touch()
        assert training.wait(120) == 0
        page.get_by_text("2 epochs").first.wait_for(timeout=60_000)
    finally:
        training.kill()
        training.wait()
        settings_file.write_text(kept, encoding="utf-8")
        context.close()


@pytest.mark.browser
def test_images_of_a_case_share_zoom_and_window_and_the_next_step_is_copied(
    server: Served, browser
) -> None:
    context = browser.new_context(viewport=viewport(SIZES[0]))
    page = context.new_page()
    sign_in(page, server, "T-zoom")
    page.goto(f"{server.base}/explanations")
    page.wait_for_selector(".mammograms .sheet canvas", timeout=60_000)
    wait_for_content(page)
    box = page.locator(".mammograms .stage").nth(1).bounding_box()
    x, y = box["x"] + 60, box["y"] + 80
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.locator('.mammograms .sheet[style*="scale(2.7"]').last.wait_for()
    page.mouse.down()
    page.mouse.move(x + 44, y)
    page.mouse.up()
    styles = page.eval_on_selector_all(
        ".mammograms .sheet",
        "all => all.map(e => [e.style.transform, e.querySelector('img').style.filter])",
    )
    assert len(styles) > 2 and len({tuple(style) for style in styles}) == 1
    # Dragging over 220 px multiplies the contrast by e.
    assert styles[0][1] == "brightness(1) contrast(1.2214)"
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(server.base)
    page.get_by_role("button", name="Copy command").click()
    page.get_by_role("status").get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("deepminer ") and copied.endswith(f"--study {server.study}")
    context.close()
