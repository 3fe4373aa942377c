"""The server of a study in a process of its own."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from core import store
from core.store import participant_table
from dashboard.server.links import ADDRESS_FILE, server_address
from support.paths import ROOT
from support.server_process import run_server

# Seconds until a server must answer on a busy machine.
START_S = 120
PROCESSES = get_context("forkserver")


@cache
def start_parent_process() -> None:
    """Start the process that the servers are forked from.

    It has imported what they need, which takes three seconds.
    """
    PROCESSES.set_forkserver_preload(["support.server_process"])
    with pytest.MonkeyPatch.context() as patch:
        # Only installed packages are found otherwise, and what is not found is left out.
        patch.setenv("PYTHONPATH", str(ROOT / "tests"))
        forkserver.ensure_running()


@dataclass(frozen=True)
class Served:
    """A running server and its study."""

    study: Path
    base: str
    process: ForkServerProcess

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
    """Serve a study in a process of its own and wait until it answers; port 0 is a free port.

    before: statements that the process runs first.
    """
    (study / ADDRESS_FILE).unlink(missing_ok=True)
    start_parent_process()
    process = PROCESSES.Process(
        target=run_server, args=(study, port, before, ROOT, dict(os.environ)), daemon=True
    )
    process.start()
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if not (study / ADDRESS_FILE).is_file():
                raise OSError("the server does not listen yet")
            served = Served(study, server_address(study), process)
            urllib.request.urlopen(f"{served.base}/_stcore/health", timeout=20).close()
            return served
        except OSError:
            if not process.is_alive():
                break
            time.sleep(0.1)
    raise RuntimeError((study / "server.log").read_text()[-3000:])


def stop_server(served: Served) -> None:
    """Interrupt the server; kill it if it does not end."""
    if served.process.is_alive():
        os.kill(served.process.pid, signal.SIGINT)
        served.process.join(10)
    served.process.kill()
    served.process.join()
