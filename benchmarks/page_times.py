"""Times of the team pages in a browser: first content of an address, and change of page.

    python -m benchmarks.page_times STUDY [--repeats 3]

The study is served from a copy. First content is the time from opening an address until the heading
is drawn; a change of page is the time from a click on the navigation until the heading of the other
page is drawn, where the click follows when the earlier page and its charts are drawn; complete is
the time until the script has ended. The first visit of each page fills the caches of the server and
is listed by itself. One JSON object is printed, times in seconds, with the load of the machine: the
times mean something on an idle one only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
from support.install_browser import installed_browser  # noqa: E402

PAGES = {
    "Data": "data",
    "Performance": "performance",
    "Units": "units",
    "Explanations": "explanations",
    "Annotations": "annotations",
    "Reading study": "reading_study",
    "Figures": "figures",
    "Participants": "participants",
    "Overview": "",
}
VIEWPORT: Any = {"width": 1280, "height": 640}
FIRST_CONTENT_GOAL_S, CHANGE_GOAL_S = 1.0, 0.5
HEADING = ".dm-title h1"
CHARTS_ARE_DRAWN = """() => [...document.querySelectorAll('[data-testid="stPlotlyChart"]')]
    .every(chart => chart.querySelector('.main-svg'))"""
BROWSER_IS_IDLE = "() => new Promise(resolve => requestIdleCallback(() => resolve(true)))"
SCRIPT_IS_DONE = """() => document.querySelector('[data-testid="stApp"]')
    ?.dataset.testScriptState === 'notRunning'"""


@contextmanager
def served_copy(study: Path) -> Iterator[tuple[str, str]]:
    """Serve a copy of a study; yield the address of the server and the team's link."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "study"
        # The server never writes to the images.
        shutil.copytree(study, copy, ignore=shutil.ignore_patterns("images"))
        (copy / "images").symlink_to(study.resolve() / "images")
        command = [sys.executable, "-m", "dashboard.cli", "serve", "--study", str(copy)]
        server = subprocess.Popen(
            [*command, "--port", "8796"], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert server.stdout is not None
        try:
            matches = (re.search(r"(http://[^/\s]+)/\S+token=\S+", line) for line in server.stdout)
            match = next(filter(None, matches))
            yield match.group(1), match.group(0)
        finally:
            server.terminate()
            server.wait()


def seconds_until_ready(page: Page, heading: str, started: float) -> tuple[float, float]:
    """Return the time until a page's heading is drawn, and until its script has ended."""
    # The heading of the Overview is the name of the study: any other heading than the last one.
    page.wait_for_function(
        "([selector, last]) => { const h = document.querySelector(selector);"
        " return h && h.textContent !== last; }",
        arg=[HEADING, heading],
        timeout=60_000,
    )
    drawn = time.perf_counter() - started
    page.wait_for_function(SCRIPT_IS_DONE, timeout=60_000)
    return drawn, time.perf_counter() - started


def open_address(page: Page, base: str, path: str) -> tuple[float, float]:
    """Open the address of a page and return its times."""
    page.goto("about:blank")
    started = time.perf_counter()
    page.goto(f"{base}/{path}", wait_until="commit")
    return seconds_until_ready(page, "", started)


def change_page(page: Page, title: str) -> tuple[float, float]:
    """Click on a page in the navigation and return its times."""
    page.wait_for_function(CHARTS_ARE_DRAWN, timeout=60_000)
    page.evaluate(BROWSER_IS_IDLE)
    last = page.inner_text(HEADING)
    started = time.perf_counter()
    page.get_by_role("link", name=title, exact=True).first.click()
    return seconds_until_ready(page, last, started)


def measure(base: str, link: str, repeats: int) -> dict[str, Any]:
    """Return the times of every page: the first visit, and medians of the later ones."""
    browser_path = installed_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(viewport=VIEWPORT).new_page()
        page.goto(link)
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector(HEADING)
        times: dict[str, Any] = {}
        for title, path in PAGES.items():
            first = open_address(page, base, path)
            times[title] = {"first_visit": round(first[0], 3), "opened": [], "changed": []}
        for _ in range(repeats):
            for title, path in PAGES.items():
                times[title]["opened"].append(open_address(page, base, path))
            for title in PAGES:
                times[title]["changed"].append(change_page(page, title))
        browser.close()
    return {
        title: {
            "first_visit": row["first_visit"],
            "first_content": round(statistics.median(t[0] for t in row["opened"]), 3),
            "change": round(statistics.median(t[0] for t in row["changed"]), 3),
            "complete": round(statistics.median(t[1] for t in row["changed"]), 3),
        }
        for title, row in times.items()
    }


def main() -> None:
    """Print the times of all pages, and whether the slowest reaches the goals."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with served_copy(arguments.study) as (base, link):
        times = measure(base, link, arguments.repeats)
    slowest = {
        name: max(row[name] for row in times.values()) for name in ("first_content", "change")
    }
    goals = {"first_content": FIRST_CONTENT_GOAL_S, "change": CHANGE_GOAL_S}
    result = {"pages": times, "slowest": slowest, "goals": goals, "load": os.getloadavg()[0]}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
