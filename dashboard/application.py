"""The web application: Streamlit as an ASGI app behind the access control.

It adds the routes for signing in, for images and for the experts' pages.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from core.atomic_files import write_text
from core.errors import UserError
from core.sessions.reading_pictures import prepare_open_studies
from dashboard.components import annotation, reading
from dashboard.server import context, image_routes
from dashboard.server.access_control import (
    SIGN_IN_PATH,
    SIGN_OUT_PATH,
    AccessControlMiddleware,
)
from dashboard.server.links import ADDRESS_FILE, ensure_team_link, invitation_link
from dashboard.server.oidc import (
    OIDC_CALLBACK_PATH,
    OIDC_PATH,
    InstitutionSignIn,
    load_oidc_settings,
)
from dashboard.server.security_headers import SecurityHeadersMiddleware
from dashboard.server.sign_in import SignIn
from dashboard.server.static_pages import PageLink
from dashboard.server.trusted_origins import TrustedOriginMiddleware

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
ALL_INTERFACES = ("0.0.0.0", "::", "")
HOSTS_VARIABLE = "DEEPMINER_HOSTS"
# Of charts, statistics, units, explanations, audits and figures.
MODULES_OF_PAGES = (
    "dashboard.ui.charts",
    "dashboard.views.units.details",
    "dashboard.views.explanations.details",
    "dashboard.views.label_audit",
    "evaluation.reporting.figures",
)
_SCRIPT = Path(__file__).with_name("app.py")


def _origin_middleware(host: str) -> Middleware:
    """Return the host check for a server that is bound to a host.

    Bound to every interface, the server also answers to the machine's own names and to plain IP
    addresses.
    """
    hosts = [*LOCAL_HOSTS, *filter(None, os.environ.get(HOSTS_VARIABLE, "").split(","))]
    public = host in ALL_INTERFACES
    hosts += [socket.gethostname(), socket.getfqdn()] if public else [host]
    allow_addresses = public or "*" in hosts
    named = [name for name in hosts if name != "*"]
    return Middleware(TrustedOriginMiddleware, hosts=named, allow_addresses=allow_addresses)


def sign_in_stack(path: Path) -> tuple[list[Route], Middleware]:
    """Return the sign-in routes of a study and the access control that leaves them open."""
    sign_in, settings = SignIn(path), load_oidc_settings()
    if settings is None:
        return sign_in.routes(), Middleware(AccessControlMiddleware, path=path)
    link = PageLink(f"{context.url_prefix()}{OIDC_PATH}", "Sign in through your institution")
    access_control = Middleware(
        AccessControlMiddleware,
        path=path,
        sign_in_paths=(SIGN_IN_PATH, SIGN_OUT_PATH, OIDC_PATH, OIDC_CALLBACK_PATH),
        institution_link=link,
    )
    return [*sign_in.routes(), *InstitutionSignIn(settings, sign_in).routes()], access_control


def create_application(path: Path, host: str = "127.0.0.1", lifespan: Any = None) -> ASGIApp:
    """Return the ASGI application for a study; one per process.

    lifespan: context manager of the time during which the server runs, or None.
    Theme and server options come from `.streamlit/config.toml` beside the script, in a checkout and
    in an installed package alike.
    """
    from streamlit.runtime.pages_manager import PagesManager

    os.environ[context.STUDY_VARIABLE] = str(path)
    # Streamlit would serve every file of a folder called `pages` beside the script, without the
    # script that selects the pages by role.
    PagesManager.uses_pages_directory = False
    sign_in_routes, access_control = sign_in_stack(path)
    # Streamlit tries these routes before its own, and the middleware from the first to the last.
    return st.App(
        _SCRIPT,
        routes=[
            *sign_in_routes,
            *image_routes.IMAGE_ROUTES,
            *annotation.ANNOTATOR_ROUTES,
            *reading.READING_ROUTES,
        ],
        middleware=[
            Middleware(SecurityHeadersMiddleware, script=_SCRIPT),
            _origin_middleware(host),
            access_control,
        ],
        lifespan=lifespan,
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sets TCP_NODELAY on connections of such a listener only, and
    # without it each answer on a kept connection would wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Otherwise a restarted server would wait for the connections of its predecessor to time out.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"Port {port} on {host} cannot be used ({error.strerror}); stop the program that uses"
            " it or choose another port with --port."
        ) from error
    return listener


def _import_pages() -> None:
    """Import what the pages use, so that the first visit of a page does not wait for it."""
    for name in MODULES_OF_PAGES:
        importlib.import_module(name)
    # Streamlit collects garbage after each run of a page. Modules stay, so it need not visit them.
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def _background_imports(_app: st.App) -> AsyncGenerator[None]:
    """Start the imports once the server runs: Streamlit's caches warn if there is none yet."""
    threading.Thread(target=_import_pages, name="imports", daemon=True).start()
    yield


def serve_study(
    path: Path, host: str = "127.0.0.1", port: int = 8501, announce: Callable[[str], None] = print
) -> None:
    """Serve a study until interrupted; `announce` receives the team's link as its last line."""
    path = path.resolve()
    with _bind(host, port) as listener:
        prepare_open_studies(path)
        app = create_application(path, host, lifespan=_background_imports)
        name = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
        announce(
            f"DeepMiner serves {path}. Open this link (it is the research team's; do not pass it on"
            " to experts):"
        )
        address = f"http://{name}:{listener.getsockname()[1]}"
        announce(f"    {invitation_link(address, ensure_team_link(path))}")
        # `deepminer invite` in another process prints links with this address. It may read the file
        # at any moment, and a plain write leaves it empty for an instant.
        write_text(path / ADDRESS_FILE, address)
        # Links carry tokens in their query, which no log may contain.
        logging.getLogger("uvicorn.access").disabled = True
        config = uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,
            access_log=False,
            server_header=False,
            # Browsers keep their websockets open: without a limit the server would wait for them.
            timeout_graceful_shutdown=2,
        )
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            gc.unfreeze()  # otherwise the database's module reports its objects as leaked
            (path / ADDRESS_FILE).unlink(missing_ok=True)
            context.group_commit_writer(path).close()
