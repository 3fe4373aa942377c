"""Middleware that sets security headers and removes what describes this machine."""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Streamlit's own scripts need 'unsafe-inline', 'unsafe-eval', blob: and data:. No source outside
# this server is allowed.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'self'",
    )
)
SECURITY_HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "content-security-policy": CONTENT_SECURITY_POLICY,
}


class SecurityHeadersMiddleware:
    """Replace Streamlit's security headers by stricter ones and remove the server's description.

    script: the script that Streamlit runs; its path is in the first message of each websocket.
    """

    def __init__(self, app: ASGIApp, script: Path) -> None:
        self.app = app
        self._script = script
        self._script_path = str(script).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            """Send a message; the start of a response gets the headers."""
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                if "server" in headers:
                    del headers["server"]
            elif message["type"] == "websocket.send" and self._script_path in (
                message.get("bytes") or b""
            ):
                message = {**message, "bytes": self._without_description(message["bytes"])}
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _without_description(self, content: bytes) -> bytes:
        """Return a message of Streamlit without path, Python version and names of the machine.

        Streamlit's own version stays: the browser needs it, and its scripts contain it.
        """
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = ForwardMsg.FromString(content)
        if message.WhichOneof("type") != "new_session":
            return content
        session = message.new_session
        session.main_script_path = self._script.name
        environment = session.initialize.environment_info
        environment.python_version = environment.server_os = ""
        session.initialize.user_info.Clear()
        return message.SerializeToString()
