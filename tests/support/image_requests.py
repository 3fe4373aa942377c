"""Requests to the image routes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dashboard.server import image_routes


def request_image(url: str, role: str = "annotator", code: str = "A1") -> Response:
    """Return the response of the image route to a participant."""
    headers = [(b"x-auth-role", role.encode()), (b"x-auth-who", code.encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": url,
        "headers": headers,
        "path_params": {"token": url.rsplit("/", 1)[1]},
    }
    return image_routes.serve_image(Request(scope))
