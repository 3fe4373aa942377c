"""Requests to the image routes."""

from __future__ import annotations

from starlette.requests import Request

from dashboard.server import image_routes


def get(url: str, role: str = "annotator", who: str = "A1"):
    """The route's answer to somebody."""
    headers = [(b"x-auth-role", role.encode()), (b"x-auth-who", who.encode())]
    return image_routes._picture(
        Request(
            {
                "type": "http",
                "method": "GET",
                "path": url,
                "headers": headers,
                "path_params": {"token": url.rsplit("/", 1)[1]},
            }
        )
    )
