"""Take the pictures of README and docs from demonstration studies.

`make pictures` runs this script on the study of `make run`. A second study, built with
`deepminer demo FOLDER --quick --shortcut`, gives the pictures of the planted shortcut. Studies must
contain synthetic mammograms only: pictures of patients do not belong in the repository.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from core import store  # noqa: E402
from core.class_labels import unit_name  # noqa: E402
from core.sessions.annotation_session import AnnotationSession  # noqa: E402
from core.settings import load_settings  # noqa: E402
from core.store import participant_table, run_table, unit_table  # noqa: E402
from dashboard.server.context import study_secret  # noqa: E402
from evaluation.annotation import audit_workflow  # noqa: E402
from support.annotation_queue import finish_queue  # noqa: E402
from support.image_arms import close_open_study, freeze_image_study  # noqa: E402
from support.install_browser import installed_browser  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
PORT = 8797
VIEWPORT: Any = {"width": 1280, "height": 640}
DRAW_MS = 5000  # time in which a page draws its charts and images once its script has ended
SCRIPT_IS_DONE = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    return app?.dataset.testScriptState === 'notRunning'
        && !document.querySelector('[data-stale="true"]');
}"""
TEAM_PAGES = {
    "overview": "",
    "data": "data",
    "performance": "performance",
    "units": "units",
    "explanations": "explanations",
    "reading": "reading_study",
    "adjudication": "annotations?section=Adjudication",
}
# Role, code and picture of each expert page.
EXPERT_PAGES = (("annotator", "PICTURE-A", "annotate"), ("reader", "PICTURE-R", "read"))
# Buttons on the way from the instructions to the first practice item.
BUTTONS = (
    "Start with two practice units",
    "Start with five practice texts",
    "Start with the practice cases",
)


def _sign_in(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Start").click()
    page.wait_for_timeout(DRAW_MS)


def _invitation_link(study: Path, role: str, code: str) -> str:
    """Return a new link for a participant who has consented."""
    token = participant_table.new_invitation_token()
    token_hash = participant_table.hash_token(token)
    with store.write(study) as con:
        if participant_table.participant_role(con, code) is None:
            participant_table.invite_participant(con, code, role, token_hash)
        else:
            participant_table.reissue_invitation(con, code, token_hash)
        if not participant_table.has_consented(con, code):
            participant_table.record_consent(con, code, "taking pictures", "picture")
    return f"http://127.0.0.1:{PORT}/enter?token={token}"


def _save_picture(page: Page, name: str) -> None:
    page.wait_for_function(SCRIPT_IS_DONE, timeout=120_000)
    page.wait_for_timeout(DRAW_MS)
    page.screenshot(path=PICTURES / f"{name}.png")


def _malignant_unit(study: Path) -> str:
    """Return the name of the first selected unit of the class malignant."""
    with store.read(study) as con:
        units = unit_table.load_selected_units(con, run_table.latest_run(con, "dissect") or "")
    return unit_name(int(units.query("`class` == 2")["unit"].iloc[0]))


def take_team_pictures(link: str, browser: Any, pages: Mapping[str, str]) -> None:
    """Save a picture of each page, given as name and path, in the light theme."""
    page = browser.new_context(viewport=VIEWPORT).new_page()
    _sign_in(page, link)
    for name, path in pages.items():
        page.goto(f"http://127.0.0.1:{PORT}/{path}")
        _save_picture(page, name)


def take_expert_pictures(study: Path, browser: Any) -> None:
    """Save a picture of each expert page with its first practice item."""
    for role, code, name in EXPERT_PAGES:
        page = browser.new_context(viewport=VIEWPORT).new_page()
        _sign_in(page, _invitation_link(study, role, code))
        _begin(page)
        _save_picture(page, name)


def _begin(page: Page) -> None:
    """Go from the instructions to the first practice item."""
    for label in BUTTONS:
        button = page.get_by_role("button", name=label, exact=True)
        if button.count():
            button.first.click()
            page.wait_for_timeout(1200)


def take_exam_pictures(study: Path) -> None:
    """Save pictures of a practice exam after the first and the final answer, from a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(study, Path(folder) / "study"))
        close_open_study(copy)
        settings = {"repeats": 0, "discrepant": "in", "case_unit": "exam", "single_films": "in"}
        arms = ("advice_units_map", "no_advice")
        freeze_image_study(copy, arms, "Exams", "Reading with advice", **settings)
        with _served(copy) as (_, browser):
            page = browser.new_context(viewport=VIEWPORT).new_page()
            _sign_in(page, _invitation_link(copy, "reader", "PICTURE-R"))
            _begin(page)
            page.wait_for_timeout(DRAW_MS)
            page.keyboard.press("5")
            _save_picture(page, "reading_exam")
            page.keyboard.press("4")
            _save_picture(page, "reading_practice")


def take_audit_picture(study: Path) -> None:
    """Save a picture of the first patch of a label audit, from a copy of a study."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(study, Path(folder) / "study"))
        if (newest := audit_workflow.latest_audit(copy)) is None or newest.ended is not None:
            audit_workflow.start_audit(copy, 6, 1, "taking pictures")
        link = _invitation_link(copy, "annotator", "PICTURE-B")
        with _served(copy) as (_, browser):
            repeats = load_settings(copy).annotation.repeats
            session = AnnotationSession("PICTURE-B", study_secret(copy), repeats)
            page = browser.new_context(viewport=VIEWPORT).new_page()
            _sign_in(page, link)
            with store.write(copy) as con:
                finish_queue(con, session)
            page.reload()
            page.get_by_role("button", name="Start the audit").click()
            _save_picture(page, "audit")


@contextmanager
def _served(study: Path) -> Iterator[tuple[str, Any]]:
    """Serve a study; yield the team's link and a browser."""
    # Before Playwright starts, because the search may start a driver of its own.
    browser_path = installed_browser()
    command = [sys.executable, "-m", "dashboard.cli", "serve", "--study", str(study)]
    server = subprocess.Popen(
        [*command, "--port", str(PORT)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert server.stdout is not None
    try:
        matches = (re.search(r"http://\S+token=\S+", line) for line in server.stdout)
        link = next(match.group(0) for match in matches if match)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"]
            )
            yield link, browser
            browser.close()
    finally:
        server.terminate()
        server.wait()


def main(study: Path, shortcut: Path | None) -> None:
    """Take every picture of the demonstration, and those of the shortcut study if it is given."""
    PICTURES.mkdir(exist_ok=True)
    with _served(study) as (link, browser):
        unit = f"units?unit={_malignant_unit(study)}"
        take_team_pictures(link, browser, {**TEAM_PAGES, "unit": unit})
        take_expert_pictures(study, browser)
    take_exam_pictures(study)
    take_audit_picture(study)
    if shortcut is not None:
        with _served(shortcut) as (link, browser):
            unit = f"units?unit={_malignant_unit(shortcut)}"
            pages = {"shortcut_unit": unit, "shortcut_explanation": "explanations"}
            take_team_pictures(link, browser, pages)


if __name__ == "__main__":
    folders = [Path(argument).resolve() for argument in sys.argv[1:]] or [Path("demo").resolve()]
    main(folders[0], folders[1] if len(folders) > 1 else None)
