"""Make sure that there is a browser for the browser tests: an installed Chromium or Chrome, else
Playwright's own, else (as root) Debian's package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def installed() -> str | None:
    """Path of a browser that is there: $CHROMIUM, one on the PATH, or Playwright's."""
    named = os.environ.get("CHROMIUM")
    if named and Path(named).is_file():
        return named
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


def _attempt(*command: str) -> bool:
    print("Fetching a browser:", " ".join(command), flush=True)
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        print(
            "  that failed:",
            (done.stderr.strip().splitlines() or ["no reason given"])[-1],
            flush=True,
        )
    return done.returncode == 0


def bring() -> str | None:
    """The path of a browser, fetched if need be; None if none can be had."""
    found = installed()
    if found is None and _attempt(sys.executable, "-m", "playwright", "install", "chromium"):
        found = installed()
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        _attempt("apt-get", "update")
        if _attempt("apt-get", "install", "--yes", "--no-install-recommends", "chromium"):
            found = installed()
    return found


if __name__ == "__main__":
    path = bring()
    if path is None:
        sys.exit(
            "No browser can be had, so the browser tests cannot run: install Chromium or Chrome, or"
            " name one with CHROMIUM=/path/to/it."
        )
    print("Browser tests use", path)
