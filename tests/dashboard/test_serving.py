"""How a study is served: host names, the listener, the application, and the order of steps."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit

from core.errors import UserError
from dashboard import application
from dashboard.components import annotation, reading
from dashboard.server import (
    context,
    image_routes,
    security_headers,
    trusted_origins,
)


@pytest.mark.parametrize(
    ("host", "variable", "hosts", "addresses"),
    [
        ("127.0.0.1", "", ["127.0.0.1"], False),
        ("10.0.0.7", "a.org,b.org", ["a.org", "b.org", "10.0.0.7"], False),
        ("10.0.0.7", "a.org,*,", ["a.org", "10.0.0.7"], True),
        ("0.0.0.0", "a.org", ["a.org", "machine", "machine.lan"], True),
        ("::", "", ["machine", "machine.lan"], True),
        ("", "", ["machine", "machine.lan"], True),
    ],
)
def test_host_names_of_a_server(
    monkeypatch: pytest.MonkeyPatch, host: str, variable: str, hosts: list[str], addresses: bool
) -> None:
    monkeypatch.setenv(application.HOSTS_VARIABLE, variable)
    monkeypatch.setattr(socket, "gethostname", lambda: "machine")
    monkeypatch.setattr(socket, "getfqdn", lambda: "machine.lan")
    middleware = application._origin_middleware(host)
    assert middleware.cls is trusted_origins.TrustedOriginMiddleware
    assert middleware.kwargs == {
        "hosts": ["127.0.0.1", "localhost", "::1", *hosts],
        "allow_addresses": addresses,
    }


def test_listener() -> None:
    with application._bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert listener.family == socket.AF_INET and listener.proto == socket.IPPROTO_TCP
        # A restarted server does not wait for the connections of its predecessor.
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
        listener.listen()
        with pytest.raises(UserError, match=f"Port {port} on 127.0.0.1 cannot be used .*--port"):
            application._bind("127.0.0.1", port)


def test_family_of_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []

    class Listener:
        """A socket that is bound to nothing."""

        def __init__(self, *arguments: Any) -> None:
            made.append(arguments)

        def setsockopt(self, *_: Any) -> None:
            """Set nothing."""

        def bind(self, address: tuple[str, int]) -> None:
            """Keep the address."""
            made.append(address)

    monkeypatch.setattr(socket, "socket", Listener)
    application._bind("::1", 7)
    application._bind("127.0.0.1", 8)
    stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP)
    assert made == [
        (socket.AF_INET6, *stream),
        ("::1", 7),
        (socket.AF_INET, *stream),
        ("127.0.0.1", 8),
    ]


def test_application_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes of the sign-in first, then images and the pages of experts; three middlewares."""
    from streamlit.runtime.pages_manager import PagesManager

    made: list[Any] = []
    monkeypatch.setattr(PagesManager, "uses_pages_directory", True)
    monkeypatch.setattr(
        streamlit, "App", lambda script, **options: made.append((script, options)) or "app"
    )
    monkeypatch.setattr(application, "sign_in_stack", lambda path: (["sign-in"], f"access {path}"))
    monkeypatch.setenv(context.STUDY_VARIABLE, "other")
    path = Path("/a/study")
    assert application.create_application(path, "10.0.0.7", lifespan="lifespan") == "app"
    [(script, options)] = made
    assert script == Path(application.__file__).with_name("app.py") and script.is_file()
    assert options["routes"] == [
        "sign-in",
        *image_routes.IMAGE_ROUTES,
        *annotation.ANNOTATOR_ROUTES,
        *reading.READING_ROUTES,
    ]
    headers, origins, access = options["middleware"]
    assert headers.cls is security_headers.SecurityHeadersMiddleware
    assert headers.kwargs == {"script": script} and access == f"access {path}"
    assert "10.0.0.7" in origins.kwargs["hosts"] and options["lifespan"] == "lifespan"
    # Streamlit would serve every file of the folder of pages.
    assert PagesManager.uses_pages_directory is False
    assert str(context.served_study()) == str(path)


@pytest.mark.parametrize(
    ("host", "name"),
    [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::", "[::]"), ("10.0.0.7", "10.0.0.7")],
)
def test_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    """From binding to the end, in order; no log contains the token of a link."""
    steps: list[Any] = []

    def note(title: str, result: Any = None) -> Any:
        return lambda *a, **o: steps.append((title, a, o)) or result

    @contextmanager
    def bind(*arguments: Any) -> Iterator[Any]:
        steps.append(("bind", arguments))
        yield SimpleNamespace(getsockname=lambda: ("any", 8765))

    class Server:
        """A server that ends with an error."""

        def __init__(self, config: Any) -> None:
            assert config == "config"

        def run(self, sockets: Any) -> None:
            """Check the address, and end."""
            assert (tmp_path / ".address").read_text() == f"http://{name}:8765"
            assert len(sockets) == 1 and application.logging.getLogger("uvicorn.access").disabled
            raise KeyboardInterrupt

    monkeypatch.setattr(application, "_bind", bind)
    monkeypatch.setattr(application, "prepare_open_studies", note("prepare"))
    monkeypatch.setattr(application, "create_application", note("create", "app"))
    monkeypatch.setattr(application, "ensure_team_link", note("link", "token"))
    monkeypatch.setattr(application.uvicorn, "Config", note("config", "config"))
    monkeypatch.setattr(application.uvicorn, "Server", Server)
    monkeypatch.setattr(gc, "unfreeze", note("unfreeze"))
    closing = SimpleNamespace(close=note("close"))
    monkeypatch.setattr(context, "group_commit_writer", lambda path: closing)
    with pytest.raises(KeyboardInterrupt):
        application.serve_study(tmp_path, host, 8501, note("announce"))
    assert not (tmp_path / ".address").exists()
    options = {
        "log_level": "warning",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 2,
    }
    lifespan = {"lifespan": application._background_imports}
    announced = (
        f"DeepMiner serves {tmp_path}. Open this link (it is the research team's; do not pass it on"
        " to experts):"
    )
    assert steps == [
        ("bind", (host, 8501)),
        ("prepare", (tmp_path,), {}),
        ("create", (tmp_path, host), lifespan),
        ("announce", (announced,), {}),
        ("link", (tmp_path,), {}),
        ("announce", (f"    http://{name}:8765/enter?token=token",), {}),
        ("config", ("app",), options),
        ("unfreeze", (), {}),
        ("close", (), {}),
    ]


def test_pages_are_imported_while_the_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    started: list[Any] = []
    monkeypatch.setattr(application.importlib, "import_module", imported.append)
    monkeypatch.setattr(gc, "collect", lambda: started.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: started.append("freeze"))
    application._import_pages()
    assert imported == list(application.MODULES_OF_PAGES) and started == ["collect", "freeze"]
    started.clear()
    monkeypatch.setattr(application, "_import_pages", lambda: None)

    class Thread:
        """A thread that runs at once."""

        def __init__(self, target: Any, name: str, daemon: bool) -> None:
            started.append((target, name, daemon))

        def start(self) -> None:
            """Note the start."""
            started.append("start")

    monkeypatch.setattr(threading, "Thread", Thread)

    async def live() -> None:
        async with application._background_imports(None):  # type: ignore[arg-type]
            started.append("serving")

    coroutine = live()
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert started == [(application._import_pages, "imports", True), "start", "serving"]
