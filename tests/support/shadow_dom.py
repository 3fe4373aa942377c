"""JavaScript conditions on elements inside the shadow roots of the browser components."""

from __future__ import annotations


def shadow_condition(selector: str, condition: str) -> str:
    """Return a function for `page.wait_for_function` and `page.evaluate`.

    It is true if `condition` holds for the first element `e` that matches the selector in at least
    one shadow root. The condition may use the argument `arg`.
    """
    return (
        "(arg) => [...document.querySelectorAll('*')].some(host => {"
        f" const e = host.shadowRoot?.querySelector('{selector}');"
        f" return Boolean(e && ({condition})); }})"
    )


HAS_TITLE = shadow_condition(".u", "e.textContent.trim() === arg")
IMAGE_LOADED = shadow_condition(".pic img", "e.complete && e.naturalWidth > 0")
# A held key arrives as repeated keydown events.
# Keys in one moment: between keys of the browser driver a busy machine may pass the dead time.
KEYS_AT_ONCE = (
    "keys => keys.forEach(key => document.dispatchEvent(new KeyboardEvent('keydown',"
    " {key, bubbles: true, composed: true})))"
)
HELD_KEY = (
    "key => document.dispatchEvent(new KeyboardEvent('keydown',"
    " {key, repeat: true, bubbles: true, composed: true}))"
)
