"""A real server in its own process, and where its browser is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from core import store
from core.store import participant_table
from dashboard.application import ADDRESS, address
from support.paths import ROOT


def find_chromium() -> str | None:
    """A browser of this machine, or None to let playwright use its own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


@dataclass(frozen=True)
class Served:
    """A running server and its study."""

    study: Path
    base: str
    process: subprocess.Popen

    def invite(self, role: str, code: str | None = None) -> str:
        """A new person's link."""
        token = participant_table.new_token()
        with store.write(self.study) as con:
            participant_table.invite(
                con,
                code or participant_table.next_code(con, role),
                role,
                participant_table.token_hash(token),
            )
        return f"{self.base}/enter?token={token}"


def start_server(study: Path, port: int = 0) -> Served:
    """Serve a study in a subprocess, on a free port if none is given, and wait until it answers."""
    (study / ADDRESS).unlink(missing_ok=True)
    code = (
        "import sys; from pathlib import Path; from dashboard.application import serve;"
        " serve(Path(sys.argv[1]), port=int(sys.argv[2]))"
    )
    log = open(study / "server.log", "a")  # noqa: SIM115 - the child keeps it
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(study), str(port)], cwd=ROOT, stdout=log, stderr=log
    )
    log.close()
    for _ in range(300):
        served = Served(study, address(study), process)
        try:
            if not (study / ADDRESS).is_file():
                raise OSError("it does not listen yet")
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
