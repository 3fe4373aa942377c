"""The server of a study in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from core import store
from core.store import participant_table
from dashboard.server.links import ADDRESS_FILE, server_address
from support.paths import ROOT

# Seconds until a server must answer; its start takes several seconds of computing.
START_S = 120


@dataclass(frozen=True)
class Served:
    """A running server and its study."""

    study: Path
    base: str
    process: subprocess.Popen

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self.base.rsplit(":", 1)[1])

    def invite(self, role: str, code: str | None = None) -> str:
        """Invite a participant and return the link."""
        token = participant_table.new_invitation_token()
        with store.write(self.study) as con:
            participant_table.invite_participant(
                con,
                code or participant_table.next_free_code(con, role),
                role,
                participant_table.hash_token(token),
            )
        return f"{self.base}/enter?token={token}"


def start_server(study: Path, port: int = 0, before: str = "") -> Served:
    """Serve a study in a subprocess and wait until it answers; port 0 is a free port.

    before: statements that the process runs first.
    """
    (study / ADDRESS_FILE).unlink(missing_ok=True)
    code = before + (
        "import sys; from pathlib import Path; from dashboard.application import serve_study;"
        " serve_study(Path(sys.argv[1]), port=int(sys.argv[2]))"
    )
    log = open(study / "server.log", "a")  # noqa: SIM115 - the child process writes to it
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(study), str(port)], cwd=ROOT, stdout=log, stderr=log
    )
    log.close()
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if not (study / ADDRESS_FILE).is_file():
                raise OSError("the server does not listen yet")
            served = Served(study, server_address(study), process)
            urllib.request.urlopen(f"{served.base}/_stcore/health", timeout=20).close()
            return served
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError((study / "server.log").read_text()[-3000:])


def stop_server(served: Served) -> None:
    """Interrupt the server; kill it if it does not end."""
    served.process.send_signal(signal.SIGINT)
    try:
        served.process.wait(10)
    except subprocess.TimeoutExpired:
        served.process.kill()
        served.process.wait()
