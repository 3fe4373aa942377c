"""Keys and waits of the reading page in a browser."""

from __future__ import annotations


def settle(page, title: str) -> None:
    """Wait for a case and for the dead time after it."""
    page.wait_for_function(
        "t => [...document.querySelectorAll('*')].some(e =>"
        " e.shadowRoot?.querySelector('.u')?.textContent.trim() === t)",
        arg=title,
    )
    page.wait_for_timeout(420)
