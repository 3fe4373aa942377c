"""Take the pictures of README and docs from the running demonstration:

`make pictures`. Synthetic mammograms only: real films stay out of the repository.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from core import store  # noqa: E402
from core.class_labels import unit_name  # noqa: E402
from core.store import participant_table, run_table, unit_table  # noqa: E402
from support.install_browser import installed  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
PORT = 8797
TEAM = {
    "overview": "",
    "data": "data",
    "performance": "performance",
    "units": "units",
    "explanations": "explanations",
    "reading": "reading_study",
}


def _enter(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Start").click()
    page.wait_for_timeout(2500)


def _invited(study: Path, role: str, code: str) -> str:
    token = participant_table.new_token()
    with store.write(study) as con:
        if participant_table.role_of(con, code) is None:
            participant_table.invite(con, code, role, participant_table.token_hash(token))
        else:
            participant_table.reissue(con, code, participant_table.token_hash(token))
        if not participant_table.has_consented(con, code):
            participant_table.consent(con, code, "taking pictures", "picture")
    return f"http://127.0.0.1:{PORT}/enter?token={token}"


def _shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(2500)
    page.screenshot(path=PICTURES / f"{name}.png")


def take(study: Path, link: str, browser: Any) -> None:
    """All pages at 1280 x 640, light."""
    with store.read(study) as con:
        unit = int(
            unit_table.selected(con, run_table.latest(con, "dissect") or "")
            .query("`class` == 2")["unit"]
            .iloc[0]
        )
    team = browser.new_context(viewport={"width": 1280, "height": 640}).new_page()
    _enter(team, link)
    for name, path in {**TEAM, "unit": f"units?unit={unit_name(unit)}"}.items():
        team.goto(f"http://127.0.0.1:{PORT}/{path}")
        _shoot(team, name)
    for role, code, name in (
        ("annotator", "PICTURE-A", "annotate"),
        ("reader", "PICTURE-R", "read"),
    ):
        page = browser.new_context(viewport={"width": 1280, "height": 640}).new_page()
        _enter(page, _invited(study, role, code))
        for label in ("Begin", "Start", "Start the practice texts", "Go on"):
            button = page.get_by_role("button", name=label, exact=True)
            if button.count():
                button.first.click()
                page.wait_for_timeout(1200)
        _shoot(page, name)


def main(study: Path) -> None:
    """Serve the study and take every picture."""
    PICTURES.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "dashboard.cli",
        "serve",
        "--study",
        str(study),
        "--port",
        str(PORT),
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert server.stdout is not None
    try:
        link = next(
            found.group(0)
            for line in server.stdout
            if (found := re.search(r"http://\S+token=\S+", line))
        )
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=installed(), args=["--no-sandbox", "--disable-gpu"]
            )
            take(study, link, browser)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo").resolve())
