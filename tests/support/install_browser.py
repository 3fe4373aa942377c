"""Provide a browser for the browser tests.

An installed Chromium or Chrome is used if there is one. Otherwise Playwright's Chromium is
downloaded, or, as root on Debian, the package `chromium` installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

COMMAND_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def installed_browser() -> str | None:
    """Return the path of an installed browser: $CHROMIUM, one on the PATH, or Playwright's."""
    configured = os.environ.get("CHROMIUM")
    if configured and Path(configured).is_file():
        return configured
    for name in COMMAND_NAMES:
        path = shutil.which(name)
        if path:
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        downloaded = playwright.chromium.executable_path
    return downloaded if Path(downloaded).is_file() else None


def _run(*command: str) -> bool:
    """Run an installation command; return whether it succeeded."""
    print("Installing a browser:", " ".join(command), flush=True)
    process = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["no reason given"]
        print("  failed:", lines[-1], flush=True)
    return process.returncode == 0


def ensure_browser() -> str | None:
    """Return the path of a browser, installing one if necessary; None if that fails."""
    path = installed_browser()
    if path is None and _run(sys.executable, "-m", "playwright", "install", "chromium"):
        path = installed_browser()
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if path is None and is_root and shutil.which("apt-get"):
        _run("apt-get", "update")
        if _run("apt-get", "install", "--yes", "--no-install-recommends", "chromium"):
            path = installed_browser()
    return path


if __name__ == "__main__":
    browser_path = ensure_browser()
    if browser_path is None:
        sys.exit(
            "No browser could be installed, so the browser tests cannot run. Install Chromium or"
            " Chrome, or set CHROMIUM to the path of one."
        )
    print("Browser tests use", browser_path)
