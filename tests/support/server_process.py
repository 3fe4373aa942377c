"""What a process does that serves a study; its imports are made before it is forked.

This is the only module that the parent of these processes imports.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from pathlib import Path

from streamlit.components.v2 import manifest_scanner

from dashboard import application

for name in application.MODULES_OF_PAGES:
    importlib.import_module(name)

# Streamlit reads the metadata of all installed packages when a server starts (half a second).
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
manifest_scanner.scan_component_manifests()


def run_server(
    study: Path, port: int, before: str, folder: Path, environment: dict[str, str]
) -> None:
    """Serve a study, in a folder and with an environment; messages go to its log.

    before: statements that are run first.
    """
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    log = os.open(study / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    exec(before, {})
    application.serve_study(study, port=port)
