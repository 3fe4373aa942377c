"""The web server:

Streamlit as an ASGI app behind the gate, with the routes for images and for the experts' desks.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import streamlit as st
import uvicorn
from starlette.middleware import Middleware

from core import store
from core.errors import UserError
from core.store import participant_table
from dashboard.components import annotation, reading
from dashboard.server import context, image_routes
from dashboard.server.access_control import ENTER, Gate

ROOT = Path(__file__).resolve().parent.parent
TEAM_CODE = "team"
ADDRESS = ".address"  # in a study's folder: where it is served just now
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def team_token(path: Path) -> str:
    """The secret of the team's link: derived from the study's key, so that every start prints the
    same link and no file holds it.
    """
    return hmac.new(context.secret(path), b"team link", hashlib.sha256).hexdigest()[:40]


def link(base: str, token: str) -> str:
    """An invitation link under a server's address."""
    return f"{base.rstrip('/')}{context.prefix()}{ENTER}?token={token}"


def address(path: Path) -> str:
    """Where a study is served on this machine (or was, if its server was killed); the default
    address where it is not.
    """
    file = path / ADDRESS
    return file.read_text() if file.is_file() else "http://127.0.0.1:8501"


def _hosts(host: str) -> tuple[str, ...]:
    """Names this server answers to.

    Bound to every interface, it also answers to the machine's own names and to plain addresses.
    """
    everywhere = host in ("0.0.0.0", "::", "")
    named = (socket.gethostname(), socket.getfqdn(), "*") if everywhere else (host,)
    return (*LOCAL_HOSTS, *named, *filter(None, os.environ.get("DEEPMINER_HOSTS", "").split(",")))


def application(path: Path, host: str = "127.0.0.1") -> Callable[..., Awaitable[Any]]:
    """The ASGI application for a study; one per process.

    Changes to the folder that holds `.streamlit`.
    """
    from streamlit.runtime.pages_manager import PagesManager

    os.environ[context.VARIABLE] = str(path)
    os.chdir(ROOT)
    # A folder called `pages` beside the script would be served page by page, without the script
    # that chooses pages by role.
    PagesManager.uses_pages_directory = False
    with store.write(path) as con:
        participant_table.ensure(
            con, TEAM_CODE, "team", participant_table.token_hash(team_token(path))
        )
    return st.App(
        Path(__file__).with_name("app.py"),
        routes=[*image_routes.ROUTES, *annotation.ROUTES, *reading.ROUTES],
        middleware=[Middleware(Gate, path=path, hosts=_hosts(host))],
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UserError(
            f"Port {port} on {host} cannot be used ({error.strerror}); end what uses it or choose"
            " another with --port."
        ) from error
    return listening


def serve(
    path: Path, host: str = "127.0.0.1", port: int = 8501, announce: Callable[[str], None] = print
) -> None:
    """Serve a study until interrupted. The last line announced is the team's link."""
    path = path.resolve()
    with _bind(host, port) as listening:
        app = application(path, host)
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
        announce(
            f"DeepMiner serves {path}. Open this link (it is the research team's; do not pass it on"
            " to experts):"
        )
        here = f"http://{shown}:{listening.getsockname()[1]}"
        announce(f"    {link(here, team_token(path))}")
        (path / ADDRESS).write_text(here)
        # What pages with charts and statistics import takes a second: it is there before anybody
        # asks for the second page.
        threading.Thread(
            target=importlib.import_module,
            args=("dashboard.ui.charts",),
            name="imports",
            daemon=True,
        ).start()
        # Links carry tokens in their query: no log may hold them.
        logging.getLogger("uvicorn.access").disabled = True
        config = uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            (path / ADDRESS).unlink(missing_ok=True)
            context.appends(path).close()
